"""Quack 1 as functions over bytes, against recorded traffic and by properties."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from azquack.errors import WireError
from azquack.quack import wire
from tests.wire import recorded

TEXT = st.text(max_size=300)
NAME = st.text(min_size=1, max_size=60)
ID = st.text(alphabet="0123456789ABCDEF~-_.", min_size=1, max_size=200)
QUERY_ID = st.none() | st.integers(min_value=0, max_value=(1 << 64) - 2)

PARSERS: list[Callable[[bytes], object]] = [
    wire.parse_header,
    wire.parse_connection_request,
    wire.parse_connection_response,
    wire.parse_prepare,
    wire.parse_append_target,
    wire.parse_error,
    wire.parse_text,
]
RECORDED = [value for value in vars(recorded).values() if isinstance(value, bytes)]


def test_a_recorded_login_is_understood_and_rebuilt_byte_for_byte() -> None:
    request = wire.parse_connection_request(recorded.LOGIN)
    assert request == wire.ConnectionRequest("abcdefgh", "v1.5.5", "linux_amd64", 1, 1)
    assert request.speaks_quack_1
    query_id = wire.parse_header(recorded.LOGIN).query_id
    assert wire.connection_request(request, query_id) == recorded.LOGIN


def test_a_recorded_answer_to_a_login_holds_the_id_of_the_requests_that_follow() -> None:
    answer = wire.parse_connection_response(recorded.LOGIN_ANSWER)
    assert answer.quack_version == 1
    assert answer.version == "v1.5.5"
    assert wire.parse_header(recorded.QUERY).connection_id == answer.connection_id


def test_a_recorded_prepare_is_understood_and_rebuilt_byte_for_byte() -> None:
    header = wire.parse_header(recorded.QUERY)
    assert wire.parse_prepare(recorded.QUERY) == "select 42"
    assert wire.prepare(header.connection_id, "select 42", header.query_id) == recorded.QUERY


def test_the_table_of_a_recorded_insert_is_read_without_its_chunk() -> None:
    assert wire.parse_append_target(recorded.INSERT) == wire.AppendTarget("demo", "ev", 1)
    assert wire.parse_append_target(recorded.INSERT[:70]) == wire.AppendTarget("demo", "ev", 1)


def test_a_recorded_error_gives_its_sentence_and_is_rebuilt_byte_for_byte() -> None:
    sentence = wire.parse_error(recorded.MISTAKE_ANSWER)
    assert sentence.startswith('syntax error at or near "selectx"')
    assert wire.error(sentence) == recorded.MISTAKE_ANSWER


def test_a_recorded_detach_is_rebuilt_byte_for_byte() -> None:
    assert wire.disconnect(wire.parse_header(recorded.DETACH).connection_id) == recorded.DETACH
    assert wire.success() == recorded.DETACH_ANSWER


@pytest.mark.parametrize("message", RECORDED, ids=lambda message: wire.parse_header(message).type.name)
def test_the_connection_id_of_any_recorded_message_can_be_replaced_and_put_back(message: bytes) -> None:
    header = wire.parse_header(message)
    other = wire.with_connection_id(message, header, "some-other-id~1")
    assert wire.parse_header(other).connection_id == "some-other-id~1"
    assert wire.with_connection_id(other, wire.parse_header(other), header.connection_id) == message


def test_a_login_of_a_later_quack_is_recognised_so_that_it_can_be_answered() -> None:
    later = wire.connection_request(wire.ConnectionRequest("t", "v2.0.0", "linux_amd64", 3, 3))
    assert not wire.parse_connection_request(later).speaks_quack_1
    with_more = later[:-2] + b"\x06\x00\x01\xff\xff"
    assert not wire.parse_connection_request(with_more).speaks_quack_1


def test_a_login_does_not_show_its_token() -> None:
    assert "abcdefgh" not in repr(wire.parse_connection_request(recorded.LOGIN))


def test_a_result_of_another_shape_is_not_taken_for_one_text() -> None:
    with pytest.raises(WireError, match="not one VARCHAR"):
        wire.parse_text(recorded.QUERY_ANSWER)


@given(connection_id=ID, sql=TEXT, query_id=QUERY_ID)
def test_every_prepare_comes_back(connection_id: str, sql: str, query_id: int | None) -> None:
    message = wire.prepare(connection_id, sql, query_id)
    header = wire.parse_header(message)
    assert (header.type, header.connection_id, header.query_id) == (
        wire.MessageType.PREPARE,
        connection_id,
        query_id,
    )
    assert wire.parse_prepare(message) == sql


@given(token=TEXT, version=TEXT, platform=TEXT, query_id=QUERY_ID)
def test_every_login_comes_back(token: str, version: str, platform: str, query_id: int | None) -> None:
    request = wire.ConnectionRequest(token, version, platform)
    assert wire.parse_connection_request(wire.connection_request(request, query_id)) == request


@given(sentence=TEXT)
def test_every_error_comes_back(sentence: str) -> None:
    assert wire.parse_error(wire.error(sentence)) == sentence


def test_an_error_that_is_cut_within_a_letter_is_read_all_the_same() -> None:
    whole = wire.error("LINE 1: größer")
    assert wire.parse_error(whole.replace("ß".encode(), b"\xc3\x20")) == "LINE 1: grö\ufffd er"


@given(message=st.sampled_from(RECORDED), new=ID)
def test_replacing_the_id_changes_nothing_else(message: bytes, new: str) -> None:
    header = wire.parse_header(message)
    other = wire.with_connection_id(message, header, new)
    after = wire.parse_header(other)
    assert (after.type, after.query_id) == (header.type, header.query_id)
    assert other[after.id_end :] == message[header.id_end :]


@pytest.mark.parametrize("parse", PARSERS, ids=lambda parse: parse.__name__)
@given(data=st.binary(max_size=400))
def test_arbitrary_bytes_are_refused_with_a_wire_error_and_nothing_else(
    parse: Callable[[bytes], object], data: bytes
) -> None:
    for prefix in (b"", b"\x01\x00\x01", b"\x01\x00\x03\x02\x00", b"\x01\x00\x09\x03\x00\x01\xff\xff"):
        with suppress(WireError):
            parse(prefix + data)


@pytest.mark.parametrize("parse", PARSERS, ids=lambda parse: parse.__name__)
@given(
    message=st.sampled_from(RECORDED),
    cut=st.integers(0, 400),
    at=st.integers(0, 400),
    byte=st.integers(0, 255),
)
def test_a_damaged_message_is_refused_with_a_wire_error_or_understood(
    parse: Callable[[bytes], object], message: bytes, cut: int, at: int, byte: int
) -> None:
    damaged = bytearray(message)
    damaged[at % len(damaged)] = byte
    for each in (bytes(damaged), message[:cut]):
        with suppress(WireError):
            parse(each)
