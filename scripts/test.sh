#!/bin/sh
# Runs the tests. Run by `make test`, `make test-slow` and `make test-all`; further arguments go to pytest.
set -eu

main() {
    cd "$(dirname "$0")/.."
    which='not slow'
    case "${1:-}" in
        --slow) which=slow ;;
        --all) which='' ;;
    esac
    [ "$which" = 'not slow' ] || shift
    # The tests start some thousand processes: each would compile what it imports.
    unset PYTHONDONTWRITEBYTECODE
    exec .venv/bin/python -m pytest -n "${AZQUACK_TEST_WORKERS:-4}" --dist loadscope \
        --no-loadscope-reorder -m "$which" "$@"
}

main "$@"
