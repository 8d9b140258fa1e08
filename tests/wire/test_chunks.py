"""Chunks as functions over bytes: what is whole is read and written anew, all else is refused in a sentence."""

from __future__ import annotations

import os
import struct

import pytest

from azquack.errors import WireError
from azquack.quack import wire
from azquack.quack.wire import types
from azquack.quack.wire.chunks import Chunk, clean_append, read_chunk
from azquack.quack.wire.fields import Reader, signed_varint, varint
from azquack.quack.wire.messages import append_target
from azquack.quack.wire.types import Type
from tests.wire import recorded
from tests.wire.tokens import Maker, Mutator, written

ID = "s" * 32
END = b"\xff\xff"
ROUNDS = int(os.environ.get("AZQUACK_TEST_FUZZ_ROUNDS", "800"))


def clean(message: bytes) -> bytes:
    return clean_append(message, wire.parse_header(message), ID, 16 << 20)


def read(message: bytes) -> Chunk:
    reader, _ = append_target(message)
    return read_chunk(reader)


def append(rows: int, kinds: list[bytes], columns: list[bytes]) -> bytes:
    """An APPEND to `main.t` of columns written by hand."""
    return b"".join(
        [
            wire.messages.header(wire.MessageType.APPEND, ID),
            b"\x01\x00\x04main\x02\x00\x01t\x03\x00\x01\x2c\x01d\0",
            varint(rows),
            b"e\0" + varint(len(kinds)) + b"".join(kinds) + b"f\0" + varint(len(columns)),
            *(column + END for column in columns),
            END * 3,
        ]
    )


def plain(number: int) -> bytes:
    return b"d\0" + varint(number) + END


def flat(data: bytes) -> bytes:
    return b"d\0\0f\0" + varint(len(data)) + data


def strings(*each: bytes) -> bytes:
    return b"d\0\0f\0" + varint(len(each)) + b"".join(varint(len(one)) + one for one in each)


def dictionary(indexes: list[int], count: int, inner: bytes) -> bytes:
    raw = struct.pack(f"<{len(indexes)}I", *indexes)
    return b"Z\0\x03[\0" + varint(len(raw)) + raw + b"\\\0" + varint(count) + inner


def of_bigints(*values: int) -> bytes:
    return flat(struct.pack(f"<{len(values)}q", *values))


def sequence(start: int, step: int) -> bytes:
    return b"Z\0\x04[\0" + signed_varint(start) + b"\\\0" + signed_varint(step)


BIGINT = plain(types.BIGINT)


def test_a_recorded_insert_is_written_anew_as_it_came() -> None:
    header = wire.parse_header(recorded.INSERT)
    assert clean_append(recorded.INSERT, header, header.connection_id) == recorded.INSERT


@pytest.mark.parametrize(
    ("column", "values"),
    [
        (of_bigints(7, 8, 9), [7, 8, 9]),
        (b"Z\0\x02" + of_bigints(7), [7, 7, 7]),
        (dictionary([1, 0, 1], 2, of_bigints(7, 8)), [8, 7, 8]),
        (sequence(-5, 3), [-5, -2, 1]),
        (b"d\0\1e\0\x08" + b"\xfd" + b"\xff" * 7 + b"f\0\x18" + struct.pack("<3q", 7, 8, 9), [7, 0, 9]),
    ],
    ids=["flat", "constant", "dictionary", "sequence", "null"],
)
def test_every_form_comes_out_flat(column: bytes, values: list[int]) -> None:
    chunk = read(clean(append(3, [BIGINT], [column])))
    assert chunk.columns[0].data.tolist() == values


