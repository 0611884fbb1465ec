#!/bin/sh
# Start the store with its users. For each user of users.acl with a {name}, the password is in NAME_REDIS_PASSWORD.
# The list with the digests lies in memory only ($RUN, a tmpfs).
set -eu
here=$(dirname "$0")
run=${RUN:-/run/valkey}

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
# The server takes no comments in this file.
sed '/^#/d' "$run/template" > "$run/users.acl"
rm "$run/template"
exec valkey-server "$here/valkey.conf" --aclfile "$run/users.acl" --dir "${DATA:-/data}" \
  --maxmemory "${MAXMEMORY:-4gb}" "$@"
