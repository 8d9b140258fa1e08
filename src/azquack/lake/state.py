"""What the places of a lake say together: one pure function over what was found in each.

**Making a lake is an act, never a consequence.** A replica serves a lake when every place that it can see belongs to
that lake and none knows of something newer. It makes one when no place shows a trace of any. Everything else it
refuses, and says what it found. `azquack.catalog.lake_places` looks at the places.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from azquack.errors import LakeError, lacks_role


class Seen(StrEnum):
    """How a place was found."""

    UNKNOWN = "unknown"  # not looked at, or not yet: another process does
    MISSING = "missing"  # not there at all
    EMPTY = "empty"  # there, and holds no lake's things
    THERE = "there"
    UNREADABLE = "unreadable"  # nobody can say what it holds


@dataclass(frozen=True, slots=True)
class Catalog:
    """The newest file in the catalog directory. `EMPTY`: a database without a lake in it.

    `number` is the epoch of the directory in which it lies (0: in none), `lost` are newer ones without a file. `epoch`
    and `snapshot` are those of its last commit. `files`: it names data files. `forked`: it does not hold the snapshot
    that a backup from before the ids has. `format` is DuckLake's. `problem` says why it is unreadable.
    """

    seen: Seen = Seen.UNKNOWN
    where: str = "the catalog directory"
    lake: str = ""
    number: int = 0
    epoch: int = 0
    snapshot: int = -1
    files: bool = False
    adopted: bool = False
    forked: bool = False
    lost: tuple[int, ...] = ()
    format: str = ""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class DataPath:
    """The data path. `marked`: its mark is there, and names `lake` ('': from before the ids).

    `files`: Parquet lies there. `named`: whether files that the catalog names lie there, None when nobody looked.
    """

    seen: Seen = Seen.UNKNOWN
    where: str = "the data path"
    lake: str = ""
    marked: bool = False
    files: bool = False
    named: bool | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class LeaseRecord:
    """What the lease says: the last owner's `number`, and the newest epoch that was `served`, of which lake.

    `served` is -1 when a version wrote the lease that did not keep it.
    """

    seen: Seen = Seen.UNKNOWN
    where: str = "the lease"
    lake: str = ""
    number: int = 0
    served: int = 0
    problem: str = ""


@dataclass(frozen=True, slots=True)
class BackupPlace:
    """The backup place: the lakes of its backups ('' for those from before the ids), and the newest state they hold.

    `witness` is the snapshot, with its time (microseconds since 1970), of the newest backup from before the ids.
    """

    seen: Seen = Seen.UNKNOWN
    where: str = "the backup place"
    lakes: tuple[str, ...] = ()
    epoch: int = 0
    snapshot: int = -1
    witness: tuple[int, int] | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Places:
    """Everything that was found."""

    catalog: Catalog = field(default_factory=Catalog)
    data: DataPath = field(default_factory=DataPath)
    lease: LeaseRecord = field(default_factory=LeaseRecord)
    backups: BackupPlace = field(default_factory=BackupPlace)

    def to_message(self) -> dict[str, Any]:
        """As JSON-shaped data."""
        return asdict(self)

    @staticmethod
    def from_message(message: dict[str, Any]) -> Places:
        """The places that `to_message` made, also after JSON."""
        catalog, data, lease, backups = (
            dict(message[each]) for each in ("catalog", "data", "lease", "backups")
        )
        for each in (catalog, data, lease, backups):
            each["seen"] = Seen(each["seen"])
        witness = backups["witness"]
        backups |= {
            "lakes": tuple(backups["lakes"]),
            "witness": (witness[0], witness[1]) if witness else None,
        }
        return Places(
            Catalog(**catalog | {"lost": tuple(catalog["lost"])}),
            DataPath(**data), LeaseRecord(**lease), BackupPlace(**backups),
        )  # fmt: skip


class Action(StrEnum):
    """What to do at a start."""

    CREATE = "create"  # nothing is anywhere: a new lake
    SERVE = "serve"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do; `lake` is the id to serve under ('': one must be made), `sentence` says why not.

    `may_pass`: a place cannot be read for want of a role, which may count in some minutes.
    """

    action: Action
    lake: str = ""
    sentence: str = ""
    may_pass: bool = False

    def insist(self) -> None:
        """Raises `LakeError` with the sentence when it says to refuse."""
        if self.action is Action.REFUSE:
            raise LakeError(self.sentence, may_pass=self.may_pass)


def next_epoch(places: Places) -> int:
    """The number of the next owner: never one that a place has seen already."""
    catalog, lease, backups = places.catalog, places.lease, places.backups
    seen = (catalog.number, catalog.epoch, *catalog.lost, lease.number, lease.served, backups.epoch)
    return max(0, *seen) + 1


def judge(places: Places) -> Verdict:
    """Whether to serve, to make a lake, or to refuse."""
    catalog = places.catalog
    if catalog.seen is Seen.UNREADABLE:
        return _refused(f"{catalog.where} cannot be read: {catalog.problem}", RESTORE)
    if catalog.seen in (Seen.MISSING, Seen.EMPTY):
        return _without_lake(places)
    return _with_lake(places)


