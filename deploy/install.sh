#!/usr/bin/env bash
# install.sh VENV OPTION... : install into a virtual environment with uv where there is one, else with pip; from the
# same locks. What the installer prints goes to stderr.
set -euo pipefail
venv=$1
shift
progress=(bash "$(dirname "$0")/with_progress.sh" installing)
uv=$(command -v uv || true)

if [ -n "$uv" ]; then
  exec "${progress[@]}" "$uv" pip install --python "$venv/bin/python" --no-deps "$@" >&2
fi
exec "${progress[@]}" "$venv/bin/python" -m pip install --disable-pip-version-check --no-deps "$@" >&2
