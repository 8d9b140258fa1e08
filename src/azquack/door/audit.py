"""The audit log: JSON lines, one when a statement starts and one when it ends, with one `id`."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from azquack.door.seal import label
from azquack.door.sessions import Session
from azquack.sql import MASK

_LITERAL = re.compile(r"'(?:[^']|'')*'|\$(\w*)\$.*?\$\1\$|\b\d+(?:\.\d+)?\b", re.DOTALL)
_BLANK = re.compile(r"\s+")
_SECRET_WORD = re.compile(
    r"secret|token|password|passwd|key|credential|connection_string|sas|account", re.IGNORECASE
)
_STRING = re.compile(r"'(?:[^']|'')*'|\$(\w*)\$.*?\$\1\$", re.DOTALL)


def fingerprint(sql: str) -> str:
    """16 hex digits that are the same for statements that differ in literals, case and blanks only."""
    shape = _BLANK.sub(" ", _LITERAL.sub("?", sql)).strip().lower()
    return hashlib.sha256(shape.encode()).hexdigest()[:16]


def without_secrets(sql: str) -> str:
    """`sql`; when it speaks of anything secret, with every string in it masked."""
    return _STRING.sub(f"'{MASK}'", sql) if _SECRET_WORD.search(sql) else sql


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
        """Notes a start; `sql` among the facts becomes a fingerprint, and the text if that is wanted."""
        sql = facts.pop("sql", None)
        if sql is not None:
            facts["fingerprint"] = fingerprint(sql)
            if self._text:
                facts["text"] = without_secrets(sql)
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
