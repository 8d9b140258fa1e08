"""The catalog's files: one directory per epoch, the newest is the catalog.

    catalog-dir/epoch-7/catalog.duckdb     what the owner of epoch 7 serves
    catalog-dir/epoch-6/catalog.duckdb     what its predecessor left, until the next owner

Each owner works on a copy of its own, so whatever a predecessor writes that was paused and woke up counts
nowhere. A `catalog.duckdb` right in the directory is older than any epoch: it was put there by hand, or by
stock DuckDB.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import shutil
import time
from pathlib import Path

from azquack.errors import LakeError
from azquack.process import drafts

log = logging.getLogger(__name__)

FILE = "catalog.duckdb"
_PREFIX = "epoch-"
_ADOPTED = ".before-epochs"
_FOLLOWED = "followed"
# What a restore or an upgrade that was killed leaves in the catalog directory: a whole copy of a catalog.
RESTORING, UPGRADING = _DRAFTS = (".restoring-", ".upgrading-")
# What belongs to a database file: its log, and the logs that DuckDB 1.5 keeps while it checkpoints or recovers.
PARTS = ("", ".wal", ".wal.checkpoint", ".wal.recovery")
# How long a predecessor that lost the catalog may go on writing before its supervisor ends it.
COPY_TIMEOUT = 60.0
PAUSE = 0.2
_CHUNK = 4 << 20


def newest(directory: Path) -> Path:
    """The catalog's file in `directory`, whether or not it is there yet."""
    return _newest(directory, _epochs(directory))


def directory_of(catalog: Path) -> Path:
    """The catalog directory to which the file `catalog` belongs."""
    return catalog.parent.parent if catalog.parent.name.startswith(_PREFIX) else catalog.parent


def found(directory: Path) -> tuple[Path | None, int, tuple[int, ...]]:
    """The newest catalog file that is there, its epoch (0: it lies in none), and the newer epochs without one."""
    newest = next(iter(files(directory)), None)
    number = number_of(newest) if newest else 0
    return newest, number, tuple(sorted(each for each in _epochs(directory) if each > number))


def files(directory: Path) -> list[Path]:
    """Every catalog file in `directory`, the newest first."""
    numbers = [*sorted(_epochs(directory), reverse=True), 0]
    return [file for each in numbers if (file := _file(directory, each)).exists()]


def number_of(catalog: Path) -> int:
    """The epoch in which the file `catalog` lies; 0 when it lies in none."""
    name = catalog.parent.name.removeprefix(_PREFIX)
    return int(name) if catalog.parent.name.startswith(_PREFIX) and name.isdigit() else 0


def begin(directory: Path, epoch: int, content: Path | None = None) -> Path:
    """The file of `epoch`: `content`, or a copy of the newest before it; not there yet when there was none.

    The caller holds the lease of that epoch. What is older stays until `settle`. Raises `LakeError`.
    """
    own = directory / f"{_PREFIX}{epoch}"
    draft = directory / f"{_PREFIX}{epoch}.partial"
    there = [each for each in _epochs(directory) if each < epoch and _file(directory, each).exists()]
    source = _newest(directory, there)
    try:
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        if content is not None:
            content.rename(draft / FILE)
        elif source.exists():
            # Whoever still serves it, because it holds another lease, answers nothing from here on.
            followed_by(source).touch()
            copy(source, draft / FILE)
        _sync(draft)
        draft.rename(own)
        _sync(directory)
    except OSError as error:
        shutil.rmtree(draft, ignore_errors=True)
        raise LakeError(f"the catalog {source} cannot be copied: {_reason(error, source)}") from None
    return own / FILE


def followed_by(catalog: Path) -> Path:
    """What lies beside the file `catalog` once a later owner has begun to copy it."""
    return catalog.parent / (_FOLLOWED if catalog.parent.name.startswith(_PREFIX) else f".{FILE}{_FOLLOWED}")


def discard(catalog: Path) -> None:
    """Remove the epoch of the file `catalog`, which nobody was served from; its predecessor is the newest again."""
    if catalog.parent.name.startswith(_PREFIX):
        shutil.rmtree(catalog.parent, ignore_errors=True)


def keep(directory: Path, name: str) -> Path | None:
    """A copy of the newest catalog in `directory` as `name`; None when there is none. Raises `LakeError`."""
    source, kept = newest(directory), directory / name
    if not source.exists():
        return None
    try:
        copy(source, kept)
    except OSError as error:
        raise LakeError(f"{source} cannot be kept: {(error.strerror or '').lower()}") from None
    return kept


def settle(catalog: Path) -> None:
    """The file `catalog` was found whole and serves: of all that is older, only its predecessor is kept.

    What lay in the directory before the epochs gets a name that says so.
    """
    directory = directory_of(catalog)
    for prefix in _DRAFTS:
        drafts.sweep_directories(directory, prefix)
    if directory == catalog.parent:
        return
    for suffix in PARTS:
        before = directory / f"{FILE}{suffix}"
        if before.exists():
            before.rename(directory / f"{FILE}{_ADOPTED}{suffix}")
    own = number_of(catalog)
    older = sorted(each for each in _epochs(directory) if each < own)
    kept = [each for each in older if _file(directory, each).exists()][-1:]
    for each in older:
        if each not in kept:
            # What somebody still holds open on a share stays until the next owner.
            shutil.rmtree(directory / f"{_PREFIX}{each}", ignore_errors=True)


def _file(directory: Path, epoch: int) -> Path:
    return directory / f"{_PREFIX}{epoch}" / FILE if epoch else directory / FILE


def _reason(error: OSError, source: Path) -> str:
    reason = (error.strerror or "").lower()
    if error.errno == errno.ENOSPC and source.exists():
        return f"{reason}; a start needs room for one more copy of {source.stat().st_size:,} bytes"
    return reason


def _newest(directory: Path, epochs: list[int]) -> Path:
    return _file(directory, max(epochs, default=0))


def _epochs(directory: Path) -> list[int]:
    if not directory.is_dir():
        return []
    names = [each.name.removeprefix(_PREFIX) for each in directory.iterdir() if each.name.startswith(_PREFIX)]
    return [int(name) for name in names if name.isdigit()]


def copy(source: Path, target: Path) -> None:
    """Copy the database and its logs as they were together at one instant.

    All are read twice. When the second reading finds the same bytes, nothing changed between the two, so the
    copy is the state at the end of the first: one that DuckDB recovers from, as after a crash.
    """
    deadline = time.monotonic() + COPY_TIMEOUT
    while True:
        parts = [(Path(f"{source}{suffix}"), Path(f"{target}{suffix}")) for suffix in PARTS]
        first = [_digest(each, to) for each, to in parts]
        if first == [_digest(each, None) for each, _ in parts]:
            return
        if time.monotonic() > deadline:
            raise LakeError(f"{source} is still being written to by another process: stop that one first")
        log.info("the catalog still changes: copying it again")
        time.sleep(PAUSE)


def _digest(source: Path, copy: Path | None) -> str:
    """The SHA-256 of `source`, '' when it is not there; what was read goes to `copy`, safe on the disk."""
    if copy is not None:
        copy.unlink(missing_ok=True)
    try:
        reader = source.open("rb")
    except FileNotFoundError:
        return ""
    digest = hashlib.sha256()
    with reader, (copy or Path(os.devnull)).open("wb") as writer:
        while chunk := reader.read(_CHUNK):
            digest.update(chunk)
            writer.write(chunk)
        if copy is not None:
            writer.flush()
            os.fsync(writer.fileno())
    return digest.hexdigest()


def _sync(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
