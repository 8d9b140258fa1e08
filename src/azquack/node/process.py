"""The DuckDB process of a replica: `python -m azquack.node.process`, started by the supervisor.

It reads its configuration from standard input, opens its database, serves it over Quack and answers the supervisor
until it has to stop or the supervisor is gone.
"""

from __future__ import annotations

import contextlib
import logging
import os
import random
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from azquack.catalog import epochs, lake_places, upgrade
from azquack.errors import AzQuackError, LakeError, StartError
from azquack.lake import bloom_filters, extensions, lake_id, placeholders
from azquack.lake.lake_id import LakeId
from azquack.lake.metadata import quack
from azquack.lake.state import Catalog, Places, Seen, judge
from azquack.node.config import NodeConfig
from azquack.node.idle_sessions import IdleSessions
from azquack.node.interrupts import PROOF, Interrupts, proven
from azquack.process import logs, machine
from azquack.process.directories import private_directory
from azquack.process.pipes import Message, ParentPipe
from azquack.sql import Statement, first_line, literal, plain

if TYPE_CHECKING:
    from azquack.catalog.data_path import DataGuard
    from azquack.catalog.link.link import CatalogLink

log = logging.getLogger(__name__)

# Seconds between probes while all is well, and while something is not: a quiet replica shall cost next to nothing, one
# that comes back shall be seen at once.
PROBE_EVERY = 15.0
PROBE_AGAIN = 2.0
PROBE_TIMEOUT = 5.0
# An open that fails with one of these may well succeed once the catalog is up.
_PASSING = (
    "The catalog did not",
    "Could not connect",
    "Failed to send message",
    "Could not establish",
    "HTTP",
    "Timeout",
    # Another replica makes the new lake at the same moment; it is there at the next try.
    "write-write conflict on create",
)
# Quack looks these up for every message. By their bare names all of Quack's functions are sought in the lake first,
# which asks the catalog, and a macro of the lake could stand in for them.
_CALLBACKS = tuple(
    plain(f"SET GLOBAL quack_{kind}_function = 'system.main.{name}'")
    for kind, name in (("authentication", "quack_check_token"), ("authorization", "quack_nop_authorization"))
)


