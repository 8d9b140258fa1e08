"""The audit log: JSON lines, one when a statement starts and one when it ends, with one `id`."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from azquack.errors import SettingError
from azquack.gateway.seal import label
from azquack.gateway.sessions import Session
from azquack.patterns import re
from azquack.policy.errors import Refused
from azquack.policy.shape import CHARACTERS, pieces
from azquack.sql import MASK

_SECRET_WORD = re.compile(
    r"secret|token|password|passwd|key|credential|connection_string|sas|account", re.IGNORECASE
)
_STRING = re.compile(r"'(?:[^']++|'')*+'")
_LITERALS = frozenset({"literals", "escaped", "string", "dollar", "number"})
_STRINGS = frozenset({"escaped", "string", "dollar"})


def fingerprint(sql: str) -> str:
    """16 hex digits that are the same for statements that differ in literals, case, blanks and comments only.

    A list of literals counts as one, whatever its length. Of a text that is too long or nested too deeply to be looked
    at, the digits tell the very text.
    """
    shape = sql
    if len(sql) <= CHARACTERS:
        with suppress(Refused):
            shape = " ".join(
                "?" if each.kind in _LITERALS else sql[each.start : each.end].lower() for each in pieces(sql)
            )
    return hashlib.sha256(shape.encode(errors="surrogatepass")).hexdigest()[:16]


def without_secrets(sql: str) -> str:
    """`sql`; when it speaks of anything secret, with every string in it masked.

    Nothing is given away of a text that is too long or nested too deeply to be looked at.
    """
    if len(sql) > CHARACTERS:
        return ""
    if not _SECRET_WORD.search(sql):
        return sql
    masked: list[str] = []
    done = 0
    try:
        for each in pieces(sql):
            part = sql[each.start : each.end]
            if each.kind in _STRINGS:
                part = f"'{MASK}'"
            elif each.kind == "literals":
                part = _STRING.sub(f"'{MASK}'", part)
            masked += (sql[done : each.start], part)
            done = each.end
    except Refused:
        return ""
    return "".join((*masked, sql[done:]))


@dataclass(frozen=True, slots=True)
class Summary:
    """What the log says of a statement: its fingerprint, and its text without secrets."""

    fingerprint: str
    text: str


def summary_of(sql: str) -> Summary:
    """That of `sql`; linear, but for a large text nothing for an event loop."""
    return Summary(fingerprint(sql), without_secrets(sql))


def about(session: Session) -> dict[str, str]:
    """What every line about a session says."""
    return {
        "principal": session.principal.name,
        "session": label(session.connection_id),
        "node": session.node.name,
    }


@dataclass(frozen=True, slots=True)
class Entry:
    """A statement whose start was written."""

    id: int
    began: float
    common: dict[str, Any]


class Audit:
    """Writes lines with `write`; the text of statements only when `text` is set."""

    def __init__(self, write: Callable[[str], object], *, text: bool = False) -> None:
        self._write = write
        self._text = text
        self._ids = itertools.count(1)

    def start(self, **facts: Any) -> Entry:
        """Notes a start; `summary` among the facts becomes a fingerprint, and the text if that is wanted."""
        summary: Summary | None = facts.pop("summary", None)
        if summary is not None:
            facts["fingerprint"] = summary.fingerprint
            if self._text:
                facts["text"] = summary.text
        entry = Entry(next(self._ids), time.monotonic(), facts)
        self._line(entry, event="start", **facts)
        return entry

    def finish(self, entry: Entry, outcome: str, **facts: Any) -> None:
        """Notes the end of what `start` noted; `outcome` is ok, error, refused, broken or gone."""
        who = {key: entry.common[key] for key in ("principal", "session", "node") if key in entry.common}
        duration = round(time.monotonic() - entry.began, 6)
        self._line(entry, event="finish", **(who | facts), outcome=outcome, seconds=duration)

    def _line(self, entry: Entry, **facts: Any) -> None:
        when = datetime.now(UTC).isoformat(timespec="milliseconds")
        self._write(json.dumps({"time": when, "id": entry.id} | facts, ensure_ascii=False) + "\n")


def appending(path: Path) -> Callable[[str], object]:
    """Writes at the end of the file at `path`, which only this user may read. Raises `SettingError`."""
    try:
        number = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    except OSError as error:
        raise SettingError(f"AZQUACK_AUDIT_LOG {path} cannot be written: {error.strerror}") from None
    return os.fdopen(number, "a", buffering=1).write
