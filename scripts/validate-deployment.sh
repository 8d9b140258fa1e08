#!/bin/sh
# Proves that the deployed pair does what it promises. See usage().
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=lib.sh
. "$root/scripts/lib.sh"

usage() {
    cat <<'USAGE'
Usage: scripts/validate-deployment.sh [--no-restarts] [--backup-minutes N]

Checks the deployment of the selected azd environment, one line for each check, and exits 1 when one fails:
its shape (no PostgreSQL, internal catalog, images, replicas, health kept private), its authority (tokens, the
catalog out of reach), its data (files in Blob, rollback, commit, concurrent writers), restarts of both apps
while rows are written, the backup (it is fresh, it verifies), and that no log holds a token. It writes only to the table
azquack_validation, which it drops again.

  --no-restarts        leave the running apps alone
  --backup-minutes N   the newest backup may be this old (15)
  --help               this text

LAKE_READER_TOKEN is the token of a reader, whose write must be refused; without it that check is skipped.
LAKE_URI=quack:HOST:PORT stands in for the address of the deployment.
USAGE
}

failed=0
table=azquack_validation

# check SENTENCE COMMAND...: runs COMMAND, in a shell of its own, and says whether SENTENCE holds.
check() {
    sentence=$1
    shift
    if ("$@"); then
        say "ok      $sentence"
    else
        say "FAILED  $sentence"
        failed=$((failed + 1))
    fi
}

skip() { say "skipped $1: $2"; }

app() { ensure az containerapp show --resource-group "$group" --name "$1" --query "$2" --output tsv; }

### Shape

no_postgres() {
    types=$(ensure az resource list --resource-group "$group" --query '[].type' --output tsv) || return 1
    [ -n "$types" ] && ! printf '%s\n' "$types" | grep -qi postgres
}

catalog_is_internal() { [ "$(app "$catalog" properties.configuration.ingress.external)" = false ]; }

