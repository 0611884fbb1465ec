#!/usr/bin/env bash
# See run.py; any Python 3.11 that the CPU build of torch exists for will do.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
exec "${TEST_ENGINE_PYTHON:-python3.11}" "$here/run.py" "$@"
