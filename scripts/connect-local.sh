#!/bin/sh
# Attaches the deployed lake from this machine. See usage().
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=lib.sh
. "$root/scripts/lib.sh"

usage() {
    cat <<'USAGE'
Usage: scripts/connect-local.sh [--smoke]

Takes the token from Key Vault, compares DuckDB's versions here and there, writes one row, reads it back, and
opens the stock duckdb shell with the lake attached.

  --smoke   stop after the row
  --help    this text

LAKE_URI=quack:HOST:PORT stands in for the address of the deployment.
USAGE
}

option() {
    case $1 in
        --smoke) smoke=yes ;;
        *) return 1 ;;
    esac
}

main() {
    smoke=''
    arguments "$@"
    need_azd
    need_az
    need_azquack
    uri=$(lake_uri)
    vault=$(azd_value AZURE_KEY_VAULT_NAME)
    token=$(secret "$vault" public-token)
    here=$("$root/.venv/bin/python" -c 'import duckdb; print(duckdb.__version__)')
    there=$(lake_sql 'SELECT version()') || err "cannot attach $uri: see above"
    note "DuckDB $here here, ${there#v} at $uri"
    [ "${here%.*}" = "$(printf '%s' "${there#v}" | cut -d. -f1,2)" ] ||
        err "DuckDB $here cannot speak with ${there#v}: install the release of the server"
    row="$(hostname)-$(date +%s)-$$"
    lake_sql 'CREATE TABLE IF NOT EXISTS smoke (who VARCHAR, written TIMESTAMP)' >/dev/null || err "cannot make the table smoke"
    lake_sql "INSERT INTO smoke VALUES ('$row', now()::TIMESTAMP)" >/dev/null || err "cannot write to the table smoke"
    found=$(lake_sql "SELECT count(*) FROM smoke WHERE who = '$row'")
    [ "$found" = 1 ] || err "wrote one row to the table smoke and read back $found"
    note "wrote one row to the table smoke and read it back"
    [ -z "$smoke" ] || exit 0
    AZQUACK_PUBLIC_TOKEN=$token exec "$root/.venv/bin/azquack" connect --uri "$uri"
}

main "$@"
