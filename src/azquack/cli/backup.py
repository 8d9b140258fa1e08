"""`azquack backup` and `azquack restore`."""

from __future__ import annotations

import json
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from azquack import epochs
from azquack.backup.manifest import Manifest
from azquack.backup.restore import restore as restore_into_place
from azquack.check import checks, metadata
from azquack.cli.check import exit_with, show
from azquack.cli.options import with_settings
from azquack.cli.site import Site, site
from azquack.errors import BackupError, SettingError
from azquack.lease import lease_for

PANEL = "Caring for a lake"
GROUPS = ("Care", "Storage", "Tokens")
DirOption = Annotated[
    Path | None, typer.Option("--dir", help="The lake directory of a pair on this machine. Default: lake.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
AtOption = Annotated[
    str | None, typer.Option(help="The newest backup that is not younger than this: 2026-01-31T12:00, UTC.")
]


def register(app: typer.Typer) -> None:
    """Put the commands on `app`."""
    backup = typer.Typer(help="Back the catalog up, list its backups, prove that they work.")
    backup.command("now")(with_settings(*GROUPS)(now))
    backup.command("list")(with_settings(*GROUPS)(list_all))
    backup.command("verify")(with_settings(*GROUPS)(verify))
    app.add_typer(backup, name="backup", rich_help_panel=PANEL, no_args_is_help=True)
    app.command("restore", rich_help_panel=PANEL)(with_settings(*GROUPS)(restore))


def now(directory: DirOption = None, as_json: JsonOption = False, **flags: Any) -> None:
    """Take a backup of the running catalog now."""
    lake = site(directory, flags)
    backups = lake.backups
    taken = backups.take(lake.catalog)
    if taken is None:
        raise BackupError("the catalog holds no lake yet: there is nothing to back up")
    backups.prune(datetime.now(UTC))
    if as_json:
        print(json.dumps(_row(taken)))
    else:
        print(f"backed up snapshot {taken.snapshot} as {taken.name} ({taken.size:,} bytes)")


def list_all(directory: DirOption = None, as_json: JsonOption = False, **flags: Any) -> None:
    """List the backups, the newest first."""
    found = site(directory, flags).backups.listed()
    if as_json:
        print(json.dumps([_row(each) for each in found], indent=2))
        return
    table = Table("time (UTC)", "snapshot", "bytes", "DuckDB", "name", box=None, header_style="bold")
    for each in found:
        table.add_row(
            f"{each.time:%Y-%m-%d %H:%M:%S}", str(each.snapshot), f"{each.size:,}",
            each.versions.get("duckdb", "?"), each.name,
        )  # fmt: skip
    Console(soft_wrap=True).print(table if found else "there is no backup yet")


def verify(
    at: AtOption = None, directory: DirOption = None, as_json: JsonOption = False, **flags: Any
) -> None:
    """Restore a backup into a scratch place, open it there and check it and the files that it names."""
    lake = site(directory, flags)
    backups = lake.backups
    wanted = backups.newest(_time(at))
    with tempfile.TemporaryDirectory(prefix="azquack-") as scratch:
        path = Path(scratch) / "catalog.duckdb"
        backups.fetch(wanted, path)
        findings = checks.run(path, lake.settings, orphans=False)
    show(findings, as_json, f"the backup {wanted.name} (snapshot {wanted.snapshot})")
    exit_with(findings)


def restore(
    at: AtOption = None,
    directory: DirOption = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    **flags: Any,
) -> None:
    """Put a backup into the place of the catalog, which must be stopped; the old file is kept beside it."""
    lake = site(directory, flags)
    wanted = lake.backups.newest(_time(at))
    with lake.owned():
        print(f"restoring snapshot {wanted.snapshot} of {wanted.time:%Y-%m-%d %H:%M:%S} UTC")
        if not yes and epochs.newest(lake.catalog_dir).exists():
            typer.confirm(f"replace the catalog in {lake.catalog_dir}?", abort=True)
        restored, kept = _restore(lake, wanted)
    print(f"restored {restored}" + (f"; the old file is {kept}" if kept else ""))


def _restore(lake: Site, wanted: Manifest) -> tuple[Path, Path | None]:
    def inspect(path: Path) -> None:
        damage = metadata.damage(path)
        if damage:
            raise BackupError(
                f"the backup {wanted.name} is damaged itself ({damage[0].subject}: {damage[0].rule.meaning}): "
                "restore an older one with --at"
            )

    lease = lease_for(lake.settings, "azquack restore")
    return restore_into_place(lake.backups, wanted, lake.catalog_dir, lease, inspect)


def _time(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise SettingError(f"--at is {text!r}: write a time such as 2026-01-31T12:00, in UTC") from None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _row(each: Manifest) -> dict[str, Any]:
    fields: dict[str, Any] = json.loads(each.dump())
    return fields | {"name": each.name}
