#!/bin/sh
# Says how to attach the deployed lake. See usage().
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=lib.sh
. "$root/scripts/lib.sh"

usage() {
    cat <<'USAGE'
Usage: scripts/show-connection-info.sh [--json]

Says how to attach the lake of the selected azd environment. The token itself is never shown.

  --json   one JSON object: uri, vault, secret, catalog, registry, resourceGroup
  --help   this text
USAGE
}

option() {
    case $1 in
        --json) json=yes ;;
        *) return 1 ;;
    esac
}

main() {
    json=''
    arguments "$@"
    need_azd
    uri=$(lake_uri)
    vault=$(azd_value AZURE_KEY_VAULT_NAME)
    if [ -n "$json" ]; then
        catalog=$(azd_value CATALOG_FQDN)
        registry=$(azd_value AZURE_CONTAINER_REGISTRY_ENDPOINT)
        group=$(azd_value AZURE_RESOURCE_GROUP)
        printf '{"uri": "%s", "vault": "%s", "secret": "public-token", "catalog": "%s", "registry": "%s", "resourceGroup": "%s"}\n' \
            "$uri" "$vault" "$catalog" "$registry" "$group"
        return
    fi
    cat <<INFO
The lake is at $uri. In any DuckDB 1.5, from 1.5.3 on:

  CREATE SECRET (TYPE quack, SCOPE '$uri', TOKEN '<token>');
  ATTACH '$uri' AS lake;
  FROM lake.query('SHOW ALL TABLES');

The token:      az keyvault secret show --vault-name $vault --name public-token --query value --output tsv
A shell at once: scripts/connect-local.sh
INFO
}

main "$@"
