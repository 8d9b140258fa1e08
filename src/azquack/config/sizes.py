"""Limits that both sides of a connection know: what one refuses to read, the other does not send.

The gateway and the catalog link are versions of one package, so a constant is enough to hold them together.
"""

from __future__ import annotations

STATEMENT = 16 << 20
"""Bytes of a statement that a user's gateway reads."""
COMMIT = 32 << 20
"""Bytes of one commit, which DuckLake sends as one text: what the catalog's gateway reads, and a link sends.

A text that stays in the catalog stands in it two or three times: as the value, and as the least and the greatest of
its column. A catalog's node that reads a commit of 25 MB takes 0.5 GB of memory.
"""


def shown(size: int) -> str:
    """`size` for a person, in MB."""
    return f"{size / 1e6:.0f} MB"
