"""This machine: what is installed, its memory, its open files, its temporary directory."""

from __future__ import annotations

import re
import resource
import tempfile
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import duckdb

from azquack.cli.diagnosis.finding import Diagnosis
from azquack.config.settings import Settings
from azquack.lake import extensions
from azquack.process import disks, machine
from azquack.process.directories import private_directory
from azquack.replicas.query import BESIDES

_PIN = re.compile(r"([\w-]+)==([\w.]+)\s*$")
_SETUP = "run make setup, or install azquack anew"
# DuckDB's own units. https://duckdb.org/docs/stable/configuration/pragmas#memory-limit
_UNITS = {"B": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_BINARY = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
# Files that the processes of a gateway hold beside the sockets of its clients.
_OWN_FILES = 128


def examine(diagnosis: Diagnosis, settings: Settings | None) -> None:
    """Look at what every command needs, and, where the `settings` are right, at what a replica would."""
    with diagnosis.examining("DuckDB", _SETUP):
        _pins(diagnosis)
    with diagnosis.examining("DuckDB's extensions", _SETUP):
        _extensions()
    with diagnosis.examining("memory", "give it more memory"):
        _memory(diagnosis, settings)
    with diagnosis.examining("temporary files", "set TMPDIR to a directory on a disk with room"):
        place = Path(tempfile.gettempdir())
        if problem := disks.problem_at("spill", place):
            diagnosis.error("temporary files", problem, "make room, or set TMPDIR to another directory")
    if settings is not None:
        _open_files(diagnosis, settings.connections_limit)


def _pins(diagnosis: Diagnosis) -> None:
    """DuckDB and its extensions decide behaviour: they have one version each."""
    for each in requires("azquack") or []:
        if (pin := _PIN.match(each)) is None:
            continue
        name, wanted = pin[1], pin[2]
        try:
            found = version(name)
        except PackageNotFoundError:
            diagnosis.error("DuckDB", f"the package {name} {wanted} is not installed", _SETUP)
            continue
        if found != wanted:
            diagnosis.error("DuckDB", f"{name} is of version {found}, and AzQuack needs {wanted}", _SETUP)


def _extensions() -> None:
    """Load each, as a node does: a file that is cut short, or whose signature is wrong, shows there alone."""
    with private_directory() as home:
        extensions.link_all(home)
        with duckdb.connect(":memory:", config=extensions.config(home)) as connection:
            for name in extensions.NAMES:
                connection.execute(f"LOAD {name}")


def _memory(diagnosis: Diagnosis, settings: Settings | None) -> None:
    there = machine.memory_bytes()
    if there < 2 * BESIDES:
        diagnosis.warn(
            "memory",
            f"this machine, or its container, has {machine.size(there)} of memory, and a replica takes "
            f"{machine.size(BESIDES)} before its first query",
            "give it 2 GiB or more",
        )
    if settings is None or settings.memory_limit is None:
        return
    nodes = max(1, settings.query_nodes)
    if nodes * _bytes(settings.memory_limit) > there:
        diagnosis.warn(
            "memory",
            f"AZQUACK_MEMORY_LIMIT is {settings.memory_limit} for each of {nodes} nodes, and there are "
            f"{machine.size(there)} in all: the kernel would end a node before DuckDB spills",
            "set a lower AZQUACK_MEMORY_LIMIT, or none",
        )


def _bytes(size: str) -> float:
    number, unit = re.fullmatch(r"([\d.]+) ?(\w+)", size).groups()  # type: ignore[union-attr]
    return float(number) * (_BINARY if "i" in unit else _UNITS)[unit[0]]


def _open_files(diagnosis: Diagnosis, connections: int) -> None:
    diagnosis.examined.append("open files")
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit != resource.RLIM_INFINITY and limit < connections + _OWN_FILES:
        diagnosis.warn(
            "open files",
            f"a process may open {limit} files here, and the gateway is to hold {connections} connections",
            f"raise it (ulimit -n {2 * connections}), or lower AZQUACK_CONNECTIONS_LIMIT",
        )
