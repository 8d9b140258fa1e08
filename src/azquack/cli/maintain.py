"""`azquack maintain`."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import duckdb
import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from azquack.backup.copy import copy_catalog
from azquack.backup.restore import notes
from azquack.cli.check import DirOption
from azquack.cli.options import with_settings
from azquack.cli.site import Site, site
from azquack.errors import LakeError
from azquack.link.link import CatalogLink
from azquack.maintain.bounds import bounds
from azquack.maintain.lake import opened
from azquack.maintain.report import Sizes, sizes
from azquack.maintain.steps import PLANNED, Maintenance, Options, Outcome
from azquack.metadata import Metadata, metadata_for, quack
from azquack.roles import query
from azquack.settings import Settings
from azquack.sql import first_line, literal
from azquack.storage import storage_for


def register(app: typer.Typer) -> None:
    """Put the command on `app`."""
    app.command("maintain", rich_help_panel="Caring for a lake")(
        with_settings("Lake", "Storage", "Care", "Tokens")(maintain)
    )


def maintain(
    directory: DirOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done.")] = False,
    deleted_share: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Share of deleted rows from which a file is rewritten.")
    ] = 0.25,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    **flags: Any,
) -> None:
    """Merge small files, expire old snapshots, delete what nobody needs. Exits with 1 when a step failed."""
    lake = site(directory, flags)
    backups = lake.backups
    settings = lake.settings
    limits = bounds(
        datetime.now(UTC),
        timedelta(seconds=settings.keep_snapshots),
        timedelta(seconds=settings.keep_files),
        backups.listed(),
        notes(backups.place),
    )
    outcomes, before, after = _maintain(lake, Options(limits, dry_run, deleted_share), quiet=as_json)
    if as_json:
        report = {"before": asdict(before), "after": asdict(after), "steps": [asdict(o) for o in outcomes]}
        print(json.dumps(report | {"dry_run": dry_run}, indent=2))
    else:
        _show(outcomes, before, after, dry_run)
    if any(each.problem for each in outcomes):
        raise typer.Exit(1)


@contextmanager
def _metadata(lake: Site) -> Iterator[Metadata]:
    """The catalog, through a link of our own: each commit is whole or not at all, as a query node's is."""
    options = query.link_options(lake.settings, lake.catalog_uri)
    if options is None:
        yield metadata_for(lake.settings, lake.catalog_uri, lake.tokens)
        return
    link = CatalogLink(options, lake.tokens.internal().get_secret_value())
    try:
        yield quack(f"quack:127.0.0.1:{link.start()}", link.token)
    finally:
        link.stop()


def _maintain(lake: Site, options: Options, *, quiet: bool) -> tuple[list[Outcome], Sizes, Sizes]:
    settings: Settings = lake.settings
    storage = storage_for(settings)
    outcomes: list[Outcome] = []
    with (
        tempfile.TemporaryDirectory(prefix="azquack-") as scratch,
        _metadata(lake) as metadata,
        opened(metadata, storage) as connection,
        Progress(transient=True, disable=quiet, console=Console(stderr=True)) as progress,
    ):
        if options.dry_run:
            copied = Path(scratch) / "catalog.duckdb"
            copy_catalog(lake.catalog, copied)
            connection.execute(f"ATTACH {literal(str(copied))} AS {PLANNED} (READ_ONLY)")
        try:
            before = sizes(connection, storage.data_path)
            maintenance = Maintenance(connection, options)
            steps = maintenance.steps()
            task = progress.add_task("maintaining", total=len(steps))
            for outcome in maintenance.run(steps):
                outcomes.append(outcome)
                progress.update(task, advance=1, description=f"{outcome.step} {outcome.table}".strip())
            return outcomes, before, sizes(connection, storage.data_path)
        except duckdb.Error as error:
            raise LakeError(f"the lake cannot be measured: {first_line(error)}") from None


def _show(outcomes: Sequence[Outcome], before: Sizes, after: Sizes, dry_run: bool) -> None:
    out = Console(highlight=False)
    table = Table("step", "table", "would do" if dry_run else "done", box=None, header_style="bold")
    for each in outcomes:
        if each.problem:
            table.add_row(each.step, each.table, f"[red]failed:[/] {each.problem}")
        elif each.done:
            table.add_row(each.step, each.table, each.done)
    out.print(table if table.row_count else "there is nothing to do")
    if dry_run:
        return
    table = Table("", "before", "after", box=None, header_style="bold")
    for name, was, now in (
        ("files in the newest snapshot", before.live_files, after.live_files),
        ("bytes in the newest snapshot", before.live_bytes, after.live_bytes),
        ("files under the data path", before.all_files, after.all_files),
        ("bytes under the data path", before.all_bytes, after.all_bytes),
        ("snapshots", before.snapshots, after.snapshots),
    ):
        table.add_row(name, f"{was:,}", f"{now:,}")
    out.print(table)
