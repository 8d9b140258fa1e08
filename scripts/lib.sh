# Sourced by the scripts beside it: what they say, how they fail, and how they ask azd, az and the lake.
# shellcheck shell=sh

program=$(basename "$0")
: "${root:?set root to the repository before sourcing lib.sh}"
# The lake that lake_sql and lake_does speak to, and the token for it.
uri=''
token=''

say() { printf '%s\n' "$*"; }
note() { printf '%s: %s\n' "$program" "$*" >&2; }
err() {
    note "$*"
    exit 1
}

# need_cmd COMMAND HINT: ends the script when COMMAND is not on PATH.
need_cmd() {
    command -v "$1" >/dev/null 2>&1 || err "no $1 on PATH: $2"
}

need_azd() { need_cmd azd "install it from https://aka.ms/azd-install"; }
need_az() { need_cmd az "install it from https://aka.ms/install-azure-cli"; }
need_azquack() {
    [ -x "$root/.venv/bin/azquack" ] || err "no .venv in $root: run 'make setup' there first"
}

# http_get URL: the status of the answer, 000 when none comes within 10 s, and below it the body.
http_get() {
    "$root/.venv/bin/python" -c '
import sys, httpx
try:
    answer = httpx.get(sys.argv[1], timeout=10)
    print(answer.status_code, answer.text, sep="\n")
except httpx.HTTPError:
    print("000")' "$1"
}

# ensure COMMAND...: runs it; ends the script when it fails.
ensure() {
    "$@" || err "this failed: $*"
}

# arguments "$@": hands each argument, and what follows it, to the script's own function `option`, which returns
# 1 for one that it does not know. Answers --help with the script's `usage`.
arguments() {
    while [ $# -gt 0 ]; do
        if [ "$1" = --help ]; then
            usage
            exit 0
        fi
        taken=1
        option "$@" || err "unknown argument $1: see --help"
        shift "$taken"
    done
}

# A script with no options but --help has no such function.
option() { return 1; }

# take OPTION [VALUE]...: puts the value of an option that needs one into $value; for use in `option`.
take() {
    [ $# -ge 2 ] || err "$1 needs a value: see --help"
    value=$2
    taken=2
}

# new_token: 256 random bits, safe in a URL and in SQL.
new_token() { head -c 32 /dev/urandom | base64 | tr '+/' '-_' | tr -d '=\n'; }

# has_line LINE TEXT: whether LINE is a line of TEXT.
has_line() { printf '%s\n' "$2" | grep -qx -- "$1"; }

# azd_value NAME: a value of azd's environment; ends the script when it is not there.
azd_value() {
    value=$(azd env get-value "$1" 2>/dev/null) || value=''
    [ -n "$value" ] || err "azd's environment has no $1: run 'azd up' first, or 'azd env select' another environment"
    printf '%s' "$value"
}

# azd_value_or NAME DEFAULT: the same with a default.
azd_value_or() {
    value=$(azd env get-value "$1" 2>/dev/null) || value=''
    printf '%s' "${value:-$2}"
}

# lake_uri: where the lake is attached. LAKE_URI stands in for it, such as at the end of a tunnel.
lake_uri() {
    [ -z "${LAKE_URI:-}" ] || {
        printf '%s' "$LAKE_URI"
        return
    }
    host=$(azd_value_or LAKE_CUSTOM_DOMAIN '')
    [ -n "$host" ] || host=$(azd_value QUERY_FQDN)
    printf 'quack:%s:443' "$host"
}

# secret VAULT NAME: a secret of a Key Vault. Capture it; never print it.
secret() {
    az keyvault secret show --vault-name "$1" --name "$2" --query value --output tsv ||
        err "cannot read the secret $2 of $1: you need the role Key Vault Secrets Officer there" \
            "(run 'azd provision' as yourself), and a network path to the vault"
}

# revision GROUP APP: the revision that the app runs.
revision() {
    az containerapp show --resource-group "$1" --name "$2" --query properties.latestReadyRevisionName --output tsv ||
        err "cannot read the container app $2 in $1: is az signed in to the right subscription?"
}

# restart GROUP APP: restarts the app's replica.
restart() {
    name=$(revision "$1" "$2") || exit 1
    ensure az containerapp revision restart --resource-group "$1" --name "$2" --revision "$name" --output none
}

# lake_sql STATEMENT: its rows as CSV without the header. The token travels in the environment, which only this
# user can read, not on a command line.
lake_sql() {
    rows=$(AZQUACK_PUBLIC_TOKEN=$token "$root/.venv/bin/azquack" sql --uri "$uri" --format csv "$1") || return 1
    printf '%s\n' "$rows" | tail -n +2
}

# lake_does STATEMENT: whether the lake runs it.
lake_does() {
    AZQUACK_PUBLIC_TOKEN=$token "$root/.venv/bin/azquack" sql --uri "$uri" --format csv "$1" >/dev/null 2>&1
}

# wait_until SECONDS SENTENCE COMMAND...: runs COMMAND until it succeeds; ends with SENTENCE when it never does.
wait_until() {
    deadline=$(($(date +%s) + $1))
    sentence=$2
    shift 2
    until "$@"; do
        [ "$(date +%s)" -lt "$deadline" ] || err "$sentence"
        sleep 1
    done
}
