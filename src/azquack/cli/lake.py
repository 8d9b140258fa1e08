"""`azquack lake`: which lake this is, and the two acts that only a person decides on."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from azquack.catalog import adoption
from azquack.catalog.lease import Lease, lease_for
from azquack.cli.options import with_settings
from azquack.cli.site import Site, site
from azquack.errors import LeaseError
from azquack.lake.state import LeaseRecord, Places, Seen, judge
from azquack.replicas import catalog
from azquack.storage import storage_for

GROUPS = ("Lake", "Care", "Storage")
DirOption = Annotated[
    Path | None, typer.Option("--dir", help="The lake directory of a pair on this machine. Default: lake.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def register(app: typer.Typer) -> None:
    """Put the commands on `app`."""
    lake = typer.Typer(help="Which lake this is: its id, and where it stands.")
    for name, command in (("show", show), ("adopt", adopt), ("create", create)):
        lake.command(name)(with_settings(*GROUPS)(command))
    app.add_typer(lake, name="lake", no_args_is_help=True)


def show(
    directory: DirOption = None,
    as_json: JsonOption = False,
    **flags: Any,
) -> None:
    """Say what each place of the lake holds, and whether a start would serve it. Exits with 1 when not."""
    lake = site(directory, flags)
    found = adoption.looked_at(lake.catalog_dir, places_with(lake, _lease(lake)))
    verdict = judge(found)
    if as_json:
        print(
            json.dumps(
                found.to_message() | {"action": verdict.action, "sentence": verdict.sentence}, indent=2
            )
        )
    else:
        _print(found)
        print(verdict.sentence or f"a start would {verdict.action} it")
    if verdict.sentence:
        raise typer.Exit(1)


def adopt(directory: DirOption = None, as_json: JsonOption = False, **flags: Any) -> None:
    """Say that the catalog here is the lake, where its places do not agree; it must be stopped."""
    lake = site(directory, flags)
    storage = storage_for(lake.settings) if lake.settings.data_path is not None else None
    with lake.owned():
        lease = _lease(lake)
        adopted = adoption.adopt(lake.catalog_dir, lease, places_with(lake, lease), storage)
    sentence = f"adopted the lake {adopted.lake} as epoch {adopted.epoch}"
    print(json.dumps(asdict(adopted)) if as_json else sentence)


def create(directory: DirOption = None, as_json: JsonOption = False, **flags: Any) -> None:
    """Begin a new, empty lake where a start refuses to, because the lease knows of an earlier one."""
    lake = site(directory, flags)
    with lake.owned():
        lease = _lease(lake)
        found = adoption.looked_at(lake.catalog_dir, places_with(lake, lease))
        created = adoption.create(lake.catalog_dir, lease, found)
    print(json.dumps(asdict(created)) if as_json else f"created the lake {created.lake}")


def _lease(lake: Site) -> Lease:
    return lease_for(lake.settings, "azquack lake")


def places_with(lake: Site, lease: Lease) -> Places:
    """What the places of `lake` hold, and what its `lease` says. Raises `SettingError`."""
    found = catalog.places_of(lake.settings)
    try:
        return replace(found, lease=lease.record())
    except LeaseError as error:
        return replace(found, lease=LeaseRecord(Seen.UNREADABLE, problem=str(error)))


def _print(found: Places) -> None:
    table = Table("place", "where", "found", "lake", "epoch", "snapshot", box=None, header_style="bold")
    catalog, lease, backups, data = found.catalog, found.lease, found.backups, found.data
    for name, each, lakes, epoch, snapshot in (
        ("catalog", catalog, catalog.lake, catalog.epoch, catalog.snapshot),
        ("data path", data, data.lake, "", -1),
        ("lease", lease, lease.lake, lease.served if lease.served >= 0 else "?", -1),
        ("backups", backups, " ".join(backups.lakes), backups.epoch, backups.snapshot),
    ):
        newest = str(snapshot) if snapshot >= 0 else ""
        table.add_row(name, each.where, each.problem or each.seen, lakes, str(epoch or ""), newest)
    Console(soft_wrap=True, highlight=False).print(table)
