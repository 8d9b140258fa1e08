#!/bin/sh
# Makes or changes an azd environment. See usage().
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=lib.sh
. "$root/scripts/lib.sh"
# shellcheck source=deployment.sh
. "$root/scripts/deployment.sh"

usage() {
    cat <<'USAGE'
Usage: scripts/setup-azd-env.sh NAME --location REGION [options]

Makes the azd environment NAME, or selects it when it is there, and puts the choices of a deployment into it.
Then 'azd up' brings the pair. docs/deploy.md says what each choice means.

  --location REGION        Azure region, such as westeurope
  --subscription ID        subscription (azd asks otherwise)
  --allow RANGES           address ranges that may reach the lake, with commas between them
  --query-nodes N          query nodes, 1 to 8
  --catalog-cpu CORES      0.25, 0.5, 0.75, 1, 1.5, 2 or 4; memory is two gigabytes for each
  --query-cpu CORES        the same for the query app
  --premium-catalog        keep the catalog's share on SSD
  --private-network        virtual network, private endpoints for storage and vault
  --zone-redundant         spread storage and replicas over zones
  --maintenance CRON       when maintenance runs, in UTC ('17 3 * * *')
  --alert-email ADDRESS    who is told when something is wrong
  --help                   this text
USAGE
}

choose() { ensure azd env set "$1" "$2"; }

# choice OPTION NAME VALUE: notes a choice, held against infra/choices.csv.
choice() {
    problem=$(choice_problem "$2" "$3")
    [ -z "$problem" ] || err "$1: $problem"
    chosen="$chosen$2=$3
"
}

option() {
    case $1 in
        --premium-catalog) choice "$1" LAKE_PREMIUM_CATALOG true ;;
        --private-network) choice "$1" LAKE_PRIVATE_NETWORK true ;;
        --zone-redundant) choice "$1" LAKE_ZONE_REDUNDANT true ;;
        --location)
            take "$@"
            location=$value
            ;;
        --subscription)
            take "$@"
            subscription=$value
            ;;
        --allow)
            take "$@"
            choice "$1" LAKE_ALLOWED_ADDRESSES "$value"
            ;;
        --query-nodes)
            take "$@"
            choice "$1" LAKE_QUERY_NODES "$value"
            ;;
        --catalog-cpu)
            take "$@"
            choice "$1" LAKE_CATALOG_CPU "$value"
            ;;
        --query-cpu)
            take "$@"
            choice "$1" LAKE_QUERY_CPU "$value"
            ;;
        --maintenance)
            take "$@"
            choice "$1" LAKE_MAINTENANCE_SCHEDULE "$value"
            ;;
        --alert-email)
            take "$@"
            choice "$1" LAKE_ALERT_EMAIL "$value"
            ;;
        -*) return 1 ;;
        *)
            [ -z "$name" ] || return 1
            name=$1
            ;;
    esac
}

main() {
    name='' location='' subscription='' chosen=''
    arguments "$@"
    [ -n "$name" ] || err "which environment? See --help"
    printf '%s' "$name" | grep -Eq '^[a-z0-9][a-z0-9-]{0,31}$' ||
        err "$name: an environment's name is up to 32 lower case letters, digits and hyphens"
    need_azd
    cd "$root"
    if azd env select "$name" >/dev/null 2>&1; then
        [ -z "$location" ] || choose AZURE_LOCATION "$location"
    else
        [ -n "$location" ] || err "the environment $name is new: say where with --location"
        ensure azd env new "$name" --location "$location" ${subscription:+--subscription "$subscription"}
    fi
    printf '%s' "$chosen" | while IFS= read -r each; do
        choose "${each%%=*}" "${each#*=}"
    done
    note "the environment $name is ready: run 'azd up'"
}

main "$@"
