#!/bin/sh
# After `azd provision`: the vault has the tokens now, so azd's environment forgets them.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=../../scripts/lib.sh
. "$root/scripts/lib.sh"

main() {
    need_cmd azd "see https://aka.ms/azd-install"
    for name in LAKE_NEW_PUBLIC_TOKEN LAKE_NEW_INTERNAL_TOKEN LAKE_NEW_PRINCIPALS; do
        ensure azd env set "$name" ''
    done
    if [ -n "${QUERY_FQDN:-}" ]; then
        exec "$root/scripts/show-connection-info.sh"
    fi
    note "the ground is laid; 'azd deploy' brings the pair"
}

main "$@"
