"""Quack 3 as functions over bytes: what a client sends is read to its last byte, all else is refused in a sentence."""

from __future__ import annotations

import os
import random
import resource
import time
from contextlib import suppress

import pytest

from azquack.errors import WireError
from azquack.quack import wire3
from azquack.quack.wire3 import Kind
from tests.quack3 import frames
from tests.wire.tokens import Maker, Mutator, written

ID = "s" * 40
ROUNDS = int(os.environ.get("AZQUACK_TEST_FUZZ_ROUNDS", "100000"))
QUICK = 1500
BOUND = 16 << 20


def parsed(message: bytes) -> wire3.Message:
    return wire3.parse(message, wire3.parse_header(message), BOUND)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (frames.prepare(ID, "SELECT 1", 5, 100), wire3.Prepare("SELECT 1", 5, 100)),
        (frames.prepare(ID, "", -7 << 64 | 9), wire3.Prepare("", -7 << 64 | 9)),
        (frames.fetch(ID, 5, 3, 2), wire3.Fetch(5, 3, 2)),
        (frames.fetch(ID, 5, 0), wire3.Fetch(5, 0, 0)),
        (frames.of_query(Kind.FINALIZE, ID, 8), wire3.Finalize(8)),
        (frames.of_query(Kind.CANCEL, ID, 0), wire3.Cancel(0)),
        (frames.of_query(Kind.ACKNOWLEDGEMENT, ID, 8), wire3.Acknowledgement(8)),
        (frames.empty(Kind.HEARTBEAT, ID), wire3.Heartbeat()),
        (frames.empty(Kind.DISCONNECT, ID), wire3.Disconnect()),
        (frames.batch(ID, "st", total=12), wire3.Batch("st", (), None, 12)),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, bytes) else "",
)
def test_every_message_of_a_client_is_read(message: bytes, expected: wire3.Message) -> None:
    assert parsed(message) == expected


@pytest.mark.parametrize("joined", [False, True], ids=["list", "joined"])
def test_rows_come_in_either_form_with_strings_in_either_layout(joined: bool) -> None:
    chunk = frames.chunk([1, 2, 3], ["a", None, "Grüße"], joined=joined)
    expected = [(1, "a"), (2, None), (3, "Grüße")]
    message = parsed(frames.batch(ID, "st", [chunk, chunk], 300))
    assert isinstance(message, wire3.Batch)
    assert (message.stream, message.index, message.total) == ("st", 300, None)
    assert [frames.values(each) for each in message.chunks] == [expected, expected]
    rows = parsed(frames.rows(ID, "s", "t", chunk, 6))
    assert isinstance(rows, wire3.Rows)
    assert (rows.schema, rows.table, rows.query, frames.values(rows.chunk)) == ("s", "t", 6, expected)


@pytest.mark.parametrize(
    ("lowest", "highest", "three"),
    [(1, 1, False), (3, 3, True), (1, 3, True), (3, 9, True), (2, 2, False), (4, 9, False), (0, 0, False)],
)
def test_the_login_tells_the_version(lowest: int, highest: int, three: bool) -> None:
    login = wire3.parse_login(frames.login("secret", lowest, highest, 20))
    assert login.speaks_quack_3 is three
    assert (login.token, login.client_id, login.heartbeat) == ("secret", "tests", 20)
    assert "secret" not in repr(login)


MESSAGES = [
    frames.prepare(ID, "SELECT 1", 5, 100),
    frames.fetch(ID, 5, 3, 2),
    frames.of_query(Kind.CANCEL, ID, 1 << 70),
    frames.batch(ID, "st", [frames.chunk([1, 2], ["a", "b"], joined=True)], 7),
    frames.rows(ID, "s", "t", frames.chunk([1, 2], ["a", "b"]), 6),
    frames.empty(Kind.HEARTBEAT, ID),
]


@pytest.mark.parametrize("message", MESSAGES, ids=[wire3.parse_header(each).type.name for each in MESSAGES])
def test_a_message_that_is_cut_off_or_goes_on_is_none(message: bytes) -> None:
    for end in range(len(message)):
        with pytest.raises(WireError):
            parsed(message[:end])
    with pytest.raises(WireError):
        parsed(message + b"\0")


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        (frames.fetch(ID, 5, 2, 2), "acknowledges"),
        (frames.batch(ID, "st"), "ends its stream"),
        (frames.batch(ID, ""), "missing"),
        (frames.batch(ID, "st", [frames.chunk([1])]), "with their index"),
        (frames.batch(ID, "x" * 600, total=1), "too long"),
        (frames.empty(Kind.SUCCESS, ID), "does not send SUCCESS"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_sentence(message: bytes, sentence: str) -> None:
    with pytest.raises(WireError, match=sentence):
        parsed(message)


def fuzz(rounds: int, seed: int) -> None:
    """Bodies of every kind, changed by chance: each is read or refused, in little time and memory."""
    chance = random.Random(seed)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for round_ in range(rounds):
        match round_ % 3:
            case 0:
                message = bytearray(chance.choice(MESSAGES))
                for _ in range(chance.choice([1, 1, 2, 5])):
                    message[chance.randrange(2, len(message))] = chance.choice(
                        [0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)]
                    )
            case 1:
                message = bytearray(chance.choice(MESSAGES))
                at = chance.randrange(2, len(message))
                message[at : at + chance.randrange(4)] = chance.randbytes(chance.randrange(8))
            case _:
                # An APPEND of every type, as its chunk alone.
                maker = Maker(chance.randrange(1 << 30))
                maker.append(ID, "main", "t")
                appended = written(Mutator(chance.randrange(1 << 30)).change(maker.tokens))
                start = appended.find(b"\x2c\x01")
                message = bytearray(frames.batch(ID, "st", [appended[start + 2 : -4]], 1))
        began = time.perf_counter()
        with suppress(WireError):
            parsed(bytes(message))
        assert time.perf_counter() - began < 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 512 << 10


def test_changed_bodies_are_read_or_refused() -> None:
    fuzz(QUICK, 3)


@pytest.mark.slow
def test_a_hundred_thousand_changed_bodies_are_read_or_refused() -> None:
    fuzz(ROUNDS, 4)
