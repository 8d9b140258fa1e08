"""What breaks off within a transaction is rolled back and said: every row that was acknowledged is there."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import duckdb
import httpx
import pytest

from azquack.errors import Refusal, StatementError
from azquack.gateway.transactions import State
from azquack.quack import wire
from azquack.quack.wire.fields import field, text_field, varint
from tests.cluster import wait_until
from tests.gateway.parts import ANN, Client, GatewayProcess, NodeProcess, client, post

LAKE = ("lake", "CREATE TABLE t (i BIGINT)", "CREATE TABLE old AS SELECT 1::BIGINT AS i")
APPEND = "APPEND"
Cut = Callable[[str], str | None]


class MessageProxy:
    """Passes each message on to a gateway, or from a gateway to its node.

    `cut` says for each whether it is lost `before`, broken off `within`, or its answer lost `after`.
    """

    def __init__(self, port: int) -> None:
        self.target = port
        self.cut: Cut | None = None
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                message = self.rfile.read(int(self.headers["content-length"]))
                where = proxy.cut(_kind(message)) if proxy.cut else None
                if where == "before":
                    return
                if where == "within":
                    proxy.send_half(message)
                    return
                answer = httpx.post(
                    f"http://127.0.0.1:{proxy.target}/quack", content=message, trust_env=False, timeout=60
                )
                if where == "after":
                    return
                self.send_response(answer.status_code)
                self.send_header("content-length", str(len(answer.content)))
                self.end_headers()
                self.wfile.write(answer.content)

            def log_message(self, format: str, *args: object) -> None:
                """Says nothing."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: object, client_address: object) -> None:
                """A gateway that was killed."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port = int(self._server.server_address[1])
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def send_half(self, message: bytes) -> None:
        """The first half of a request, and the end of its line."""
        head = f"POST /quack HTTP/1.1\r\nHost: x\r\nContent-Length: {len(message)}\r\n\r\n".encode()
        with socket.create_connection(("127.0.0.1", self.target)) as line:
            line.sendall(head + message[: len(message) // 2])
            line.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _kind(message: bytes) -> str:
    """The first word of a message's SQL, or APPEND."""
    kind = wire.parse_header(message).type
    return wire.parse_prepare(message).split()[0] if kind is wire.MessageType.PREPARE else kind.name


@pytest.fixture(scope="module")
def node() -> Iterator[NodeProcess]:
    started = NodeProcess("n1", *LAKE)
    yield started
    started.stop()


@pytest.fixture(scope="module")
def gateway(node: NodeProcess) -> Iterator[GatewayProcess]:
    started = GatewayProcess(node, only_gateway=True)
    yield started
    started.stop()


@pytest.fixture
def proxy(gateway: GatewayProcess) -> Iterator[MessageProxy]:
    started = MessageProxy(gateway.port)
    yield started
    started.close()


def tried(ann: Client, sql: str) -> str:
    """The error of `sql`, or nothing."""
    try:
        ann.rows(sql)
    except duckdb.Error as error:
        return str(error)
    return ""


def count(port: int) -> int:
    """The rows of `t` as somebody else sees them."""
    with client(port) as bob:
        return int(bob.there("SELECT count(*) FROM t")[0][0])


def cut_at(word: str, times: int, where: str, *, rollback_too: bool) -> Cut:
    """Loses the message of the `times`-th `word`, and the ROLLBACK behind it."""
    seen = 0

    def cut(kind: str) -> str | None:
        nonlocal seen
        if rollback_too and seen >= times and kind == "ROLLBACK":
            return "before"
        seen += kind == word
        return where if kind == word and seen == times else None

    return cut


STATEMENTS = {
    "create": (
        "CREATE TABLE r.made AS SELECT range AS i FROM range(4100)",
        ("BEGIN", "CREATE", APPEND, "COMMIT"),
    ),
    "replace": ("CREATE OR REPLACE TABLE r.old AS SELECT range AS i FROM range(4100)", ("CREATE", APPEND)),
    "drop": ("DROP TABLE r.old", ("DROP",)),
    "insert": ("INSERT INTO r.t SELECT range FROM range(4100)", (APPEND,)),
}
CUTS = [
    (name, word, times, where)
    for name, (_, words) in STATEMENTS.items()
    for word in words
    for times in ((1, 3) if word == APPEND else (1,))
    for where in ("before", "within", "after")
]


@dataclass
class Lines:
    """A gateway; by `client` a client reaches it, and by `node` it reaches its node."""

    gateway: GatewayProcess
    client: MessageProxy
    node: MessageProxy

    def cut(self, line: str, cut: Cut | None) -> None:
        for proxy in (self.client, self.node):
            proxy.cut = None
        getattr(self, line).cut = cut


@pytest.fixture(scope="module")
def lines(node: NodeProcess) -> Iterator[Lines]:
    to_node = MessageProxy(node.port)
    gateway = GatewayProcess(nodes=[node.address | {"port": to_node.port}], only_gateway=True)
    to_gateway = MessageProxy(gateway.port)
    yield Lines(gateway, to_gateway, to_node)
    for each in (to_gateway, to_node):
        each.close()
    gateway.stop()


