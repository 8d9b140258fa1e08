"""What every contender can do: make a lake, serve it, say how clients reach it, end."""

from __future__ import annotations

import os
import shutil
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import psutil

from azquack.lake import extensions
from azquack.sql import literal
from bench.client import Address, database, run
from tests import cluster


class Contender(ABC):
    """One way to have a DuckLake, in `directory`, which is its own."""

    name: ClassVar[str]
    serves: ClassVar[bool] = True
    """Whether it has processes of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.home = str(directory / "extensions")
        extensions.link_all(Path(self.home))
        tpch = extensions.file_of("tpch")
        (place,) = Path(self.home).glob("*/*/")
        (place / tpch.name).symlink_to(tpch)
        self._processes: dict[str, subprocess.Popen[str]] = {}

    @property
    def catalog(self) -> Path:
        """The catalog's file, of those that have one."""
        return self.directory / "catalog" / "catalog.duckdb"

    @property
    def data(self) -> Path:
        """Where the Parquet files lie."""
        return self.directory / "data"

    def open_statements(self) -> tuple[str, ...]:
        """The statements that open the lake in a process of its own, with no server about."""
        return (
            f"ATTACH {literal(f'ducklake:{self.catalog}')} AS lake (DATA_PATH {literal(f'{self.data}/')})",
        )

    def make(self, *statements: str) -> None:
        """Makes the lake before anything serves it; `statements` fill it."""
        for folder in (self.catalog.parent, self.data):
            folder.mkdir(parents=True, exist_ok=True)
        with database(self.home) as connection:
            run(connection, ("LOAD ducklake", *self.open_statements(), "USE lake", *statements))

    def prepare(self) -> None:  # noqa: B027  most need nothing
        """Starts what `make` needs."""

    @abstractmethod
    def start(self) -> None:
        """Starts to serve; returns when a client is let in."""

    @abstractmethod
    def address(self) -> Address:
        """How a client reaches it."""

    def stop(self) -> None:
        """Ends what serves; it can start again."""
        for process in reversed(self._processes.values()):
            cluster.close(process.stdin)
            cluster.end(process)
        self._processes.clear()

    def destroy(self) -> None:
        """Ends and deletes it."""
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def processes(self) -> dict[str, psutil.Process]:
        """Its processes by name."""
        return {name: psutil.Process(process.pid) for name, process in self._processes.items()}

    def spawn(
        self, name: str, command: Sequence[str], first: str = "", environment: Mapping[str, str] | None = None
    ) -> str:
        """Starts a process, gives it the line `first` and more `environment`; its first line of output."""
        with (self.directory / f"{name}.log").open("a") as log:
            process = self._processes[name] = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
                env={**os.environ, **(environment or {})},
            )  # fmt: skip
        if first:
            assert process.stdin is not None
            process.stdin.write(first + "\n")
            process.stdin.flush()
        return cluster.read_line(process, f"{name} did not start: see {self.directory / name}.log").strip()