class Node:
    """One DuckDB that serves Quack. `directory` is a private directory for its extensions, secrets and spill."""

    def __init__(
        self, config: NodeConfig, directory: Path, tell: Callable[..., None] = lambda event, **facts: None
    ) -> None:
        self._config = config
        self._directory = directory
        self._tell = tell
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._link: CatalogLink | None = None
        self._interrupts: Interrupts | None = None
        self.port = 0
        self.lake = ""

    @property
    def connection(self) -> duckdb.DuckDBPyConnection:
        """The node's own connection; `StartError` before `open`."""
        if self._connection is None:
            raise StartError("the node is not open yet")
        return self._connection

    def open(self) -> None:
        """Open the database, waiting for the catalog. Raises `LakeError`, `StartError`."""
        extensions.link_all(self._directory / "extensions")
        for folder in ("secrets", "spill"):
            (self._directory / folder).mkdir(mode=0o700, exist_ok=True)
        guard = self._write_secrets()
        if self._config.role == "catalog":
            identity = self._found_whole(Path(self._config.database))
            upgrade.prepare(Path(self._config.database))
        deadline, pause = time.monotonic() + self._config.start_timeout, 0.1
        while True:
            try:
                if guard is not None:
                    with self._beside() as beside:
                        guard.check(beside)
                self._connection = duckdb.connect(
                    self._config.database, read_only=self._config.read_only, config=self._duckdb_config()
                )
                break
            except duckdb.Error as error:
                passing = any(sign in str(error) for sign in _PASSING)
                if not passing or time.monotonic() + pause > deadline:
                    raise _opening_error(self._config, str(error)) from None
                log.info("waiting for the catalog", extra={"pause": round(pause, 2)})
            time.sleep(pause * random.uniform(0.8, 1.2))  # noqa: S311  jitter, not a secret
            pause = min(pause * 1.7, 3.0)
        if self._config.role == "catalog":
            lake_id.write(self.connection, Path(self._config.database).stem, identity)
        if guard is not None:
            with self._beside() as beside:
                guard.mark(beside)
        # Taken away once the lake is open, so that no statement of a user can borrow them.
        for path in (self._directory / "secrets").iterdir():
            self.run(plain(f"DROP PERSISTENT SECRET {path.name.split('.')[0]}"))
        for each in map(_load, self._config.extensions):
            self.run(each)
        for each in self._config.statements:
            if each.masked in self._config.skip:
                log.warning("left out a statement in which the node died", extra={"statement": each.masked})
                continue
            # Should it take the process with it, the supervisor knows which it was.
            self._tell("running", statement=each.masked)
            self.run(each)
        if PROOF not in self._config.skip:
            self._tell("running", statement=PROOF)
            self._prove_interrupts()
        self._tell("running", statement="")

    def _prove_interrupts(self) -> None:
        try:
            self._interrupts = proven(self.connection)
        except StartError as error:
            log.warning("a statement that must end will end this node", extra={"reason": str(error)})

    @property
    def interrupts(self) -> bool:
        """Whether one statement can be interrupted; else only the node with all its sessions can be ended."""
        return self._interrupts is not None

    def answer(self, question: Message) -> Message:
        """What a gateway asks: to `interrupt` a `connection`, or for the `progress` of some `connections`."""
        if self._interrupts is None:
            return {"done": None}
        if question["what"] == "interrupt":
            return {"done": self._interrupts.interrupt(question["connection"])}
        return {"done": True, "progress": self._interrupts.progress(question["connections"])}

    def serve(self) -> None:
        """Serve Quack on its configured address. Raises `StartError` when the port is taken."""
        who = f"CALL system.main.quack_identify(name => {literal(self._config.name)}, provider => 'azquack')"
        for each in (_load("httpfs"), _load("quack"), plain(who), *_CALLBACKS):
            self.run(each)
        attempts = 1 if self._config.port else 10
        for attempt in range(attempts):
            port = self._config.port or _free_port(self._config.host)
            uri = literal(f"quack:{self._config.host}:{port}")
            try:
                self.connection.execute(
                    f"CALL system.main.quack_serve({uri}, token => ?, allow_other_hostname => true, "
                    "disable_ssl => true)",
                    [self._config.token],
                )
                self.port = port
                break
            except duckdb.Error:
                if attempt + 1 == attempts:
                    raise StartError(
                        f"port {port} on {self._config.host} is taken: choose another with AZQUACK_PORT"
                    ) from None
        self.lock()

    def lock(self) -> None:
        """Put what users may not reach out of reach; nothing of it can be taken back."""
        for each in self._config.lockdown:
            self.run(each)

    def run(self, each: Statement) -> None:
        """Run one statement of the configuration. Raises `StartError` with DuckDB's error, secrets removed."""
        _run(self.connection, each)

    def probe(self) -> dict[str, str]:
        """Run every probe of the configuration; name → '' when well, else what is wrong in a sentence."""
        return {name: self._probe(sql) for name, sql in self._config.probes.items()}

    def _probe(self, sql: str) -> str:
        cursor = self.connection.cursor()
        timer = threading.Timer(PROBE_TIMEOUT, cursor.interrupt)
        timer.start()
        try:
            cursor.execute(sql).fetchall()
        except duckdb.InterruptException:
            return f"no answer within {PROBE_TIMEOUT:.0f} s"
        except duckdb.Error as error:
            return first_line(error)
        finally:
            timer.cancel()
            cursor.close()
        return ""

    @property
    def sweep_every(self) -> float:
        """Seconds that may pass between two sweeps: an idle session shall not outlive its time by half."""
        limits = [each for each in (self._config.idle_timeout, self._config.statement_timeout) if each]
        return max(1.0, min(limits, default=PROBE_EVERY) / 2)

    def sweep(self) -> int:
        """End the sessions that nobody uses; how many are left."""
        idle = IdleSessions(
            self._config.host, self.port, self._config.idle_timeout, self._config.statement_timeout
        )
        return idle.end(self.connection.cursor())

    def close(self) -> None:
        """Stop to serve, write the database's log into its file, close."""
        cursor = self.connection.cursor()
        with contextlib.suppress(duckdb.Error):
            cursor.execute(
                f"CALL system.main.quack_stop({literal(f'quack:{self._config.host}:{self.port}')})"
            )
        if self._config.role == "catalog":
            # On a lake CHECKPOINT is maintenance: it would flush, merge and delete files.
            with contextlib.suppress(duckdb.Error):
                cursor.execute("CHECKPOINT")

    def _duckdb_config(self) -> dict[str, str | bool | int | float | list[str]]:
        return {
            **self._config.duckdb_config,
            **extensions.config(self._directory / "extensions"),
            "secret_directory": str(self._directory / "secrets"),
            "temp_directory": str(self._directory / "spill"),
        }

    def _write_secrets(self) -> DataGuard | None:
        """The secrets that open the lake; what compares the lake with its data path. None where there is no lake."""
        lake = self._config.lake
        if lake is None:
            return None
        # What a catalog's node, which has no lake to open, need not hold.
        from azquack.catalog.data_path import DataGuard

        metadata = lake.metadata
        if lake.link is not None:
            # Brings an event loop, 6 MB that a catalog's node, which has no link, need not hold.
            from azquack.catalog.link.commits import CommittedFiles
            from azquack.catalog.link.link import CatalogLink
            from azquack.lake.data_files import largest, missing

            # It asks once there are commits, for which the lake must be open.
            stored = CommittedFiles(
                lake.data_path,
                lambda paths: missing(self.connection.cursor(), paths),
                lambda path, columns: largest(self.connection.cursor(), path, columns),
            )
            self._link = CatalogLink(lake.link, lake.token, stored)
            metadata = quack(f"quack:127.0.0.1:{self._link.start()}", self._link.token)
        with self._beside() as connection:
            for each in lake.secrets(metadata):
                _run(connection, each)
            bloom_filters.turn_off(connection, self._directory / "proof.parquet")
            if lake.link is not None:
                placeholders.rename(connection, self._directory / "proof")
        return DataGuard(lake, metadata)

    @contextlib.contextmanager
    def _beside(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A DuckDB beside the lake's: it can read the data path, and serves nobody.

        It is gone at once, so it need not hash the extensions' files, which takes 0.1 s for each: they come from the
        hash-pinned wheels, like this code, and the database that serves verifies them.
        """
        lake = self._config.lake
        config = self._duckdb_config() | {"allow_unsigned_extensions": "true"}
        with duckdb.connect(":memory:", config=config) as connection:
            for each in (*map(_load, self._config.extensions), *(lake.storage if lake else ())):
                _run(connection, each)
            yield connection

    def _found_whole(self, file: Path) -> LakeId:
        """The identity under which the catalog `file` is to be served. Raises `LakeError` when it must not be."""
        places = self._config.places or Places(Catalog(where=f"the catalog {file}"))
        catalog = lake_places.catalog_file(places.catalog, file, places.backups.witness)
        if catalog.seen is Seen.UNREADABLE and _is_newer(catalog.problem):
            raise _opening_error(self._config, catalog.problem)
        # What a newer version wrote is not judged by what this one knows of it.
        upgrade.refuse_newer(file, catalog.format)
        verdict = judge(replace(places, catalog=catalog))
        verdict.insist()
        adopted = catalog.seen is Seen.THERE and (catalog.adopted or not catalog.lake)
        self.lake = verdict.lake or lake_id.new()
        return LakeId(self.lake, epochs.number_of(file), adopted)


def _load(extension: str) -> Statement:
    return plain(f"LOAD {extension}")


def _run(connection: duckdb.DuckDBPyConnection, each: Statement) -> None:
    try:
        connection.execute(each.text)
    except duckdb.Error as error:
        raise StartError(f"{each.masked} failed: {each.scrub(first_line(error))}") from None


def _free_port(host: str) -> int:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as listener:
        listener.bind((host, 0))
        return int(listener.getsockname()[1])


def _opening_error(config: NodeConfig, message: str) -> AzQuackError:
    """DuckDB's refusal to open, as a sentence that says what to do."""
    first = message.strip().splitlines()[0]
    if "Could not set lock" in message or "Conflicting lock" in message:
        return LakeError(f"{config.database} is in use by another process: stop that one first")
    if "DATA_PATH" in message or "data path" in message.lower():
        return LakeError(f"this catalog belongs to a lake with another data path: {first}")
    if _is_newer(message):
        return LakeError(f"this lake was made by a newer version, which this AzQuack cannot read: {first}")
    if any(sign in message for sign in _PASSING):
        return StartError(f"the catalog did not answer within {config.start_timeout:.0f} s: {first}")
    return LakeError(f"the lake cannot be opened: {first}")


def _is_newer(message: str) -> bool:
    return any(
        sign in message for sign in ("newer", "storage version", "version number", "Only DuckLake versions")
    )


def main() -> int:
    """The process: 0 after a stop, 1 after a failed start (whose error the supervisor gets)."""
    parent = ParentPipe()
    first = parent.receive()
    if first is None:
        return 1
    config = NodeConfig.from_message(first)
    logs.configure(config.name, config.log_level)
    machine.first_to_go()
    # Where they are installed, DuckDB's client imports them at the first parameter; no node needs them.
    sys.modules.update(dict.fromkeys(("pandas", "pyarrow")))  # type: ignore[arg-type]  # None: not there
    _cache_identity()
    with private_directory() as directory:
        node = Node(config, directory, parent.send)
        try:
            node.open()
            node.serve()
        except AzQuackError as error:
            parent.send("failed", error=str(error), may_pass=error.may_pass)
            return 1
        facts = {
            "access": config.access,
            "lake": node.lake,
            "versions": extensions.versions(),
            "skipped": list(config.skip),
            "interrupts": node.interrupts,
        }
        parent.send("ready", port=node.port, **facts)
        threading.Thread(target=_report, args=(node, parent), daemon=True).start()
        _obey(node, parent)
    return 0


def _cache_identity() -> None:
    """Put a cache before the platform's managed identity endpoint, where there is one."""
    if "IDENTITY_ENDPOINT" in os.environ:
        # Brings an HTTP client, which other nodes need not wait for.
        from azquack.node.managed_identity import IdentityCache

        cache = IdentityCache.for_platform(os.environ)
        os.environ.update(cache.environment if cache else {})


def _report(node: Node, parent: ParentPipe) -> None:
    """Tell the supervisor for ever how the probes fare."""
    while True:
        probes, sessions = node.probe(), None
        try:
            sessions = node.sweep()
        except duckdb.Error as error:
            # A lake whose catalog cannot be read fails here and not in SELECT 1: nobody can log in either.
            probes["duckdb"] = first_line(error)
        parent.send("probed", probes=probes, sessions=sessions)
        pause = PROBE_AGAIN if any(probes.values()) else min(PROBE_EVERY, node.sweep_every)
        time.sleep(pause * random.uniform(0.9, 1.1))  # noqa: S311  jitter, not a secret


def _obey(node: Node, parent: ParentPipe) -> None:
    """Answer the supervisor until it says stop or is gone."""
    while (message := parent.receive()) is not None:
        if message["op"] == "ping":
            node.connection.cursor().execute("SELECT 1").fetchall()
            parent.send("pong")
        elif message["op"] == "ask":
            parent.send("answer", **{"for": message["for"]}, **node.answer(message))
        elif message["op"] == "stop":
            node.close()
            parent.send("stopped")
            return


if __name__ == "__main__":
    code = main()
    # A process that is both Quack server and Quack client can hang in its destructors.
    os._exit(code)
