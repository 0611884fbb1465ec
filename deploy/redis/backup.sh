#!/bin/sh
# Copy the store's append-only file while the store runs: backup.sh FOLDER TARGET
# FOLDER holds the manifest (in the container /data/appendonlydir); TARGET must not exist. The copy is as of its end, less
# what the server had not yet written (a second at most). A rewrite that happens meanwhile is noticed, and the copy made
# anew.
set -eu
from=$1 to=$2
[ ! -e "$to" ] || { echo "$to exists already" >&2; exit 1; }
for _ in 1 2 3 4 5; do
  rm -rf "$to.part"
  mkdir -p "$to.part"
  cp "$from"/*.manifest "$to.part/"
  manifest=$(echo "$to.part"/*.manifest)
  if (cd "$from" && cp $(sed -n 's/^file \([^ ]*\) .*/\1/p' "$manifest") "$to.part/") 2>/dev/null \
    && cmp -s "$manifest" "$from/$(basename "$manifest")"; then
    mv "$to.part" "$to"
    exit 0
  fi
done
rm -rf "$to.part"
echo "the store rewrote its file five times meanwhile; try again" >&2
exit 1
