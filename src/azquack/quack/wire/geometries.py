"""WKB, the form in which DuckDB 1.5 holds and sends a GEOMETRY."""

from __future__ import annotations

import struct

DEPTH = 32
POINT, LINESTRING, POLYGON, COLLECTION = 1, 2, 3, 7
# The kind of the parts of a MULTIPOINT, MULTILINESTRING and MULTIPOLYGON.
PARTS = {4: POINT, 5: LINESTRING, 6: POLYGON}
NUMBERS = 8


def is_wkb(raw: bytes) -> bool:
    """Whether `raw` is one geometry, little-endian, without anything behind it."""
    try:
        return _end(raw, 0, None, 0) == len(raw)
    except struct.error:
        return False


def _end(raw: bytes, at: int, like: tuple[int, int] | None, depth: int) -> int:
    """Where the geometry at `at` ends; -1 if it is none, or not `like` this kind (0: any) and dimensions."""
    order, meta = struct.unpack_from("<BI", raw, at)
    flags, kind = divmod(meta, 1000)
    at += 5
    if order != 1 or not 1 <= kind <= COLLECTION or flags > 3 or depth > DEPTH:
        return -1
    if like is not None and (like[0] not in (0, kind) or like[1] != flags):
        return -1
    width = NUMBERS * (2, 3, 3, 4)[flags]
    if kind == POINT:
        return _within(raw, at + width)
    (count,) = struct.unpack_from("<I", raw, at)
    at += 4
    if kind == LINESTRING:
        return _within(raw, at + count * width)
    for _ in range(count):
        if kind == POLYGON:
            (points,) = struct.unpack_from("<I", raw, at)
            at = _within(raw, at + 4 + points * width)
        else:
            at = _end(raw, at, (PARTS.get(kind, 0), flags), depth + 1)
        if at < 0:
            return -1
    return at


def _within(raw: bytes, at: int) -> int:
    return at if at <= len(raw) else -1