images_from_registry() {
    for name in "$catalog" "$query"; do
        image=$(app "$name" 'properties.template.containers[0].image')
        case $image in
            "$registry"/*) ;;
            *) note "$name runs $image, which is not from $registry" && return 1 ;;
        esac
    done
}

newest_is_ready() {
    [ "$(app "$1" properties.latestRevisionName)" = "$(app "$1" properties.latestReadyRevisionName)" ]
}

one_replica() {
    count=$(ensure az containerapp replica list --resource-group "$group" --name "$1" --query 'length(@)' --output tsv)
    [ "$count" = 1 ]
}

health_is_private() {
    # The sidecar has a port of its own that no ingress leads to.
    for path in readyz metrics status; do
        body=$(http_get "$web/$path")
        case $body in
            *'"checks"'* | *azquack_*) note "$web/$path shows the inside" && return 1 ;;
        esac
    done
}

### Authority

good_token_works() { [ "$(lake_sql 'SELECT 42')" = 42 ]; }

wrong_token_is_refused() {
    good=$token
    token=$(new_token)
    if lake_does 'SELECT 1'; then answer=1; else answer=0; fi
    token=$good
    return "$answer"
}

reader_cannot_write() {
    token=$LAKE_READER_TOKEN
    lake_does 'SELECT 1' && ! lake_does "CREATE TABLE ${table}_of_a_reader (i INTEGER)"
}

catalog_is_out_of_reach() {
    # From outside an internal app either has no address or is answered by the environment with 404.
    code=$(http_get "https://$catalog_fqdn/quack" | head -n 1)
    [ "$code" = 000 ] || [ "$code" = 404 ]
}

### Data

writes_reach_blob() {
    lake_does "CREATE OR REPLACE TABLE $table AS SELECT range AS i, 'validation' AS who FROM range(100000)" || return 1
    files=$(lake_sql "SELECT DISTINCT filename FROM $table") || return 1
    [ -n "$files" ] || return 1
    account=$(azd_value AZURE_STORAGE_ACCOUNT_NAME)
    container=$(azd_value AZURE_LAKE_CONTAINER)
    for file in $files; do
        exists=$(ensure az storage blob exists --auth-mode login --account-name "$account" \
            --container-name "$container" --name "${file#az://"$container"/}" --query exists --output tsv)
        [ "$exists" = true ] || {
            note "the metadata names $file, which is not there"
            return 1
        }
    done
}

count_is() { [ "$(lake_sql "SELECT count(*) FROM $table WHERE $1")" = "$2" ]; }

rollback_leaves_nothing() {
    lake_does "BEGIN; INSERT INTO $table VALUES (-1, 'rolled back'); ROLLBACK" && count_is "i = -1" 0
}

commit_stays() {
    lake_does "BEGIN; INSERT INTO $table VALUES (-2, 'committed'); COMMIT" && count_is "i = -2" 1
}

# write NAME ROWS: inserts ROWS rows one after another; those acknowledged stand in $work/NAME.
write() {
    n=0
    while [ "$n" -lt "$2" ] && [ ! -e "$work/stop" ]; do
        n=$((n + 1))
        if lake_does "INSERT INTO $table VALUES ($n, '$1')"; then printf '%s\n' "$n" >>"$work/$1"; fi
    done
}

# kept NAME: whether every acknowledged row of NAME is there, once.
kept() {
    [ -s "$work/$1" ] || {
        note "no row of $1 was acknowledged"
        return 1
    }
    rows=$(lake_sql "SELECT i FROM $table WHERE who = '$1'") || return 1
    printf '%s\n' "$rows" | sort >"$work/$1.found"
    sort -u "$work/$1" >"$work/$1.acknowledged"
    lost=$(comm -23 "$work/$1.acknowledged" "$work/$1.found" | wc -l)
    twice=$(uniq -d "$work/$1.found" | wc -l)
    [ "$lost" -eq 0 ] && [ "$twice" -eq 0 ] || {
        note "of $(wc -l <"$work/$1.acknowledged") acknowledged rows $lost are lost and $twice are there twice"
        return 1
    }
}

two_writers() {
    write first 10 &
    one=$!
    write second 10 &
    two=$!
    wait "$one" "$two"
    kept first && kept second && count_is "who IN ('first', 'second')" 20
}

# restart_loses_nothing APP: writes while APP restarts.
restart_loses_nothing() {
    rm -f "$work/stop"
    write "$1" 100000 &
    writer=$!
    wait_until 60 "no row is written before the restart of $1" test -s "$work/$1"
    restart "$group" "$1"
    before=$(wc -l <"$work/$1")
    wait_until 300 "no row is written after the restart of $1: look at 'az containerapp logs show --resource-group $group --name $1'" \
        grew "$work/$1" "$before"
    touch "$work/stop"
    wait "$writer"
    rm -f "$work/stop"
    kept "$1"
}

grew() { [ "$(wc -l <"$1")" -gt $(($2 + 3)) ]; }

### Backup and logs

backup_is_fresh() {
    newest=$(ensure az storage blob list --auth-mode login --account-name "$(azd_value AZURE_STORAGE_ACCOUNT_NAME)" \
        --container-name "$(azd_value AZURE_BACKUP_CONTAINER)" \
        --query 'max_by([], &properties.lastModified).properties.lastModified' --output tsv)
    [ -n "$newest" ] || return 1
    age=$("$root/.venv/bin/python" -c 'import sys, datetime as d
print(int((d.datetime.now(d.UTC) - d.datetime.fromisoformat(sys.argv[1])).total_seconds()))' "$newest") || return 1
    [ "$age" -le $((backup_minutes * 60)) ] || {
        note "the newest backup is $((age / 60)) minutes old"
        return 1
    }
}

backup_verifies() {
    # As whoever az is signed in as. The catalog itself is not asked.
    AZQUACK_CATALOG="quack:$catalog_fqdn:443" AZQUACK_AZURE_ACCOUNT=$(azd_value AZURE_STORAGE_ACCOUNT_NAME) \
    AZQUACK_BACKUP_TO="az://$(azd_value AZURE_BACKUP_CONTAINER)/catalog" \
    AZQUACK_DATA_PATH="az://$(azd_value AZURE_LAKE_CONTAINER)/lake/" \
        "$root/.venv/bin/azquack" backup verify >"$work/verify" || {
        cat "$work/verify" >&2
        return 1
    }
}

logs_hold_no_token() {
    for name in "$catalog" "$query"; do
        ensure az containerapp logs show --resource-group "$group" --name "$name" --tail 300 --format text \
            >"$work/log"
        [ -s "$work/log" ] || {
            note "$name has no log to look through"
            return 1
        }
        for hidden in "$work/token" "$work/internal"; do
            ! grep -qFf "$hidden" "$work/log" || {
                note "the log of $name holds a token: run scripts/rotate-tokens.sh all"
                return 1
            }
        done
    done
}

option() {
    case $1 in
        --no-restarts) restarts='' ;;
        --backup-minutes)
            take "$@"
            printf '%s' "$value" | grep -Eqx '[0-9]+' || err "--backup-minutes $value: a number of minutes"
            backup_minutes=$value
            ;;
        *) return 1 ;;
    esac
}

main() {
    restarts=yes
    backup_minutes=15
    arguments "$@"
    need_azd
    need_az
    need_azquack
    uri=$(lake_uri)
    group=$(azd_value AZURE_RESOURCE_GROUP)
    catalog=$(azd_value CATALOG_APP_NAME)
    query=$(azd_value QUERY_APP_NAME)
    catalog_fqdn=$(azd_value CATALOG_FQDN)
    registry=$(azd_value AZURE_CONTAINER_REGISTRY_ENDPOINT)
    vault=$(azd_value AZURE_KEY_VAULT_NAME)
    address=${uri#quack:}
    case $address in
        *:443) web=https://${address%:443} ;;
        *) web=http://$address ;;
    esac
    token=$(secret "$vault" public-token)
    work=$(umask 077 && mktemp -d)
    trap 'touch "$work/stop"; rm -rf "$work"' EXIT
    printf '%s' "$token" >"$work/token"
    secret "$vault" internal-token | tr -d '\n' >"$work/internal"

    check "there is no PostgreSQL" no_postgres
    check "the catalog has an internal ingress" catalog_is_internal
    check "both apps run images of $registry" images_from_registry
    check "the catalog's newest revision is the one that serves" newest_is_ready "$catalog"
    check "the query app's newest revision is the one that serves" newest_is_ready "$query"
    check "the catalog has one replica" one_replica "$catalog"
    check "health and metrics do not show in public" health_is_private
    check "the token in the vault works" good_token_works
    check "a wrong token is refused" wrong_token_is_refused
    if [ -n "${LAKE_READER_TOKEN:-}" ]; then
        check "a reader's write is refused" reader_cannot_write
    else
        skip "a reader's write" "LAKE_READER_TOKEN is not set"
    fi
    check "the catalog is out of reach from here" catalog_is_out_of_reach
    check "writes reach Blob, and every file that the metadata names is there" writes_reach_blob
    check "a rollback leaves nothing" rollback_leaves_nothing
    check "a commit stays" commit_stays
    check "two writers at once lose nothing" two_writers
    if [ -n "$restarts" ]; then
        check "a restart of the catalog loses nothing that was acknowledged" restart_loses_nothing "$catalog"
        check "a restart of the query app loses nothing that was acknowledged" restart_loses_nothing "$query"
    else
        skip "restarts under load" "--no-restarts"
    fi
    check "the newest backup is at most $backup_minutes minutes old" backup_is_fresh
    check "the newest backup can be restored, with every file that it names" backup_verifies
    check "no log holds a token" logs_hold_no_token
    lake_does "DROP TABLE IF EXISTS $table" || note "could not drop the table $table"
    [ "$failed" = 0 ] || err "$failed checks failed"
    note "all checks passed"
}

main "$@"
