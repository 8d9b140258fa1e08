"""Arrow Flight SQL at a real pair, with the stock ADBC driver; and pyarrow's client for what no driver would send."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import adbc_driver_flightsql.dbapi as adbc
import duckdb
import pyarrow as pa
import pytest
from pyarrow import flight

from azquack.errors import Refusal
from azquack.gateway.flight import messages
from azquack.gateway.flight.sql_info import sql_info
from azquack.gateway.flight.tickets import SECONDS, Tickets
from azquack.principals import Principal, Role
from tests.cluster import TempPair, attached, remote, wait_until
from tests.test_attacks import ATTEMPTS
from tests.test_roles import FILL, principal, state

FOREVER = "SELECT count(*) FROM range(10000000000000) t(i) WHERE i % 2 = 5"


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TempPair]:
    """A pair that speaks Flight SQL, with a lake worth attacking."""
    made = TempPair(
        tmp_path_factory.mktemp("flight") / "lake",
        "--flight-port", "0", "--audit-log", "audit.log", "--backup-every", "0",
    )  # fmt: skip
    made.start()
    with attached(made, made.directory / "home") as admin:
        for sql in FILL:
            admin.execute(remote(sql)).fetchall()
    yield made
    made.destroy()


@pytest.fixture(scope="module")
def tokens(pair: TempPair) -> dict[str, str]:
    """The tokens of one principal of each kind."""
    made = {
        "reader": principal(pair, "add", "ann", "--role", "reader"),
        "writer": principal(pair, "add", "bob", "--role", "writer"),
        "granted": principal(pair, "add", "guy", "--role", "writer", "--grant", "all on demo.small"),
    }
    return {kind: text.split()[-1] for kind, text in made.items()} | {"admin": pair.token}


Open = Callable[..., Any]


@pytest.fixture
def door(pair: TempPair, tokens: dict[str, str]) -> Iterator[Open]:
    """`door(kind)`: a connection of the ADBC driver, with the token of that kind of principal as its password."""
    opened = []

    def connect(kind: str, **options: Any) -> Any:
        login = {"username": "somebody", "password": tokens[kind]}
        opened.append(adbc.connect(pair.info["flight"], db_kwargs=login, **{"autocommit": True} | options))
        return opened[-1]

    yield connect
    for each in opened:
        each.close()


def rows(connection: Any, sql: str, parameters: Any = None) -> list[Any]:
    """What `sql` gives."""
    with closing(connection.cursor()) as cursor:
        cursor.execute(sql, parameters)
        return list(cursor.fetchall())


def audited(pair: TempPair, **facts: Any) -> list[Any]:
    """The lines of the audit log in which these facts stand."""
    lines = map(json.loads, (pair.directory.parent / "audit.log").read_text().splitlines())
    return [line for line in lines if facts.items() <= line.items()]


def test_a_driver_reads_writes_binds_and_sees_what_the_other_door_wrote(door: Open, pair: TempPair) -> None:
    connection = door("admin")
    assert rows(connection, "SELECT count(*), max(what) FROM events") == [(1000, "event 999")]
    with closing(connection.cursor()) as cursor:
        cursor.execute("CREATE TABLE bound(i INTEGER, s VARCHAR, d DECIMAL(9, 2))")
        cursor.executemany("INSERT INTO bound VALUES (?, ?, ?)", [(1, "one", "1.50"), (2, None, "2")])
        assert cursor.rowcount == 2
    assert rows(connection, "SELECT s FROM bound WHERE i = ?", (1,)) == [("one",)]
    with attached(pair, pair.directory / "home") as other:
        assert other.execute("SELECT i, s FROM r.bound ORDER BY i").fetchall() == [(1, "one"), (2, None)]
    assert audited(pair, kind="INSERT", outcome="ok", rows=2) or audited(pair, rows=2, outcome="ok")


def test_rows_are_ingested_in_every_mode_and_all_or_none(door: Open) -> None:
    connection = door("writer")
    table = pa.table({"x": pa.array([1, 2, 3], pa.int64()), "y": ["a", None, "c"]})
    with closing(connection.cursor()) as cursor:
        for mode, kept in (("create", 3), ("append", 6), ("replace", 3), ("create_append", 6)):
            assert cursor.adbc_ingest("taken", table, mode=mode) == 3
            assert rows(connection, "SELECT count(*) FROM taken") == [(kept,)]
        with pytest.raises(adbc.Error, match="already exists"):
            cursor.adbc_ingest("taken", table, mode="create")
        with pytest.raises(adbc.Error):
            cursor.adbc_ingest("taken", pa.table({"x": ["no number"]}), mode="append")
        with pytest.raises(adbc.Error, match="does not exist"):
            cursor.adbc_ingest("nowhere", table, mode="append")
    assert rows(connection, "SELECT count(*), count(y) FROM taken") == [(6, 4)]


def test_a_transaction_is_kept_as_a_whole_or_not_at_all(door: Open) -> None:
    connection = door("admin", autocommit=False)
    with closing(connection.cursor()) as cursor:
        cursor.execute("CREATE TABLE tried(i INTEGER)")
        cursor.execute("INSERT INTO tried VALUES (1)")
        assert rows(connection, "SELECT * FROM tried") == [(1,)]
        assert rows(door("admin"), "SELECT count(*) FROM duckdb_tables() WHERE table_name = 'tried'") == [
            (0,)
        ]
        connection.rollback()
        cursor.execute("CREATE TABLE tried(i INTEGER)")
        cursor.execute("INSERT INTO tried VALUES (7)")
        connection.commit()
    assert rows(door("admin"), "SELECT * FROM tried") == [(7,)]


def test_rows_are_ingested_within_a_transaction(raw: Any, door: Open) -> None:
    # ADBC's driver sends them without the transaction of its connection.
    client, options = raw("writer")
    begin = flight.Action("BeginTransaction", _packed("ActionBeginTransactionRequest"))
    for action, kept in ((2, 0), (1, 2)):
        _, begun = messages.unpack(next(iter(client.do_action(begin, options))).body.to_pybytes())
        ingest = messages.make(
            "CommandStatementIngest", table="together", transaction_id=begun.transaction_id
        )
        ingest.table_definition_options.if_not_exist = 1
        ingest.table_definition_options.if_exists = 2
        table = pa.table({"i": pa.array([1, 2], pa.int64())})
        writer, reader = client.do_put(
            flight.FlightDescriptor.for_command(messages.pack(ingest)), table.schema, options
        )
        writer.write_table(table)
        writer.done_writing()
        assert messages.read("DoPutUpdateResult", reader.read().to_pybytes()).record_count == 2
        writer.close()
        end = _packed("ActionEndTransactionRequest", transaction_id=begun.transaction_id, action=action)
        list(client.do_action(flight.Action("EndTransaction", end), options))
        there = "SELECT count(*) FROM duckdb_tables() WHERE table_name = 'together'"
        assert rows(door("admin"), there) == [(min(kept, 1),)]
    assert rows(door("admin"), "SELECT count(*) FROM together") == [(2,)]


def test_metadata_tells_what_is_there_and_to_a_principal_with_grants_what_these_reach(door: Open) -> None:
    def tables(kind: str) -> set[tuple[str, str]]:
        found = door(kind).adbc_get_objects(depth="tables").read_all().to_pylist()
        assert [each["catalog_name"] for each in found] == ["lake"]
        return {
            (schema["db_schema_name"], table["table_name"])
            for schema in found[0]["catalog_db_schemas"]
            for table in schema["db_schema_tables"]
        }

    assert {("main", "events"), ("demo", "payroll"), ("demo", "loud")} <= tables("reader")
    assert tables("granted") == {("demo", "small")}
    connection = door("admin")
    assert connection.adbc_get_table_types() == ["TABLE", "VIEW"]
    assert connection.adbc_get_table_schema("events").types == [pa.int64(), pa.string()]
    assert connection.adbc_get_info()["vendor_name"] == "AzQuack"


# Each with those who may: at both doors the same.
ALLOWED = {
    "SELECT count(*) FROM events": {"reader", "writer", "admin"},
    "SELECT count(*) FROM demo.small": {"reader", "writer", "admin", "granted"},
    "SELECT * FROM demo.loud LIMIT 1": {"reader", "writer", "admin"},
    "UPDATE demo.small SET i = i": {"writer", "admin", "granted"},
    "INSERT INTO demo.payroll SELECT * FROM demo.payroll WHERE false": {"writer", "admin"},
    "CREATE OR REPLACE VIEW doors AS SELECT 1 AS i": {"writer", "admin"},
    "CHECKPOINT": {"admin"},
    "CREATE TABLE azquack_beside.main.x AS SELECT 1 AS i": set(),
    "SELECT * FROM duckdb_secrets()": set(),
    "ATTACH ':memory:' AS m": set(),
    "COPY events TO '/tmp/never.csv'": set(),
}


@pytest.mark.parametrize("kind", ["reader", "writer", "granted", "admin"])
def test_both_doors_allow_the_same(door: Open, pair: TempPair, tokens: dict[str, str], kind: str) -> None:
    connection = door(kind)
    with attached(pair, pair.directory / f"home-{kind}", tokens[kind]) as native:
        for sql, who in ALLOWED.items():
            told = {}
            for name, run in (
                ("quack", lambda sql: native.execute(remote(sql)).fetchall()),
                ("flight", lambda sql: rows(connection, sql)),
            ):
                try:
                    run(sql)
                    told[name] = True
                except (duckdb.Error, adbc.Error):
                    told[name] = False
            assert told == dict.fromkeys(told, kind in who), sql


@pytest.mark.parametrize(
    ("kind", "mode"), [("reader", "append"), ("reader", "create"), ("granted", "create")]
)
def test_rows_are_not_ingested_by_who_may_not_write(door: Open, kind: str, mode: str) -> None:
    with closing(door(kind).cursor()) as cursor, pytest.raises(adbc.Error, match=r"UNAUTHORIZED"):
        cursor.adbc_ingest(
            "payroll" if mode == "append" else "mine",
            pa.table({"who": ["me"], "pay": pa.array([1], pa.int32())}),
            mode=mode,
            db_schema_name="demo",
        )


@pytest.fixture
def raw(pair: TempPair, tokens: dict[str, str]) -> Iterator[Callable[[str], Any]]:
    """`raw(kind)`: pyarrow's client and the options of its calls."""
    opened = []

    def connect(kind: str) -> Any:
        opened.append(flight.FlightClient(pair.info["flight"]))
        token = tokens.get(kind, kind).encode()
        return opened[-1], flight.FlightCallOptions(
            timeout=60, headers=[(b"authorization", b"Bearer " + token)]
        )

    yield connect
    for each in opened:
        each.close()


