#!/usr/bin/env bash
# Lint the container files, build every image that runs without a GPU, and read a page through what was built.
# No container engine is needed: buildah builds and runs in a chroot. No registry of images either: a stand-in base
# (Debian 12 with its own Python) is made once and kept in build/images; the Dockerfiles are given it as BASE.
set -euo pipefail
cd "$(dirname "$0")/../.."

die() { echo "make images: $*" >&2; exit 1; }
say() { printf '%s  %s\n' "$(date +%T)" "$*" >&2; }

[ "$(uname -s)" = Linux ] || die "needs Linux"
[ "$(id -u)" = 0 ] || die "needs root, to make and enter the images' file systems"
for tool in buildah debootstrap unshare flock; do
  command -v "$tool" >/dev/null || die "needs $tool: apt-get install buildah debootstrap util-linux"
done
[ -x .venv/bin/hadolint ] || die "needs the development environment: make test"

work=$PWD/build/images
base=localhost/standin:bookworm
mkdir -p "$work"
exec 9>"$work/lock"
flock -n 9 || die "another one is running"
image() { buildah --root "$work/storage" --runroot "$work/run" --storage-driver vfs "$@"; }

say "lint"
.venv/bin/hadolint Dockerfile.gateway Dockerfile.worker deploy/flower/Dockerfile
compose=$(.venv/bin/python -c 'import compose; print(compose.__path__[0])')/docker-compose
rm -rf "$work/etc"; mkdir "$work/etc"; cp deploy/passwords.sh deploy/.env.example "$work/etc"
sh "$work/etc/passwords.sh" 2>/dev/null
for profile in cpu gpu; do
  "$compose" --file docker-compose.yml --env-file "$work/etc/.env" --profile "$profile" config --quiet
done
rm -rf "$work/etc"

if [ ! -e "$work/rootfs/etc/os-release" ]; then
  say "stand-in base (once)"
  rm -rf "$work/rootfs.part"
  debootstrap --variant=minbase --include=ca-certificates,python3,python3-venv,python3-pip bookworm \
    "$work/rootfs.part" >"$work/debootstrap.log" 2>&1 || { tail -5 "$work/debootstrap.log" >&2; die "no stand-in base"; }
  mv "$work/rootfs.part" "$work/rootfs"
fi

cleanup() {
  say "clean up"
  image rm --all >/dev/null 2>&1 || true
  image rmi --all --force >/dev/null 2>&1 || true
  rm -rf "$work/storage" "$work/run" "$work/stack"
}
trap cleanup EXIT

say "image $base"
printf 'FROM scratch\nADD rootfs /\n' | image bud --quiet --isolation chroot --tag "$base" -f - "$work" >/dev/null

build() { # IMAGE DOCKERFILE ARGUMENT...
  say "build $1"
  image bud --quiet --isolation chroot --pull-never --volume /etc/ssl/certs:/etc/ssl/certs:ro \
    --build-arg "BASE=$base" --tag "localhost/$1" --file "$2" "${@:3}" . >"$work/$1.log" 2>&1 || { tail -25 "$work/$1.log" >&2; die "$1 was not built"; }
}
build ocr-gateway Dockerfile.gateway
build ocr-worker-cpu Dockerfile.worker --build-arg EXTRA=cpu
build ocr-flower deploy/flower/Dockerfile

say "read a page"
unshare --net .venv/bin/python -m deploy.images.try_out "$work"
