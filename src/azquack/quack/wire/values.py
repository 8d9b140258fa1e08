"""Which values a type has: what DuckDB relies on and does not look at again.

A TIME of more than a day, a DECIMAL of too many digits, an ENUM beyond its values, a BIT without its padding: SQL
makes none of them, and DuckDB reads past its own tables and buffers when it shows one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from azquack.errors import WireError
from azquack.quack.wire import geometries, types
from azquack.quack.wire.types import Type

WKB = 1
DAY = 86_400_000_000
INFINITY = (1 << 63) - 1
FIRST_TIMESTAMP = -9_223_372_022_400_000_000
ZONES = 2 * 57_599
BIGNUM_HEAD = 3

_PAIR = np.dtype([("low", "<u8"), ("high", "<i8")])
DTYPES: dict[int, Any] = {
    types.BOOLEAN: "u1", types.UTINYINT: "u1", types.USMALLINT: "<u2", types.UINTEGER: "<u4", types.UBIGINT: "<u8",
    types.FLOAT: "<u4", types.DOUBLE: "<u8", types.TIME_TZ: "<u8", types.INTERVAL: _PAIR, types.HUGEINT: _PAIR,
    types.UHUGEINT: _PAIR, types.UUID: _PAIR,
}  # fmt: skip


def dtype(kind: Type) -> Any:
    """How numpy holds the values of a type whose values are of one size."""
    if kind.id == types.ENUM:
        return f"<u{kind.bytes}"
    return DTYPES.get(kind.id) or (_PAIR if kind.bytes == 16 else f"<i{kind.bytes}")


def check(kind: Type, data: NDArray[Any]) -> None:
    """Raises `WireError` when one of `data`, of which NULLs are 0, is no value of `kind`."""
    if not len(data):
        return
    if kind.id == types.DECIMAL:
        fits = _decimals(data, 10**kind.width)
    elif kind.id == types.ENUM:
        fits = int(data.max()) < len(kind.values)
    else:
        rule = _RULES.get(kind.id)
        fits = rule is None or rule(data)
    if not fits:
        raise WireError(f"A value does not lie in the range of its type ({kind.id})")


def _decimals(data: NDArray[Any], bound: int) -> bool:
    if data.dtype != _PAIR:
        return -bound < int(data.min()) and int(data.max()) < bound
    limits = [(each >> 64, each & (1 << 64) - 1) for each in (-bound, bound)]
    (least, least_low), (most, most_low) = limits
    high, low = data["high"], data["low"]
    above = (high > least) | ((high == least) & (low > np.uint64(least_low)))
    below = (high < most) | ((high == most) & (low < np.uint64(most_low)))
    return bool((above & below).all())


def _between(least: int, most: int) -> Callable[[NDArray[Any]], bool]:
    return lambda data: least <= int(data.min()) and int(data.max()) <= most


def _moments(unit: int) -> Callable[[NDArray[Any]], bool]:
    """Of points in time, counted in `unit` microseconds: those that are, and the two infinities."""

    def fits(data: NDArray[Any]) -> bool:
        least, most = int(data.min()), int(data.max())
        first, last = FIRST_TIMESTAMP // unit, INFINITY // unit
        if first <= least and most <= last:
            return True
        finite = data[(data != INFINITY) & (data != -INFINITY)]
        return not len(finite) or (first <= int(finite.min()) and int(finite.max()) <= last)

    return fits


def _zoned(data: NDArray[Any]) -> bool:
    return int((data >> np.uint64(24)).max()) <= DAY and int((data & np.uint64(0xFFFFFF)).max()) <= ZONES


_RULES: dict[int, Callable[[NDArray[Any]], bool]] = {
    types.BOOLEAN: lambda data: int(data.max()) <= 1,
    types.DATE: lambda data: int(data.min()) > -(1 << 31),
    types.TIME: _between(0, DAY),
    types.TIME_NS: _between(0, DAY * 1000),
    types.TIME_TZ: _zoned,
    types.TIMESTAMP: _moments(1),
    types.TIMESTAMP_TZ: _moments(1),
    types.TIMESTAMP_MS: _moments(1000),
    types.TIMESTAMP_S: _moments(1_000_000),
    types.TIMESTAMP_NS: lambda data: int(data.min()) > -(1 << 63),
}


def check_strings(kind: Type, strings: list[bytes]) -> None:
    """Raises `WireError` when one of `strings`, none of them NULL, is no value of `kind`."""
    match kind.id:
        case types.VARCHAR:
            try:
                # A letter that is cut off at the end of one string cannot go on in the next, for one is between.
                b"\n".join(strings).decode()
            except UnicodeDecodeError:
                raise WireError("A VARCHAR is not UTF-8") from None
        case types.BIT if not all(map(_is_bits, strings)):
            raise WireError("A BIT is not one")
        case types.BIGNUM if not all(map(_is_bignum, strings)):
            raise WireError("A BIGNUM is not one")
        case types.GEOMETRY if not all(map(geometries.is_wkb, strings)):
            raise WireError("A GEOMETRY is not well-formed WKB")


def _is_bits(raw: bytes) -> bool:
    """The number of padding bits, then the bits, of which the padding is set."""
    return len(raw) > 1 and raw[0] < 8 and raw[1] >> 8 - raw[0] == (1 << raw[0]) - 1


def _is_bignum(raw: bytes) -> bool:
    """The number of bytes, with its highest bit set, then those; of a negative number all inverted."""
    if len(raw) <= BIGNUM_HEAD:
        return False
    if not raw[0] & 0x80:
        raw = bytes(byte ^ 0xFF for byte in raw)
        if raw[BIGNUM_HEAD:] == b"\0":
            return False
    size = len(raw) - BIGNUM_HEAD
    return int.from_bytes(raw[:BIGNUM_HEAD], "big") == 1 << 23 | size and (size == 1 or raw[BIGNUM_HEAD] > 0)