def command(name: str, **fields: Any) -> Any:
    """The descriptor of a command."""
    return flight.FlightDescriptor.for_command(messages.pack(messages.make(name, **fields)))


def asked(client: Any, options: Any, sql: str) -> list[Any]:
    """What `sql` gives to a client that is no driver."""
    info = client.get_flight_info(command("CommandStatementQuery", query=sql), options)
    return list(client.do_get(info.endpoints[0].ticket, options).read_all().to_pylist())


@pytest.mark.parametrize(("kind", "what"), [(kind, what) for kind in ATTEMPTS for what in ATTEMPTS[kind]])
def test_nobody_does_by_flight_what_quack_refuses(raw: Any, pair: TempPair, kind: str, what: str) -> None:
    # Not by the driver, which sends a text up to its first NUL alone.
    client, options = raw(kind)
    with attached(pair, pair.directory / "home") as admin:
        before = state(pair, admin)
        for attempt in ATTEMPTS[kind][what]:
            sql = attempt.replace("{home}", str(pair.directory)).replace("{uri}", pair.uri)
            with pytest.raises((flight.FlightError, pa.ArrowException)):
                pytest.fail(f"got {asked(client, options, sql)} for {sql}")
        assert state(pair, admin) == before


def test_what_is_no_flight_sql_is_refused_with_its_code_and_no_stack(raw: Any) -> None:
    client, options = raw("admin")
    other, wrong = raw("wrong-token")
    with pytest.raises(flight.FlightUnauthenticatedError, match="not known here"):
        list(other.list_actions(wrong))
    for body, error in (
        (b"\xff\xff\xff", pa.ArrowInvalid),
        (b"", pa.ArrowNotImplementedError),
        (messages.pack(messages.make("CommandStatementSubstraitPlan")), pa.ArrowNotImplementedError),
        (messages.pack(messages.make("CommandStatementQuery", query="SELECT nope")), pa.ArrowInvalid),
        (messages.pack(messages.make("CommandStatementQuery", query="COPY")), flight.FlightUnauthorizedError),
        (messages.pack(messages.make("DoPutUpdateResult")), pa.ArrowNotImplementedError),
    ):
        with pytest.raises(error) as told:
            client.get_flight_info(flight.FlightDescriptor.for_command(body), options)
        assert "Traceback" not in str(told.value)
        assert ".py" not in str(told.value)
    for name in ("BeginSavepoint", "CreatePreparedSubstraitPlan", "Nonsense"):
        with pytest.raises(pa.ArrowNotImplementedError):
            list(client.do_action(flight.Action(name, b""), options))
    with pytest.raises(pa.ArrowInvalid):
        list(client.do_action(flight.Action("EndTransaction", b"\xff\xff"), options))


