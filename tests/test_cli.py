"""The command line: what a person sees, above all when something is wrong."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest


def azquack(
    *arguments: str, cwd: Path, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AZQUACK_")}
    return subprocess.run(
        [sys.executable, "-m", "azquack", *arguments],
        capture_output=True, text=True, timeout=240, check=False, cwd=cwd, env=clean | (env or {}),
    )  # fmt: skip


def sentence_of(finished: subprocess.CompletedProcess[str]) -> str:
    """The one sentence on standard error; a traceback or a second sentence fails."""
    assert finished.returncode != 0, finished.stdout
    assert "Traceback" not in finished.stderr
    said = [line for line in finished.stderr.splitlines() if line.startswith("azquack: ")]
    assert len(said) == 1, finished.stderr
    return said[0]


TOKENS = {
    "AZQUACK_INTERNAL_TOKEN": "internal-token-of-tests",
    "AZQUACK_PUBLIC_TOKEN": "public-token-of-tests",
}


def test_help_names_every_command(tmp_path: Path) -> None:
    finished = azquack("--help", cwd=tmp_path)
    assert finished.returncode == 0
    for command in ("up", "down", "status", "sql", "connect", "serve", "config", "preview"):
        assert command in finished.stdout


@pytest.mark.parametrize(
    ("arguments", "env", "part"),
    [
        (["serve", "boss"], {}, "AZQUACK_ROLE is 'boss'"),
        (["serve"], TOKENS, "AZQUACK_ROLE is not set"),
        (["serve", "catalog"], TOKENS, "AZQUACK_CATALOG_DIR is not set"),
        (["serve", "query", "--data-path", "data"], TOKENS, "AZQUACK_CATALOG is not set"),
        (["serve", "query", "--catalog", "quack:localhost:1"], TOKENS, "AZQUACK_DATA_PATH is not set"),
        (["serve", "query", "--catalog", "carrier:pigeon", "--data-path", "d"], TOKENS, "AZQUACK_CATALOG"),
        (["serve", "query", "--catalog", "quack:h:nan", "--data-path", "d"], TOKENS, "AZQUACK_CATALOG"),
        (["serve", "catalog", "--port", "99999"], TOKENS, "AZQUACK_PORT is '99999'"),
        (["serve", "catalog", "--catalog-dir", "c"], {}, "AZQUACK_INTERNAL_TOKEN is not set"),
        (["serve", "query", "--init-file", "none.sql", "--catalog", "quack:h:1", "--data-path", "d"], TOKENS,
         "AZQUACK_INIT_FILE none.sql cannot be read"),
        (["sql", "select 1"], {}, "no pair is up in lake"),
        (["sql", "select 1", "--uri", "quack:localhost:1"], {}, "AZQUACK_PUBLIC_TOKEN is not set"),
        (["sql", "select 1", "--uri", "quack:localhost:1"], TOKENS, "cannot attach quack:localhost:1"),
        (["sql", "select 1", "--format", "parquet"], {}, "--format parquet needs --file"),
        (["status"], {}, "no pair is up in"),
        (["down"], {}, "there is no lake in"),
        (["up", "--dir", "/proc/nowhere"], {}, "cannot be made"),
    ],
)  # fmt: skip
def test_bad_input_gets_one_sentence(
    arguments: list[str], env: dict[str, str], part: str, tmp_path: Path
) -> None:
    assert part in sentence_of(azquack(*arguments, cwd=tmp_path, env=env))


def test_a_taken_port_is_said_in_a_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        finished = azquack("up", "--dir", "lake", "--port", str(port), cwd=tmp_path)
    assert f"port {port}" in sentence_of(finished)


def test_a_catalog_that_is_not_there_is_waited_for_and_then_named(tmp_path: Path) -> None:
    finished = azquack(
        "serve", "query", "--catalog", "quack:127.0.0.1:1", "--data-path", "data", "--port", "0",
        "--start-timeout", "2", cwd=tmp_path, env=TOKENS,
    )  # fmt: skip
    assert finished.returncode == 1
    assert "the catalog did not answer within 2 s" in sentence_of(finished)
    assert "waiting for the catalog" in finished.stderr


def test_config_says_where_each_value_came_from(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("AZQUACK_THREADS=3\n")
    finished = azquack("config", "--format", "json", "--port", "1", cwd=tmp_path, env=TOKENS)
    shown = json.loads(finished.stdout)
    assert shown["port"] == {"value": "1", "origin": "flag"}
    assert shown["threads"] == {"value": "3", "origin": ".env"}
    assert shown["public_token"] == {"value": "********", "origin": "environment"}
    assert "public-token-of-tests" not in finished.stdout


def test_preview_shows_every_statement_and_no_secret(tmp_path: Path) -> None:
    finished = azquack(
        "preview", "query", "--catalog", "quack:catalog.internal:443", "--data-path", "data",
        "--init-sql", "CREATE SCHEMA IF NOT EXISTS team", "--inlining-limit", "50", cwd=tmp_path, env=TOKENS,
    )  # fmt: skip
    assert finished.returncode == 0, finished.stderr
    for part in (
        "CREATE OR REPLACE PERSISTENT SECRET",
        "TYPE ducklake",
        "********",
        "team",
        "data_inlining_row_limit",
    ):
        assert part in finished.stdout
    assert not any(secret in finished.stdout + finished.stderr for secret in TOKENS.values())
