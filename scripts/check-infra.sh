#!/bin/sh
# The static checks of infra/, checkov included. See usage().
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=lib.sh
. "$root/scripts/lib.sh"

usage() {
    cat <<'USAGE'
Usage: scripts/check-infra.sh [--setup]

Runs every check of tests/infra, checkov included, which lives in an environment of its own: .venv-infra, made
from the hash-pinned requirements/infra.txt.

  --setup   only make .venv-infra
  --help    this text
USAGE
}

make_venv() {
    stamp=.venv-infra/.ready
    [ ! -e "$stamp" ] || [ requirements/infra.txt -nt "$stamp" ] || return 0
    note "making .venv-infra"
    ensure .venv/bin/uv venv --quiet --clear --python .venv/bin/python .venv-infra
    ensure .venv/bin/uv pip sync --quiet --system-certs --python .venv-infra/bin/python --require-hashes requirements/infra.txt
    touch "$stamp"
}

option() {
    case $1 in
        --setup) only_setup=yes ;;
        *) return 1 ;;
    esac
}

main() {
    only_setup=''
    arguments "$@"
    cd "$root"
    need_azquack
    make_venv
    [ -z "$only_setup" ] || return 0
    exec .venv/bin/python -m pytest tests/infra
}

main "$@"
