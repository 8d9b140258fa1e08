#!/bin/sh
# After `azd deploy`: removes what an earlier deployment had and this one has not, and says how to attach the lake.
# Resource Manager adds and changes; it does not remove what a template no longer names.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=../../scripts/lib.sh
. "$root/scripts/lib.sh"
# shellcheck source=../../scripts/deployment.sh
. "$root/scripts/deployment.sh"

main() {
    need_azd
    need_az
    group=$(azd_value AZURE_RESOURCE_GROUP)
    subscription=$(azd_value AZURE_SUBSCRIPTION_ID)
    parts=$(azd_value DEPLOYED_PARTS)
    remove_leftovers "$parts"
    exec "$root/scripts/show-connection-info.sh"
}

main "$@"