HUGE = [1, 2, 1000, 0x7FFFFFFF, 0xFFFFFFF0]
BROKEN = {
    **{
        f"an index of {at} in a dictionary of one": append(1, [BIGINT], [dictionary([at], 1, of_bigints(7))])
        for at in HUGE
    },
    "a dictionary of nothing": append(1, [BIGINT], [dictionary([0], 0, of_bigints())]),
    "a dictionary in a dictionary": append(
        1, [BIGINT], [dictionary([0], 1, dictionary([0], 1, of_bigints(7)))]
    ),
    "a constant in a dictionary": append(1, [BIGINT], [dictionary([0], 1, b"Z\0\x02" + of_bigints(7))]),
    "fewer indexes than rows": append(2, [BIGINT], [dictionary([0], 1, of_bigints(7))]),
    "FSST": append(1, [plain(types.VARCHAR)], [b"Z\0\x01" + strings(b"a")]),
    "a sequence of text": append(1, [plain(types.VARCHAR)], [b"Z\0\x04[\0\0\\\0\0"]),
    "a sequence that leaves its type": append(3, [plain(types.TINYINT)], [sequence(126, 1)]),
    "fewer values than rows": append(3, [BIGINT], [of_bigints(7, 8)]),
    "more values than rows": append(1, [BIGINT], [of_bigints(7, 8)]),
    "more rows than a chunk has": append(1 << 31, [BIGINT], [b"Z\0\x02" + of_bigints(7)]),
    "no rows": append(0, [BIGINT], [of_bigints()]),
    "no columns": append(1, [], []),
    "more columns than types": append(1, [BIGINT], [of_bigints(1), of_bigints(2)]),
    "a byte behind the end": append(1, [BIGINT], [of_bigints(7)]) + b"x",
    "half a letter": append(1, [plain(types.VARCHAR)], [strings(b"\xc3")]),
    "a letter cut in two": append(2, [plain(types.VARCHAR)], [strings(b"a\xc3", b"\xa4b")]),
    "a surrogate": append(1, [plain(types.VARCHAR)], [strings(b"\xed\xa0\x80")]),
    "an overlong letter": append(1, [plain(types.VARCHAR)], [strings(b"\xc0\x80")]),
    "a boolean of 2": append(1, [plain(types.BOOLEAN)], [flat(b"\2")]),
    "a time of 25 hours": append(1, [plain(types.TIME)], [of_bigints(90_000_000_000)]),
    "a time before midnight": append(1, [plain(types.TIME)], [of_bigints(-1)]),
    "a timestamp before the first": append(1, [plain(types.TIMESTAMP)], [of_bigints(-(1 << 63))]),
    "a date before the first": append(1, [plain(types.DATE)], [flat(struct.pack("<i", -(1 << 31)))]),
    "a bit string of nothing": append(1, [plain(types.BIT)], [strings(b"")]),
    "a bit string of padding": append(1, [plain(types.BIT)], [strings(b"\3")]),
    "a bit string with 9 bits of padding": append(1, [plain(types.BIT)], [strings(b"\x09\xff\xff")]),
    "a number whose length lies": append(1, [plain(types.BIGNUM)], [strings(b"\x80\xff\xff\1")]),
    "a geometry that ends early": append(
        1, [plain(types.GEOMETRY)], [b"c\0\1" + strings(b"\1\2\0\0\0\xff\xff\xff\xff")]
    ),
    "a pointer": append(1, [plain(51)], [of_bigints(7)]),
    "a type without what it needs": append(1, [plain(types.DECIMAL)], [of_bigints(7)]),
}  # fmt: skip


@pytest.mark.parametrize("message", BROKEN.values(), ids=BROKEN)
def test_what_is_not_whole_is_refused(message: bytes) -> None:
    with pytest.raises(WireError):
        clean(message)


def test_what_stands_behind_a_null_never_comes_out() -> None:
    column = b"d\0\1e\0\x08" + b"\xfe" + b"\xff" * 7 + b"f\0\2\6secret\4kept"
    message = clean(append(2, [plain(types.VARCHAR)], [column]))
    assert b"secret" not in message
    assert b"kept" in message


def test_lists_that_share_elements_are_taken_apart() -> None:
    kind = b"d\0" + varint(types.LIST) + b"e\0\1d\0\4\xc8\0" + BIGINT + END + END
    entry = b"d\0%be\0%b" + END
    lists = (
        b"d\0\0h\0\3i\0\2"
        + entry % (b"\1", b"\2")
        + entry % (b"\0", b"\3")
        + b"j\0"
        + of_bigints(7, 8, 9)
        + END
    )
    (vector,) = read(clean(append(2, [kind], [lists]))).columns
    assert vector.data.tolist() == [2, 3]
    assert vector.children[0].data.tolist() == [8, 9, 7, 8, 9]


@pytest.mark.parametrize("length", [4, 1000, (1 << 63) - 1])
def test_a_list_beyond_its_elements_is_refused(length: int) -> None:
    kind = b"d\0" + varint(types.LIST) + b"e\0\1d\0\4\xc8\0" + BIGINT + END + END
    lists = b"d\0\0h\0\3i\0\1d\0\0e\0" + varint(length) + END + b"j\0" + of_bigints(7, 8, 9) + END
    with pytest.raises(WireError, match="list reaches outside"):
        clean(append(1, [kind], [lists]))


