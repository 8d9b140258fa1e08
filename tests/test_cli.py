"""The command line: what a person sees, above all when something is wrong."""

from __future__ import annotations

import json
import os
import platform
import pty
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import duckdb
import pytest
import typer
from typer.testing import CliRunner

from azquack import __version__
from azquack.cli import COMMANDS, application


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


def test_help_names_every_command_as_the_command_itself_does() -> None:
    shown = CliRunner().invoke(application(), ["--help"]).output
    told = " ".join(shown.split())
    for name, command in COMMANDS.items():
        own = " ".join(
            CliRunner().invoke(application(), [name, "--help"], env={"COLUMNS": "300"}).output.split()
        )
        assert f"{name} {command.help}" in told
        assert command.help.rstrip(".") in own


# What each command must not wait for, by the names of modules; DuckDB and pydantic take 0.1 s each.
HEAVY = {
    "duckdb",
    "fastapi",
    "httpx",
    "prometheus_client",
    "pydantic",
    "pydantic_settings",
    "rich",
    "uvicorn",
}
NEEDS = {
    ("--version",): set[str](),
    ("--help",): set[str](),
    ("sql", "--dir", "nowhere", "SELECT 1"): {"duckdb", "pydantic"},
    ("connect", "--dir", "nowhere"): {"duckdb", "pydantic"},
    ("status", "--dir", "nowhere"): {"duckdb", "pydantic"},
}


@pytest.mark.parametrize("arguments", NEEDS, ids=lambda each: each[0])
def test_a_command_imports_what_it_needs_alone(arguments: tuple[str, ...], tmp_path: Path) -> None:
    script = (
        "import sys\nsys.argv = ['azquack', *sys.argv[1:]]\nfrom azquack.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    print('\\n', *sys.modules)"
    )
    finished = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        capture_output=True, text=True, check=True, cwd=tmp_path, env=os.environ | {"NO_COLOR": "1"},
    )  # fmt: skip
    loaded = set(finished.stdout.splitlines()[-1].split())
    assert loaded & HEAVY <= NEEDS[arguments]
    # 400 by Python, typer and the standard library; each further hundred is some 20 ms.
    assert len(loaded) < 400 + 350 * len(NEEDS[arguments])


def commands() -> Iterator[tuple[str, Any]]:
    """Every command that does something, and not only holds others, with its words."""

    def below(words: str, command: Any) -> Iterator[tuple[str, Any]]:
        names = command.list_commands(None) if hasattr(command, "list_commands") else ()
        for name in names:
            yield from below(f"{words} {name}".strip(), command.get_command(None, name))
        if not names:
            yield words, command

    yield from below("", typer.main.get_command(application()))


# What each of these prints is no fact: nothing, a token for a pipe, one line of JSON already, a whole program, rows.
NO_FACTS = {
    "down", "connect", "serve", "sql", "backup forget", "principal add", "principal rotate", "principal revoke",
    "principal grant", "principal ungrant",
}  # fmt: skip


def test_every_command_that_prints_facts_has_json() -> None:
    without = {
        words for words, command in commands() if not any("--json" in each.opts for each in command.params)
    }
    assert without <= NO_FACTS


def test_every_help_says_what_the_command_and_each_flag_does() -> None:
    for words, command in commands():
        assert command.help, words
        for each in command.params:
            assert getattr(each, "hidden", False) or each.help, f"{words} {each.name}"


def completes(shell: str, action: str, **asked: str) -> str:
    """What the program itself says to `shell`, which asks it by these variables."""
    program = Path(sys.executable).parent / "azquack"
    env = os.environ | {"_AZQUACK_COMPLETE": f"{action}_{shell}", **asked}
    return subprocess.run([program], capture_output=True, text=True, timeout=60, check=False, env=env).stdout


