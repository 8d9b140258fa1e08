"""DuckDB's types as they stand in a message: what they are made of, read strictly and written anew.

Facts from DuckDB 1.5.5's `LogicalType`, `ExtraTypeInfo` and their serialization. A type that values of a table can
not have (a pointer, the state of an aggregate, a type that is not bound yet) is refused, and so are extensions' own
modifiers and properties: DuckDB would take them as they come.
"""

from __future__ import annotations

from dataclasses import dataclass

from azquack.errors import WireError
from azquack.quack.wire.fields import END, Reader, field, string, text_field, varint

DEPTH = 32
CHILDREN = 4096
ARRAY_SIZE = 100_000
UNION_MEMBERS = 256
ENUM_VALUES = 1 << 20
# DuckDB makes room for this many rows of a chunk, however few it has.
VECTOR_ROWS = 2048

BOOLEAN, TINYINT, SMALLINT, INTEGER, BIGINT, DATE, TIME = 10, 11, 12, 13, 14, 15, 16
TIMESTAMP_S, TIMESTAMP_MS, TIMESTAMP, TIMESTAMP_NS = 17, 18, 19, 20
DECIMAL, FLOAT, DOUBLE, VARCHAR, BLOB, INTERVAL = 21, 22, 23, 25, 26, 27
UTINYINT, USMALLINT, UINTEGER, UBIGINT, TIMESTAMP_TZ = 28, 29, 30, 31, 32
TIME_TZ, TIME_NS, BIT, BIGNUM, UHUGEINT, HUGEINT, UUID = 34, 35, 36, 39, 49, 50, 54
GEOMETRY, STRUCT, LIST, MAP, ENUM, UNION, ARRAY, VARIANT = 60, 100, 101, 102, 104, 107, 108, 109

# Bytes of a value, for the types whose values are all of one size and need nothing but their number.
WIDTHS = {
    BOOLEAN: 1, TINYINT: 1, UTINYINT: 1, SMALLINT: 2, USMALLINT: 2, INTEGER: 4, UINTEGER: 4, DATE: 4, FLOAT: 4,
    BIGINT: 8, UBIGINT: 8, DOUBLE: 8, TIME: 8, TIME_TZ: 8, TIME_NS: 8, TIMESTAMP: 8, TIMESTAMP_TZ: 8,
    TIMESTAMP_S: 8, TIMESTAMP_MS: 8, TIMESTAMP_NS: 8, INTERVAL: 16, HUGEINT: 16, UHUGEINT: 16, UUID: 16,
}  # fmt: skip
STRINGS = frozenset((VARCHAR, BLOB, BIT, BIGNUM, GEOMETRY))
STRUCTS = frozenset((STRUCT, UNION, VARIANT))
LISTS = frozenset((LIST, MAP))
# The kinds of type information: what stands behind the id of a type.
_GENERIC, _DECIMAL, _STRING, _LIST, _STRUCT, _ENUM, _ARRAY, _GEO = 1, 2, 3, 4, 5, 6, 9, 13
_NEEDS = {
    DECIMAL: _DECIMAL, LIST: _LIST, MAP: _LIST, STRUCT: _STRUCT, UNION: _STRUCT, VARIANT: _STRUCT, ENUM: _ENUM,
    ARRAY: _ARRAY,
}  # fmt: skip
_MAY_HAVE = {VARCHAR: _STRING, GEOMETRY: _GEO}


@dataclass(frozen=True, slots=True)
class Type:
    """A type: `id` is DuckDB's, `alias` the name of a user's type or JSON.

    `children` are the types within it, with their names: the fields of a STRUCT, the tag (without a name) and the
    members of a UNION, the one element of a LIST, MAP (a STRUCT of key and value) or ARRAY of `size` elements.
    `values` are those of an ENUM, `width` and `scale` of a DECIMAL, `note` the collation of a VARCHAR or the
    coordinate system of a GEOMETRY.
    """

    id: int
    alias: str = ""
    children: tuple[tuple[str, Type], ...] = ()
    size: int = 0
    values: tuple[str, ...] = ()
    width: int = 0
    scale: int = 0
    note: str = ""

    @property
    def bytes(self) -> int:
        """Bytes of a value on the wire; 0 where they are not of one size."""
        if self.id == DECIMAL:
            return next(size for size, width in ((2, 4), (4, 9), (8, 18), (16, 38)) if self.width <= width)
        if self.id == ENUM:
            return next(size for size in (1, 2, 4) if len(self.values) < 256**size)
        return WIDTHS.get(self.id, 0)

    @property
    def room(self) -> int:
        """Bytes that DuckDB sets aside for a row before it has read one."""
        inner = sum(child.room for _, child in self.children)
        if self.id == ARRAY:
            return inner * self.size
        return inner if self.id in STRUCTS else inner + (self.bytes or 16)


def read_type(read: Reader, depth: int = 0) -> Type:
    """The type that comes next. Raises `WireError` for one that is not whole, or that no table can have."""
    if depth > DEPTH:
        raise WireError(f"A type is nested deeper than {DEPTH} levels")
    read.need(100)
    number = read.varint()
    if number in WIDTHS and read.data.startswith(END, read.at):
        read.at += 2
        return PLAIN[number]
    if number not in WIDTHS and number not in STRINGS and number not in _NEEDS:
        raise WireError(f"Type {number} is none that a table can have")
    if not read.field(101):
        read.end()
        if number in _NEEDS:
            raise WireError(f"Type {number} lacks what it consists of")
        return Type(number)
    if read.take(1) != b"\x01":
        raise WireError("What a type consists of is left out and announced")
    result = _info(read, number, depth)
    read.end()
    read.end()
    return result


