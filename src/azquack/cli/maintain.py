"""`azquack maintain`."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import duckdb
import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from azquack.catalog.backup.copy import State, copy_catalog, session
from azquack.catalog.backup.record import Noted
from azquack.catalog.link.link import CatalogLink
from azquack.catalog.maintain.bounds import Clocks, bounds
from azquack.catalog.maintain.deletion import Deletion
from azquack.catalog.maintain.lake import METADATA, lake_in, opened, storage_time
from azquack.catalog.maintain.protection import Protection, protection
from azquack.catalog.maintain.report import Sizes, sizes
from azquack.catalog.maintain.steps import PLANNED, Maintenance, Options, Outcome
from azquack.cli.check import DirOption
from azquack.cli.options import with_settings
from azquack.cli.site import Site, site
from azquack.config.settings import Settings
from azquack.errors import LakeError
from azquack.lake.metadata import Metadata, metadata_for, quack
from azquack.process.directories import private_directory
from azquack.replicas import query
from azquack.sql import first_line, literal
from azquack.storage import storage_for

# Seconds for which a step waits for a catalog that is away.
HOLD = 10.0


def register(app: typer.Typer) -> None:
    """Put the command on `app`."""
    app.command("maintain")(with_settings("Lake", "Storage", "Care", "Tokens")(maintain))


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
    with _while_it_is_up(lake):
        outcomes, before, after = _maintain(lake, dry_run, deleted_share, quiet=as_json)
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
    # A catalog that restarts is back sooner; for one that is gone no step shall wait long.
    options = replace(options, hold_seconds=min(options.hold_seconds, HOLD))
    link = CatalogLink(options, lake.tokens.internal().get_secret_value())
    try:
        yield quack(f"quack:127.0.0.1:{link.start()}", link.token)
    finally:
        link.stop()


@contextmanager
def _while_it_is_up(lake: Site) -> Iterator[None]:
    """End this process soon after the pair that it maintains: each step would wait long for a catalog that is gone.

    Nothing is lost by that: whatever a maintenance does is whole at each moment.
    """
    running = lake.directory.running() if lake.directory else None
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.5):
            if lake.directory is not None and lake.directory.running() != running:
                print(
                    f"azquack: the lake in {lake.directory.path} was stopped, and the maintenance with it: "
                    "run it again",
                    file=sys.stderr,
                    flush=True,
                )
                os._exit(1)

    if running is not None:
        threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        done.set()


def _maintain(
    lake: Site, dry_run: bool, deleted_share: float, *, quiet: bool
) -> tuple[list[Outcome], Sizes, Sizes]:
    settings: Settings = lake.settings
    storage = storage_for(settings)
    outcomes: list[Outcome] = []
    asked = _ask(lake)
    with (
        private_directory() as scratch,
        _metadata(lake) as metadata,
        opened(metadata, storage) as connection,
        Progress(transient=True, disable=quiet, console=Console(stderr=True)) as progress,
    ):
        here = datetime.now(UTC)
        times = Clocks(
            asked.time or here, here if dry_run else storage_time(connection, storage.data_path), here
        )
        times.agree()
        limits = bounds(
            times, timedelta(seconds=settings.keep_snapshots), timedelta(seconds=settings.keep_files)
        )
        options = Options(limits, dry_run, deleted_share)
        protected = protection(settings, asked.state, asked.places)
        if asked.state and asked.state.lake and asked.state.lake != lake_in(connection, storage.data_path):
            reason = f"the data path {storage.data_path} does not name this lake ({asked.state.lake})"
            protected = Protection(reason=reason, wrong=True)
        reader = _Catalog(lake, connection, scratch) if asked.state else None
        if dry_run and reader:
            reader.attach(PLANNED)
        deletion = Deletion(
            connection,
            storage.data_path,
            protected,
            scratch,
            (lambda: reader.attach("named_now")) if reader else (lambda: METADATA),
            _runner(connection, metadata),
        )
        try:
            before = sizes(connection, storage.data_path)
            maintenance = Maintenance(connection, options, deletion)
            steps = maintenance.steps()
            task = progress.add_task("maintaining", total=len(steps))
            for outcome in maintenance.run(steps):
                outcomes.append(outcome)
                progress.update(task, advance=1, description=f"{outcome.step} {outcome.table}".strip())
            return outcomes, before, sizes(connection, storage.data_path)
        except duckdb.Error as error:
            raise LakeError(f"the lake cannot be measured: {first_line(error)}") from None


@dataclass(frozen=True, slots=True)
class _Asked:
    """What the running catalog says: its state, its clock, and where its backups lie; None of one that is no Quack."""

    state: State | None = None
    time: datetime | None = None
    places: list[Noted] | None = None


def _ask(lake: Site) -> _Asked:
    if not lake.catalog_uri.startswith("quack:"):
        return _Asked()
    with session(lake.catalog) as catalog:
        state = catalog.state()
        if state is None:
            raise LakeError("the catalog holds no lake yet: there is nothing to maintain")
        return _Asked(state, catalog.now(), catalog.places())


@dataclass
class _Catalog:
    """Copies of the served catalog, for questions that a Quack catalog cannot answer."""

    lake: Site
    connection: duckdb.DuckDBPyConnection
    scratch: Path

    def attach(self, name: str) -> str:
        """The catalog as it is now, attached as `name`."""
        path = self.scratch / f"{name}.duckdb"
        self.connection.execute(f"DETACH DATABASE IF EXISTS {name}")
        path.unlink(missing_ok=True)
        copy_catalog(self.lake.catalog, path)
        self.connection.execute(f"ATTACH {literal(str(path))} AS {name} (READ_ONLY)")
        return name


def _runner(connection: duckdb.DuckDBPyConnection, metadata: Metadata) -> Callable[[str], None]:
    """Runs a statement in the catalog itself; `{schema}` in it stands for where its tables are."""

    def run(statement: str) -> None:
        if metadata.path.startswith("quack:"):
            # As DuckLake itself writes it.
            text = literal(statement.format(schema='"main".'))
            connection.execute(f"FROM quack_query_by_name({literal(METADATA)}, {text})").fetchall()
        else:
            connection.execute(statement.format(schema=f"{METADATA}."))

    return run


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
