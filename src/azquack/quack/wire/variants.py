"""What a VARIANT must hold so that DuckDB 1.5 stays within it.

A row has keys, children (each a key, unless it is an array's, and a value), values (each a kind and an offset) and
a blob with what stands at those offsets. An OBJECT or ARRAY has there its number of children and the first one.
The first value is the root; the values form a tree.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from azquack.errors import WireError
from azquack.quack.wire import types, values
from azquack.quack.wire.fields import Reader
from azquack.quack.wire.types import Type

DEPTH = 64
DECIMAL, OBJECT, ARRAY, KINDS = 15, 29, 30, 34
NOTHING = frozenset((0, 1, 2))
SIZED = {
    3: types.TINYINT, 4: types.SMALLINT, 5: types.INTEGER, 6: types.BIGINT, 7: types.HUGEINT, 8: types.UTINYINT,
    9: types.USMALLINT, 10: types.UINTEGER, 11: types.UBIGINT, 12: types.UHUGEINT, 13: types.FLOAT,
    14: types.DOUBLE, 18: types.UUID, 19: types.DATE, 20: types.TIME, 21: types.TIME_NS, 22: types.TIMESTAMP_S,
    23: types.TIMESTAMP_MS, 24: types.TIMESTAMP, 25: types.TIMESTAMP_NS, 26: types.TIME_TZ,
    27: types.TIMESTAMP_TZ, 28: types.INTERVAL,
}  # fmt: skip
STRINGS = {16: types.VARCHAR, 17: types.BLOB, 31: types.BIGNUM, 32: types.BIT, 33: types.GEOMETRY}


class Row:
    """One VARIANT: its number of `keys`, its `children` as (key or None, value), `values` as (kind, offset)."""

    def __init__(
        self, keys: int, children: list[tuple[int | None, int]], kinds: list[tuple[int, int]], blob: bytes
    ) -> None:
        self._keys = keys
        self._children = children
        self._values = kinds
        self._blob = blob

    def check(self) -> None:
        """Raises `WireError` unless every value lies within the row, and each has its place in one tree."""
        seen = {0}
        level, depth = [0], 0
        while level:
            depth += 1
            if depth > DEPTH:
                raise WireError(f"A VARIANT is nested deeper than {DEPTH} levels")
            below = [child for at in level for child in self._value(at)]
            if len(seen.union(below)) != len(seen) + len(below):
                raise WireError("A VARIANT holds a value twice")
            seen.update(below)
            level = below
        if len(seen) != len(self._values):
            raise WireError("A VARIANT holds a value that belongs to nothing")

    def _value(self, at: int) -> list[int]:
        """Checks the value at `at`; the values beneath it."""
        if at >= len(self._values):
            raise WireError("A VARIANT points outside of its values")
        kind, offset = self._values[at]
        read = Reader(self._blob, offset)
        if kind in NOTHING:
            return []
        if kind in SIZED:
            self._sized(Type(SIZED[kind]), read)
        elif kind in STRINGS:
            values.check_strings(Type(STRINGS[kind]), [read.take(read.varint())])
        elif kind == DECIMAL:
            width, scale = read.varint(), read.varint()
            if not 1 <= width <= 38 or scale > width:
                raise WireError("A DECIMAL has an impossible width or scale")
            self._sized(Type(types.DECIMAL, width=width, scale=scale), read)
        elif kind in (OBJECT, ARRAY):
            return self._nested(kind, read)
        else:
            raise WireError("A VARIANT holds a value of an unknown kind")
        return []

    def _sized(self, kind: Type, read: Reader) -> None:
        values.check(kind, np.frombuffer(read.take(kind.bytes), values.dtype(kind)))

    def _nested(self, kind: int, read: Reader) -> list[int]:
        count = read.varint()
        first = read.varint() if count else 0
        if first + count > len(self._children):
            raise WireError("A VARIANT points outside of its children")
        children = self._children[first : first + count]
        for key, _ in children:
            if (key is None) != (kind == ARRAY) or (key is not None and key >= self._keys):
                raise WireError("A VARIANT points outside of its keys")
        return [value for _, value in children]


def check(valid: Any, keys: Any, children: Any, kinds: Any, blobs: list[bytes]) -> None:
    """Raises `WireError` unless the VARIANTs are whole.

    `valid` is as in `Vector`; `keys`, `children` and `kinds` are vectors of lists.
    """
    links, entries = children.children[0], kinds.children[0]
    for inner in (links, entries, entries.children[0], entries.children[1], links.children[1]):
        if inner.valid is not None:
            raise WireError("A VARIANT has NULL where it needs a value")
    if keys.children[0].valid is not None:
        raise WireError("A VARIANT has NULL where it needs a value")
    named = links.children[0]
    names: list[int | None] = named.data.tolist()
    if named.valid is not None:
        names = [name if there else None for name, there in zip(names, named.valid.tolist(), strict=True)]
    pairs = list(zip(names, links.children[1].data.tolist(), strict=True))
    typed = list(zip(entries.children[0].data.tolist(), entries.children[1].data.tolist(), strict=True))
    at = of = 0
    for row, (key, child, value) in enumerate(
        zip(keys.data.tolist(), children.data.tolist(), kinds.data.tolist(), strict=True)
    ):
        if valid is None or valid[row]:
            Row(key, pairs[at : at + child], typed[of : of + value], blobs[row]).check()
        at, of = at + child, of + value
