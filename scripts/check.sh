#!/bin/sh
# Everything that can be checked before a deployment. See usage().
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=lib.sh
. "$root/scripts/lib.sh"

usage() {
    cat <<'USAGE'
Usage: scripts/check.sh

Checks the repository before a deployment: lint, types, the quick checks of infra/ and of the scripts, the Bicep
compiler where it is on PATH, the image where an engine is. Says what it skipped and why; exits 1 when a check
fails. `make check-infra` runs the slow checks and checkov.
USAGE
}

failed=''
skipped=''

# step NAME COMMAND...: runs COMMAND, and goes on when it fails.
step() {
    name=$1
    shift
    note "$name"
    "$@" || failed="$failed, $name"
}

skip() { skipped="$skipped
  $1: $2"; }

bicep_build() {
    for file in infra/main.bicep infra/azquack.bicep; do
        "$@" "$file" --stdout >/dev/null || return 1
    done
}

az_bicep_build() {
    for file in infra/main.bicep infra/azquack.bicep; do
        az bicep build --file "$file" --stdout >/dev/null || return 1
    done
}

main() {
    arguments "$@"
    cd "$root"
    need_azquack
    step "lint and types" make lint
    step "quick checks of infra/ and scripts/" .venv/bin/python -m pytest -q -m "not slow" tests/infra
    if command -v bicep >/dev/null 2>&1; then
        step "Bicep build" bicep_build bicep build
    elif command -v az >/dev/null 2>&1 && az bicep version >/dev/null 2>&1; then
        step "Bicep build" az_bicep_build
    else
        skip "Bicep build" "neither bicep nor 'az bicep' is on PATH"
    fi
    if command -v docker >/dev/null 2>&1 && docker info >/dev/null 2>&1; then
        step "image build" docker build --quiet --tag azquack:check .
    elif command -v buildah >/dev/null 2>&1 && command -v debootstrap >/dev/null 2>&1 && [ "$(id -u)" = 0 ]; then
        step "image build" scripts/build-image-without-engine.sh --tag localhost/azquack:check
    else
        skip "image build" "no Docker engine answers, and buildah with debootstrap (as root) is not here either"
    fi
    [ -z "$skipped" ] || note "skipped:$skipped"
    [ -z "$failed" ] || err "failed: ${failed#, }"
    note "all checks passed"
}

main "$@"
