#!/bin/sh
# Runs the tests. Run by `make test` and `make test-all`; further arguments go to pytest.
set -eu

main() {
    cd "$(dirname "$0")/.."
    slow='not slow'
    if [ "${1:-}" = --all ]; then
        slow=''
        shift
    fi
    exec .venv/bin/python -m pytest -n "${AZQUACK_TEST_WORKERS:-4}" --dist loadscope -m "$slow" "$@"
}

main "$@"