def test_a_ticket_counts_for_its_owner_alone_and_a_write_once(raw: Any) -> None:
    client, options = raw("admin")
    client.get_flight_info(command("CommandStatementQuery", query="SELECT 1"), options)
    made = client.get_flight_info(command("CommandStatementQuery", query="SELECT 42 AS a"), options)
    ticket = made.endpoints[0].ticket
    assert client.do_get(ticket, options).read_all().to_pylist() == [{"a": 42}]
    other, others = raw("reader")
    for stolen in (ticket, flight.Ticket(ticket.ticket[:-4] + b"AAAA"), flight.Ticket(b"forged")):
        with pytest.raises(flight.FlightUnauthorizedError, match="none of this server"):
            other.do_get(stolen, others).read_all()
    query = "CREATE TABLE IF NOT EXISTS once AS SELECT 1 AS i"
    writes = client.get_flight_info(command("CommandStatementQuery", query=query), options)
    client.do_get(writes.endpoints[0].ticket, options).read_all()
    with pytest.raises(flight.FlightUnauthorizedError, match="not done twice"):
        client.do_get(writes.endpoints[0].ticket, options).read_all()


def test_a_ticket_expires() -> None:
    now = [1000.0]
    tickets = Tickets("internal", lambda: now[0])
    somebody = Principal("ann", Role.READER, "f")
    sealed = tickets.close(somebody, b"command")
    assert tickets.open(somebody, sealed).command == b"command"
    now[0] += SECONDS
    with pytest.raises(Refusal, match="expired"):
        tickets.open(somebody, sealed)


