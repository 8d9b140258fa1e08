"""`azquack check`."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from azquack.catalog.backup.copy import copy_catalog
from azquack.catalog.check import checks
from azquack.catalog.check.finding import Finding
from azquack.catalog.check.repair import repair as repair_catalog
from azquack.cli.options import with_settings
from azquack.cli.site import Site, site
from azquack.errors import SettingError

DirOption = Annotated[
    Path | None, typer.Option("--dir", help="The lake directory of a pair on this machine. Default: lake.")
]


def register(app: typer.Typer) -> None:
    """Put the command on `app`."""
    app.command("check")(with_settings("Lake", "Storage", "Care", "Tokens")(check))


def check(
    directory: DirOption = None,
    repair: Annotated[bool, typer.Option("--repair", help="Mend what can be mended without loss.")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="Open no Parquet file.")] = False,
    deep: Annotated[
        bool,
        typer.Option(
            "--deep", help="Read every page of every file and every row, and compare with the backups."
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    **flags: Any,
) -> None:
    """Look for damage: torn snapshots, missing files, wrong statistics. Exits with 1 when there is any."""
    if quick and deep:
        raise SettingError("--quick and --deep exclude each other: choose one")
    lake = site(directory, flags)
    findings = _findings(lake, quick, deep, as_json)
    if repair and any(each.repairs for each in findings):
        repair_catalog(lake.catalog, findings)
        before, findings = findings, _findings(lake, quick, deep, as_json)
        left = {(each.rule.name, each.subject) for each in findings}
        if not as_json:
            for each in before:
                if (each.rule.name, each.subject) not in left:
                    print(f"mended: {each.rule.name}, {each.subject}")
    show(findings, as_json, "the lake")
    exit_with(findings)


def _findings(lake: Site, quick: bool, deep: bool, quiet: bool) -> list[Finding]:
    with (
        tempfile.TemporaryDirectory(prefix="azquack-") as scratch,
        Progress(transient=True, disable=quiet or not deep, console=Console(stderr=True)) as bar,
    ):
        copied = Path(scratch) / "catalog.duckdb"
        copy_catalog(lake.catalog, copied)
        if not deep:
            return checks.run(copied, lake.settings, quick=quick)
        task = bar.add_task("reading")

        def progress(what: str, done: int, total: int) -> None:
            bar.update(task, description=what, completed=done, total=total)

        backups = replace(lake.backups, lake=lake.identity()).listed()
        newest = max(backups, key=lambda each: (each.epoch, each.snapshot), default=None)
        return checks.run(copied, lake.settings, deep=checks.Deep(newest, progress))


def show(findings: Sequence[Finding], as_json: bool, what: str) -> None:
    """Print the findings; `what` was looked at."""
    if as_json:
        print(json.dumps({"findings": [each.message() for each in findings]}, indent=2))
        return
    out = Console(highlight=False)
    if not findings:
        out.print(f"[bold green]nothing is wrong[/] with {what}")
        return
    table = Table(show_lines=True)
    for heading in ("finding", "where", "what it means", "what mends it"):
        table.add_column(heading, overflow="fold")
    for each in findings:
        style = "bold red" if each.serious else "dim"
        table.add_row(f"[{style}]{each.rule.name}[/]", each.subject, each.rule.meaning, each.rule.mend)
    out.print(table)


def exit_with(findings: Sequence[Finding]) -> None:
    """End with 1 when something is to be done."""
    if any(each.serious for each in findings):
        raise typer.Exit(1)
