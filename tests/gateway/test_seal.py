"""The seal: what a client can and cannot do with a connection id."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from azquack.gateway.seal import Seal, Ticket
from azquack.quack import wire
from azquack.quack.wire.messages import MAX_ID

INNER = "1FD72126776F39144E2142487BE9C7C1"
TICKETS = st.builds(
    Ticket,
    inner=st.text(alphabet="0123456789ABCDEF", min_size=32, max_size=32),
    node=st.text(max_size=40),
    principal=st.text(max_size=40),
    role=st.sampled_from(["reader", "writer", "admin"]),
    fingerprint=st.text(alphabet="0123456789abcdef", max_size=64),
    expires=st.none() | st.floats(0, 1e11),
)


@given(ticket=TICKETS)
def test_a_ticket_comes_back_through_any_gateway_with_the_same_internal_token(ticket: Ticket) -> None:
    connection_id = Seal("internal").close(ticket)
    assert Seal("internal").open(connection_id) == ticket
    assert len(connection_id) <= MAX_ID


@given(ticket=TICKETS, at=st.integers(0, 10_000), byte=st.characters(codec="ascii"))
def test_an_id_that_was_changed_anywhere_opens_nothing(ticket: Ticket, at: int, byte: str) -> None:
    seal = Seal("internal")
    connection_id = seal.close(ticket)
    at %= len(connection_id)
    changed = connection_id[:at] + byte + connection_id[at + 1 :]
    assert changed == connection_id or seal.open(changed) is None


@given(ticket=TICKETS)
def test_nothing_of_a_ticket_can_be_read_in_its_id(ticket: Ticket) -> None:
    connection_id = Seal("internal").close(ticket)
    raw = base64.urlsafe_b64decode(connection_id + "=" * (-len(connection_id) % 4))
    for spelling in (connection_id.encode(), raw):
        assert ticket.inner.encode() not in spelling
        assert bytes.fromhex(ticket.inner) not in spelling


def test_the_same_ticket_is_never_sealed_twice_alike() -> None:
    seal = Seal("internal")
    ticket = Ticket(INNER, "n1", "ann", "writer", "f", None)
    assert len({seal.close(ticket) for _ in range(1000)}) == 1000


def test_the_length_of_an_id_does_not_tell_names_of_usual_length_apart() -> None:
    seal = Seal("internal")
    names = ["a", "ann", "adelheid.von.x"]
    assert len({len(seal.close(Ticket(INNER, "n1", name, "writer", "f" * 16, None))) for name in names}) == 1


def spellings(text: str) -> set[str]:
    """Other ways to write what base64 says in `text`, and what looks like it."""
    swapped = {text.replace("-", "+"), text.replace("_", "/"), text.swapcase(), text.upper(), text.lower()}
    last = {
        text[:-1] + letter for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    }
    around = {mark + text for mark in (" ", "\t", "\n", "=", ".", "\0", "\ufeff")}
    behind = {text + mark for mark in ("=", "==", "===", " ", "\n", ".", "A", "AA", "AAAA", "\0")}
    wide = {"".join(chr(ord(letter) + 0xFEE0) for letter in text)}
    return (swapped | last | around | behind | wide | {text[:-1], text[1:], text + text}) - {text}


@pytest.mark.parametrize("name", ["", "a", "ab", "abc", "a" * 60])
def test_an_id_opens_in_one_spelling_only(name: str) -> None:
    seal = Seal("internal")
    connection_id = seal.close(Ticket(INNER, "n1", name, "writer", "f" * 16, 1e9))
    assert seal.open(connection_id) is not None
    assert [each for each in spellings(connection_id) if seal.open(each) is not None] == []


@given(text=st.text(max_size=300))
def test_no_made_up_id_opens_anything(text: str) -> None:
    assert Seal("internal").open(text) is None


def test_another_internal_token_or_the_bare_inner_id_opens_nothing() -> None:
    ticket = Ticket(INNER, "n1", "ann", "writer", "f", None)
    assert Seal("other").open(Seal("internal").close(ticket)) is None
    assert Seal("internal").open(INNER) is None


def test_a_sealed_id_fits_into_every_message() -> None:
    connection_id = Seal("internal").close(Ticket(INNER, "n1", "ann", "writer", "f" * 16, 1e9))
    message = wire.prepare(connection_id, "select 1", 7)
    header = wire.parse_header(message)
    assert header.connection_id == connection_id
    assert wire.with_connection_id(message, header, INNER) == wire.prepare(INNER, "select 1", 7)
