"""A view reads with its maker's rights of the moment, through a real gateway, for everybody and in every statement."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import duckdb
import pytest

from azquack.gateway.views import AGE
from azquack.principals import Grant, Role, principal_list
from tests.cluster import wait_until
from tests.gateway.conftest import StartGateway, StartNode
from tests.gateway.parts import Client, NodeProcess, client

LAKE = (
    "lake",
    "CREATE SCHEMA s",
    "CREATE TABLE main.secret AS SELECT 'secret' AS x",
    "CREATE TABLE main.open AS SELECT 'open' AS x",
    "CREATE TABLE s.t AS SELECT 1 AS i",
)
PEOPLE = {
    "ann": (Role.WRITER, ["all on s.*", "select on secret", "select on open"]),
    "rob": (Role.READER, ["select on s.*"]),
    "guy": (Role.WRITER, ["all on s.*"]),
    "eve": (Role.READER, None),
    "root": (Role.ADMIN, None),
}


class People:
    """A file of principals, and their tokens."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.tokens: dict[str, str] = {}
        for name, (role, grants) in PEOPLE.items():
            self.add(name, role, grants)

    def add(self, name: str, role: Role, grants: list[str] | None) -> None:
        given = None if grants is None else tuple(map(Grant.parse, grants))
        self.tokens[name] = principal_list.edit(
            self.path, lambda old: principal_list.add(old, name, role, given)
        )

    def grant(self, name: str, what: str) -> None:
        principal_list.edit(self.path, lambda old: (principal_list.grant(old, name, Grant.parse(what)), None))

    def ungrant(self, name: str, what: str) -> None:
        principal_list.edit(
            self.path, lambda old: (principal_list.ungrant(old, name, Grant.parse(what)), None)
        )

    def revoke(self, name: str) -> None:
        principal_list.edit(self.path, lambda old: (principal_list.revoke(old, name), None))


class Team:
    """Everybody of the list, each attached once to the gateway at `port`."""

    def __init__(self, port: int, people: People, stack: ExitStack) -> None:
        self._port, self._stack = port, stack
        self.people = people
        self._known: dict[str, Client] = {}

    def __call__(self, name: str) -> Client:
        if name not in self._known:
            self._known[name] = self._stack.enter_context(client(self._port, self.people.tokens[name]))
        return self._known[name]

    def refused(self, name: str, sql: str, *words: str) -> None:
        """`name` may not run `sql`, and is told so in `words`."""
        with pytest.raises(duckdb.Error) as caught:
            self(name).there(sql)
        assert all(word in str(caught.value) for word in words), str(caught.value)


@pytest.fixture
def node(start_node: StartNode) -> NodeProcess:
    return start_node("n1", *LAKE)


Gather = Callable[..., Team]


@pytest.fixture
def gather(node: NodeProcess, start_gateway: StartGateway, tmp_path: Path) -> Iterator[Gather]:
    """`gather(only_gateway=…)`: everybody before a gateway of their own; all of them have one list."""
    with ExitStack() as stack:
        people = People(tmp_path / "principals.json")

        def made(*, only_gateway: bool = True) -> Team:
            readers = {**node.address, "name": "r1", "access": "read"}
            nodes = [node.address, readers]
            gateway = start_gateway(
                policy=True, only_gateway=only_gateway, principals_file=str(people.path), nodes=nodes
            )
            return Team(gateway.port, people, stack)

        yield made


