"""`azquack sessions` and `azquack cancel`: who is at the public gateway, what runs, and the end of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import duckdb
import typer

from azquack.cli.target import DirOption, UriOption, target
from azquack.errors import AzQuackError
from azquack.lake import client
from azquack.sql import first_line, literal

JsonOption = Annotated[bool, typer.Option("--json", help="Write JSON.")]


def register(app: typer.Typer) -> None:
    """Put the commands on `app`."""
    app.command("sessions")(sessions)
    app.command("cancel")(cancel)


def sessions(directory: DirOption = Path("lake"), uri: UriOption = None, as_json: JsonOption = False) -> None:
    """Who is at the gateway, what runs and for how long; an administrator sees all, everybody else their own."""
    rows = _asked(directory, uri, "FROM azquack.sessions()")
    if as_json:
        typer.echo(json.dumps(rows))
        return
    for each in rows:
        doing = f"{each['seconds']:.1f} s  {each['statement']}" if each["state"] == "running" else ""
        facts = (each["id"], each["principal"], each["since"], each["node"], each["client"], each["state"])
        share = f"{each['percent']:.0f} % ({each['rows']} rows)" if each["percent"] is not None else ""
        typer.echo("  ".join(filter(None, (*facts, doing, share))))


def cancel(
    session: Annotated[str, typer.Argument(help="The id of a session, as azquack sessions shows it.")],
    directory: DirOption = Path("lake"),
    uri: UriOption = None,
    as_json: JsonOption = False,
) -> None:
    """Cancel what a session has running. The session goes on, and its transaction is rolled back."""
    (row,) = _asked(directory, uri, f"CALL azquack.cancel({literal(session)})")
    typer.echo(json.dumps(row) if as_json else row["result"])


def _asked(directory: Path, uri: str | None, sql: str) -> list[dict[str, Any]]:
    with client.connection(target(directory, uri)) as connection:
        try:
            found = connection.execute(f"FROM {client.ALIAS}.query({literal(sql)})")
            names = [each[0] for each in found.description or ()]
            return [dict(zip(names, row, strict=True)) for row in found.fetchall()]
        except duckdb.Error as error:
            raise AzQuackError(first_line(error)) from None
