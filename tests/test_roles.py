"""Readers, writers and principals with grants at the real gateway of a real pair, with the stock client."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import duckdb
import pytest

from tests.cluster import TempPair, attached, remote, wait_until
from tests.test_attacks import ATTEMPTS

FILL = (
    "CREATE TABLE events AS SELECT range AS id, 'event ' || range AS what FROM range(1000)",
    "CREATE SCHEMA demo",
    "CREATE TABLE demo.small AS SELECT 1 AS i",
    "CREATE TABLE demo.payroll AS SELECT 'ann' AS who, 4711 AS pay",
    "CREATE VIEW demo.loud AS SELECT upper(what) AS what FROM lake.main.events",
    "CREATE MACRO twice(a) AS a * 2",
)
# What an attack could have changed, as the administrator sees it through the same gateway.
STATE = (
    "SELECT max(snapshot_id), count(*) FROM lake.snapshots()",
    "SELECT (SELECT sum(hash(e)) FROM events e), (SELECT sum(hash(p)) FROM demo.payroll p)",
    "SELECT database_name, schema_name, table_name, sql FROM duckdb_tables() ORDER BY ALL",
    "SELECT schema_name, view_name, sql FROM duckdb_views() WHERE NOT internal ORDER BY ALL",
)
Connect = Callable[[str], duckdb.DuckDBPyConnection]


def principal(pair: TempPair, *arguments: str) -> str:
    """What `azquack principal` prints for the pair's file of principals."""
    file = pair.directory / "principals.json"
    finished = subprocess.run(
        [sys.executable, "-m", "azquack", "principal", *arguments, "--file", str(file)],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    return finished.stdout.strip()


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TempPair]:
    """A pair with a lake worth attacking."""
    made = TempPair(
        tmp_path_factory.mktemp("roles") / "lake", "--audit-log", "audit.log", "--backup-every", "0"
    )
    made.start()
    with attached(made, made.directory / "home") as admin:
        for sql in FILL:
            admin.execute(remote(sql)).fetchall()
    yield made
    made.destroy()


@pytest.fixture(scope="module")
def tokens(pair: TempPair) -> dict[str, str]:
    """The tokens of one principal of each kind, made with the command line."""
    made = {
        "reader": principal(pair, "add", "ann", "--role", "reader"),
        "writer": principal(pair, "add", "bob", "--role", "writer"),
        "granted": principal(pair, "add", "guy", "--role", "writer", "--grant", "all on demo.small"),
    }
    return {kind: text.split()[-1] for kind, text in made.items()} | {"admin": pair.token}


@pytest.fixture(scope="module")
def connect(pair: TempPair, tokens: dict[str, str]) -> Iterator[Connect]:
    """`connect(kind)`: a stock DuckDB attached as `r` with the token of that kind of principal."""
    with ExitStack() as stack:
        known: dict[str, duckdb.DuckDBPyConnection] = {}

        def made(kind: str) -> duckdb.DuckDBPyConnection:
            if kind not in known:
                home = pair.directory / f"home-{kind}"
                known[kind] = stack.enter_context(attached(pair, home, tokens[kind]))
            return known[kind]

        yield made


def state(pair: TempPair, admin: duckdb.DuckDBPyConnection) -> list[object]:
    """All that an attack could have changed: the lake and its files."""
    files = sorted(str(path) for path in (pair.directory / "data").rglob("*") if path.is_file())
    return [files, *(admin.execute(remote(sql)).fetchall() for sql in STATE)]


@pytest.mark.parametrize(("kind", "what"), [(kind, what) for kind in ATTEMPTS for what in ATTEMPTS[kind]])
def test_an_attack_through_the_gateway_changes_nothing(
    connect: Connect, pair: TempPair, kind: str, what: str
) -> None:
    before = state(pair, connect("admin"))
    attacker = connect(kind)
    for attempt in ATTEMPTS[kind][what]:
        sql = attempt.replace("{home}", str(pair.directory)).replace("{uri}", pair.uri)
        with pytest.raises(duckdb.Error):
            pytest.fail(f"got {attacker.execute(remote(sql)).fetchall()} for {sql}")
    assert state(pair, connect("admin")) == before


def test_a_reader_reads_and_cannot_write_natively_either(connect: Connect) -> None:
    reader = connect("reader")
    assert reader.execute("SELECT count(*) FROM r.events").fetchall() == [(1000,)]
    assert reader.execute(remote("SELECT twice(21)")).fetchall() == [(42,)]
    with pytest.raises(duckdb.Error, match="reader may not INSERT"):
        reader.execute("INSERT INTO r.demo.small VALUES (2)")
    with pytest.raises(duckdb.Error, match="reader may not"):
        reader.execute("CREATE TABLE r.mine AS SELECT 1 AS i")


def test_a_writer_writes(connect: Connect) -> None:
    writer = connect("writer")
    writer.execute("CREATE TABLE r.written AS SELECT 1 AS i")
    writer.execute("INSERT INTO r.written VALUES (2)")
    writer.execute(remote("UPDATE written SET i = 3 WHERE i = 2")).fetchall()
    assert writer.execute("SELECT * FROM r.written ORDER BY i").fetchall() == [(1,), (3,)]
    writer.execute("DROP TABLE r.written")


