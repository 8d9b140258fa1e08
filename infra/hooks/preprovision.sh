#!/bin/sh
# Before `azd provision`: finds the operator, and makes the secrets that the vault does not have yet. azd hands
# its environment over as variables.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=../../scripts/lib.sh
. "$root/scripts/lib.sh"

find_operator() {
    [ -z "${AZURE_PRINCIPAL_ID:-}" ] || return 0
    kind=$(az account show --query user.type --output tsv) || err "az is not signed in: run 'az login'"
    if [ "$kind" = servicePrincipal ]; then
        client=$(ensure az account show --query user.name --output tsv)
        id=$(ensure az ad sp show --id "$client" --query id --output tsv)
        ensure azd env set AZURE_PRINCIPAL_TYPE ServicePrincipal
    else
        id=$(ensure az ad signed-in-user show --query id --output tsv)
        ensure azd env set AZURE_PRINCIPAL_TYPE User
    fi
    ensure azd env set AZURE_PRINCIPAL_ID "$id"
    note "the operator is $id: may read and rotate the tokens"
}

secrets_in_vault() {
    [ -n "${AZURE_KEY_VAULT_NAME:-}" ] || return 0
    az keyvault secret list --vault-name "$AZURE_KEY_VAULT_NAME" --query '[].name' --output tsv ||
        err "cannot list the secrets of $AZURE_KEY_VAULT_NAME, so it is not known which tokens exist." \
            "If the vault is gone, run: azd env set AZURE_KEY_VAULT_NAME ''"
}

# A new token for each name that the vault lacks. The file keeps them off the command line; postprovision
# takes them out of azd's environment again.
make_tokens() {
    existing=$(secrets_in_vault)
    file=$(umask 077 && mktemp)
    trap 'rm -f "$file"' EXIT
    has_line public-token "$existing" || [ -n "${LAKE_NEW_PUBLIC_TOKEN:-}" ] ||
        printf 'LAKE_NEW_PUBLIC_TOKEN="%s"\n' "$(new_token)" >>"$file"
    has_line internal-token "$existing" || [ -n "${LAKE_NEW_INTERNAL_TOKEN:-}" ] ||
        printf 'LAKE_NEW_INTERNAL_TOKEN="%s"\n' "$(new_token)" >>"$file"
    # An empty book, so that the query role may be given the secret: `azquack principal` fills it.
    has_line principals "$existing" || [ -n "${LAKE_NEW_PRINCIPALS:-}" ] ||
        printf "LAKE_NEW_PRINCIPALS='%s'\n" '{"principals": []}' >>"$file"
    if [ -s "$file" ]; then
        ensure azd env set --file "$file"
        note "made the secrets that the vault does not have yet"
    fi
}

main() {
    need_cmd azd "see https://aka.ms/azd-install"
    need_cmd az "see https://aka.ms/install-azure-cli"
    find_operator
    make_tokens
}

main "$@"