RESTORE = (
    "bring the lake back with azquack restore, or take an older epoch that is whole with azquack lake adopt"
)
ADOPT = "name the right place, bring the lake back with azquack restore, or say that this is it with azquack lake adopt"
CREATE = (
    "name or mount the right place, bring the lake back with azquack restore, "
    "or begin a new one with azquack lake create"
)
WAIT = "see that it can be read, and start again"


def _refused(found: str, ways: str) -> Verdict:
    return Verdict(Action.REFUSE, sentence=f"{found}: {ways}", may_pass=ways == WAIT and lacks_role(found))


def _without_lake(places: Places) -> Verdict:
    """No lake is in the catalog directory: is one anywhere else?"""
    catalog = places.catalog
    for each in (places.lease, places.backups, places.data):
        if each.seen is Seen.UNREADABLE:
            found = f"{catalog.where} holds no lake, and {each.where} cannot be read ({each.problem})"
            return _refused(found, WAIT)
    if traces := list(_traces(places)):
        return _refused(f"{catalog.where} holds no lake, but {', and '.join(traces)}", CREATE)
    return Verdict(Action.CREATE, catalog.lake)


def _traces(places: Places) -> Iterator[str]:
    """What shows that a lake was here. An empty catalog's own id is no trace: it is kept for the lake to come."""
    catalog, data, lease, backups = places.catalog, places.data, places.lease, places.backups
    own = catalog.lake if catalog.seen is Seen.EMPTY else ""
    served = max(lease.served, lease.number if lease.served < 0 else 0)
    if (lease.lake and lease.lake != own) or served > (catalog.number if own else 0):
        yield f"{lease.where} knows of {_lake(lease.lake)} in epoch {served}"
    if catalog.lost and catalog.seen is Seen.EMPTY:
        yield f"the file of epoch {max(catalog.lost)} is gone"
    if backups.seen is Seen.THERE:
        yield f"{backups.where} holds backups of {_lakes(backups.lakes)}"
    if data.seen is Seen.THERE:
        yield f"the data path {data.where} holds files of {_lake(data.lake)}"


def _with_lake(places: Places) -> Verdict:
    """A lake is in the catalog directory (or a file that is not opened yet): does everything else belong to it?"""
    catalog, data, lease, backups = places.catalog, places.data, places.lease, places.backups
    if catalog.lost:
        found = f"the file of epoch {max(catalog.lost)} is gone, and {catalog.where} is older"
        return _refused(found, ADOPT)
    if lease.served > catalog.number:
        found = f"{lease.where} says that epoch {lease.served} was served, and {catalog.where} is older"
        return _refused(found, ADOPT)
    if catalog.seen is Seen.UNKNOWN:
        return Verdict(Action.SERVE)
    own = f"{catalog.where} holds {_lake(catalog.lake)}"
    if lease.lake not in ("", catalog.lake):
        return _refused(f"{own}, but {lease.where} belongs to {_lake(lease.lake)}", ADOPT)
    if others := [each for each in backups.lakes if each not in ("", catalog.lake)]:
        return _refused(f"{own}, but {backups.where} holds backups of {_lakes(others)}", ADOPT)
    if catalog.forked:
        return _refused(f"{own}, but {backups.where} holds backups of another lake", ADOPT)
    if (backups.epoch, backups.snapshot) > (catalog.epoch, catalog.snapshot):
        found = (
            f"{catalog.where} is older (epoch {catalog.epoch}, snapshot {catalog.snapshot}) than the newest "
            f"backup in {backups.where} (epoch {backups.epoch}, snapshot {backups.snapshot})"
        )
        return _refused(found, ADOPT)
    if lease.seen is Seen.UNREADABLE:
        return _refused(f"{lease.where} cannot be read ({lease.problem})", WAIT)
    if backups.seen is Seen.UNREADABLE and (lease.seen is not Seen.THERE or not lease.lake):
        # A lease that names the lake vouches for it: then the catalog serves on without its backups.
        found = f"neither the lease nor {backups.where} ({backups.problem}) says how new the catalog must be"
        return _refused(found, WAIT)
    return _with_data(catalog, data)


def _with_data(catalog: Catalog, data: DataPath) -> Verdict:
    """Is the data path that of the catalog's lake?"""
    serve = Verdict(Action.SERVE, catalog.lake)
    own = f"the catalog is that of {_lake(catalog.lake)}"
    if data.seen is Seen.UNKNOWN:
        return serve
    if data.seen is Seen.UNREADABLE:
        return _refused(f"the data path {data.where} cannot be read ({data.problem})", WAIT)
    if data.lake:
        if data.lake == catalog.lake:
            return serve
        return _refused(f"{own}, but the data path {data.where} belongs to {_lake(data.lake)}", ADOPT)
    # It is written right after the lake is made, so before the first commit.
    if catalog.lake and not catalog.adopted and catalog.snapshot > 0:
        return _refused(f"{own}, but the data path {data.where} has lost its mark", ADOPT)
    if catalog.files and (data.named is False or not data.files):
        return _refused(f"{own}, but none of its files lie in the data path {data.where}", ADOPT)
    if not catalog.files and data.files and not data.marked:
        return _refused(f"{own} and names no files, but the data path {data.where} holds some", ADOPT)
    return serve


def _lake(lake: str) -> str:
    return f"the lake {lake}" if lake else "a lake"


def _lakes(lakes: tuple[str, ...] | list[str]) -> str:
    return " and ".join(_lake(each) for each in lakes)
