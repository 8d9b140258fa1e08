#!/bin/sh
# After `azd down`: azd's environment forgets the addresses and names of what is gone. azd forgets those of main.bicep
# by itself.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=../../scripts/lib.sh
. "$root/scripts/lib.sh"

main() {
    need_azd
    for name in QUERY_FQDN QUERY_APP_NAME CATALOG_FQDN CATALOG_APP_NAME MAINTENANCE_JOB_NAME RESTORE_JOB_NAME \
        DEPLOYED_PARTS SERVICE_AZQUACK_IMAGE_NAME; do
        ensure azd env set "$name" ''
    done
}

main "$@"
