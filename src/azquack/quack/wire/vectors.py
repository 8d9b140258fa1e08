"""The values of a column in one neutral form, and what can be done with them.

NULLs are zeros, lists lie one behind the other in their order, and what is beneath a NULL is NULL.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from azquack.errors import WireError
from azquack.quack.wire import types, variants
from azquack.quack.wire.fields import Reader
from azquack.quack.wire.types import Type

Array = NDArray[Any]
ENTRY_BYTES = 16


@dataclass(slots=True)
class Vector:
    """`rows` values of one type. `valid` says which are not NULL; None: all.

    `data` is, for values of one size, an array of them (16 bytes: pairs); for strings a list of them, or `Packed`;
    for lists an array of their lengths; None for a STRUCT, UNION, VARIANT and ARRAY. `children` are the vectors of the
    types within; those of lists and ARRAYs hold the elements of all rows, without a gap.
    """

    type: Type
    rows: int
    valid: Array | None = None
    data: Any = None
    children: list[Vector] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Packed:
    """`rows` strings as they stand in a message: each its length and its bytes. They were checked."""

    raw: bytes

    def strings(self, rows: int) -> list[bytes]:
        """The strings."""
        return Reader(self.raw).strings(rows)


class Room:
    """How many bytes values may take once they are flat: a constant or a dictionary is small, and tells many."""

    def __init__(self, limit: int) -> None:
        self._limit = self._left = limit

    def take(self, count: int) -> None:
        """Raises `WireError` when `count` bytes more are too many."""
        self._left -= count
        if self._left < 0:
            raise WireError(f"The rows take more than {self._limit} bytes: insert fewer at once")


def gathered(child: Vector, starts: Array, lengths: Array, room: Room) -> Vector:
    """The elements of lists at `starts`, one behind the other."""
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    room.take(8 * total)
    indexes = np.repeat(starts - (ends - lengths), lengths) + np.arange(total)
    if total == child.rows and bool((indexes == np.arange(total)).all()):
        return child
    return take(child, indexes, room)


def settled(vector: Vector, room: Room) -> Vector:
    """A STRUCT, UNION, VARIANT or ARRAY in which what is beneath a NULL, or not chosen by the tag, is NULL."""
    kind, valid = vector.type, vector.valid
    if kind.id == types.UNION:
        tags = vector.children[0]
        if vector.rows and int(tags.data.max()) >= len(kind.children) - 1:
            raise WireError("A UNION has a tag that stands for no member")
        if tags.valid is not None:
            valid = tags.valid if valid is None else valid & tags.valid
        chosen = [tags.data == at for at in range(len(kind.children) - 1)]
        keep = [valid, *(each if valid is None else each & valid for each in chosen)]
    elif kind.id == types.ARRAY:
        keep = [None if valid is None else np.repeat(valid, kind.size)]
    else:
        keep = [valid] * len(vector.children)
    children = [masked(each, kept, room) for each, kept in zip(vector.children, keep, strict=True)]
    if kind.id == types.VARIANT:
        keys, links, entries, blobs = children
        texts = blobs.data.strings(blobs.rows) if isinstance(blobs.data, Packed) else blobs.data
        absent = np.zeros(vector.rows, bool) if valid is None else ~valid
        if any(each.valid is not None and not bool((each.valid | absent).all()) for each in children):
            raise WireError("A VARIANT has NULL where it needs a value")
        variants.check(valid, keys, links, entries, texts)
    return Vector(kind, vector.rows, valid, None, children)


def masked(vector: Vector, keep: Array | None, room: Room) -> Vector:
    """`vector` with NULL wherever `keep` is false."""
    kind = vector.type
    if keep is None or not bool((~keep if vector.valid is None else vector.valid & ~keep).any()):
        return vector
    valid = keep if vector.valid is None else vector.valid & keep
    data, children = vector.data, vector.children
    if kind.bytes:
        data = data.copy()
        data[~valid] = 0
    elif kind.id in types.STRINGS:
        strings = data.strings(vector.rows) if isinstance(data, Packed) else data
        data = [each if there else b"" for each, there in zip(strings, valid.tolist(), strict=True)]
    elif kind.id in types.LISTS:
        starts = np.cumsum(data) - data
        data = np.where(valid, data, 0)
        children = [gathered(children[0], starts, data, room)]
    else:
        return settled(Vector(kind, vector.rows, valid, None, children), room)
    return Vector(kind, vector.rows, valid, data, children)


def take(vector: Vector, indexes: Array, room: Room) -> Vector:
    """The values of `vector` at `indexes`, which must lie within it. Raises `WireError` for want of room."""
    kind, rows = vector.type, len(indexes)
    valid = vector.valid[indexes] if vector.valid is not None else None
    if valid is not None and bool(valid.all()):
        valid = None
    room.take((kind.bytes or ENTRY_BYTES) * rows)
    data, children = vector.data, vector.children
    if kind.bytes:
        data = data[indexes]
    elif kind.id in types.STRINGS:
        strings = data.strings(vector.rows) if isinstance(data, Packed) else data
        sizes = np.fromiter(map(len, strings), np.int64, len(strings))
        room.take(int(sizes[indexes].sum()))
        data = [strings[at] for at in indexes.tolist()]
    elif kind.id in types.STRUCTS:
        children = [take(each, indexes, room) for each in children]
    elif kind.id == types.ARRAY:
        room.take(8 * rows * kind.size)
        within = np.repeat(indexes * kind.size, kind.size) + np.tile(np.arange(kind.size), rows)
        children = [take(children[0], within, room)]
    else:
        starts = (np.cumsum(data) - data)[indexes]
        data = data[indexes]
        children = [gathered(children[0], starts, data, room)]
    return Vector(kind, rows, valid, data, children)
