#!/bin/sh
# Makes or changes an azd environment. See usage().
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=lib.sh
. "$root/scripts/lib.sh"

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

check_cpu() {
    case $2 in
        0.25 | 0.5 | 0.75 | 1 | 1.5 | 2 | 4) ;;
        *) err "$1 $2: Container Apps has 0.25, 0.5, 0.75, 1, 1.5, 2 or 4 cores" ;;
    esac
}

check_ranges() {
    for range in $(printf '%s' "$1" | tr ',' ' '); do
        printf '%s' "$range" | grep -Eq '^([0-9]{1,3}\.){3}[0-9]{1,3}(/[0-9]{1,2})?$' ||
            err "--allow $range: expected an address or a range such as 203.0.113.0/24"
    done
}

check_email() {
    case $1 in
        *[[:space:]]* | *@*@* | @* | *@) err "--alert-email $1: expected one address" ;;
        *@*) ;;
        *) err "--alert-email $1: expected one address" ;;
    esac
}

choose() { ensure azd env set "$1" "$2"; }

option() {
    case $1 in
        --premium-catalog) chosen="$chosen LAKE_PREMIUM_CATALOG=true" ;;
        --private-network) chosen="$chosen LAKE_PRIVATE_NETWORK=true" ;;
        --zone-redundant) chosen="$chosen LAKE_ZONE_REDUNDANT=true" ;;
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
            check_ranges "$value"
            chosen="$chosen LAKE_ALLOWED_ADDRESSES=$value"
            ;;
        --query-nodes)
            take "$@"
            case $value in
                [1-8]) chosen="$chosen LAKE_QUERY_NODES=$value" ;;
                *) err "--query-nodes $value: 1 to 8" ;;
            esac
            ;;
        --catalog-cpu)
            take "$@"
            check_cpu "$@"
            chosen="$chosen LAKE_CATALOG_CPU=$value"
            ;;
        --query-cpu)
            take "$@"
            check_cpu "$@"
            chosen="$chosen LAKE_QUERY_CPU=$value"
            ;;
        --maintenance)
            take "$@"
            cron=$value
            ;;
        --alert-email)
            take "$@"
            check_email "$value"
            chosen="$chosen LAKE_ALERT_EMAIL=$value"
            ;;
        -*) return 1 ;;
        *)
            [ -z "$name" ] || return 1
            name=$1
            ;;
    esac
}

main() {
    name='' location='' subscription='' cron='' chosen=''
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
    for choice in $chosen; do
        choose "${choice%%=*}" "${choice#*=}"
    done
    [ -z "$cron" ] || choose LAKE_MAINTENANCE_SCHEDULE "$cron"
    note "the environment $name is ready: run 'azd up'"
}

main "$@"