@pytest.mark.parametrize("only_gateway", [True, False], ids=["the only gateway", "one of several"])
def test_a_right_that_a_maker_loses_is_lost_to_the_view(gather: Gather, only_gateway: bool) -> None:
    team = gather(only_gateway=only_gateway)
    team("ann").there("CREATE VIEW s.v AS FROM secret")
    team("ann").there("CREATE VIEW s.w(y) AS WITH a AS (FROM s.v) SELECT x FROM a UNION ALL SELECT 'more'")
    for name in ("rob", "eve", "root", "ann"):
        assert team(name).there("FROM s.v") == [("secret",)]
        assert sorted(team(name).there("SELECT y FROM s.w")) == [("more",), ("secret",)]
    team.people.ungrant("ann", "select on secret")
    words = ("s.v", "ann", "main.secret", "grant", "CREATE OR REPLACE VIEW")
    for name in ("rob", "eve", "root", "ann"):
        for sql in (
            "FROM s.v",
            "SELECT 1 WHERE EXISTS (FROM s.v)",
            "EXPLAIN FROM s.v",
            "SUMMARIZE s.v",
            "WITH a AS (FROM s.v) FROM a",
            "SELECT * FROM s.t, LATERAL (FROM s.v)",
            "FROM s.w",
        ):
            team.refused(name, sql, *words)
    for sql in (
        "CREATE TABLE s.copy AS FROM s.v",
        "INSERT INTO s.t SELECT 1 FROM s.v",
        "UPDATE s.t SET i = 2 FROM s.v",
        "DELETE FROM s.t USING s.v",
        "MERGE INTO s.t USING s.v ON false WHEN NOT MATCHED THEN INSERT VALUES (1)",
        "CREATE VIEW s.further AS FROM s.v",
    ):
        team.refused("guy", sql, *words)
    # What is a view to a stock client is scanned as one.
    with pytest.raises(duckdb.Error, match=r"main\.secret"):
        team("rob").rows("FROM r.s.v")
    assert team("rob").there("FROM s.t") == [(1,)]
    team.people.grant("ann", "select on secret")
    assert team("rob").there("FROM s.v") == team("rob").rows("FROM r.s.v") == [("secret",)]


def test_a_view_of_somebody_who_is_gone_is_nobodys_until_it_is_made_anew(gather: Gather) -> None:
    team = gather()
    team("ann").there("CREATE VIEW s.v AS FROM secret")
    team("ann").there("CREATE VIEW s.w AS FROM open")
    team.people.revoke("ann")
    team.refused("rob", "FROM s.v", "s.v", "ann", "no principal any more")
    team.refused("guy", "CREATE OR REPLACE VIEW s.v AS FROM secret", "No grant to select")
    team("root").there("CREATE OR REPLACE VIEW s.v AS FROM secret")
    assert team("rob").there("FROM s.v") == [("secret",)]
    team.refused("rob", "FROM s.w", "ann")
    team("guy").there("CREATE OR REPLACE VIEW s.w AS FROM s.t")
    assert team("rob").there("FROM s.w") == [(1,)]
    team.people.add("ann", Role.WRITER, ["select on open"])
    assert team("rob").there("FROM s.w") == [(1,)]
    team.people.revoke("guy")
    team.refused("rob", "FROM s.w", "guy")


def test_a_view_keeps_its_maker_under_another_name(gather: Gather) -> None:
    team = gather()
    team("ann").there("CREATE VIEW s.v AS FROM secret")
    team("guy").there("ALTER VIEW s.v RENAME TO w")
    team.people.ungrant("ann", "select on secret")
    team.refused("rob", "FROM s.w", "s.w", "ann")
    team("root").there("ALTER VIEW s.w RENAME TO v")
    team.refused("rob", "FROM s.v", "s.v", "ann")
    team("root").there("DROP VIEW s.v")
    team("root").there("CREATE TABLE s.v AS SELECT 5 AS i")
    assert team("rob").there("FROM s.v") == [(5,)]


def test_grants_are_on_names_so_what_stands_there_now_is_held_against_them(gather: Gather) -> None:
    team = gather()
    team("ann").there("CREATE VIEW s.v AS FROM open")
    team("root").there("DROP TABLE open")
    team("root").there("ALTER TABLE secret RENAME TO open")
    assert team("rob").there("FROM s.v") == [("secret",)]
    team.people.ungrant("ann", "select on open")
    team.refused("rob", "FROM s.v", "main.open")


def test_the_past_of_a_view_is_held_as_its_present(gather: Gather) -> None:
    team = gather()
    team("ann").there("CREATE VIEW s.v AS FROM secret")
    version = team("root").there("SELECT max(snapshot_id) FROM lake.snapshots()")[0][0]
    past = f"FROM s.v AT (VERSION => {version})"
    assert team("guy").there(past) == [("secret",)]
    team("guy").there("DROP VIEW s.v")
    team("guy").there("CREATE TABLE s.v AS SELECT 'table' AS x")
    team.people.ungrant("ann", "select on secret")
    team.refused("guy", past, "s.v", "ann", "main.secret")
    team.refused("guy", f"CREATE VIEW s.w AS {past}", "main.secret")
    assert team("guy").there("FROM s.v") == [("table",)]
    assert team("guy").there(f"FROM s.t AT (VERSION => {version})") == [(1,)]
    team.people.grant("ann", "select on secret")
    team("guy").there(f"CREATE VIEW s.w AS {past}")
    assert team("rob").there("FROM s.w") == [("secret",)]
    team.people.ungrant("ann", "select on secret")
    team.refused("rob", "FROM s.w", "ann", "main.secret")


