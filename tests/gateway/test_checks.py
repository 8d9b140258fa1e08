"""Large and nasty texts of one, and small statements of others beside them."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Sequence
from contextlib import suppress

import duckdb
import pytest

from tests.gateway.conftest import StartGateway, StartNode
from tests.gateway.parts import ANN, BOB, Client, client

NASTY = (
    "select 1 " + "except all (select 1 " * 95 + ")" * 95,
    "select 1;" * 250,
    " ".join(f"$a{i}$" for i in range(50_000)),
    "select " + ",".join(f"a{i}" for i in range(20_000)),
    "select " + ", ".join("null::" + "struct(a " * 90 + "int" + ")" * 90 for _ in range(50)),
)


def test_an_in_list_of_a_hundred_thousand_keys_is_an_ordinary_statement(
    start_node: StartNode, start_gateway: StartGateway
) -> None:
    gateway = start_gateway(
        start_node("n1", "lake", "CREATE TABLE t AS SELECT range AS i FROM range(1000)"), policy=True
    )
    keys = ",".join(str(i) for i in range(900, 100_900))
    with client(gateway.port, ANN) as ann:
        assert ann.there(f"SELECT count(*) FROM t WHERE i IN ({keys})") == [(100,)]
        with pytest.raises(duckdb.Error, match="getenv is not allowed"):
            ann.there(f"SELECT count(*) FROM t WHERE i IN ({keys}) AND getenv('x') = ''")
        with pytest.raises(duckdb.Error, match="1,000,000 characters at most"):
            ann.there(f"SELECT '{'a' * 1_000_000}'")


def latency(each: Client, rounds: int) -> float:
    """The median seconds of a small statement, each text a new one."""
    took = []
    for number in range(rounds):
        began = time.monotonic()
        assert each.there(f"SELECT {number} + 1") == [(number + 1,)]
        took.append(time.monotonic() - began)
    return statistics.median(took)


def beside(port: int, texts: Sequence[str]) -> tuple[float, int]:
    """The latency beside sixteen sockets that send `texts` one after another, and how many of them were answered."""
    over = threading.Event()
    answered: list[str] = []

    def send(number: int) -> None:
        with client(port, BOB) as bob:
            while not over.is_set():
                with suppress(duckdb.Error):
                    bob.there(texts[number % len(texts)])
                answered.append(texts[number % len(texts)])

    with client(port, ANN) as ann:
        threads = [threading.Thread(target=send, args=(number,)) for number in range(16)]
        for thread in threads:
            thread.start()
        try:
            seconds = latency(ann, 20)
        finally:
            over.set()
            for thread in threads:
                thread.join(60)
    return seconds, len(answered)


def test_sixteen_sockets_of_nasty_texts_do_not_hold_up_others(
    start_node: StartNode, start_gateway: StartGateway
) -> None:
    gateway = start_gateway(start_node("n1"), policy=True)
    # The clients share their processors with the gateway and its processes, so busy sockets are the measure.
    ordinary, _ = beside(gateway.port, ("SELECT 1",))
    nasty, answered = beside(gateway.port, NASTY)
    assert answered, "no nasty text was answered"
    assert nasty < 10 * ordinary + 0.5, (
        f"{ordinary:.4f} s beside ordinary texts, {nasty:.4f} s beside nasty ones"
    )
