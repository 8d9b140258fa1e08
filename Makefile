.DEFAULT_GOAL := help
VENV := .venv/bin
STAMP := .venv/.ready

help: ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(STAMP): pyproject.toml requirements/uv.txt requirements/dev.txt scripts/setup.sh
	@scripts/setup.sh
	@touch $@

setup: $(STAMP) ## the virtual environment .venv, from hash-pinned requirements

up: $(STAMP) ## run the pair on a local lake and print how to attach it
	@$(VENV)/azquack up

test: $(STAMP) ## every quick test, in parallel
	@scripts/test.sh

test-slow: $(STAMP) ## the slow tests: faults, soak, fuzzing, upgrades, the image (AZQUACK_TEST_… set how long)
	@scripts/test.sh --slow

test-all: $(STAMP) ## the quick tests and the slow ones
	@scripts/test.sh --all

lint: $(STAMP) ## format, lint and strict types
	@$(VENV)/ruff format --check .
	@$(VENV)/ruff check .
	@$(VENV)/mypy

quack3-client: ## the Rust client of Quack 3 for its tests, where cargo is
	@cd tests/quack3/client && cargo build --release --locked

check-infra: $(STAMP) ## the checks of infra/, checkov and the slow ones included
	@scripts/check-infra.sh

bench: $(STAMP) ## the numbers, side by side; ARGS="--workload commits --rounds 3"
	@$(VENV)/python -m bench $(ARGS)

format: $(STAMP) ## mend what a tool can mend
	@$(VENV)/ruff format .
	@$(VENV)/ruff check --fix .

check: $(STAMP) ## one file: lint, types and its quick tests; FILE=tests/test_settings.py
	@$(VENV)/ruff format --check $(FILE)
	@$(VENV)/ruff check $(FILE)
	@$(VENV)/mypy $(FILE)
	@case "$(notdir $(FILE))" in test_*) $(VENV)/python -m pytest -q -n 2 -m "not slow" $(FILE) ;; esac

docs: $(STAMP) ## docs/settings.md anew from the table of settings, and the docs as a site in site/
	@$(VENV)/azquack config --format markdown > docs/settings.md
	@[ -x .venv-docs/bin/mkdocs ] || $(VENV)/uv venv --quiet --python $(VENV)/python .venv-docs
	@$(VENV)/uv pip sync --quiet --python .venv-docs/bin/python --require-hashes requirements/docs.txt
	@NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --quiet --strict

bench-decisions: $(STAMP) ## libraries in the place of our own parts, docs/decisions; ARGS="http --rounds 5"
	@[ -x .venv-decisions/bin/python ] || $(VENV)/uv venv --quiet --python $(VENV)/python .venv-decisions
	@$(VENV)/uv pip sync --quiet --python .venv-decisions/bin/python --require-hashes requirements/dev.txt requirements/decisions.txt
	@$(VENV)/uv pip install --quiet --python .venv-decisions/bin/python --no-deps --no-build-isolation --editable .
	@.venv-decisions/bin/python -m bench.decisions $(ARGS)

lock: ## the requirement files anew, from pyproject.toml
	@$(VENV)/uv pip compile --quiet --universal --generate-hashes --no-header --upgrade requirements/uv.in -o requirements/uv.txt
	@$(VENV)/uv pip compile --quiet --universal --generate-hashes --no-header --upgrade pyproject.toml -o requirements/runtime.txt
	@$(VENV)/uv pip compile --quiet --universal --generate-hashes --no-header --upgrade pyproject.toml --extra dev -o requirements/dev.txt
	@$(VENV)/uv pip compile --quiet --universal --generate-hashes --no-header --upgrade requirements/docs.in -o requirements/docs.txt
	@$(VENV)/uv pip compile --quiet --universal --generate-hashes --no-header --upgrade requirements/decisions.in -o requirements/decisions.txt
	@$(VENV)/uv pip compile --quiet --universal --generate-hashes --no-header --upgrade requirements/build.in -o requirements/build.txt
	@for version in 1.5.3 1.5.4; do $(VENV)/uv pip compile --quiet --universal --generate-hashes --no-header requirements/client-$$version.in -o requirements/client-$$version.txt; done
	@$(VENV)/uv pip compile --quiet --universal --generate-hashes --no-header --upgrade --python-version 3.11 requirements/client-dbt.in -o requirements/client-dbt.txt
	@$(VENV)/uv pip compile --quiet --universal --generate-hashes --no-header --upgrade --python-version 3.11 requirements/infra.in -o requirements/infra.txt

clean: ## remove what was built; the lake in ./lake stays
	@rm -rf .venv .venv-clients .venv-infra .venv-docs .venv-decisions site .pytest_cache .mypy_cache .ruff_cache .hypothesis tests/standins/azurite/node_modules

.PHONY: help setup up quack3-client test test-slow test-all lint check check-infra bench bench-decisions format docs lock clean
