"""`azquack sql` and `azquack connect`: a person at the public gateway."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from contextlib import nullcontext
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import duckdb
import typer

from azquack.config.settings import PREFIX
from azquack.config.sources import load
from azquack.errors import AzQuackError, SettingError
from azquack.lake import client
from azquack.lake.client import Target
from azquack.process.directories import private_home
from azquack.replicas.local import LakeDirectory
from azquack.sql import literal
from azquack.tokens import token_source_for

DirOption = Annotated[Path, typer.Option("--dir", help="The lake directory of a pair on this machine.")]
UriOption = Annotated[
    str | None,
    typer.Option(help="A gateway elsewhere, quack:HOST:PORT; the token comes from AZQUACK_PUBLIC_TOKEN."),
]

BATCH = 10_000
KEEP = "CREATE TEMP TABLE result AS FROM"


class Format(StrEnum):
    """How rows are written."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    PARQUET = "parquet"


def register(app: typer.Typer) -> None:
    """Put the commands on `app`."""
    app.command("sql", rich_help_panel="Using a lake")(sql)
    app.command("connect", rich_help_panel="Using a lake")(connect)


def target(directory: Path, uri: str | None) -> Target:
    """The gateway that the user means. Raises `SettingError` when there is none."""
    if uri is not None:
        token = load().settings.public_token
        if token is None:
            raise SettingError(f"{PREFIX}PUBLIC_TOKEN is not set: it is the token for {uri}")
        return Target(uri, token, tls=uri.endswith(":443"))
    lake = LakeDirectory(directory.resolve())
    running = lake.running()
    if running is None:
        raise SettingError(
            f"no pair is up in {directory}: start it with azquack up --dir {directory}, or give --uri"
        )
    return Target(running.uri, token_source_for(lake.load().settings).public(), tls=False)


def sql(
    statement: Annotated[str, typer.Argument(help="One SQL statement, or - to read it from standard input.")],
    format: Annotated[Format, typer.Option(help="How to write the rows.")] = Format.TABLE,
    file: Annotated[Path | None, typer.Option(help="Write to this file instead of the terminal.")] = None,
    directory: DirOption = Path("lake"),
    uri: UriOption = None,
) -> None:
    """Run one statement in the lake, through the public gateway."""
    if format is Format.PARQUET and file is None:
        raise SettingError("--format parquet needs --file: a terminal cannot show it")
    text = sys.stdin.read() if statement == "-" else statement
    with client.connection(target(directory, uri)) as connection:
        try:
            # A relation over query() would run the statement whenever it is bound: once to learn its columns,
            # once more for its rows.
            connection.execute(f"{KEEP} {client.ALIAS}.query({literal(text)})")
            _write(connection.table("result"), format, file)
        except duckdb.Error as error:
            # The user's own line is pointed at; that of the statement around it would only puzzle.
            raise AzQuackError(str(error).rsplit(f"LINE 1: {KEEP}", 1)[0].strip()) from None


def _write(rows: duckdb.DuckDBPyRelation, format: Format, file: Path | None) -> None:
    if format is Format.PARQUET:
        rows.write_parquet(str(file))
        return
    with file.open("w", newline="") if file else nullcontext(sys.stdout) as out:
        match format:
            case Format.CSV:
                writer = csv.writer(out, lineterminator="\n")
                writer.writerow(rows.columns)
                while batch := rows.fetchmany(BATCH):
                    writer.writerows(batch)
            case Format.JSON:
                names, first = rows.columns, True
                out.write("[")
                while batch := rows.fetchmany(BATCH):
                    for row in batch:
                        out.write("\n  " if first else ",\n  ")
                        out.write(json.dumps(dict(zip(names, row, strict=True)), default=str))
                        first = False
                out.write("\n]\n")
            case Format.TABLE:
                out.write(f"{rows}\n".rstrip("\n") + "\n")


def connect(directory: DirOption = Path("lake"), uri: UriOption = None) -> None:
    """Open the stock duckdb shell with the lake attached."""
    gateway = target(directory, uri)
    with private_home() as home:
        environment = os.environ | {client.TOKEN_VARIABLE: gateway.token.get_secret_value()}
        code = subprocess.call(client.shell(gateway, home), env=environment)
    raise typer.Exit(code)
