"""What is being made and is not there yet: files and directories that only their maker needs.

Each is held with a lock of the kernel, which is gone with its maker however that went. So whoever comes next can tell
what a killed process left from what somebody still writes to.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from azquack.errors import LakeError

_LOCK = "in-use"
# A share may not carry the locks of other machines: what somebody wrote to so lately is in use, in seconds.
QUIET = 900.0
# Between the making of a draft and its lock, in seconds.
_MAKING = 5.0
_MEGABYTE = 1e6


@contextmanager
def file(path: Path) -> Iterator[BinaryIO]:
    """A new file that takes the place of `path` when the block ends well, and is gone otherwise.

    Raises `OSError`. It is safe on the disk before it gets its name.
    """
    number, name = tempfile.mkstemp(prefix=_prefix(path.name), suffix=".draft", dir=path.parent)
    draft = Path(name)
    try:
        with os.fdopen(number, "wb") as out:
            fcntl.flock(out, fcntl.LOCK_EX)
            yield out
            out.flush()
            os.fsync(out.fileno())
            draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def directory(parent: Path, prefix: str) -> Iterator[Path]:
    """A new directory in `parent` whose name begins with `prefix`, gone at the end. Raises `OSError`."""
    with (
        tempfile.TemporaryDirectory(prefix=prefix, dir=parent, ignore_cleanup_errors=True) as made,
        (Path(made) / _LOCK).open("wb") as lock,
    ):
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield Path(made)


def need(size: int, where: Path, what: str) -> None:
    """Raises `LakeError` when `size` bytes, which `what` needs in the directory `where`, are not free there."""
    free = shutil.disk_usage(where).free
    if free < size:
        raise LakeError(
            f"{what} needs {size / _MEGABYTE:,.1f} MB in {where}, of which {free / _MEGABYTE:,.1f} MB are free: "
            "make room first"
        )


def sweep_files(parent: Path, also: re.Pattern[str] | None = None) -> list[Path]:
    """Remove the files in `parent` that `file` began and whose maker is gone; the removed.

    Those whose names match `also` were made without a lock: they go once nobody wrote to them for `QUIET` seconds.
    """
    entries = [each for each in _entries(parent) if each.name.startswith(".")]
    found = [each for each in entries if each.suffix == ".draft" and _abandoned(each, each)]
    found += [each for each in entries if also and also.fullmatch(each.name) and _age(each) > QUIET]
    return [each for each in found if _removed(each)]


def sweep_directories(parent: Path, prefix: str) -> list[Path]:
    """Remove the directories in `parent` that `directory` made with `prefix` and whose maker is gone; the removed."""
    found = [each for each in _entries(parent) if each.name.startswith(prefix)]
    return [each for each in found if each.is_dir() and _abandoned(each, each / _LOCK) and _removed(each)]


def _prefix(name: str) -> str:
    return f".{name}."


def _entries(parent: Path) -> list[Path]:
    try:
        return sorted(parent.iterdir())
    except OSError:
        return []


def _abandoned(draft: Path, lock: Path) -> bool:
    try:
        age = _age(draft)
        with lock.open("rb") as held:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return draft.exists() and age > _MAKING
    except OSError:
        return False
    return age > _MAKING if _is_local(draft) else age > QUIET


def _age(path: Path) -> float:
    """Seconds since it was written to; 0 when it is gone."""
    try:
        return time.time() - path.stat().st_mtime
    except OSError:
        return 0.0


def _is_local(path: Path) -> bool:
    """Whether the locks of everybody who writes there are seen here: not so on a share."""
    with suppress(OSError):
        device = path.stat().st_dev
        for line in Path("/proc/self/mountinfo").read_text().splitlines():
            fields, _, rest = line.partition(" - ")
            if fields.split()[2] == f"{os.major(device)}:{os.minor(device)}":
                return rest.split()[0] not in ("nfs", "nfs4", "cifs", "smb3", "fuse", "9p", "virtiofs")
    return False


def _removed(draft: Path) -> bool:
    with suppress(OSError):
        if draft.is_dir():
            shutil.rmtree(draft)
        else:
            draft.unlink()
        return True
    return False