@pytest.mark.parametrize(
    ("line", "name", "word", "times", "where"),
    [
        pytest.param(line, *each, marks=[] if line == "client" and each[-1] != "within" else pytest.mark.slow)
        for line in ("client", "node")
        for each in CUTS
    ],
)
def test_what_is_acknowledged_after_a_cut_is_there(
    lines: Lines, line: str, name: str, word: str, times: int, where: str
) -> None:
    proxy, gateway = lines.client, lines.gateway
    with client(proxy.port) as ann:
        ann.there("DROP TABLE IF EXISTS made")
        ann.there("CREATE TABLE IF NOT EXISTS old AS SELECT 1::BIGINT AS i")
        ann.rows("CALL quack_clear_cache()")
        lines.cut(line, cut_at(word, times, where, rollback_too=True))
        assert tried(ann, STATEMENTS[name][0])
        lines.cut(line, None)
        before = count(gateway.port)
        errors = [tried(ann, "INSERT INTO r.t VALUES (77)") for _ in range(3)]
        assert errors[1:] == ["", ""], errors
        assert not errors[0] or "rolled back and nothing of it was kept" in errors[0]
        assert count(gateway.port) == before + errors.count("")


OWN = [
    (name, word, where) for name, word, times, where in CUTS if times == 1 and name in ("create", "insert")
]


@pytest.mark.slow
@pytest.mark.parametrize("line", ["client", "node"])
@pytest.mark.parametrize(("name", "word", "where"), OWN)
def test_a_transaction_of_queries_in_which_a_native_statement_breaks_off_keeps_all_or_nothing(
    lines: Lines, line: str, name: str, word: str, where: str
) -> None:
    with client(lines.client.port) as ann:
        ann.there("DROP TABLE IF EXISTS made")
        ann.rows("CALL quack_clear_cache()")
        before = count(lines.gateway.port)
        ann.there("BEGIN")
        ann.there("INSERT INTO t VALUES (1)")
        lines.cut(line, cut_at(word, 1, where, rollback_too=True))
        tried(ann, STATEMENTS[name][0])
        lines.cut(line, None)
        said = [tried(ann, "FROM r.query('INSERT INTO t VALUES (2)')") for _ in range(2)]
        committed = not tried(ann, "FROM r.query('COMMIT')")
        # Of one that the node had ended for an error, the COMMIT may have failed.
        tried(ann, "FROM r.query('ROLLBACK')")
        ann.there("INSERT INTO t VALUES (3)")
        found = count(lines.gateway.port) - before - 1
        if "aborted" in said[0]:
            assert (said[0], found) == (said[1], 0)
        elif said[0]:
            # The client is told at once; what comes then stands alone.
            assert "rolled back" in said[0]
            assert (said[1], found) == ("", 1)
        else:
            # Its own transaction went on; of an insert that failed, chunks may have arrived.
            assert said[1] == ""
            assert found - 3 in (range(4101) if name == "insert" else (0,)) if committed else found == 0


def test_the_statement_can_be_repeated_at_once(proxy: MessageProxy, gateway: GatewayProcess) -> None:
    with client(proxy.port) as ann:
        proxy.cut = cut_at("CREATE", 1, "after", rollback_too=True)
        assert tried(ann, "CREATE TABLE r.again AS SELECT range AS i FROM range(10)")
        proxy.cut = None
        ann.rows("CREATE TABLE r.again AS SELECT range AS i FROM range(10)")
    with client(gateway.port) as bob:
        assert bob.rows("SELECT count(*) FROM r.again") == [(10,)]


@pytest.mark.parametrize("end", ["COMMIT", "ROLLBACK"])
def test_a_transaction_of_queries_is_as_it_was(
    proxy: MessageProxy, gateway: GatewayProcess, end: str
) -> None:
    with client(proxy.port) as ann:
        before = count(gateway.port)
        ann.there("BEGIN")
        ann.there("INSERT INTO t VALUES (1)")
        ann.rows("INSERT INTO r.t VALUES (2), (3)")
        ann.there(f"-- and now\n{end};")
        ann.rows("INSERT INTO r.t VALUES (4)")
        assert count(gateway.port) == before + (4 if end == "COMMIT" else 1)


def test_a_transaction_of_queries_that_a_native_create_ended_says_so(gateway: GatewayProcess) -> None:
    with client(gateway.port) as ann:
        before = count(gateway.port)
        ann.there("BEGIN")
        ann.there("INSERT INTO t VALUES (1)")
        assert "transaction within a transaction" in tried(ann, "CREATE TABLE r.within AS SELECT 1 AS i")
        assert "rolled back" in tried(ann, "FROM r.query('INSERT INTO t VALUES (2)')")
        ann.there("INSERT INTO t VALUES (3)")
        assert count(gateway.port) == before + 1
        ann.there("BEGIN")
        ann.there("ROLLBACK")
        ann.there("INSERT INTO t VALUES (4)")


