#!/bin/sh
# After `azd provision`: the vault has the secrets now, so azd's environment forgets them.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=../../scripts/lib.sh
. "$root/scripts/lib.sh"

main() {
    need_azd
    for name in LAKE_NEW_PUBLIC_TOKEN LAKE_NEW_INTERNAL_TOKEN LAKE_NEW_PRINCIPALS; do
        ensure azd env set "$name" ''
    done
    note "the ground is laid; 'azd deploy' brings the pair"
}

main "$@"