def _info(read: Reader, number: int, depth: int) -> Type:
    read.need(100)
    kind = read.varint()
    if kind != _NEEDS.get(number) and (number in _NEEDS or kind not in (_GENERIC, _MAY_HAVE.get(number))):
        raise WireError(f"Type {number} does not go with information of kind {kind}")
    alias = read.name_field(101)
    if read.field(102) or read.field(103):
        raise WireError("A type has modifiers or properties of an extension, which are not known here")
    match kind:
        case 2:
            width, scale = read.number_field(200), read.number_field(201)
            if not 1 <= width <= 38 or scale > width:
                raise WireError("A DECIMAL has an impossible width or scale")
            return Type(number, alias, width=width, scale=scale)
        case 4:
            read.need(200)
            return _list(number, alias, read_type(read, depth + 1))
        case 5:
            read.need(200)
            return _struct(number, alias, _fields(read, depth))
        case 6:
            return Type(number, alias, values=_values(read))
        case 9:
            read.need(200)
            element, size = read_type(read, depth + 1), read.number_field(201)
            if not 1 <= size <= ARRAY_SIZE:
                raise WireError(f"An ARRAY has 1 to {ARRAY_SIZE} elements")
            return Type(number, alias, (("", element),), size)
        case 3:
            return Type(number, alias, note=read.name_field(200))
        case 13:
            read.need(200)
            system = read.name_field(100)
            read.end()
            return Type(number, alias, note=system)
        case _:
            return Type(number, alias)


def _fields(read: Reader, depth: int) -> tuple[tuple[str, Type], ...]:
    count = read.varint()
    if not 1 <= count <= CHILDREN:
        raise WireError(f"A STRUCT has 1 to {CHILDREN} fields")
    fields = []
    for _ in range(count):
        read.need(0)
        name = read.name()
        read.need(1)
        fields.append((name, read_type(read, depth + 1)))
        read.end()
    return tuple(fields)


def _values(read: Reader) -> tuple[str, ...]:
    read.need(200)
    count = read.varint()
    read.need(201)
    if count != read.varint() or not 1 <= count <= ENUM_VALUES:
        raise WireError(f"An ENUM has 1 to {ENUM_VALUES} values")
    values = tuple(read.name() for _ in range(count))
    if len(set(values)) != count:
        raise WireError("An ENUM has a value twice")
    return values


def _list(number: int, alias: str, element: Type) -> Type:
    if number == MAP and (element.id != STRUCT or [name for name, _ in element.children] != ["key", "value"]):
        raise WireError("A MAP is a list of keys and values")
    return Type(number, alias, (("", element),))


def _struct(number: int, alias: str, fields: tuple[tuple[str, Type], ...]) -> Type:
    names = [name.casefold() for name, _ in fields if name]
    if len(set(names)) != len(names):
        raise WireError("A STRUCT has two fields of one name")
    if number == UNION and (
        len(fields) < 2 or len(fields) > UNION_MEMBERS + 1 or fields[0] != ("", Type(UTINYINT))
    ):
        raise WireError(f"A UNION has a tag and 1 to {UNION_MEMBERS} members")
    if number == VARIANT and fields != VARIANT_FIELDS:
        raise WireError("A VARIANT has other fields than DuckDB gives it")
    return Type(number, alias, fields)


def write_type(kind: Type) -> bytes:
    """`kind` as DuckDB writes it."""
    info = _written_info(kind)
    start = field(100, varint(kind.id))
    return start + (field(101, b"\x01" + info + END) if info else b"") + END


def _written_info(kind: Type) -> bytes:
    number = _NEEDS.get(kind.id)
    if number is None:
        number = _MAY_HAVE.get(kind.id, 0) if kind.note else _GENERIC if kind.alias else 0
    if not number:
        return b""
    start = field(100, varint(number)) + text_field(101, kind.alias)
    match number:
        case 2:
            return (
                start
                + field(200, varint(kind.width))
                + (field(201, varint(kind.scale)) if kind.scale else b"")
            )
        case 4:
            return start + field(200, write_type(kind.children[0][1]))
        case 5:
            each = [
                field(0, string(name)) + field(1, write_type(child)) + END for name, child in kind.children
            ]
            return start + field(200, varint(len(each)) + b"".join(each))
        case 6:
            count = varint(len(kind.values))
            return start + field(200, count) + field(201, count + b"".join(map(string, kind.values)))
        case 9:
            return start + field(200, write_type(kind.children[0][1])) + field(201, varint(kind.size))
        case 3:
            return start + text_field(200, kind.note)
        case 13:
            return start + field(200, text_field(100, kind.note) + END)
        case _:
            return start


def _of_list(*fields: tuple[str, int]) -> Type:
    return Type(
        LIST, children=(("", Type(STRUCT, children=tuple((name, Type(each)) for name, each in fields))),)
    )


PLAIN = {number: Type(number) for number in WIDTHS}
VARIANT_FIELDS = (
    ("keys", Type(LIST, children=(("", Type(VARCHAR)),))),
    ("children", _of_list(("keys_index", UINTEGER), ("values_index", UINTEGER))),
    ("values", _of_list(("type_id", UTINYINT), ("byte_offset", UINTEGER))),
    ("data", Type(BLOB)),
)
