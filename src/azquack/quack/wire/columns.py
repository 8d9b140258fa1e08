"""The columns of a message, read strictly, held in one neutral form and written anew.

DuckDB writes a vector flat, as one constant, as a dictionary with indexes into it, or (whole numbers) as a
sequence; it reads them back without a look at what they hold. Here everything is held against the bytes and
counts that are there, and comes out flat: NULLs are zeros, lists lie one behind the other in their order, what
is beneath a NULL is NULL. So what is written again holds nothing but values that were sent.
"""

from __future__ import annotations

import re

import numpy as np

from azquack.errors import WireError
from azquack.quack.wire import types, values
from azquack.quack.wire.fields import END, NONE, Reader, field, varint
from azquack.quack.wire.types import Type
from azquack.quack.wire.vectors import ENTRY_BYTES, Array, Packed, Room, Vector, gathered, settled, take

FLAT, CONSTANT, DICTIONARY, SEQUENCE = 0, 2, 3, 4
SEQUENCES = {types.TINYINT: 7, types.SMALLINT: 15, types.INTEGER: 31, types.BIGINT: 63}
# An object of two numbers: offset and length of a list.
ENTRY = re.compile(rb"d\0([\x80-\xff]*[\0-\x7f])e\0([\x80-\xff]*[\0-\x7f])\xff\xff")


def read_vector(read: Reader, kind: Type, rows: int, room: Room, *, plain: bool = False) -> Vector:
    """`rows` values of type `kind`, which come next; `plain`: they must be flat. Raises `WireError`."""
    form = read.varint() if read.field(90) else FLAT
    if form == FLAT:
        return _flat(read, kind, rows, room, plain=plain)
    if plain or rows == 0:
        raise WireError("A vector has a form that DuckDB does not write there")
    if form == CONSTANT:
        # Before the indexes are made: of a list's elements there may be any number.
        room.take(8 * rows)
        return take(read_vector(read, kind, 1, room, plain=True), np.zeros(rows, np.int64), room)
    if form == DICTIONARY:
        read.need(91)
        if read.varint() != 4 * rows:
            raise WireError("A dictionary vector has another number of indexes than rows")
        indexes = np.frombuffer(read.take(4 * rows), "<u4")
        read.need(92)
        count = read.varint()
        if int(indexes.max()) >= count:
            raise WireError("A dictionary vector points outside of its dictionary")
        return take(read_vector(read, kind, count, room, plain=True), indexes.astype(np.int64), room)
    if form == SEQUENCE and kind.id in SEQUENCES:
        return _sequence(read, kind, rows, room)
    raise WireError(f"A vector has form {form}, which is not known for its type")


def _sequence(read: Reader, kind: Type, rows: int, room: Room) -> Vector:
    read.need(91)
    start = read.signed()
    read.need(92)
    step = read.signed()
    bound = 1 << SEQUENCES[kind.id]
    if not all(-bound <= each < bound for each in (start, step, start + step * (rows - 1))):
        raise WireError("A sequence leaves the range of its type")
    room.take(kind.bytes * rows)
    whole = np.arange(rows, dtype=np.int64) * np.int64(step) + np.int64(start)
    return Vector(kind, rows, None, whole.astype(f"<i{kind.bytes}"))


def _flat(read: Reader, kind: Type, rows: int, room: Room, *, plain: bool) -> Vector:
    room.take((kind.bytes or ENTRY_BYTES) * rows)
    if kind.id == types.GEOMETRY:
        read.need(99)
        if read.varint() != values.WKB:
            raise WireError("A GEOMETRY comes in another format than WKB")
    valid = _validity(read, rows)
    if kind.bytes:
        read.need(102)
        if read.varint() != kind.bytes * rows:
            raise WireError("A column has another number of values than rows")
        data = np.frombuffer(read.take(kind.bytes * rows), values.dtype(kind))
        if valid is not None and rows:
            data = data.copy()
            data[~valid] = 0
        values.check(kind, data)
        return Vector(kind, rows, valid, data)
    if kind.id in types.STRINGS:
        if read.field(107) and (size := read.varint()) != NONE:
            return _joined(read, kind, rows, valid, size)
        read.need(102)
        _count(read, rows)
        return _text(read, kind, rows, valid)
    if kind.id in types.STRUCTS:
        read.need(103)
        _count(read, len(kind.children))
        children = []
        for _, each in kind.children:
            children.append(read_vector(read, each, rows, room, plain=plain))
            read.end()
        return settled(Vector(kind, rows, valid, None, children), room)
    if kind.id == types.ARRAY:
        read.need(103)
        if read.varint() != kind.size:
            raise WireError("An ARRAY has another size than its type")
        read.need(104)
        child = read_vector(read, kind.children[0][1], rows * kind.size, room, plain=plain)
        read.end()
        return settled(Vector(kind, rows, valid, None, [child]), room)
    return _lists(read, kind, rows, valid, room, plain=plain)


def _count(read: Reader, count: int) -> None:
    if read.varint() != count:
        raise WireError("A column has another number of values or fields than it must have")


def _validity(read: Reader, rows: int) -> Array | None:
    read.need(100)
    flag = read.take(1)
    if flag == b"\x00":
        return None
    if flag != b"\x01" or not rows:
        raise WireError("A column's mark for NULLs is neither yes nor no")
    size = (rows + 63) // 64 * 8
    read.need(101)
    if read.varint() != size:
        raise WireError("A column's NULLs do not fit its rows")
    bits = np.unpackbits(np.frombuffer(read.take(size), np.uint8), bitorder="little")[:rows]
    valid: Array = bits.astype(bool)
    return None if valid.all() else valid