COMPLETED = [
    ("azquack st", "status"),
    ("azquack backup v", "verify"),
    ("azquack doctor --js", "--json"),
    ("azquack sql --format pa", "parquet"),
]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
@pytest.mark.parametrize(("line", "expected"), COMPLETED, ids=lambda each: each.rpartition(" ")[2])
def test_a_shell_completes_commands_flags_and_values(shell: str, line: str, expected: str) -> None:
    said = completes(
        shell, "complete", COMP_WORDS=line, COMP_CWORD=str(len(line.split()) - 1),
        _TYPER_COMPLETE_ARGS=line, _TYPER_COMPLETE_FISH_ACTION="get-args",
    )  # fmt: skip
    assert re.search(rf"(?<![\w-]){re.escape(expected)}\b", said), said


# In each shell: its completion is loaded, and asked for what `azquack back` may become.
IN_SHELL = {
    "bash": 'eval "$SCRIPT"; COMP_WORDS=(azquack back) COMP_CWORD=1; '
    "_azquack_completion azquack; echo ${COMPREPLY[*]}",
    "fish": 'echo "$SCRIPT" | source; complete --do-complete "azquack back"',
    # Without a terminal zsh completes nothing: what it would call is defined, and parsed.
    "zsh": 'autoload -U compinit; compinit -u; eval "$SCRIPT"; (( $+functions[_azquack_completion] )) && echo backup',
}


@pytest.mark.parametrize("shell", IN_SHELL)
def test_the_shell_itself_takes_the_completion(shell: str, tmp_path: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    script = completes(shell, "source")
    finished = subprocess.run(
        [shell, "-c", IN_SHELL[shell]],
        capture_output=True, text=True, timeout=60, check=True, cwd=tmp_path,
        env=os.environ | {"PATH": path, "SCRIPT": script, "HOME": str(tmp_path)},
    )  # fmt: skip
    assert "backup" in finished.stdout


@pytest.mark.parametrize("colours", [True, False])
def test_a_terminal_shows_colours_unless_no_color_is_set(colours: bool, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    env = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")}
    env |= {"TERM": "xterm-256color"} | ({} if colours else {"NO_COLOR": "1"})
    with subprocess.Popen(
        [sys.executable, "-m", "azquack", "doctor", "--uri", "quack:localhost:1"],
        stdout=theirs, stderr=theirs, stdin=theirs, cwd=tmp_path, env=env,
    ) as process:  # fmt: skip
        os.close(theirs)
        shown = b""
        # The kernel ends it with an error once the process has gone.
        with suppress(OSError):
            while read := os.read(ours, 4096):
                shown += read
        assert process.wait(60) == 1
    os.close(ours)
    assert b"gateway" in shown
    assert (re.search(rb"\x1b\[[\d;]*3\d[;m]", shown) is not None) is colours


def test_the_version_is_said(tmp_path: Path) -> None:
    finished = azquack("--version", cwd=tmp_path)
    assert (
        finished.stdout
        == f"azquack {__version__}, DuckDB {duckdb.__version__}, Python {platform.python_version()}\n"
    )


def test_an_unknown_command_is_said(tmp_path: Path) -> None:
    finished = azquack("stauts", cwd=tmp_path)
    assert finished.returncode == 2
    assert "stauts" in finished.stderr
    assert "status" in finished.stderr


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
        (["sql", "select 1; select 2", "--format", "parquet"], {}, "writes the rows of one statement"),
        (["sql", " ; -- nothing"], {}, "there is no statement"),
        (["sql", "select 1", "--param", "a"], {}, "--param 'a' is no NAME=VALUE"),
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


def test_a_flag_that_was_renamed_keeps_its_old_name_with_a_warning(tmp_path: Path) -> None:
    old = azquack("down", "--dir", str(tmp_path), "--patience", "5", cwd=tmp_path)
    assert (old.returncode, old.stdout) == (0, f"no pair is up in {tmp_path}\n")
    assert "--patience is called --timeout now" in sentence_of_warning(old)
    new = azquack("down", "--dir", str(tmp_path), "--timeout", "5", cwd=tmp_path)
    assert (new.stdout, new.stderr) == (old.stdout, "")


def sentence_of_warning(finished: subprocess.CompletedProcess[str]) -> str:
    (line,) = finished.stderr.splitlines()
    return line
