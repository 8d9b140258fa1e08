"""Who sees and cancels whose sessions: administrators all, everybody else their own."""

from __future__ import annotations

import duckdb
import pytest

from azquack.gateway.activity import _TOO_OFTEN
from azquack.quack import wire
from tests.gateway.conftest import StartGateway, StartNode
from tests.gateway.parts import client, post

PEOPLE = {
    "ann-token-0000": ["ann", "admin"],
    "bob-token-0000": ["bob", "writer"],
    "eve-token-0000": ["eve", "writer"],
}
ANN, BOB, EVE = PEOPLE


def test_nobody_but_an_administrator_sees_or_cancels_another(
    start_node: StartNode, start_gateway: StartGateway
) -> None:
    gateway = start_gateway(start_node("n1", "lake"), principals=PEOPLE, policy=True, only_gateway=True)
    with client(gateway.port, ANN) as ann, client(gateway.port, BOB) as bob, client(gateway.port, EVE) as eve:
        eve.there("SELECT 1")
        names = "SELECT principal FROM azquack.sessions() ORDER BY ALL"
        assert ann.there(names) == [("ann",), ("bob",), ("eve",)]
        assert bob.there(names) == [("bob",)]
        ((theirs,),) = ann.there("SELECT id FROM azquack.sessions() WHERE principal = 'eve'")
        with pytest.raises(duckdb.Error, match="No session of yours has this id"):
            bob.there(f"CALL azquack.cancel('{theirs}')")
        assert ann.there(f"CALL azquack.cancel('{theirs}')") == [("nothing ran in this session",)]
        # The words within a text are no call.
        assert bob.there("SELECT 'azquack.sessions()'") == [("azquack.sessions()",)]


def test_a_statement_that_asks_again_and_again_grows_no_further_than_any_other(
    start_node: StartNode, start_gateway: StartGateway
) -> None:
    """What the gateway writes in the place of each call is bound before it is written."""
    gateway = start_gateway(start_node("n1", "lake"), principals=PEOPLE, policy=True, only_gateway=True)
    with client(gateway.port, ANN) as ann:
        for _ in range(60):
            post(gateway.port, wire.connection_request(wire.ConnectionRequest(BOB)))
        for times in (1, 2, 8):
            calls = " UNION ALL ".join(["FROM azquack.sessions()"] * times)
            assert len(ann.there(f"SELECT principal FROM ({calls})")) == 61 * times
        calls = ", ".join(["azquack.sessions()"] * 200)
        with pytest.raises(duckdb.Error, match=_TOO_OFTEN.split(":")[0].replace("()", r"\(\)")):
            ann.there(f"FROM {calls}")
