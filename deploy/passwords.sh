#!/bin/sh
# Make deploy/.env from deploy/.env.example, with random passwords. An existing one is left alone.
set -eu
cd "$(dirname "$0")"
[ ! -e .env ] || { echo "deploy/.env exists already; nothing was changed" >&2; exit 1; }
random() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }
umask 077
while IFS= read -r line; do
  case $line in
    *_PASSWORD=) echo "$line$(random)" ;;
    FLOWER_BASIC_AUTH=) echo "${line}operator:$(random)" ;;
    *) echo "$line" ;;
  esac
done < .env.example > .env
echo "deploy/.env is made; docker compose --env-file deploy/.env --profile cpu up --build -d" >&2
