"""`azquack status`: the pair on this machine, as it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import duckdb
import typer

from azquack.cli.replica_status import is_well, status_of, trouble_of
from azquack.cli.target import DirOption, target
from azquack.errors import AzQuackError, LakeError
from azquack.lake import client
from azquack.replicas.local import LakeDirectory
from azquack.sql import first_line


def register(app: typer.Typer) -> None:
    """Put the command on `app`."""
    app.command("status")(status)


_COUNTS = """
    SELECT (SELECT count(*) FROM duckdb_tables() WHERE database_name = current_database()) AS tables,
           (SELECT count(*) FROM ducklake_snapshots(current_database())) AS snapshots,
           (SELECT coalesce(sum(file_count), 0) FROM ducklake_table_info(current_database())) AS files,
           (SELECT coalesce(sum(file_size_bytes), 0) FROM ducklake_table_info(current_database())) AS bytes
"""


def status(
    directory: DirOption = Path("lake"),
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Say what is up, since when, which versions, and what the lake holds."""
    lake = LakeDirectory(directory.resolve())
    running = lake.running()
    if running is None:
        raise LakeError(f"no pair is up in {lake.path}: start it with azquack up --dir {directory}")
    report: dict[str, Any] = {
        "uri": running.uri,
        "dir": running.dir,
        "pid": running.pid,
        "since": running.since,
    }
    for name, url in (("query", running.http_url), ("catalog", running.catalog_http_url)):
        report[name] = status_of(url)
    report["lake"] = _contents(lake)
    if as_json:
        print(json.dumps(report, indent=2))
    else:
        _print_status(report)
    if not all(is_well(report[name]) for name in ("query", "catalog")):
        raise typer.Exit(1)


def _contents(lake: LakeDirectory) -> dict[str, Any]:
    try:
        with client.connection(target(lake.path, None)) as connection:
            rows = connection.execute(f"FROM {client.ALIAS}.query($${_COUNTS}$$)")
            names = [column[0] for column in rows.description or []]
            return dict(zip(names, map(int, rows.fetchone() or ()), strict=True))
    except (duckdb.Error, AzQuackError) as error:
        return {"problem": first_line(error)}


def _print_status(report: dict[str, Any]) -> None:
    # A slow import, which --json has no need of.
    from rich.console import Console
    from rich.table import Table

    out = Console(soft_wrap=True, highlight=False)
    out.print(
        f"[bold]{report['uri']}[/]  up since {report['since']}  (pid {report['pid']}, {report['dir']})\n"
    )
    table = Table("replica", "ready", "sessions", "restarts", "versions", box=None, pad_edge=False)
    for name in ("query", "catalog"):
        replica = report[name]
        table.add_row(
            name,
            "[green]yes[/]" if replica["ready"] else "[red]no[/]",
            str(replica.get("sessions", "?")),
            str(replica.get("restarts", "?")),
            f"duckdb {replica.get('versions', {}).get('duckdb', '?')}",
        )
    out.print(table)
    trouble = [f"{name}: {each}" for name in ("query", "catalog") for each in trouble_of(report[name])]
    if trouble:
        # Whole lines, for a column of a table would break them.
        out.print("\n[red]trouble[/]")
        for each in trouble:
            out.print(each, markup=False)
    lake = report["lake"]
    text = lake.get("problem") or ", ".join(f"{value:,} {name}" for name, value in lake.items())
    out.print(f"\nlake: {text}")