def _text(read: Reader, kind: Type, rows: int, valid: Array | None) -> Vector:
    start = read.at
    data = read.data
    if valid is None:
        ascii_only = read.skip_strings(rows)
        if kind.id == types.BLOB or (kind.id == types.VARCHAR and ascii_only):
            return Vector(kind, rows, None, Packed(data[start : read.at]))
        read.at = start
    strings = read.strings(rows)
    if valid is not None:
        strings = [each if there else b"" for each, there in zip(strings, valid.tolist(), strict=True)]
        values.check_strings(
            kind, [each for each, there in zip(strings, valid.tolist(), strict=True) if there]
        )
        return Vector(kind, rows, valid, strings)
    values.check_strings(kind, strings)
    return Vector(kind, rows, None, Packed(data[start : read.at]))


def _joined(read: Reader, kind: Type, rows: int, valid: Array | None, size: int) -> Vector:
    """Strings as DuckDB 2.x writes them: the `size` of all, the length of each, then those that are not NULL."""
    read.need(108)
    if read.varint() != 4 * rows:
        raise WireError("A column has another number of lengths than rows")
    lengths = np.frombuffer(read.take(4 * rows), "<u4").astype(np.int64)
    read.need(109)
    if read.varint() != size:
        raise WireError("A column's strings take other bytes than announced")
    data = read.take(size)
    if valid is not None:
        lengths = np.where(valid, lengths, 0)
    ends = np.cumsum(lengths)
    if (int(ends[-1]) if rows else 0) != size:
        raise WireError("A column's strings do not fit its lengths")
    strings = [data[end - length : end] for end, length in zip(ends.tolist(), lengths.tolist(), strict=True)]
    there = strings if valid is None else [strings[at] for at in np.flatnonzero(valid).tolist()]
    values.check_strings(kind, there)
    return Vector(kind, rows, valid, strings)


def _lists(read: Reader, kind: Type, rows: int, valid: Array | None, room: Room, *, plain: bool) -> Vector:
    read.need(104)
    size = read.varint()
    read.need(105)
    _count(read, rows)
    numbers = _entries(read, rows)
    read.need(106)
    child = read_vector(read, kind.children[0][1], size, room, plain=plain)
    read.end()
    if max(numbers, default=0) > size:
        raise WireError("A list reaches outside of its elements")
    entries = np.array(numbers, np.int64).reshape(rows, 2)
    starts, lengths = entries[:, 0], entries[:, 1]
    if valid is not None:
        lengths = np.where(valid, lengths, 0)
    if bool((starts + lengths > size)[lengths > 0].any()):
        raise WireError("A list reaches outside of its elements")
    elements = gathered(child, starts, lengths, room)
    if kind.id == types.MAP and (elements.valid is not None or elements.children[0].valid is not None):
        raise WireError("A MAP has a key that is NULL")
    return Vector(kind, rows, valid, lengths, [elements])


def _entries(read: Reader, rows: int) -> list[int]:
    """Offset and length of each list."""
    data, at = read.data, read.at
    numbers = []
    for _ in range(rows):
        entry = ENTRY.match(data, at)
        if entry is None:
            raise WireError("The entries of a list are not whole")
        for each in entry.groups():
            numbers.append(each[0] if len(each) == 1 else Reader(each).varint())
        at = entry.end()
    read.at = at
    return numbers


def write_vector(parts: list[bytes], vector: Vector) -> None:
    """Adds the fields of `vector`, flat, and its end to `parts`."""
    kind, rows = vector.type, vector.rows
    if kind.id == types.GEOMETRY:
        parts.append(field(99, varint(values.WKB)))
    if vector.valid is None:
        parts.append(b"d\0\0")
    else:
        bits = np.ones((rows + 63) // 64 * 64, np.uint8)
        bits[:rows] = vector.valid
        packed = np.packbits(bits, bitorder="little").tobytes()
        parts.append(b"d\0\1" + field(101, varint(len(packed)) + packed))
    if kind.bytes:
        parts += [field(102, varint(kind.bytes * rows)), vector.data.tobytes()]
    elif kind.id in types.STRINGS:
        parts.append(field(102, varint(rows)))
        if isinstance(vector.data, Packed):
            parts.append(vector.data.raw)
        else:
            parts += [piece for each in vector.data for piece in (varint(len(each)), each)]
    elif kind.id in types.STRUCTS:
        parts.append(field(103, varint(len(vector.children))))
        for child in vector.children:
            write_vector(parts, child)
    elif kind.id == types.ARRAY:
        parts += [field(103, varint(kind.size)), field(104, b"")]
        write_vector(parts, vector.children[0])
    else:
        _write_lists(parts, vector)
    parts.append(END)


def _write_lists(parts: list[bytes], vector: Vector) -> None:
    lengths, child = vector.data, vector.children[0]
    starts = np.cumsum(lengths) - lengths
    if vector.valid is not None:
        starts = np.where(vector.valid, starts, 0)
    parts += [field(104, varint(child.rows)), field(105, varint(vector.rows))]
    parts += [
        b"d\0%be\0%b\xff\xff" % (varint(start), varint(length))
        for start, length in zip(starts.tolist(), lengths.tolist(), strict=True)
    ]
    parts.append(field(106, b""))
    write_vector(parts, child)
