"""Chunks of every type and form, made by chance as a list of tokens, so that a test can change one of them.

A token is one thing that DuckDB reads: a field id, a number, a piece of raw data, an end.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from dataclasses import dataclass

from azquack.quack import wire
from azquack.quack.wire import types
from azquack.quack.wire.fields import NONE, signed_varint, varint
from azquack.quack.wire.types import Type

SCALARS = [
    *types.WIDTHS, types.VARCHAR, types.BLOB, types.BIT, types.BIGNUM, types.DECIMAL, types.ENUM, types.GEOMETRY,
]  # fmt: skip
NESTED = [types.STRUCT, types.LIST, types.MAP, types.UNION, types.ARRAY]
WORDS = ["", "a", "ä", "row 7", "Grüße", "日本", "\U0001f986", "x" * 127, "y" * 128, "0"]
HOUR = 3_600_000_000


@dataclass(slots=True)
class Token:
    """`kind` is field, number, signed, raw or end; `value` what it holds."""

    kind: str
    value: int | bytes

    def written(self) -> bytes:
        match self.kind, self.value:
            case "field", int(number):
                return (number & 0xFFFF).to_bytes(2, "little")
            case "number", int(number):
                return varint(number & NONE)
            case "signed", int(number):
                return signed_varint(number)
            case _, bytes(raw):
                return raw
            case _:
                raise AssertionError(self)


def written(tokens: list[Token]) -> bytes:
    """The bytes of `tokens`."""
    return b"".join(token.written() for token in tokens)


class Maker:
    """Makes types, vectors and chunks; the same ones for the same `seed`."""

    def __init__(self, seed: int, depth: int = 3, leave_out: frozenset[int] = frozenset()) -> None:
        self.random = random.Random(seed)
        self._depth = depth
        self._scalars = [each for each in SCALARS if each not in leave_out]
        self.tokens: list[Token] = []

    def _add(self, kind: str, value: int | bytes) -> None:
        self.tokens.append(Token(kind, value))

    def _field(self, number: int, value: int | None = None) -> None:
        self._add("field", number)
        if value is not None:
            self._add("number", value)

    def _text(self, raw: bytes) -> None:
        self._add("number", len(raw))
        self._add("raw", raw)

    def _end(self) -> None:
        self._add("end", b"\xff\xff")

    def append(self, connection_id: str, schema: str, table: str) -> list[Type]:
        """The tokens of an APPEND; the types of its columns."""
        self.tokens = [Token("raw", wire.messages.header(wire.MessageType.APPEND, connection_id))]
        for number, name in ((1, schema), (2, table)):
            self._field(number)
            self._text(name.encode())
        self._field(3)
        self._add("raw", b"\x01")
        self._field(300)
        rows = self.random.choice([1, 2, 3, 7, 63, 64, 65, 100])
        kinds = [self.type() for _ in range(self.random.randrange(1, 4))]
        self._field(100, rows)
        self._field(101, len(kinds))
        for kind in kinds:
            self._type(kind)
        self._field(102, len(kinds))
        for kind in kinds:
            self._vector(kind, rows)
            self._end()
        for _ in range(3):
            self._end()
        return kinds

    def type(self, depth: int = 0) -> Type:
        """A type by chance."""
        if depth < self._depth and self.random.random() < 0.3:
            number = self.random.choice(NESTED)
            inner = [self.type(depth + 1) for _ in range(self.random.randrange(1, 4))]
            named = tuple((f"f{at}", each) for at, each in enumerate(inner))
            match number:
                case types.STRUCT:
                    return Type(number, children=named)
                case types.UNION:
                    return Type(number, children=(("", Type(types.UTINYINT)), *named))
                case types.MAP:
                    pair = Type(types.STRUCT, children=(("key", inner[0]), ("value", inner[-1])))
                    return Type(number, children=(("", pair),))
                case types.ARRAY:
                    return Type(number, children=(("", inner[0]),), size=self.random.randrange(1, 4))
                case _:
                    return Type(number, children=(("", inner[0]),))
        number = self.random.choice(self._scalars)
        if number == types.DECIMAL:
            width = self.random.randrange(1, 39)
            return Type(number, width=width, scale=self.random.randrange(width + 1))
        if number == types.ENUM:
            return Type(
                number, values=tuple(f"v{at}" for at in range(self.random.choice([1, 3, 255, 256, 300])))
            )
        return Type(number)

    def _type(self, kind: Type) -> None:
        self._field(100, kind.id)
        if kind.children or kind.values or kind.width:
            self._type_info(kind)
        self._end()

    def _type_info(self, kind: Type) -> None:
        self._field(101)
        self._add("raw", b"\x01")
        match kind.id:
            case types.DECIMAL:
                self._field(100, 2)
                self._field(200, kind.width)
                if kind.scale:
                    self._field(201, kind.scale)
            case types.ENUM:
                self._field(100, 6)
                self._field(200, len(kind.values))
                self._field(201, len(kind.values))
                for value in kind.values:
                    self._text(value.encode())
            case types.LIST | types.MAP:
                self._field(100, 4)
                self._field(200)
                self._type(kind.children[0][1])
            case types.ARRAY:
                self._field(100, 9)
                self._field(200)
                self._type(kind.children[0][1])
                self._field(201, kind.size)
            case _:
                self._field(100, 5)
                self._field(200, len(kind.children))
                for name, child in kind.children:
                    self._field(0)
                    self._text(name.encode())
                    self._field(1)
                    self._type(child)
                    self._end()
        self._end()

    def _vector(self, kind: Type, rows: int, *, plain: bool = False, full: bool = False) -> None:
        """The tokens of a vector without its end; `plain`: flat; `full`: without NULL."""
        chance = self.random.random() if rows and not plain else 1.0
        if chance < 0.1 and not full:
            self._field(90, 2)
            self._flat(kind, 1, full=full)
        elif chance < 0.3:
            count = self.random.randrange(1, 6)
            self._field(90, 3)
            picks = [self.random.randrange(count) for _ in range(rows)]
            self._field(91, 4 * rows)
            self._add("raw", struct.pack(f"<{rows}I", *picks))
            self._field(92, count)
            self._flat(kind, count, full=full)
        elif chance < 0.4 and kind.id in (types.TINYINT, types.SMALLINT, types.INTEGER, types.BIGINT):
            self._field(90, 4)
            self._field(91)
            self._add("signed", self.random.randrange(-10, 10))
            self._field(92)
            self._add("signed", self.random.randrange(-1, 2))
        else:
            self._flat(kind, rows, full=full, plain=plain)

    def _flat(self, kind: Type, rows: int, *, full: bool = False, plain: bool = True) -> None:
        if kind.id == types.GEOMETRY:
            self._field(99, 1)
        self._field(100)
        absent = (
            [not full and self.random.random() < 0.2 for _ in range(rows)] if not full else [False] * rows
        )
        if any(absent) and self.random.random() < 0.7:
            self._add("raw", b"\x01")
            mask = (
                sum((not gone) << at for at, gone in enumerate(absent))
                | (-1 << rows) & (1 << (rows + 63) // 64 * 64) - 1
            )
            self._field(101, (rows + 63) // 64 * 8)
            self._add("raw", mask.to_bytes((rows + 63) // 64 * 8, "little"))
        else:
            self._add("raw", b"\x00")
        if kind.bytes:
            self._field(102, kind.bytes * rows)
            self._add("raw", b"".join(self._value(kind) for _ in range(rows)))
        elif kind.id in types.STRINGS:
            self._field(102, rows)
            for _ in range(rows):
                self._text(self._string(kind))
        elif kind.id in (types.STRUCT, types.UNION):
            self._field(103, len(kind.children))
            for at, (_, child) in enumerate(kind.children):
                if kind.id == types.UNION and at == 0:
                    self._tags(len(kind.children) - 1, rows)
                else:
                    self._vector(child, rows, plain=plain, full=full and at == 0)
                self._end()
        elif kind.id == types.ARRAY:
            self._field(103, kind.size)
            self._field(104)
            self._vector(kind.children[0][1], rows * kind.size, plain=plain)
            self._end()
        else:
            self._lists(kind, rows, plain=plain)

    def _tags(self, members: int, rows: int) -> None:
        self._field(100)
        self._add("raw", b"\x00")
        self._field(102, rows)
        self._add("raw", bytes(self.random.randrange(members) for _ in range(rows)))

    def _lists(self, kind: Type, rows: int, *, plain: bool) -> None:
        lengths = [self.random.choice([0, 0, 1, 2, 3]) for _ in range(rows)]
        size = sum(lengths)
        self._field(104, size)
        self._field(105, rows)
        at = 0
        for length in lengths:
            self._field(100, at)
            self._field(101, length)
            self._end()
            at += length
        self._field(106)
        self._vector(kind.children[0][1], size, plain=plain, full=kind.id == types.MAP)
        self._end()

    def _string(self, kind: Type) -> bytes:
        match kind.id:
            case types.VARCHAR:
                return self.random.choice(WORDS).encode()
            case types.BIT:
                pad = self.random.randrange(8)
                first = (0xFF << 8 - pad | self.random.randrange(1 << 8 - pad)) & 0xFF
                return bytes([pad, first]) + self.random.randbytes(self.random.randrange(3))
            case types.BIGNUM:
                return self.random.choice(
                    [b"\x80\0\1\0", b"\x80\0\1\7", b"\x7f\xff\xfe\xfe", b"\x80\0\2\1\0"]
                )
            case types.GEOMETRY:
                point = struct.pack("<BIdd", 1, 1, self.random.random(), 2.0)
                line = struct.pack("<BII4d", 1, 2, 2, 0, 0, 1, 1)
                return self.random.choice([point, line, struct.pack("<BII", 1, 7, 2) + point + line])
            case _:
                return self.random.randbytes(self.random.choice([0, 1, 5, 200]))

    def _value(self, kind: Type) -> bytes:
        pick = self.random.randrange
        ranged: dict[int, Callable[[], int]] = {
            types.BOOLEAN: lambda: pick(2),
            types.DATE: lambda: pick(-100_000, 100_000),
            types.TIME: lambda: pick(24 * HOUR + 1),
            types.TIME_NS: lambda: pick(24 * HOUR * 1000 + 1),
            types.TIME_TZ: lambda: pick(24 * HOUR + 1) << 24 | pick(2 * 57_599 + 1),
            types.TIMESTAMP: lambda: self.random.choice([pick(-(10**16), 10**16), (1 << 63) - 1]),
            types.TIMESTAMP_TZ: lambda: pick(-(10**16), 10**16),
            types.TIMESTAMP_MS: lambda: pick(-(10**13), 10**13),
            types.TIMESTAMP_S: lambda: pick(-(10**10), 10**10),
            types.TIMESTAMP_NS: lambda: pick(-(10**18), 10**18),
            types.ENUM: lambda: pick(len(kind.values)),
            types.DECIMAL: lambda: pick(-(10**kind.width) + 1, 10**kind.width),
        }
        if kind.id in ranged:
            number = ranged[kind.id]()
            return number.to_bytes(
                kind.bytes, "little", signed=number < 0 or kind.id not in (types.ENUM, types.TIME_TZ)
            )
        return self.random.randbytes(kind.bytes)


class Mutator:
    """Changes tokens as nobody's DuckDB writes them."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def change(self, tokens: list[Token]) -> list[Token]:
        """`tokens` with one to three of them changed, doubled, swapped or gone."""
        result = [Token(each.kind, each.value) for each in tokens]
        for _ in range(self._random.choice([1, 1, 1, 2, 3])):
            # The header stays: it says whose session it is.
            at = self._random.randrange(1, len(result))
            if self._random.random() < 0.6:
                values = [each for each in range(1, len(result)) if result[each].kind not in ("field", "end")]
                at = self._random.choice(values or [at])
            match self._random.randrange(12):
                case 0:
                    del result[at]
                case 1:
                    result.insert(at, result[self._random.randrange(1, len(result))])
                case 2:
                    del result[at:]
                    result.append(Token("raw", b""))
                case 3:
                    result.insert(at, Token("raw", self._random.randbytes(self._random.randrange(1, 9))))
                case _:
                    result[at] = self._changed(result[at])
            if len(result) < 2:
                return result
        return result

    def _changed(self, token: Token) -> Token:
        pick = self._random
        match token.kind, token.value:
            case "field", int(number):
                return Token("field", pick.choice([number ^ 1, 90, 91, 99, 100, 101, 102, 103, 0xFFFF]))
            case (("number" | "signed"), int(number)):
                near = [number + 1, max(0, number - 1), number * 2, number ^ 0x80]
                far = [
                    0,
                    1,
                    127,
                    128,
                    255,
                    2047,
                    2048,
                    4096,
                    1 << 31,
                    (1 << 32) - 1,
                    1 << 40,
                    (1 << 63) - 1,
                    NONE,
                ]
                changed = pick.choice(near + far)
                if pick.random() < 0.1:
                    return Token(
                        "raw", varint(number & NONE)[:-1] + bytes([varint(number & NONE)[-1] | 0x80, 0])
                    )
                if token.kind == "signed":
                    return Token("signed", pick.choice([-1, 1]) * (changed >> 2))
                return Token("number", changed)
            case "end", _:
                return Token("raw", pick.choice([b"", b"\xff", b"\xff\xff\xff\xff", b"\x64\x00"]))
            case _, bytes(raw):
                return Token("raw", self._bytes(raw))
            case _:
                raise AssertionError(token)

    def _bytes(self, raw: bytes) -> bytes:
        pick = self._random
        if not raw:
            return pick.randbytes(1)
        data = bytearray(raw)
        match pick.randrange(5):
            case 0:
                data[pick.randrange(len(data))] = pick.randrange(256)
            case 1:
                at = pick.randrange(0, max(1, len(data) - 3), 4)
                data[at : at + 4] = pick.choice([1, 5, 100, 2048, 1 << 20, 0xFFFFFFF0]).to_bytes(4, "little")
            case 2:
                data[pick.randrange(len(data)) :] = b"\xff" * (len(data) - pick.randrange(len(data)))
            case 3:
                del data[pick.randrange(len(data)) :]
            case _:
                return pick.randbytes(len(data))
        return bytes(data)
