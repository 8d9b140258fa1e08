"""The Flight server: each call authenticated, read, and handed to what answers it."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
from pyarrow import flight

from azquack.errors import Refusal
from azquack.gateway.flight import metadata
from azquack.gateway.flight.access import Access
from azquack.gateway.flight.calls import MIDDLEWARE, BearerFactory, Call, Handshake
from azquack.gateway.flight.database import Database
from azquack.gateway.flight.faults import told
from azquack.gateway.flight.handles import Handles
from azquack.gateway.flight.ingest import ingest
from azquack.gateway.flight.messages import FOREIGN, make, pack, read, unpack
from azquack.gateway.flight.prepared import Prepared, prepared
from azquack.gateway.flight.stream import Stream
from azquack.gateway.flight.turns import Transaction, close
from azquack.gateway.limits import Limits
from azquack.gateway.ports import Principal

QUERIES = ("CommandStatementQuery", "CommandPreparedStatementQuery")
CANCELLED = 1
COMMIT, ROLLBACK = 1, 2
ACTIONS = {
    "CreatePreparedStatement": "Prepares a statement.",
    "ClosePreparedStatement": "Closes a prepared statement.",
    "BeginTransaction": "Begins a transaction.",
    "EndTransaction": "Commits a transaction, or rolls it back.",
    "CancelFlightInfo": "Cancels the statement of a flight.",
    "CancelQuery": "Cancels the statement of a flight.",
}
_SUBSTRAIT = "Substrait plans are not taken here: send SQL"
_SAVEPOINTS = "DuckDB has no savepoints: end the transaction, and begin another one"
_ONCE = "This ticket was used: what it changes is not done twice"
_EMPTY = "This flight has nothing to give: ask for the flight's information first"


class FlightSqlServer(flight.FlightServerBase):  # type: ignore[misc]  # pyarrow has no types
    """Answers Flight SQL at `location`."""

    def __init__(
        self,
        location: str,
        access: Access,
        database: Database,
        limits: Limits,
        *,
        certificates: list[tuple[bytes, bytes]] | None = None,
        client_ca: bytes | None = None,
    ) -> None:
        self._access, self._database, self._limits = access, database, limits
        seconds = limits.session_idle_seconds
        self._prepared: Handles[Prepared] = Handles(
            "prepared statement", limits.sessions_per_principal, seconds, lambda each: None
        )
        self._transactions: Handles[Transaction] = Handles(
            "transaction", limits.sessions_per_principal, seconds, lambda each: close(each.cursor)
        )
        self._used: OrderedDict[str, None] = OrderedDict()
        self._used_lock = threading.Lock()
        super().__init__(
            location,
            auth_handler=Handshake(),
            tls_certificates=certificates,
            verify_client=client_ca is not None,
            root_certificates=client_ca,
            middleware={MIDDLEWARE: BearerFactory()},
        )

    def get_flight_info(self, context: Any, descriptor: Any) -> Any:
        """The schema of a command's answer, and a ticket for it."""
        with self._call(context, "info") as (call, principal):
            command = descriptor.command
            if command is None:
                raise Refusal("unsupported", FOREIGN.format("a path"))
            schema = self._schema(call, principal, command)
            ticket = self._access.tickets.close(principal, command)
            # No location: where the client is already.
            return flight.FlightInfo(schema, descriptor, [flight.FlightEndpoint(ticket, [])], -1, -1)

    def get_schema(self, context: Any, descriptor: Any) -> Any:
        """The schema of a command's answer."""
        with self._call(context, "schema") as (call, principal):
            if descriptor.command is None:
                raise Refusal("unsupported", FOREIGN.format("a path"))
            return flight.SchemaResult(self._schema(call, principal, descriptor.command) or pa.schema([]))

    def do_get(self, context: Any, ticket: Any) -> Any:
        """The rows of what a ticket was made for."""
        with self._call(context, "get", stays=True) as (call, principal):
            opened = self._access.tickets.open(principal, ticket.ticket)
            call.number = opened.number
            name, command = unpack(opened.command)
            if name not in QUERIES:
                table = metadata.answer(self._database, call, principal, name, command)
                self._database.calls.remove(call)
                return flight.RecordBatchStream(table)
            return self._result(call, principal, name, command, opened.number)

    def do_put(self, context: Any, descriptor: Any, reader: Any, writer: Any) -> None:
        """Updates, parameters, and rows that come in."""
        with self._call(context, "put") as (call, principal):
            if descriptor.command is None:
                raise Refusal("unsupported", FOREIGN.format("a path"))
            name, command = unpack(descriptor.command)
            match name:
                case "CommandStatementUpdate":
                    transaction = self._transaction(principal, command)
                    changed = self._database.write(call, principal, command.query, transaction=transaction)
                case "CommandPreparedStatementUpdate":
                    statement = self._prepared.find(principal, command.prepared_statement_handle)
                    statement.bind(_Rows(reader, call))
                    changed = self._database.write(
                        call,
                        principal,
                        statement.sql,
                        statement.rows,
                        transaction=self._open(principal, statement.transaction),
                    )
                case "CommandPreparedStatementQuery":
                    statement = self._prepared.find(principal, command.prepared_statement_handle)
                    statement.bind(_Rows(reader, call))
                    result = make(
                        "DoPutPreparedStatementResult",
                        prepared_statement_handle=command.prepared_statement_handle,
                    )
                    writer.write(pa.py_buffer(result.SerializeToString()))
                    return
                case "CommandStatementIngest":
                    transaction = self._transaction(principal, command)
                    changed = ingest(self._database, call, principal, command, reader, transaction)
                case "CommandStatementSubstraitPlan":
                    raise Refusal("unsupported", _SUBSTRAIT)
                case _:
                    raise Refusal("unsupported", FOREIGN.format(f"{name}, which takes no rows"))
            done = make("DoPutUpdateResult", record_count=changed)
            writer.write(pa.py_buffer(done.SerializeToString()))

    def do_action(self, context: Any, action: Any) -> list[bytes]:
        """What is no query: statements prepared and closed, transactions, cancels."""
        with self._call(context, "action") as (call, principal):
            body = action.body.to_pybytes()
            match action.type:
                case "CreatePreparedStatement":
                    return [self._prepare(call, principal, body)]
                case "ClosePreparedStatement":
                    _, request = _request(body, "ActionClosePreparedStatementRequest")
                    self._prepared.take(principal, request.prepared_statement_handle)
                    return []
                case "BeginTransaction":
                    _request(body, "ActionBeginTransactionRequest")
                    begin = self._database.begin
                    handle, _ = self._transactions.add(principal, lambda number: begin(principal, number))
                    return [pack(make("ActionBeginTransactionResult", transaction_id=handle))]
                case "EndTransaction":
                    _, request = _request(body, "ActionEndTransactionRequest")
                    self._end(call, principal, request.transaction_id, request.action)
                    return []
                case "CancelFlightInfo":
                    info = read("CancelFlightInfoRequest", body).info
                    return [
                        make(
                            "CancelFlightInfoResult", result=self._cancel(principal, info)
                        ).SerializeToString()
                    ]
                case "CancelQuery":
                    _, request = _request(body, "ActionCancelQueryRequest")
                    info = read("FlightInfo", request.info)
                    return [pack(make("ActionCancelQueryResult", result=self._cancel(principal, info)))]
                case "BeginSavepoint" | "EndSavepoint":
                    raise Refusal("savepoint", _SAVEPOINTS)
                case "CreatePreparedSubstraitPlan":
                    raise Refusal("unsupported", _SUBSTRAIT)
            raise Refusal("unsupported", FOREIGN.format(f"the action {action.type[:100]}"))

    def list_actions(self, context: Any) -> list[tuple[str, str]]:
        """The actions, for everybody whom the server knows."""
        with self._call(context, "actions"):
            return list(ACTIONS.items())

    def list_flights(self, context: Any, criteria: bytes) -> Iterator[Any]:
        """None: what there is, CommandGetTables tells."""
        with self._call(context, "list"):
            return iter(())

    def do_exchange(self, context: Any, descriptor: Any, reader: Any, writer: Any) -> None:
        """Not a part of Flight SQL."""
        with self._call(context, "exchange"):
            raise Refusal("unsupported", FOREIGN.format("an exchange"))

    @contextmanager
    def _call(self, context: Any, kind: str, *, stays: bool = False) -> Iterator[tuple[Call, Principal]]:
        """A call and whose it is; with `stays` it goes on after it has ended well."""
        call = Call(context)
        calls = self._database.calls
        calls.add(call)
        try:
            with told():
                try:
                    token = context.get_middleware(MIDDLEWARE).token
                    yield call, self._access.enter(call, token)
                except Refusal as refusal:
                    self._access.refused(call, refusal, f"flight {kind}")
                    raise
        except BaseException:
            calls.remove(call)
            raise
        if not stays:
            calls.remove(call)

    def _schema(self, call: Call, principal: Principal, body: bytes) -> pa.Schema | None:
        name, command = unpack(body)
        if name == "CommandStatementQuery":
            transaction = self._transaction(principal, command)
            return self._database.schema(call, principal, command.query, transaction=transaction)
        if name == "CommandPreparedStatementQuery":
            return self._prepared.find(principal, command.prepared_statement_handle).schema
        if name == "CommandStatementSubstraitPlan":
            raise Refusal("unsupported", _SUBSTRAIT)
        schema = metadata.schema_of(name, command)
        if schema is None:
            raise Refusal("unsupported", FOREIGN.format(f"{name}, which gives no rows"))
        return schema

    def _result(self, call: Call, principal: Principal, name: str, command: Any, number: str) -> Any:
        if name == "CommandStatementQuery":
            sql = command.query
            parameters: Sequence[Any] = ()
            transaction = self._transaction(principal, command)
        else:
            statement = self._prepared.find(principal, command.prepared_statement_handle)
            sql, parameters = statement.sql, statement.row()
            transaction = self._open(principal, statement.transaction)
        running = self._database.start(call, principal, sql, transaction=transaction)
        if not running.reads:
            try:
                self._use(number)
            except Refusal as refusal:
                raise running.failed(refusal) from None
        stream = Stream(running, self._database.calls, parameters)
        return flight.GeneratorStream(stream.schema, stream)

    def _use(self, number: str) -> None:
        """Raises `Refusal` the second time: a ticket for what changes something counts once."""
        with self._used_lock:
            if number in self._used:
                raise Refusal("ticket", _ONCE)
            self._used[number] = None
            while len(self._used) > USED:
                self._used.popitem(last=False)

    def _prepare(self, call: Call, principal: Principal, body: bytes) -> bytes:
        _, request = _request(body, "ActionCreatePreparedStatementRequest")
        transaction = self._transaction(principal, request)
        with self._database.running(call, principal, request.query, transaction=transaction) as running:
            made = prepared(running, request.query, request.transaction_id)
        handle, _ = self._prepared.add(principal, lambda number: made)
        return pack(
            make(
                "ActionCreatePreparedStatementResult",
                prepared_statement_handle=handle,
                dataset_schema=made.schema.serialize().to_pybytes() if made.schema else b"",
                parameter_schema=made.parameters.serialize().to_pybytes(),
                is_update=made.schema is None,
            )
        )

    def _transaction(self, principal: Principal, message: Any) -> Transaction | None:
        return self._open(principal, message.transaction_id)

    def _open(self, principal: Principal, handle: bytes) -> Transaction | None:
        return self._transactions.find(principal, handle) if handle else None

    def _end(self, call: Call, principal: Principal, handle: bytes, action: int) -> None:
        if action not in (COMMIT, ROLLBACK):
            raise Refusal("unreadable", "Say whether the transaction is to be committed or rolled back")
        transaction = self._transactions.find(principal, handle)
        sql = "COMMIT" if action == COMMIT else "ROLLBACK"
        with self._database.running(call, principal, sql, own=True, transaction=transaction) as running:
            # From here on it is over, however this ends.
            self._transactions.take(principal, handle)
            running.run(running.sql)
        close(transaction.cursor)

    def _cancel(self, principal: Principal, info: Any) -> int:
        for endpoint in info.endpoint:
            number = self._access.tickets.open(principal, endpoint.ticket.ticket).number
            if self._database.calls.cancel(number):
                return CANCELLED
        raise Refusal("handle", "This flight does not run")


USED = 100_000
"""Tickets of which is kept that they were used; older ones have expired."""


def _request(body: bytes, wanted: str) -> tuple[str, Any]:
    name, request = unpack(body)
    if name != wanted:
        raise Refusal("unreadable", FOREIGN.format(f"{name} in place of {wanted}"))
    return name, request


class _Rows:
    """The batches of a stream that a client sends."""

    def __init__(self, reader: Any, call: Call) -> None:
        self.schema = reader.schema
        self._reader, self._call = reader, call

    def __iter__(self) -> Iterator[Any]:
        for chunk in self._reader:
            self._call.check()
            if chunk.data is not None:
                yield chunk.data
