#!/bin/sh
# Makes .venv from the committed, hash-pinned requirement files. Run by `make setup`.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=lib.sh
. "$root/scripts/lib.sh"

python=${PYTHON:-python3}

need_python() {
    command -v "$python" >/dev/null 2>&1 || err "no $python on PATH: install Python 3.11 or newer (Debian: apt-get install python3 python3-venv)"
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || err "$("$python" --version) is too old: AzQuack needs Python 3.11 or newer (set PYTHON=/path/to/python3)"
}

make_venv() {
    [ -x .venv/bin/python ] && .venv/bin/python -c '' 2>/dev/null && return
    if ! "$python" -c 'import ensurepip' 2>/dev/null; then
        # Debian ships ensurepip apart from Python.
        [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1 || err "Python has no venv module: run 'sudo apt-get install python3-venv' and try again"
        note "installing python3-venv"
        apt-get update -qq && apt-get install -y -qq python3-venv >/dev/null || err "apt-get could not install python3-venv"
    fi
    "$python" -m venv --clear .venv || err "could not make .venv in $(pwd)"
}

main() {
    cd "$root"
    need_python
    make_venv
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt ||
        err "could not install uv: is the package index within reach?"
    # Compiled once: a process that compiles what it imports takes twice as long to start, and where
    # PYTHONDONTWRITEBYTECODE is set, each one would.
    .venv/bin/uv pip sync --quiet --compile-bytecode --python .venv/bin/python --require-hashes \
        requirements/uv.txt requirements/dev.txt ||
        err "could not install the pinned requirements: is the package index within reach?"
    .venv/bin/uv pip install --quiet --python .venv/bin/python --no-deps --no-build-isolation --editable . ||
        err "could not install azquack itself into .venv"
    .venv/bin/python -m compileall -q src
    note ".venv is ready"
}

main "$@"