def test_handles_of_somebody_else_are_unknown(raw: Any) -> None:
    client, options = raw("admin")
    other, others = raw("writer")
    begun = next(
        iter(
            client.do_action(
                flight.Action("BeginTransaction", _packed("ActionBeginTransactionRequest")), options
            )
        )
    )
    _, made = messages.unpack(begun.body.to_pybytes())
    stolen = command("CommandStatementQuery", query="SELECT 1", transaction_id=made.transaction_id)
    with pytest.raises(KeyError, match="no transaction of yours"):
        other.get_flight_info(stolen, others)
    end = _packed("ActionEndTransactionRequest", transaction_id=made.transaction_id, action=1)
    with pytest.raises(KeyError, match="no transaction of yours"):
        list(other.do_action(flight.Action("EndTransaction", end), others))
    list(client.do_action(flight.Action("EndTransaction", end), options))
    with pytest.raises(KeyError, match="no transaction of yours"):
        list(client.do_action(flight.Action("EndTransaction", end), options))
    request = _packed("ActionCreatePreparedStatementRequest", query="SELECT 1 AS i")
    prepared = next(iter(client.do_action(flight.Action("CreatePreparedStatement", request), options)))
    _, statement = messages.unpack(prepared.body.to_pybytes())
    handle = statement.prepared_statement_handle
    with pytest.raises(KeyError, match="no prepared statement of yours"):
        other.get_flight_info(
            command("CommandPreparedStatementQuery", prepared_statement_handle=handle), others
        )


def _packed(name: str, **fields: Any) -> bytes:
    return messages.pack(messages.make(name, **fields))


def test_a_statement_whose_client_left_ends_and_one_that_is_cancelled(raw: Any, pair: TempPair) -> None:
    client, options = raw("admin")
    info = client.get_flight_info(command("CommandStatementQuery", query=FOREVER), options)
    brief = flight.FlightCallOptions(timeout=1, headers=options_headers(pair))
    with pytest.raises(flight.FlightTimedOutError):
        client.do_get(info.endpoints[0].ticket, brief).read_all()
    wait_until(lambda: audited(pair, outcome="gone"), "the statement of a client that left goes on", 10)
    cancel = messages.make("CancelFlightInfoRequest")
    cancel.info.endpoint.add().ticket.ticket = info.endpoints[0].ticket.ticket
    beside, _ = raw("admin")

    def cancelled() -> bool:
        try:
            list(beside.do_action(flight.Action("CancelFlightInfo", cancel.SerializeToString()), options))
        except KeyError:
            return False
        return True

    thread = threading.Thread(target=lambda: wait_until(cancelled, "nothing ran that could be cancelled"))
    thread.start()
    with pytest.raises(flight.FlightCancelledError):
        client.do_get(info.endpoints[0].ticket, options).read_all()
    thread.join()


def options_headers(pair: TempPair) -> list[tuple[bytes, bytes]]:
    """The headers that say who the administrator is."""
    return [(b"authorization", b"Bearer " + pair.token.encode())]


def test_every_sql_info_has_a_value_of_its_kind() -> None:
    table = sql_info([], reads_only=False)
    assert len(table) == len(set(table["info_name"].to_pylist()))
    assert sql_info([0, 3, 999_999], reads_only=True).to_pylist() == [
        {"info_name": 0, "value": "AzQuack"},
        {"info_name": 3, "value": True},
    ]
