"""`azquack backup` and `azquack restore`."""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from azquack.catalog import epochs
from azquack.catalog.backup import record
from azquack.catalog.backup.backups import Backups, newest
from azquack.catalog.backup.copy import note, session
from azquack.catalog.backup.inventory import Inventory
from azquack.catalog.backup.manifest import Manifest, utc
from azquack.catalog.backup.restore import restore as restore_into_place
from azquack.catalog.check import checks, metadata
from azquack.catalog.lease import lease_for
from azquack.cli.check import exit_with, show
from azquack.cli.options import with_settings
from azquack.cli.site import Site, site
from azquack.errors import BackupError, SettingError

GROUPS = ("Care", "Storage", "Tokens")
DirOption = Annotated[
    Path | None, typer.Option("--dir", help="The lake directory of a pair on this machine. Default: lake.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
AtOption = Annotated[
    str | None, typer.Option(help="The newest backup that is not younger than this: 2026-01-31T12:00, UTC.")
]

LakeOption = Annotated[
    str | None,
    typer.Option("--lake", help="The id of the lake whose backups are meant, where several share the place."),
]


def register(app: typer.Typer) -> None:
    """Put the commands on `app`."""
    backup = typer.Typer(help="Back the catalog up, list its backups, prove that they work.")
    backup.command("now")(with_settings(*GROUPS)(now))
    backup.command("list")(with_settings(*GROUPS)(list_all))
    backup.command("verify")(with_settings(*GROUPS)(verify))
    backup.command("forget")(with_settings(*GROUPS)(forget))
    app.add_typer(backup, name="backup", no_args_is_help=True)
    app.command("restore")(with_settings(*GROUPS)(restore))


def now(directory: DirOption = None, as_json: JsonOption = False, **flags: Any) -> None:
    """Take a backup of the running catalog now."""
    lake = site(directory, flags)
    backups = lake.backups
    taken = backups.take(lake.catalog)
    assert taken is not None
    backups = replace(backups, lake=taken.lake)
    backups.prune(datetime.now(UTC), taken)
    _warn(backups.inventory())
    if as_json:
        print(json.dumps(_row(taken)))
    else:
        print(f"backed up snapshot {taken.snapshot} as {taken.name} ({taken.size:,} bytes)")


def list_all(
    directory: DirOption = None, lake_name: LakeOption = None, as_json: JsonOption = False, **flags: Any
) -> None:
    """List the backups, the newest first, and what in their place is none."""
    backups = _backups(site(directory, flags), lake_name)
    found = backups.inventory()
    misdated = found.misdated(datetime.now(UTC))
    if as_json:
        rows = [_row(each) for each in (*found.backups, *found.foreign)]
        rows += [{"name": each.name, "damaged": each.reason} for each in found.damaged]
        print(json.dumps(rows, indent=2))
        return
    table = Table(
        "time (UTC)", "epoch", "snapshot", "bytes", "DuckDB", "name", "", box=None, header_style="bold"
    )
    for each in found.backups:
        table.add_row(
            f"{each.time:%Y-%m-%d %H:%M:%S}", str(each.epoch or "?"), str(each.snapshot), f"{each.size:,}",
            each.versions.get("duckdb", "?"), each.name, "its time is wrong" if each in misdated else "",
        )  # fmt: skip
    Console(soft_wrap=True).print(table if found.backups else "there is no backup yet", markup=False)
    for bad in found.damaged:
        print(f"damaged: {bad.name}: {bad.reason}")
    for other in found.foreign:
        print(f"of another lake ({other.lake or 'of an older version'}): {other.name}")


def verify(
    at: AtOption = None,
    directory: DirOption = None,
    lake_name: LakeOption = None,
    as_json: JsonOption = False,
    **flags: Any,
) -> None:
    """Restore a backup into a scratch place, open it there and check it and the files that it names."""
    lake = site(directory, flags)
    backups = _backups(lake, lake_name)
    wanted = _wanted(backups, _time(at))
    with tempfile.TemporaryDirectory(prefix="azquack-") as scratch:
        path = Path(scratch) / "catalog.duckdb"
        backups.fetch(wanted, path)
        findings = checks.run(path, lake.settings, orphans=False)
    show(findings, as_json, f"the backup {wanted.name} (snapshot {wanted.snapshot})")
    exit_with(findings)


def forget(
    place: Annotated[str, typer.Argument(help="A place, as `azquack maintain` names it.")],
    directory: DirOption = None,
    **flags: Any,
) -> None:
    """Have the running catalog forget a place of backups that is gone: what only they name may be deleted then."""
    catalog = site(directory, flags).catalog
    with session(catalog) as opened:
        known = [each.place for each in opened.places() or []]
    if place not in known:
        raise BackupError(f"the catalog knows no backups in {place!r}: it knows {', '.join(known) or 'none'}")
    note(catalog, record.forgetting(place))
    print(f"forgot {place}")


def restore(
    at: AtOption = None,
    directory: DirOption = None,
    lake_name: LakeOption = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: JsonOption = False,
    **flags: Any,
) -> None:
    """Put a backup into the place of the catalog, which must be stopped; the old file is kept beside it."""
    lake = site(directory, flags)
    backups = _backups(lake, lake_name)
    wanted = _wanted(backups, _time(at) if at else _time(lake.settings.restore_at, "AZQUACK_RESTORE_AT"))
    with lake.owned():
        if not as_json:
            print(f"restoring snapshot {wanted.snapshot} of {wanted.time:%Y-%m-%d %H:%M:%S} UTC", flush=True)
        if not yes and epochs.newest(lake.catalog_dir).exists():
            typer.confirm(f"replace the catalog in {lake.catalog_dir}?", abort=True, err=True)
        restored, kept = _restore(lake, backups, wanted)
    if as_json:
        print(json.dumps(_row(wanted) | {"restored": str(restored), "kept": str(kept) if kept else None}))
    else:
        print(f"restored {restored}" + (f"; the old file is {kept}" if kept else ""))


def _restore(lake: Site, backups: Backups, wanted: Manifest) -> tuple[Path, Path | None]:
    def inspect(path: Path) -> None:
        damage = metadata.damage(path)
        if damage:
            raise BackupError(
                f"the backup {wanted.name} is damaged itself ({damage[0].subject}: {damage[0].rule.meaning}): "
                "restore an older one with --at"
            )

    lease = lease_for(lake.settings, "azquack restore")
    return restore_into_place(backups, wanted, lake.catalog_dir, lease, inspect)


def _backups(lake: Site, lake_name: str | None) -> Backups:
    """The backups of the lake that is meant: the one that is named, else the one that is there, where it can tell."""
    return replace(lake.backups, lake=lake_name or lake.identity())


def _wanted(backups: Backups, time: datetime | None) -> Manifest:
    """The backup that is meant; what should be known of the others goes to standard error."""
    found = backups.inventory()
    wanted = newest(found, backups.place, time)
    _warn(found)
    return wanted


def _warn(found: Inventory) -> None:
    misdated = found.misdated(datetime.now(UTC))
    lines = [f"damaged and passed over: {each.name}: {each.reason}" for each in found.damaged]
    if found.foreign:
        lakes = ", ".join(sorted({each.lake for each in found.foreign}))
        lines.append(f"passed over: {len(found.foreign)} backups of other lakes ({lakes})")
    if misdated:
        lines.append(
            f"a clock was wrong when {', '.join(each.name for each in misdated)} was taken: "
            "the newest is told by epoch and snapshot, and --at by the times that agree with them"
        )
    for each in lines:
        print(f"note: {each}", file=sys.stderr)


def _time(text: str | None, where: str = "--at") -> datetime | None:
    if text is None:
        return None
    try:
        return utc(text)
    except (ValueError, OverflowError):
        raise SettingError(f"{where} is {text!r}: write a time such as 2026-01-31T12:00, in UTC") from None


def _row(each: Manifest) -> dict[str, Any]:
    fields: dict[str, Any] = json.loads(each.dump())
    return fields | {"name": each.name}
