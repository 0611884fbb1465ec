#!/usr/bin/env bash
# install.sh VENV OPTION... : install into a virtual environment with uv where there is one, else with pip; from the
# same locks. What the installer prints goes to stderr; a line every five seconds shows that it goes on.
set -euo pipefail
venv=$1
shift
started=$SECONDS
uv=$(command -v uv || true)

report() { # until TERM, which ends its sleep too: nobody is to wait for that
  trap 'kill "$!"; exit' TERM
  while true; do
    sleep 5 &
    wait "$!"
    echo "installing … $((SECONDS - started)) s" >&2
  done
}
report &
reporter=$!
trap 'kill "$reporter" 2>/dev/null || true' EXIT

if [ -n "$uv" ]; then
  "$uv" pip install --python "$venv/bin/python" --no-deps "$@" >&2
else
  "$venv/bin/python" -m pip install --disable-pip-version-check --no-deps "$@" >&2
fi
