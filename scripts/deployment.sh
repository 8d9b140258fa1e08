# Sourced by the hooks and scripts that change a deployment: the operator's choices, and what stands in Azure already.
# infra/choices.csv is the one table of choices; the PowerShell hooks read it too.
# shellcheck shell=sh

: "${root:?set root to the repository before sourcing deployment.sh}"
# Where the functions below look; who sources this sets them.
group=''
subscription=''
line_break='
'

# What the environment's name decides: infra/main.bicep names the group so.
group_of() { printf 'rg-%s' "$1"; }

# value_of NAME: the variable NAME of this shell, which azd hands to a hook; '' when it is not set.
value_of() { eval "printf '%s' \"\${$1:-}\""; }

# problem_with NAME VALUES VALUE: a sentence when VALUE is not one of VALUES; nothing when it is.
problem_with() {
    case $3 in
        *"$line_break"*)
            say "$1 has a line break in it"
            return 0
            ;;
    esac
    case $2 in
        boolean)
            case $3 in [Tt][Rr][Uu][Ee] | [Ff][Aa][Ll][Ss][Ee]) return 0 ;; esac
            say "$1 is '$3': write true or false"
            ;;
        *[0-9]-[0-9]*)
            printf '%s' "$3" | grep -Eqx '[0-9]{1,4}' && [ "$3" -ge "${2%-*}" ] && [ "$3" -le "${2#*-}" ] ||
                say "$1 is '$3': write a whole number from ${2%-*} to ${2#*-}"
            ;;
        *'|'*)
            case "|$2|" in *"|$3|"*) case $3 in *'|'*) ;; *) return 0 ;; esac ;; esac
            say "$1 is '$3': write one of $(printf '%s' "$2" | sed 's/|/, /g')"
            ;;
        addresses)
            printf '%s' "$3" | tr ',' '\n' | grep -Evqx '([0-9]{1,3}\.){3}[0-9]{1,3}(/([0-9]|[12][0-9]|3[0-2]))?' || return 0
            say "$1 is '$3': expected an address or a range such as 203.0.113.0/24, with commas between several"
            ;;
        address)
            printf '%s' "$3" | grep -Eqx '[^[:space:]@]+@[^[:space:]@]+' || say "$1 is '$3': expected one address"
            ;;
    esac
}

# choice_problem NAME VALUE: the sentence about one choice; an empty one counts as not made.
choice_problem() {
    values=$(grep "^$1," "$root/infra/choices.csv" | cut -d, -f3)
    [ -z "$2" ] || problem_with "$1" "$values" "$2"
}

# check_choices: ends the script when a choice in the environment cannot be, with every problem.
check_choices() {
    problems=$(
        cut -d, -f1 "$root/infra/choices.csv" | tail -n +2 | while read -r name; do
            choice_problem "$name" "$(value_of "$name")"
        done
        if [ -n "${LAKE_CUSTOM_DOMAIN:-}" ] && [ -z "${LAKE_CERTIFICATE_ID:-}" ]; then
            say "LAKE_CUSTOM_DOMAIN is set without LAKE_CERTIFICATE_ID: add a certificate to the environment first (docs/deploy.md)"
        fi
    )
    [ -z "$problems" ] || {
        say "$problems" | while IFS= read -r each; do note "$each"; done
        err "nothing was changed; mend it with 'azd env set NAME VALUE'"
    }
}

# in_azure COMMAND...: the output of an az command that reads; ends the script when it fails.
in_azure() {
    "$@" --subscription "$subscription" --output tsv ||
        err "cannot read the deployment in $group, so it is not known what stands there, and nothing was changed: $*"
}

# compare_fixed CHOICE STANDS: ends the script when CHOICE asks for what cannot be changed any more.
compare_fixed() {
    wanted=$(value_of "$1" | tr '[:upper:]' '[:lower:]')
    [ -z "$2" ] || [ "${wanted:-false}" = "$2" ] ||
        err "$1 is ${wanted:-false}, but the deployment in $group was made with $2, which cannot be switched:" \
            "'azd env set $1 $2' keeps what stands, and docs/deploy.md says how to move to another"
}

# check_fixed: holds the choices that are made once against what stands in $group.
check_fixed() {
    sku=$(in_azure az storage account list --resource-group "$group" --query "[?starts_with(name, 'stcat')].sku.name | [0]") || exit 1
    case $sku in
        Premium*) compare_fixed LAKE_PREMIUM_CATALOG true ;;
        Standard*) compare_fixed LAKE_PREMIUM_CATALOG false ;;
    esac
    case $sku in
        *_ZRS) compare_fixed LAKE_ZONE_REDUNDANT true ;;
        *_LRS) compare_fixed LAKE_ZONE_REDUNDANT false ;;
    esac
    subnet=$(in_azure az containerapp env list --resource-group "$group" \
        --query "[].not_null(properties.vnetConfiguration.infrastructureSubnetId, 'none') | [0]") || exit 1
    case $subnet in
        /*) compare_fixed LAKE_PRIVATE_NETWORK true ;;
        none) compare_fixed LAKE_PRIVATE_NETWORK false ;;
    esac
}

# find_vault: the id of the vault in $group; nothing when there is none.
find_vault() {
    in_azure az resource list --resource-group "$group" --resource-type Microsoft.KeyVault/vaults --query '[0].id'
}

# secrets_in VAULT: the names of its secrets. Asked of Azure's management, which answers from outside of a private
# network too, where the vault itself does not.
secrets_in() {
    in_azure az rest --method get --uri "$1/secrets?api-version=2025-05-01&%24top=500" --query 'value[].name'
}

# check_deleted_vault: ends the script when an earlier deployment's vault keeps the name that this one needs.
check_deleted_vault() {
    deleted=$(in_azure az keyvault list-deleted --resource-type vault \
        --query "[?contains(properties.vaultId, '/resourceGroups/$group/')].name | [0]") || exit 1
    [ -z "$deleted" ] ||
        err "the vault $deleted of an earlier deployment is deleted but not purged, and its name is taken:" \
            "'az keyvault purge --name $deleted' gives the name free and its tokens up;" \
            "docs/deploy.md says how to recover it with its tokens"
}

# remove_leftovers PARTS: deletes the apps and alerts of an earlier deployment whose part, a tag, is none of PARTS.
remove_leftovers() {
    in_azure az resource list --resource-group "$group" --query '[?tags.azquackPart].[tags.azquackPart, id]' |
        while read -r part id; do
            case ",$1," in
                *",$part,"*) ;;
                *)
                    note "removing $part, which this deployment no longer has"
                    ensure az resource delete --ids "$id" --subscription "$subscription" --output none
                    ;;
            esac
        done
}
