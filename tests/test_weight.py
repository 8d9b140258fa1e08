"""What the processes of a replica load: each waits for it at its start, and keeps it as long as it serves."""

from __future__ import annotations

import subprocess
import sys

import pytest

SETTINGS = ("dotenv", "pydantic_settings")
COMMANDS = ("rich", "typer")
# Of those who have to do with Azure, a vault or JWTs, and of nobody else.
RARE = ("azure", "cryptography", "httpx", "jwt")
# What the sealed ids need: 9 MB.
SEALS = {"cryptography"}


def loaded(*modules: str) -> set[str]:
    """Every module in a process that has imported `modules`."""
    script = f"import sys, {', '.join(modules)}; print(*sys.modules)"
    finished = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(finished.stdout.split())


def test_a_node_holds_nothing_that_reads_settings_or_counts_requests() -> None:
    # 19 MB and half a second for each DuckDB of a replica.
    heavy = {"fastapi", "prometheus_client", "pydantic", *SETTINGS, *COMMANDS, *RARE}
    assert not heavy & loaded("azquack.node.process", "azquack.catalog.link.link")


def test_the_node_of_a_catalog_holds_no_event_loop() -> None:
    # It has no link: 6 MB.
    assert not {"asyncio", "uvloop"} & loaded("azquack.node.process")


def test_the_gateway_holds_nothing_of_the_command_line() -> None:
    assert not ({*SETTINGS, *COMMANDS, *RARE} - SEALS) & loaded("azquack.replicas.gateway.__main__")


def test_the_gateway_holds_no_arrays_before_the_first_native_insert() -> None:
    # 21 MB.
    assert "numpy" not in loaded("azquack.replicas.gateway.__main__")


def test_the_backup_holds_nothing_of_the_command_line() -> None:
    assert not {*SETTINGS, *COMMANDS, *RARE} & loaded("azquack.catalog.backup.__main__")


def test_the_supervisor_holds_nothing_of_its_children() -> None:
    heavy = {"fastapi", "prometheus_client", "rich", "uvicorn", "uvloop", *RARE}
    assert not heavy & loaded("azquack.cli.serve")


@pytest.mark.parametrize(
    "module", ["azquack.cli.serve", "azquack.replicas.gateway.process", "azquack.replicas.sidecar"]
)
def test_what_runs_no_duckdb_does_not_hold_one_in_memory(module: str) -> None:
    # 17 MB for each.
    assert "duckdb" not in loaded(module)
