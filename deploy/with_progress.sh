#!/usr/bin/env bash
# with_progress.sh WORD COMMAND... : run the command; a line every five seconds on stderr says that it goes on.
set -euo pipefail
word=$1
shift
started=$SECONDS

report() { # until TERM, which ends its sleep too: nobody is to wait for that
  trap 'kill "$!"; exit' TERM
  while true; do
    sleep 5 &
    wait "$!"
    echo "$word … $((SECONDS - started)) s" >&2
  done
}
report &
reporter=$!
trap 'kill "$reporter" 2>/dev/null || true' EXIT
"$@"
