"""A storage that is far away: what each operation takes and how often it asks."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from azquack.sql import literal
from bench.client import Address, Client, open_client
from bench.contenders import AzQuack, Contender
from bench.delay import DelayProxy
from bench.workloads.links import measured_at
from bench.workloads.workload import Measure, Workload
from tests.standins.azurite import Azurite

DELAYS = (0, 30)
CONTAINER = "lake"
DATA_PATH = f"az://{CONTAINER}/data/"
OPERATIONS = (
    ("INSERT, 1 row", "INSERT INTO t VALUES ({n}, 'row')"),
    ("INSERT, 1000 rows", "INSERT INTO t SELECT {n}, 'row ' || range FROM range(1000)"),
    ("SELECT, files read before", "SELECT count(DISTINCT s) FROM t"),
    (
        "CREATE TABLE AS, 1M rows",
        "CREATE TABLE filled_{n} AS SELECT range AS i, hash(range) AS h FROM range(1000000)",
    ),
    ("SELECT, a new file", "SELECT sum(i), max(h) FROM filled_{n}"),
    ("DELETE", "DELETE FROM filled_{n} WHERE i % 100 = 7"),
    ("DROP TABLE", "DROP TABLE filled_{n}"),
)


class Storage(Workload):
    """One client."""

    name = "storage"
    title = "A storage far away"
    plots = (("Requests to the storage", "*, round trips"), ("30 ms each way", "*, 30 ms each way"))
    about = (
        "The Parquet files lie in Azurite behind a proxy that delays each way by 0 and 30 ms; the catalog is near. "
        "Each operation 5 times a round, the median; round trips are counted at the proxy, several at once as several."
    )
    contenders = ("limit", "azquack")

    @contextmanager
    def measured(self, contender: Contender) -> Iterator[Measure]:
        with tempfile.TemporaryDirectory(prefix="bench-blobs-") as blobs, ExitStack() as stack:
            azurite = Azurite(Path(blobs))
            stack.callback(azurite.stop)
            azurite.start()
            azurite.make_container(CONTAINER)
            proxy = DelayProxy(azurite.port)
            stack.callback(proxy.close)
            stack.callback(contender.stop)
            client = _opened(contender, azurite.connection_string_by(proxy.port))
            stack.callback(client.close)
            client.rows("CREATE TABLE t (i BIGINT, s VARCHAR)")
            numbers = iter(range(1_000_000))
            yield lambda: measured_at(DELAYS, OPERATIONS, client, proxy, numbers)


def _opened(contender: Contender, connection_string: str) -> Client:
    """A client of `contender`, whose lake keeps its data at `DATA_PATH`."""
    if isinstance(contender, AzQuack):
        contender.flags = ("--data-path", DATA_PATH, "--storage-auth", "connection_string")
        contender.environment = {"AZQUACK_AZURE_CONNECTION_STRING": connection_string}
        contender.start()
        return open_client(contender.address())
    contender.catalog.parent.mkdir(parents=True)
    statements = (
        "LOAD azure",
        "SET GLOBAL azure_transport_option_type = 'curl'",
        f"CREATE SECRET (TYPE azure, CONNECTION_STRING {literal(connection_string)})",
        f"ATTACH {literal(f'ducklake:{contender.catalog}')} AS lake (DATA_PATH {literal(DATA_PATH)})",
    )
    return open_client(Address("lake", contender.home, statements=statements, shared=True))
