"""The principals of a team as one JSON document: hashed tokens, roles, grants.

`{"principals": [{"name": "ann", "role": "reader", "token_sha256": "…", "grants": ["select on demo.*"]}]}`;
without `grants` a principal may do all that its role allows. Each function gives a new list.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from azquack.errors import SettingError, TokenError
from azquack.principals.principal import Grant, Principal, Role, checked_name

_T = TypeVar("_T")


def hashed(token: str) -> str:
    """The SHA-256 of `token` in hexadecimal.

    Our tokens are 256 random bits: nobody can guess one, so a slow hash would only cost time at each login.
    A token that a person chose would need one; such tokens are never taken into a list.
    """
    return hashlib.sha256(token.encode(errors="surrogatepass")).hexdigest()


def fingerprint(token_hash: str) -> str:
    """What tells one token of a name from the next, in logs too: the hash of its hash, cut short."""
    return hashlib.sha256(token_hash.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Record:
    """One entry of the list."""

    name: str
    role: Role
    token_sha256: str
    grants: tuple[Grant, ...] | None = None

    def principal(self) -> Principal:
        return Principal(self.name, self.role, fingerprint(self.token_sha256), self.grants)


@dataclass(frozen=True, slots=True)
class PrincipalList:
    """All records, by name."""

    records: tuple[Record, ...] = ()

    @classmethod
    def parse(cls, text: str) -> PrincipalList:
        """The list of a JSON document. Raises `TokenError`, which quotes nothing of the text."""
        try:
            entries = json.loads(text)["principals"]
            records = tuple(_record(entry) for entry in entries)
        except (ValueError, TypeError, KeyError, AttributeError):
            raise TokenError(
                "the principals cannot be read: expected"
                ' {"principals": [{"name": …, "role": …, "token_sha256": …}]}'
            ) from None
        except SettingError as error:
            raise TokenError(f"the principals cannot be read: {error}") from None
        if len({record.name for record in records}) != len(records):
            raise TokenError("the principals cannot be read: a name stands in them twice")
        return cls(records)

    def text(self) -> str:
        """The list as JSON; `PrincipalList.parse` reads it back."""
        return json.dumps({"principals": [_entry(record) for record in self.records]}, indent=2) + "\n"

    def find(self, name: str) -> Record:
        """The record of `name`. Raises `SettingError`."""
        for record in self.records:
            if record.name == name:
                return record
        raise SettingError(f"there is no principal {name!r}: `azquack principal list` shows them")


def add(
    known: PrincipalList, name: str, role: Role, grants: tuple[Grant, ...] | None = None
) -> tuple[PrincipalList, str]:
    """The list with a new principal, and its token, which is kept nowhere. Raises `SettingError`."""
    checked_name(name)
    if any(record.name == name for record in known.records):
        raise SettingError(f"there is a principal {name!r} already: rotate its token, or revoke it first")
    token = new_token()
    wider = PrincipalList((*known.records, Record(name, role, hashed(token), None if grants is None else ())))
    for each in grants or ():
        wider = grant(wider, name, each)
    return wider, token


def revoke(known: PrincipalList, name: str) -> PrincipalList:
    """The list without `name`. Raises `SettingError`."""
    gone = known.find(name)
    return PrincipalList(tuple(record for record in known.records if record is not gone))


def rotate(known: PrincipalList, name: str) -> tuple[PrincipalList, str]:
    """The list with a new token for `name`, and that token. Raises `SettingError`."""
    token = new_token()
    return _changed(known, replace(known.find(name), token_sha256=hashed(token))), token


def grant(known: PrincipalList, name: str, given: Grant) -> PrincipalList:
    """The list with one grant more: from the first on, nothing else is in reach. Raises `SettingError`."""
    record = known.find(name)
    if record.role is Role.ADMIN:
        raise SettingError(
            f"an administrator has no grants: revoke {name} and add it as a reader or a writer"
        )
    if record.role is Role.READER and given.privileges != {"select"}:
        raise SettingError(f"{name} is a reader: grant select only, or add it as a writer")
    kept = tuple(each for each in record.grants or () if each != given)
    return _changed(known, replace(record, grants=(*kept, given)))


def ungrant(known: PrincipalList, name: str, taken: Grant) -> PrincipalList:
    """The list with a grant less; without any left, `name` reaches nothing. Raises `SettingError`."""
    record = known.find(name)
    if taken not in (record.grants or ()):
        have = "; ".join(str(each) for each in record.grants or ()) or "none"
        raise SettingError(f"{name} has no grant {str(taken)!r}; it has: {have}")
    return _changed(
        known, replace(record, grants=tuple(each for each in record.grants or () if each != taken))
    )


def new_token() -> str:
    """256 random bits."""
    return "azq_" + secrets.token_urlsafe(32)


def read(path: Path) -> PrincipalList:
    """The list in the file `path`, empty when there is no file. Raises `TokenError`."""
    try:
        with path.open(encoding="utf-8") as file:
            if os.fstat(file.fileno()).st_mode & 0o077:
                raise TokenError(f"{path} can be read by others: run chmod 600 {path}")
            return PrincipalList.parse(file.read())
    except FileNotFoundError:
        return PrincipalList()
    except (OSError, UnicodeDecodeError) as error:
        raise TokenError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from None


def edit(path: Path, change: Callable[[PrincipalList], tuple[PrincipalList, _T]]) -> _T:
    """Applies `change` to the file `path` and gives what it gives beside the list.

    The file is replaced as a whole, with mode 0600; two edits at once come one after the other. Raises
    `TokenError`, and what `change` raises.
    """
    try:
        with _locked(path):
            known, result = change(read(path))
            text = known.text()
            # What could not be read again would lock everybody out.
            PrincipalList.parse(text)
            fresh = path.with_name(f".{path.name}.new")
            fresh.unlink(missing_ok=True)
            with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(path)
    except OSError as error:
        raise TokenError(f"{path} cannot be written: {error.strerror}") from None
    return result


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    # A lock file of its own: the list is replaced, and a lock on it would go with the old one.
    with os.fdopen(os.open(path.with_name(f".{path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _changed(known: PrincipalList, new: Record) -> PrincipalList:
    return PrincipalList(tuple(new if record.name == new.name else record for record in known.records))


def _record(entry: dict[str, Any]) -> Record:
    if unknown := entry.keys() - {"name", "role", "token_sha256", "grants"}:
        raise SettingError(f"{min(unknown)!r} is not known there")
    token_hash = entry["token_sha256"].lower()
    if len(bytes.fromhex(token_hash)) != 32:
        raise SettingError(f"token_sha256 of {entry['name']!r} is no SHA-256")
    try:
        role = Role(entry["role"])
    except ValueError:
        raise SettingError(f"{entry['role']!r} is no role: use reader, writer or admin") from None
    grants = entry.get("grants")
    return Record(
        checked_name(entry["name"]),
        role,
        token_hash,
        None if grants is None else tuple(Grant.parse(grant) for grant in grants),
    )


def _entry(record: Record) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "name": record.name,
        "role": record.role.value,
        "token_sha256": record.token_sha256,
    }
    return entry if record.grants is None else {**entry, "grants": [str(grant) for grant in record.grants]}
