#!/bin/sh
# Before `azd provision`: refuses what cannot be, before anything is touched, and makes the secrets that the vault does
# not have yet. azd hands its environment over as variables.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=../../scripts/lib.sh
. "$root/scripts/lib.sh"
# shellcheck source=../../scripts/deployment.sh
. "$root/scripts/deployment.sh"

# A new value for each secret that does not exist. The file keeps them off the command line; postprovision takes
# them out of azd's environment again.
make_secrets() {
    file=$(umask 077 && mktemp)
    trap 'rm -f "$file"' EXIT
    has_line public-token "$1" || [ -n "${LAKE_NEW_PUBLIC_TOKEN:-}" ] ||
        printf 'LAKE_NEW_PUBLIC_TOKEN="%s"\n' "$(new_token)" >>"$file"
    has_line internal-token "$1" || [ -n "${LAKE_NEW_INTERNAL_TOKEN:-}" ] ||
        printf 'LAKE_NEW_INTERNAL_TOKEN="%s"\n' "$(new_token)" >>"$file"
    # An empty list, so that the query role may be given the secret: `azquack principal` fills it.
    has_line principals "$1" || [ -n "${LAKE_NEW_PRINCIPALS:-}" ] ||
        printf "LAKE_NEW_PRINCIPALS='%s'\n" '{"principals": []}' >>"$file"
    if [ -s "$file" ]; then
        ensure azd env set --file "$file"
        note "made the secrets that the vault does not have yet"
    fi
}

main() {
    need_azd
    need_az
    check_choices
    subscription=${AZURE_SUBSCRIPTION_ID:-}
    [ -n "$subscription" ] || subscription=$(az account show --query id --output tsv) || err "az is not signed in: run 'az login'"
    group=$(group_of "$AZURE_ENV_NAME")
    # The group's name comes from the environment's: a machine that knows only that finds what stands.
    exists=$(in_azure az group exists --name "$group")
    vault='' existing=''
    if [ "$exists" = true ]; then
        check_fixed
        vault=$(find_vault)
    fi
    if [ -n "$vault" ]; then
        existing=$(secrets_in "$vault")
    else
        check_deleted_vault
    fi
    make_secrets "$existing"
}

main "$@"