def test_a_transaction_is_held_against_the_views_that_it_sees(gather: Gather) -> None:
    team = gather()
    team("ann").there("CREATE VIEW s.v AS FROM secret")
    team("rob").there("BEGIN")
    assert team("rob").there("FROM s.v") == [("secret",)]
    team("root").there("CREATE OR REPLACE VIEW s.v AS FROM open")
    assert team("eve").there("FROM s.v") == [("open",)]
    team.people.ungrant("ann", "select on secret")
    team.refused("rob", "FROM s.v", "ann", "main.secret")
    team("rob").there("ROLLBACK")
    assert team("rob").there("FROM s.v") == [("open",)]


def test_another_gateway_learns_of_views_and_grants(gather: Gather) -> None:
    first, second = gather(), gather()
    assert second("rob").there("FROM s.t") == [(1,)]
    first("ann").there("CREATE VIEW s.v AS FROM secret")
    assert second("rob").there("FROM s.v") == [("secret",)]
    second.people.ungrant("ann", "select on secret")

    def refused() -> bool:
        try:
            second("rob").there("FROM s.v")
        except duckdb.Error as error:
            # A scan while the view is dropped finds nothing to scan.
            if "main.secret" not in str(error) and "does not exist" not in str(error):
                raise
            return True
        return False

    wait_until(refused, "the other gateway never saw the view", AGE + 5)
    first("root").there("DROP VIEW s.v")
    first("root").there("CREATE VIEW s.v AS FROM open")
    wait_until(lambda: not refused(), "the other gateway never saw that the view is another", AGE + 5)


def test_nobody_writes_the_note_of_a_maker(gather: Gather) -> None:
    team = gather()
    for name in ("guy", "root"):
        for sql in (
            "CREATE VIEW s.v AS WITH azquack_maker AS (SELECT 'ann') FROM secret",
            "CREATE VIEW s.v AS WITH \"AZQuack_Maker\" AS (SELECT 'ann') FROM secret",
            "WITH azquack_maker AS (SELECT 1) FROM azquack_maker",
        ):
            team.refused(name, sql, "azquack_maker is kept")
    assert team("guy").there("SELECT 'azquack_maker'") == [("azquack_maker",)]


BODIES = {
    "SELECT i FROM s.t ORDER BY i DESC LIMIT 1": [(1,)],
    "FROM s.t": [(1,)],
    "VALUES (1), (2) ORDER BY 1": [(1,), (2,)],
    "TABLE s.t": [(1,)],
    "WITH a AS (FROM s.t) FROM a": [(1,)],
    "WITH RECURSIVE a AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM a WHERE n < 2) FROM a": [(1,), (2,)],
    "((WITH a AS (FROM s.t) FROM a) UNION ALL (WITH b AS (SELECT 2) FROM b)) ORDER BY 1": [(1,), (2,)],
    "(SELECT i FROM s.t) EXCEPT (SELECT 2)": [(1,)],
    "PIVOT (SELECT 'a' AS k, 1 AS v) ON k IN ('a') USING sum(v)": [(1,)],
}


def test_every_form_of_a_view_bears_its_maker_and_shows_the_same(gather: Gather) -> None:
    team = gather()
    for at, (body, rows) in enumerate(BODIES.items()):
        team("ann").there(f"CREATE VIEW s.v{at} AS {body}")
        team("ann").there(f"CREATE VIEW s.w{at}(renamed) AS {body}")
        assert team("rob").there(f"FROM s.v{at}") == rows, body
        assert team("rob").there(f"SELECT renamed FROM s.w{at}") == rows, body
    team.people.revoke("ann")
    for at in range(len(BODIES)):
        team.refused("rob", f"FROM s.v{at}", "ann")
        team.refused("rob", f"FROM s.w{at}", "ann")
