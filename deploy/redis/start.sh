#!/bin/sh
# Start the store with its users. For each user of users.acl with a {name}, the password is in NAME_REDIS_PASSWORD.
# The list with the digests lies in memory only ($RUN, a tmpfs).
set -eu
here=$(dirname "$0")
run=${RUN:-/run/valkey}
# For one release, the former names of the webhook senders: HOOKS_REDIS_PASSWORD, and the user hooks below.
: "${WEBHOOKS_REDIS_PASSWORD:=${HOOKS_REDIS_PASSWORD:-}}"
if [ -n "$WEBHOOKS_REDIS_PASSWORD" ]; then export WEBHOOKS_REDIS_PASSWORD; else unset WEBHOOKS_REDIS_PASSWORD; fi

digest() { printf %s "$1" | sha256sum | cut -d' ' -f1; }

umask 077
cp "$here/users.acl" "$run/template"
for name in $(sed -n 's/.*#{\([a-z]*\)}.*/\1/p' "$here/users.acl"); do
  variable=$(printf %s "$name" | tr a-z A-Z)_REDIS_PASSWORD
  password=$(printenv "$variable") || { echo "no password for $name: set $variable" >&2; exit 1; }
  sed "s/#{$name}/#$(digest "$password")/" "$run/template" > "$run/next"
  mv "$run/next" "$run/template"
  unset "$variable" password
done
unset HOOKS_REDIS_PASSWORD
# The server takes no comments in this file.
sed -e '/^#/d' -e '/^user webhooks /{p;s/^user webhooks /user hooks /;}' "$run/template" > "$run/users.acl"
rm "$run/template"
exec valkey-server "$here/valkey.conf" --aclfile "$run/users.acl" --dir "${DATA:-/data}" \
  --maxmemory "${MAXMEMORY:-4gb}" "$@"
