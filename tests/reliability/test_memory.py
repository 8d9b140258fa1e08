"""A container whose memory runs out: the node goes, the gateway stays."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import duckdb
import pytest

from tests.cluster import remote, wait_until
from tests.reliability.conftest import Lake

LIMIT = 900 << 20
V1, V2 = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")
# Strings that are held in memory and can be spilled nowhere.
HOG = "SELECT length(string_agg(repeat('x', 1000000), '')) FROM range(4000)"


@pytest.fixture
def container(tmp_path: Path) -> Iterator[Path]:
    """A control group with little memory; skips, and says why, where none can be made."""
    old = (V1 / "memory.limit_in_bytes").exists()
    group = (V1 if old else V2) / f"azquack-{os.getpid()}"
    try:
        group.mkdir()
        (group / ("memory.limit_in_bytes" if old else "memory.max")).write_text(str(LIMIT))
        with suppress(OSError):
            (group / ("memory.memsw.limit_in_bytes" if old else "memory.swap.max")).write_text(
                str(LIMIT if old else 0)
            )
    except OSError as error:
        pytest.skip(f"no control group with a memory limit can be made here: {error.strerror}")
    yield group
    wait_until(lambda: not (group / "cgroup.procs").read_text(), "processes stayed in the control group")
    group.rmdir()


@pytest.mark.slow
def test_a_query_that_takes_all_memory_ends_its_node_and_nothing_else(lake: Lake, container: Path) -> None:
    lake.catalog.start()
    # What DuckDB allows itself is more than there is: the kernel has to decide.
    lake.query.environment["AZQUACK_MEMORY_LIMIT"] = "8GB"
    lake.query.start()
    for each in lake.query.tree():
        (container / "cgroup.procs").write_text(str(each.pid))
    gateway, node = lake.query.process("query-gateway"), lake.query.process("query-node-1")
    with lake.writers.connected() as connection, pytest.raises(duckdb.Error, match="broke off"):
        connection.execute(remote(HOG)).fetchall()
    assert lake.query.process("query-node-1").pid != node.pid
    assert lake.query.process("query-gateway").pid == gateway.pid
    with lake.writers.connected() as connection:
        assert connection.execute(remote("SELECT 42")).fetchall() == [(42,)]
    assert "SIGKILL, as the kernel does when memory runs out" in lake.query.log_text()
    lake.query.stop()


@pytest.mark.slow
def test_a_query_beyond_the_limit_of_its_node_is_refused_in_a_sentence(lake: Lake) -> None:
    lake.query.environment["AZQUACK_MEMORY_LIMIT"] = "300MB"
    lake.start()
    node = lake.query.process("query-node-1")
    with lake.writers.connected() as connection:
        with pytest.raises(duckdb.Error, match=r"failed to allocate|Out of Memory"):
            connection.execute(remote(HOG)).fetchall()
        assert connection.execute(remote("SELECT 42")).fetchall() == [(42,)]
    assert lake.query.process("query-node-1").pid == node.pid