def test_few_bytes_cannot_ask_for_much_memory() -> None:
    text = b"x" * 100_000
    wide = append(2000, [plain(types.VARCHAR)], [b"Z\0\x02" + strings(text)])
    with pytest.raises(WireError, match="insert fewer"):
        clean(wide)
    array = b"d\0" + varint(types.BIGINT) + END
    for _ in range(3):
        array = (
            b"d\0"
            + varint(types.ARRAY)
            + b"e\0\1d\0\x09\xc8\0"
            + array
            + b"\xc9\0"
            + varint(100_000)
            + END
            + END
        )
    with pytest.raises(WireError, match="insert fewer"):
        clean(append(1, [array], [b""]))
    with pytest.raises(WireError, match="insert fewer"):
        clean(append(1, [BIGINT] * 9000, [of_bigints(1)] * 9000))


@pytest.mark.parametrize("size", [1 << 30, 1 << 40, (1 << 63) - 1])
def test_a_constant_of_very_many_elements_is_refused(size: int) -> None:
    kind = b"d\0" + varint(types.LIST) + b"e\0\1d\0\4\xc8\0" + BIGINT + END + END
    lists = b"d\0\0h\0" + varint(size) + b"i\0\1d\0\0e\0\1" + END + b"j\0Z\0\x02" + of_bigints(7) + END
    with pytest.raises(WireError, match="insert fewer"):
        clean(append(1, [kind], [lists]))


def test_types_nested_too_deeply_are_refused() -> None:
    kind = BIGINT
    for _ in range(2000):
        kind = b"d\0" + varint(types.LIST) + b"e\0\1d\0\4\xc8\0" + kind + END + END
    with pytest.raises(WireError, match="nested deeper"):
        clean(append(1, [kind], [b""]))


@pytest.mark.parametrize("number", [0, 1, 127, 128, 300, (1 << 32) - 1, (1 << 64) - 1])
def test_a_number_has_one_spelling(number: int) -> None:
    assert Reader(varint(number)).varint() == number
    longer = varint(number)[:-1] + bytes([varint(number)[-1] | 0x80, 0])
    with pytest.raises(WireError):
        Reader(longer).varint()


@pytest.mark.parametrize("number", [0, -1, 63, 64, -64, -65, (1 << 63) - 1, -(1 << 63)])
def test_a_signed_number_comes_back(number: int) -> None:
    assert Reader(signed_varint(number)).signed() == number


def test_a_type_comes_back_from_what_is_written() -> None:
    for seed in range(300):
        kind = Maker(seed).type()
        assert types.read_type(Reader(types.write_type(kind))) == kind


def test_made_chunks_pass_and_changed_ones_pass_whole_or_not_at_all() -> None:
    """What passes is written in the one way that there is: to write it again changes nothing."""
    passed = 0
    for seed in range(ROUNDS):
        maker = Maker(seed)
        maker.append(ID, "main", "t")
        message = clean(written(maker.tokens))
        assert clean(message) == message, f"seed {seed}"
        changed = written(Mutator(seed).change(maker.tokens))
        try:
            message = clean(changed)
        except WireError:
            continue
        passed += 1
        assert clean(message) == message, f"seed {seed}, changed"
    assert passed > ROUNDS // 100


@pytest.mark.parametrize("members", [1, 3])
def test_a_union_keeps_the_member_that_its_tag_names(members: int) -> None:
    union = Type(
        types.UNION,
        children=(("", Type(types.UTINYINT)), *((f"m{at}", Type(types.BIGINT)) for at in range(members))),
    )
    column = b"d\0\0g\0" + varint(members + 1) + flat(bytes([members - 1])) + END
    column += b"".join(of_bigints(at + 1) + END for at in range(members))
    (vector,) = read(clean(append(1, [types.write_type(union)], [column]))).columns
    assert [each.data.tolist() for each in vector.children[1:]] == [[0]] * (members - 1) + [[members]]
    over = column.replace(flat(bytes([members - 1])), flat(bytes([members])))
    with pytest.raises(WireError, match="stands for no member"):
        clean(append(1, [types.write_type(union)], [over]))
