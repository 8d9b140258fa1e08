"""Errors of DuckDB as a user may see them: no stack, no address, no path of the server.

Every ERROR that leaves the gateway goes through `clear`; what was taken out of it stands in the gateway's log.
"""

from __future__ import annotations

import re

from azquack.quack.lost import AGAIN

# DuckDB's words for a fault of its own, and for one after which its database takes no statement any more.
_INTERNAL = ("INTERNAL Error", "This error signals an assertion failure", "Stack Trace")
_FATAL = ("FATAL Error", "database has been invalidated")
_CLASS = re.compile(r"^(?:[\w ]*Error: ?)+")
_TRACE = re.compile(r"(?:Stack Trace|This error signals).*", re.DOTALL)
# Two folders at least: a quotient or a fraction is no path.
_PATH = re.compile(r"(?<![\w:/.])/(?:[^\s/'\"`,;:()\[\]]+/)+([^\s/'\"`,;:()\[\]]*)")
_ADDRESS = re.compile(r"\b0x[0-9a-fA-F]{6,}\b")
# What the user wrote, as DuckDB shows it below its message.
_EXCERPT = re.compile(r"\nLINE \d+: .*", re.DOTALL)
_LONGEST = 300
ENDED = f"A fault of DuckDB's own has ended this node, which starts anew now: {AGAIN}"


def clear(text: str) -> str:
    """`text`, an error, without what belongs to the server alone."""
    if ends_node(text):
        return ENDED
    excerpt = _EXCERPT.search(text)
    message = text[: excerpt.start()] if excerpt else text
    if is_fault(text):
        what = _shown(_CLASS.sub("", _TRACE.sub("", message).strip())).rstrip(".")[:_LONGEST]
        return f"DuckDB met a fault of its own in this statement ({what}): write it in another way"
    return _shown(message) + (excerpt[0] if excerpt else "")


def is_fault(text: str) -> bool:
    """Whether `text` tells of a fault of DuckDB's own."""
    return any(sign in text for sign in _INTERNAL + _FATAL)


def ends_node(text: str) -> bool:
    """Whether the node that answered `text` can run nothing any more."""
    return any(sign in text for sign in _FATAL)


def _shown(text: str) -> str:
    return _ADDRESS.sub("…", _PATH.sub(r"…/\1", text))