def test_a_transaction_of_queries_whose_client_leaves_within_a_chunk_is_rolled_back(
    gateway: GatewayProcess,
) -> None:
    before = count(gateway.port)
    answer = post(gateway.port, wire.connection_request(wire.ConnectionRequest(ANN, "v1.5.5"))).content
    session = wire.parse_connection_response(answer).connection_id
    post(gateway.port, wire.prepare(session, "BEGIN"))
    post(gateway.port, wire.prepare(session, "INSERT INTO t VALUES (1)"))
    header = wire.disconnect(session)[:-2].replace(bytes([wire.MessageType.DISCONNECT]), b"\x09", 1)
    chunk = field(3, b"\x01" + field(300, field(100, varint(5))))
    start = header + text_field(1, "main") + text_field(2, "t") + chunk + bytes(5000)
    with socket.create_connection(("127.0.0.1", gateway.port)) as line:
        line.sendall(b"POST /quack HTTP/1.1\r\nHost: x\r\nContent-Length: 90000\r\n\r\n" + start)
        line.shutdown(socket.SHUT_RDWR)

    def told() -> str:
        answer = post(gateway.port, wire.prepare(session, "SELECT 1")).content
        error = wire.parse_header(answer).type is wire.MessageType.ERROR
        return wire.parse_error(answer) if error else ""

    assert "rolled back" in wait_until(told, "The gateway did not notice that the client left within a chunk")
    assert told() == ""
    assert count(gateway.port) == before


@pytest.mark.parametrize("killed_at", ["CREATE", APPEND, "COMMIT"])
def test_a_gateway_that_is_killed_leaves_no_transaction_open(node: NodeProcess, killed_at: str) -> None:
    first = GatewayProcess(node, only_gateway=True)
    proxy = MessageProxy(first.port)

    def cut(kind: str) -> str | None:
        if kind == killed_at:
            first.kill()
        return "before" if first.process.poll() is not None else None

    with client(proxy.port) as ann:
        before = count(first.port)
        proxy.cut = cut
        assert tried(ann, "CREATE TABLE r.of_the_killed AS SELECT range AS i FROM range(3000)")
        second = GatewayProcess(node, only_gateway=True)
        proxy.target, proxy.cut = second.port, None
        error = tried(ann, "INSERT INTO r.t VALUES (77)")
        assert "rolled back and nothing of it was kept" in error
        assert not tried(ann, "INSERT INTO r.t VALUES (77)")
        assert count(second.port) == before + 1
        assert ann.there("SELECT count(*) FROM duckdb_tables() WHERE table_name = 'of_the_killed'") == [(0,)]
    for each in (proxy, first, second):
        each.close() if isinstance(each, MessageProxy) else each.stop()


def test_a_gateway_that_is_killed_within_a_transaction_of_queries_says_so(node: NodeProcess) -> None:
    first = GatewayProcess(node, only_gateway=True)
    with client(first.port) as ann:
        before = count(first.port)
        ann.there("BEGIN")
        ann.there("INSERT INTO t VALUES (1)")
        first.kill()
        second = GatewayProcess(node, port=first.port, only_gateway=True)
        assert "rolled back" in tried(ann, "INSERT INTO r.t VALUES (77)")
        ann.rows("INSERT INTO r.t VALUES (78)")
        assert count(second.port) == before + 1
    first.stop()
    second.stop()


def test_doors_that_share_their_nodes_carry_a_transaction_from_one_to_the_other(node: NodeProcess) -> None:
    first, second = GatewayProcess(node, only_gateway=False), GatewayProcess(node, only_gateway=False)
    proxy = MessageProxy(first.port)
    with client(proxy.port) as ann:
        before = count(first.port)
        ann.there("BEGIN")
        proxy.target = second.port
        ann.there("INSERT INTO t VALUES (1)")
        proxy.target = first.port
        ann.there("COMMIT")
        assert count(first.port) == before + 1
    for each in (proxy, first, second):
        each.close() if isinstance(each, MessageProxy) else each.stop()


def test_a_chunk_of_a_transaction_that_was_rolled_back_goes_nowhere() -> None:
    async def main() -> None:
        ran: list[str] = []

        async def run(sql: str) -> None:
            ran.append(sql)
            if ran.count("ROLLBACK") > 1:
                raise StatementError("cannot rollback - no transaction is active")

        state = State()
        state.done(7, await state.admitted(7, "BEGIN TRANSACTION", run))
        state.done(7, await state.admitted(7, "CREATE OR REPLACE TABLE old(i BIGINT);", run))
        with pytest.raises(Refusal, match="rolled back"):
            await state.admitted(8, "", run)
        # A late chunk would go into the table that was to be replaced.
        with pytest.raises(Refusal, match="rolled back"):
            await state.admitted(7, "", run)
        assert await state.admitted(9, "", run) == ""
        assert ran == ["ROLLBACK"]

    asyncio.run(main())