def test_a_grant_reaches_its_table_and_no_other(connect: Connect) -> None:
    granted = connect("granted")
    assert granted.execute("FROM r.demo.small").fetchall() == [(1,)]
    with pytest.raises(duckdb.Error, match="payroll"):
        granted.execute("FROM r.demo.payroll")


def test_a_revoked_token_ends_its_sessions_at_once(pair: TempPair) -> None:
    token = principal(pair, "add", "eve", "--role", "reader").split()[-1]
    with attached(pair, pair.directory / "home-eve", token) as eve:
        assert eve.execute(remote("SELECT 1")).fetchall() == [(1,)]
        principal(pair, "revoke", "eve")
        with pytest.raises(duckdb.Error, match="revoked or changed"):
            eve.execute(remote("SELECT 1")).fetchall()
        with pytest.raises(duckdb.Error, match="Authentication failed"):
            eve.execute(f"ATTACH '{pair.uri}' AS again (TOKEN '{token}')")


def test_the_audit_log_says_who_did_what_and_holds_no_secret(
    pair: TempPair, tokens: dict[str, str], connect: Connect
) -> None:
    log = pair.directory.parent / "audit.log"
    assert log.stat().st_mode & 0o777 == 0o600
    with pytest.raises(duckdb.Error):
        connect("reader").execute(remote("DROP TABLE events")).fetchall()

    def refusal() -> bool:
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        starts = {line["id"] for line in lines if line["event"] == "start" and line.get("kind") == "DROP"}
        return any(
            line["id"] in starts and line["outcome"] == "refused" and line["principal"] == "ann"
            for line in lines
            if line["event"] == "finish"
        )

    wait_until(refusal, "the audit log does not show the refused DROP")
    text = log.read_text() + pair.log_text()
    assert not any(token in text for token in tokens.values())


def test_what_the_catalog_refuses_stands_in_the_audit_log_without_its_text(
    pair: TempPair, tmp_path: Path
) -> None:
    log = pair.directory.parent / "audit.log"
    internal = (pair.directory / "tokens" / "internal-token").read_text().strip()
    uri = pair.info["catalog_uri"]
    with attached(pair, tmp_path / "home") as client:
        client.execute(f"ATTACH '{uri}' AS c (TOKEN '{internal}')")
        with pytest.raises(duckdb.Error, match="The catalog refused this"):
            client.execute(
                "FROM c.query('SELECT name, ''of nobody else'' FROM duckdb_settings()')"
            ).fetchall()

    def alarm() -> bool:
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        return any(line["event"] == "finish" and line.get("reason") == "foreign" for line in lines)

    wait_until(alarm, "the audit log does not show the alarm")
    assert "of nobody else" not in log.read_text() + pair.log_text()


def test_a_runaway_statement_is_stopped_and_the_lake_goes_on(tmp_path: Path) -> None:
    with TempPair(tmp_path / "lake", "--statement-timeout", "3", "--backup-every", "0") as pair:
        with attached(pair, tmp_path / "home") as client:
            with pytest.raises(duckdb.Error, match="ran longer than 3 s and was stopped"):
                client.execute(remote("SELECT count(*) FROM range(100000000000) t(i) WHERE i % 7 = 9"))
            assert client.execute(remote("SELECT 1")).fetchall() == [(1,)]
        assert answers(pair, tmp_path / "home")


def answers(pair: TempPair, home: Path) -> bool:
    """Whether a new session gets an answer."""
    try:
        with attached(pair, home) as client:
            return client.execute(remote("SELECT 1")).fetchall() == [(1,)]
    except duckdb.Error:
        return False


def test_a_view_of_the_lake_is_held_against_its_makers_rights(pair: TempPair, connect: Connect) -> None:
    """With a catalog of its own behind the link, for what the view is and for what it was."""
    token = principal(pair, "add", "may", "--role", "writer", "--grant", "all on views.*").split()[-1]
    principal(pair, "grant", "may", "select on demo.small")
    admin, reader = connect("admin"), connect("reader")
    admin.execute(remote("CREATE SCHEMA views"))
    with attached(pair, pair.directory / "home-may", token) as may:
        may.execute(remote("CREATE VIEW views.v AS WITH a AS (FROM demo.small) FROM a"))
    [(version,)] = admin.execute(remote("SELECT max(snapshot_id) FROM lake.snapshots()")).fetchall()
    present, past = "FROM views.v", f"FROM views.v AT (VERSION => {version})"
    rows = admin.execute(remote("FROM demo.small")).fetchall()
    for sql in (present, past):
        assert reader.execute(remote(sql)).fetchall() == rows
    principal(pair, "ungrant", "may", "select on demo.small")
    for sql in (present, past):
        for each in (reader, admin):
            with pytest.raises(
                duckdb.Error, match=r"reads demo\.small, which its maker may may not select any more"
            ):
                each.execute(remote(sql))
