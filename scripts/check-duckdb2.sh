#!/bin/sh
# Checks a gateway with a real DuckDB 2.x: installs it with its extensions beside, attaches, runs each statement of
# docs/duckdb-2.md. It needs network, Python 3.11 and a schema that it may make and drop: q3_check.
# Usage: AZQUACK_PUBLIC_TOKEN=… scripts/check-duckdb2.sh HOST:PORT [VERSION]
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/scripts/lib.sh"

usage() {
    cat <<'USAGE'
Usage: AZQUACK_PUBLIC_TOKEN=… scripts/check-duckdb2.sh HOST:PORT [VERSION]

Checks the gateway at HOST:PORT with a stock DuckDB 2.x (VERSION, such as 2.0.0; the newest 2 unless given).
The token must be a writer's or an administrator's. AZQUACK_CHECK_TLS=1 speaks TLS to it.
USAGE
}

main() {
    case "${1:-}" in
        -h | --help)
            usage
            exit 0
            ;;
        -*) err "unknown argument $1: see --help" ;;
        '')
            usage >&2
            exit 2
            ;;
    esac
    [ -n "${AZQUACK_PUBLIC_TOKEN:-}" ] || err 'set AZQUACK_PUBLIC_TOKEN to a token of the lake'
    need_cmd python3 'install Python 3.11 or later'
    where=$(mktemp -d)
    trap 'rm -rf "$where"' EXIT
    python3 -m venv "$where/venv"
    "$where/venv/bin/pip" install --quiet --disable-pip-version-check "duckdb${2:+==$2}" 'duckdb>=2,<3' ||
        err 'DuckDB 2.x cannot be installed here: is there network?'
    HOME="$where" "$where/venv/bin/python" "$root/scripts/duckdb2/statements.py" "$1"
}

main "$@"
