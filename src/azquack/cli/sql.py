"""`azquack sql` and `azquack connect`: a person at the public gateway."""

from __future__ import annotations

import csv
import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, TextIO

import duckdb
import typer

from azquack.cli.statements import statements
from azquack.cli.target import DirOption, UriOption, target
from azquack.errors import AzQuackError, SettingError
from azquack.lake import client
from azquack.process import terminal
from azquack.process.directories import private_directory
from azquack.sql import literal

BATCH = 10_000
KEEP = "CREATE OR REPLACE TEMP TABLE result AS FROM"


class Format(StrEnum):
    """How rows are written."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    PARQUET = "parquet"


def register(app: typer.Typer) -> None:
    """Put the commands on `app`."""
    app.command("sql")(sql)
    app.command("connect")(connect)


def sql(
    statement: Annotated[
        str, typer.Argument(help="SQL, one statement or several, or - to read it from standard input.")
    ],
    format: Annotated[Format, typer.Option(help="How to write the rows.")] = Format.TABLE,
    file: Annotated[
        Path | None, typer.Option(help="Write to this file, which is replaced once all is well.")
    ] = None,
    param: Annotated[
        list[str] | None,
        typer.Option(
            help="NAME=VALUE, for $NAME in the SQL, as a text: $NAME::INT for a number. May be repeated."
        ),
    ] = None,
    directory: DirOption = Path("lake"),
    uri: UriOption = None,
) -> None:
    """Run SQL in the lake, through the public gateway, and show what comes back.

    Each statement runs by itself, in turn; the first that fails is the last.
    """
    todo = statements(_text(statement), _parameters(param or []))
    if not todo:
        raise SettingError("there is no statement in the SQL")
    if format is Format.PARQUET:
        if len(todo) > 1:
            raise SettingError("--format parquet writes the rows of one statement: give one")
        if file is None and sys.stdout.isatty():
            raise SettingError("a terminal cannot show parquet: give --file, or lead the output into a file")
    with _output(file, format) as place, client.connection(target(directory, uri)) as connection:
        try:
            for each in todo:
                # A relation over query() would run the statement whenever it is bound: once to learn its columns,
                # once more for its rows.
                connection.execute(f"{KEEP} {client.ALIAS}.query({literal(each)})")
                _write(connection.table("result"), format, place)
        except duckdb.Error as error:
            # The user's own line is pointed at; that of the statement around it would only puzzle.
            raise AzQuackError(str(error).rsplit(f"LINE 1: {KEEP}", 1)[0].strip()) from None


def _text(statement: str) -> str:
    if statement != "-":
        return statement
    # What is no UTF-8 is told where the text is read.
    return sys.stdin.buffer.read().decode(errors="surrogateescape")


def _parameters(given: list[str]) -> Mapping[str, str]:
    pairs = [each.partition("=") for each in given]
    for name, sign, _ in pairs:
        if not sign or not name:
            raise SettingError(f"--param {name!r} is no NAME=VALUE")
    return {name: value for name, _, value in pairs}


@contextmanager
def _output(file: Path | None, format: Format) -> Iterator[Path | TextIO]:
    """Where the rows go: a stream of text, or the path of a new file that is put into its place at the end.

    It is there before anything runs: a result that cannot be written would be lost. What is no plain file, a pipe or a
    device, is written to and stays what it is.
    """
    if file is None and format is not Format.PARQUET:
        yield sys.stdout
        return
    file = file and file.resolve()
    replaced = file is not None and (file.is_file() or not file.exists())
    if file is not None and (file.is_dir() or not os.access(file.parent if replaced else file, os.W_OK)):
        raise SettingError(
            f"--file {file} cannot be written: it is a directory, or in none that is yours to write"
        )
    with TemporaryDirectory(prefix=".azquack-", dir=file.parent if file and replaced else None) as scratch:
        draft = Path(scratch) / "rows"
        if format is Format.PARQUET:
            yield draft
        else:
            with draft.open("w", newline="") as out:
                yield out
        if file and replaced:
            if file.exists():
                shutil.copymode(file, draft)
            draft.replace(file)
            return
        with draft.open("rb") as rows, file.open("wb") if file else nullcontext(sys.stdout.buffer) as out:
            shutil.copyfileobj(rows, out)


def _write(rows: duckdb.DuckDBPyRelation, format: Format, place: Path | TextIO) -> None:
    if isinstance(place, Path):
        rows.write_parquet(str(place))
        return
    match format:
        case Format.CSV:
            writer = csv.writer(place, lineterminator="\n")
            writer.writerow(rows.columns)
            while batch := rows.fetchmany(BATCH):
                writer.writerows(batch)
        case Format.JSON:
            names, first = rows.columns, True
            place.write("[")
            while batch := rows.fetchmany(BATCH):
                for row in batch:
                    place.write("\n  " if first else ",\n  ")
                    place.write(json.dumps(dict(zip(names, row, strict=True)), default=str))
                    first = False
            place.write("\n]\n")
        case _:
            place.write(f"{rows}\n".rstrip("\n") + "\n")


def connect(directory: DirOption = Path("lake"), uri: UriOption = None) -> None:
    """Open the stock duckdb shell with the lake attached."""
    gateway = target(directory, uri)
    with private_directory() as home:
        environment = os.environ | {client.TOKEN_VARIABLE: gateway.token.get_secret_value()}
        code = terminal.run(client.shell(gateway, home), environment)
    raise typer.Exit(code)
