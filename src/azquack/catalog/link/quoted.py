"""What people wrote within a batch of DuckLake's, made unreadable: their names and texts may look like anything.

A batch is read for its own rows and statements, and people's texts stand in it as literals, the names of their columns
as quoted identifiers. Both are left at their places here, with other characters in them.
"""

from __future__ import annotations

from azquack.patterns import re

_QUOTED = re.compile(r"""'[^']*+(?:''[^']*+)*+'|"[^"]*+(?:""[^"]*+)*+\"""")


def without_names(batch: str) -> str:
    """`batch`, as long as it was, with nothing left of its quoted identifiers: quotes in it are those of literals."""
    return _QUOTED.sub(lambda found: _blank(found[0]) if found[0][0] == '"' else found[0], batch)


def without_quoted(batch: str) -> str:
    """`batch`, as long as it was, with nothing left of its quoted identifiers and literals."""
    return _QUOTED.sub(lambda found: _blank(found[0]), batch)


def _blank(quoted: str) -> str:
    return f"{quoted[0]}{'x' * (len(quoted) - 2)}{quoted[0]}"
