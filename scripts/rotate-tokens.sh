#!/bin/sh
# Replaces tokens of the deployed pair. See usage().
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=lib.sh
. "$root/scripts/lib.sh"

usage() {
    cat <<'USAGE'
Usage: scripts/rotate-tokens.sh public|internal|all

Writes a new token to Key Vault, restarts the apps that use it, and waits until the lake takes it. Sessions of
the query app end: people attach again, with the new public token if that was rotated. The old token stops
working when the app has restarted.

  public     the token of the people; restarts the query app
  internal   the token between the apps; restarts all of them, the catalog first
  all        both
  --help     this text
USAGE
}

put() {
    file=$(umask 077 && mktemp)
    trap 'rm -f "$file"' EXIT
    new_token >"$file"
    ensure az keyvault secret set --vault-name "$vault" --name "$1" --file "$file" --encoding utf-8 --output none
    rm -f "$file"
}

option() {
    case $1 in
        public | internal | all) which=$1 ;;
        *) return 1 ;;
    esac
}

main() {
    which=''
    arguments "$@"
    [ -n "$which" ] || err "which token: public, internal or all? See --help"
    need_azd
    need_az
    need_azquack
    uri=$(lake_uri)
    vault=$(azd_value AZURE_KEY_VAULT_NAME)
    group=$(azd_value AZURE_RESOURCE_GROUP)
    query=$(azd_value QUERY_APP_NAME)
    old=$(secret "$vault" public-token)
    if [ "$which" != public ]; then
        catalog=$(azd_value CATALOG_APP_NAME)
        # Every other app calls the catalog with the internal token: the further query nodes, too.
        others=$(ensure az containerapp list --resource-group "$group" --query '[].name' --output tsv | grep -Fvx -e "$catalog" -e "$query" || true)
        put internal-token
        note "the vault has a new internal token; restarting the catalog"
        restart "$group" "$catalog"
        for name in $others; do
            note "restarting $name"
            restart "$group" "$name"
        done
    fi
    if [ "$which" != internal ]; then
        put public-token
        note "the vault has a new public token"
    fi
    note "restarting the query app"
    restart "$group" "$query"
    token=$(secret "$vault" public-token)
    wait_until 180 "the lake does not take the token in the vault after 3 minutes: look at 'az containerapp logs show --resource-group $group --name $query'" \
        lake_does 'SELECT 1'
    if [ "$token" != "$old" ]; then
        token=$old
        wait_until 60 "the lake still takes the old public token: is an old revision of $query still running?" refused
    fi
    note "done: the lake takes the token in the vault"
}

refused() { ! lake_does 'SELECT 1'; }

main "$@"
