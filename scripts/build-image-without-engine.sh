#!/bin/sh
# Builds the Dockerfile where there is no container engine. See usage().
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=lib.sh
. "$root/scripts/lib.sh"

usage() {
    cat <<'USAGE'
Usage: scripts/build-image-without-engine.sh [--tag NAME]

Builds the unmodified Dockerfile with buildah's chroot isolation: no engine, no daemon and no registry. The
base image that the Dockerfile names is made here from Debian's own Python and committed under that name.
Debian, as root, with `apt-get install buildah debootstrap`.

  --tag NAME   name of the image (localhost/azquack:latest)
  --help       this text
USAGE
}

need_root_and_tools() {
    [ "$(id -u)" = 0 ] || err "not root: debootstrap and chroot isolation need it"
    need_cmd buildah "run 'apt-get install buildah'"
    need_cmd debootstrap "run 'apt-get install debootstrap'"
}

base_of() { sed -n 's/^ARG BASE=//p' Dockerfile; }

make_base() {
    buildah inspect --type image "$1" >/dev/null 2>&1 && return
    note "making the base image $1 from Debian"
    debian=$(mktemp -d)
    trap 'rm -rf "$debian"' EXIT
    ensure debootstrap --variant=minbase --include=python3,python3-venv,python3-pip,ca-certificates \
        bookworm "$debian" >&2
    # The official image has python on PATH and lets pip install beside it.
    ln -sf python3 "$debian/usr/bin/python"
    rm -f "$debian"/usr/lib/python3*/EXTERNALLY-MANAGED
    rm -rf "$debian"/var/cache/apt/archives/*.deb "$debian"/var/lib/apt/lists/*
    # A machine that reaches its package index through a proxy trusts that proxy's certificate.
    cp /etc/ssl/certs/ca-certificates.crt "$debian/etc/ssl/certs/ca-certificates.crt"
    printf '[global]\ncert = /etc/ssl/certs/ca-certificates.crt\n' >"$debian/etc/pip.conf"
    container=$(buildah from scratch)
    ensure buildah add --quiet "$container" "$debian" / >/dev/null
    ensure buildah config --env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$container"
    ensure buildah commit --quiet --rm "$container" "$1" >/dev/null
}

option() {
    case $1 in
        --tag)
            take "$@"
            tag=$value
            ;;
        *) return 1 ;;
    esac
}

main() {
    tag=localhost/azquack:latest
    arguments "$@"
    cd "$root"
    need_root_and_tools
    make_base "$(base_of)"
    ensure buildah bud --isolation chroot --pull-never --network host --layers --format docker --quiet \
        --build-arg "REVISION=$(git rev-parse --short HEAD 2>/dev/null || echo unknown)" --tag "$tag" .
}

main "$@"
