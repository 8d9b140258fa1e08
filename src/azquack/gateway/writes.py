"""Whether what people write is kept, from the first write that failed for no fault of its own until one works again.

Reads go on when a catalog or a storage takes no more writes, and so does all else that is checked. A gateway sees every
write and how it ends. That of a catalog is told by the catalog's own words for a commit that it could not keep; what a
query replica's writers meet may have many reasons, their own among them, so after one that failed it writes a
file itself.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterator
from typing import Protocol

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from azquack.errors import StatementError, UpstreamError
from azquack.gateway.outcome import Outcome
from azquack.gateway.routing import Nodes
from azquack.process.health import Board
from azquack.quack.faults import clear
from azquack.sql import literal

CHECK = "writes"
# Seconds between looks at what was noted, and between two files that are written: while it works, and while not.
EVERY = 1.0
FILE_EVERY = 10.0
FILE_AGAIN = 2.0
FILE_TIMEOUT = 30.0
# No mark of a lake, and no Parquet file: nothing else that looks at a data path sees it.
_FILE = ".probe.azquack"
_COMMITS = ("COMMIT", "CREATE", "WRITE")
_READS = ("SELECT", "EXPLAIN", "UNKNOWN", "EMPTY")
_UNKEPT = re.compile(r"(?:[\w ]+ Error: )?Failed to commit: (?P<reason>.+)", re.DOTALL)
# The same words for a commit that another one was quicker than.
_CONFLICT = re.compile(r"constraint|conflict", re.IGNORECASE)


class Writes(Protocol):
    """What a gateway is told of each statement, by its kind in the audit log."""

    def ended(self, kind: str, outcome: Outcome) -> None:
        """A statement of `kind` ended so."""

    async def problem(self) -> str:
        """What keeps writes from being kept now; '' for nothing that is known."""


class CatalogWrites:
    """Those of a catalog: its own answers say all."""

    def __init__(self) -> None:
        self._problem = ""

    def ended(self, kind: str, outcome: Outcome) -> None:
        """A commit that the catalog could not keep counts, until one is kept."""
        found = _UNKEPT.match(outcome.said)
        if found and not _CONFLICT.search(outcome.said):
            reason = _sentence(found["reason"])
            self._problem = f"the catalog could not keep the last commit ({reason}): writes to the lake fail"
        elif outcome.word == "ok" and kind in _COMMITS:
            self._problem = ""

    async def problem(self) -> str:
        """As of the last commit."""
        return self._problem


class DataWrites:
    """Those of a query replica, whose data lies in `data_path` ('': nobody writes), as its `nodes` see it."""

    def __init__(self, data_path: str, nodes: Nodes) -> None:
        self._data_path = data_path
        self._nodes = nodes
        self._doubted = False
        self._problem = ""
        self._asked = -FILE_EVERY

    def ended(self, kind: str, outcome: Outcome) -> None:
        """A write with an error may lack a place to write to. One that is done shows nothing: few rows need none."""
        self._doubted = self._doubted or bool(self._data_path and outcome.said and kind not in _READS)

    async def problem(self) -> str:
        """As of the last file that was written; one is written only when a write has failed since the last one."""
        pause = FILE_AGAIN if self._problem else FILE_EVERY
        if (self._doubted or self._problem) and time.monotonic() - self._asked >= pause:
            self._asked, self._doubted = time.monotonic(), False
            await self._write_file()
        return self._problem

    async def _write_file(self) -> None:
        where = f"the data path {self._data_path.rstrip('/')}"
        try:
            async with asyncio.timeout(FILE_TIMEOUT):
                await self._run(f"COPY (SELECT 1 AS i) TO {literal(self._data_path + _FILE)} (FORMAT csv)")
        except StatementError as error:
            reason = _sentence(str(error))
            self._problem = (
                f"no file can be written to {where} ({reason}): writes of more than a few rows fail"
            )
        except TimeoutError:
            self._problem = f"no file was written to {where} within {FILE_TIMEOUT:.0f} s"
        except UpstreamError:
            # The node is away, as other checks say.
            self._doubted = True
        else:
            self._problem = ""

    async def _run(self, sql: str) -> None:
        node = self._nodes.least_busy("write")
        if node is None:
            raise UpstreamError("no node that writes is ready", sent=False)
        async with node.own_session() as session:
            await session.run(sql)


class WritesCheck(Collector):
    """The check, and the metric, of `of`."""

    def __init__(self, of: Writes) -> None:
        self.of = of
        self._problem = ""

    async def note(self, board: Board) -> float:
        """Note on `board` how writes fare; seconds until the next look. It is not vital: readers can be served."""
        self._problem = await self.of.problem()
        board.note(CHECK, self._problem, vital=False)
        return EVERY

    def collect(self) -> Iterator[Metric]:
        """The metric."""
        yield GaugeMetricFamily(
            "azquack_writes_failing",
            "1 from a write that could not be kept until one works again.",
            bool(self._problem),
        )


def _sentence(error: str) -> str:
    """The first line of an error of DuckDB, as a user may see it."""
    return clear(error).strip().partition("\n")[0].rstrip(".")
