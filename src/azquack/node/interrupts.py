"""The statements of one DuckDB process, interrupted one by one.

Quack 1 has no message that cancels, and DuckDB's Python module interrupts its own connections only, not those that its
Quack server has opened. But a node is a Python process, and the wheel exports DuckDB's C++ functions: with them the
connections of the database are listed, and one is interrupted by the number that `current_connection_id()` gives in it.
This leans on how the wheel lays out its objects, so each node proves it at its start on two connections of its own.
"""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from ctypes import Structure, c_double, c_uint64, c_void_p
from typing import TypeVar

import _duckdb
import duckdb

from azquack.errors import StartError
from azquack.sql import first_line

SYMBOLS = {
    # ConnectionManager &ConnectionManager::Get(DatabaseInstance &)
    "manager": "_ZN6duckdb17ConnectionManager3GetERNS_16DatabaseInstanceE",
    # vector<shared_ptr<ClientContext>> ConnectionManager::GetConnectionList()
    "connections": "_ZN6duckdb17ConnectionManager17GetConnectionListEv",
    # connection_t ClientContext::GetConnectionId() const
    "number": "_ZNK6duckdb13ClientContext15GetConnectionIdEv",
    # void ClientContext::Interrupt()
    "interrupt": "_ZN6duckdb13ClientContext9InterruptEv",
    # QueryProgress ClientContext::GetQueryProgress()
    "progress": "_ZN6duckdb13ClientContext16GetQueryProgressEv",
    # void std::_Sp_counted_base<…>::_M_release(), which gives one shared pointer back
    "release": "_ZNSt16_Sp_counted_baseILN9__gnu_cxx12_Lock_policyE2EE10_M_releaseEv",
}
# void operator delete(void *)
DELETE = "_ZdlPv"
# Where a Python object of the module has the pointer to its C++ object, and that its DuckDB.
_OBJECT, _DATABASE = 16, 16
_SHARED_POINTER = 16
# Never ends by itself; in a node the bare names would be sought in the lake.
_ENDLESS = "SELECT system.main.count(*) FROM system.main.range(1000000000000000) t(i) WHERE i % 2 = 5"
_ROWS = "FROM system.main.range(1000000000000000)"
# More rows than DuckDB makes at once.
_CHUNK = 4096
_NUMBER = "SELECT system.main.current_connection_id()"
PROOF = "the proof that one statement can be interrupted"
"""What a node says that it does meanwhile: should that end the process, it starts again without it."""
PROOF_SECONDS = 5.0
_EVERY = 0.002

T = TypeVar("T")


class _Vector(Structure):
    """A std::vector: larger than two registers, so a function that returns one fills it in where it is told to."""

    _fields_ = (("begin", c_void_p), ("end", c_void_p), ("room", c_void_p))


class _Progress(Structure):
    """What DuckDB knows of how far a statement is: percent, and rows of all rows; -1 where it does not."""

    _fields_ = (("percent", c_double), ("rows", c_uint64), ("of", c_uint64))


class Interrupts:
    """The connections of the database of `connection`, which must stay open as long as this is used.

    Raises `StartError` where this build of DuckDB has not the functions for it. The functions run without Python's
    lock, and take some microseconds.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        try:
            library = ctypes.CDLL(_duckdb.__file__)
            found = {name: library[symbol] for name, symbol in SYMBOLS.items()}
            self._delete = ctypes.CDLL("libstdc++.so.6")[DELETE]
        except (AttributeError, OSError):
            raise StartError("this build of DuckDB is not as others are") from None
        pointer = [c_void_p]
        for each in (*found.values(), self._delete):
            each.argtypes, each.restype = pointer, None
        found["manager"].restype, found["connections"].restype = c_void_p, _Vector
        found["number"].restype, found["progress"].restype = c_uint64, _Progress
        self._functions = found
        # Kept, so that what is pointed to stays.
        self._connection = connection
        database = _word(_word(id(connection) + _OBJECT) + _DATABASE)
        self._manager = found["manager"](_word(database))

    def numbers(self) -> list[int]:
        """The numbers of all connections that are open."""
        return list(self._each(lambda number, context: number))

    def interrupt(self, number: int) -> bool:
        """Interrupts what runs in the connection `number`; False where there is none of this number."""

        def interrupt(each: int, context: int) -> bool:
            if each == number:
                self._functions["interrupt"](context)
            return each == number

        return any(self._each(interrupt))

    def progress(self, numbers: Iterable[int]) -> dict[int, tuple[float, int, int]]:
        """How far the statements of the connections `numbers` are: percent, and rows of how many.

        Those of whose statements DuckDB does not know it are left out.
        """
        wanted = frozenset(numbers)

        def progress(number: int, context: int) -> tuple[int, _Progress] | None:
            return (number, self._functions["progress"](context)) if number in wanted else None

        known = (each for each in self._each(progress) if each is not None and each[1].percent >= 0)
        return {number: (told.percent, told.rows, told.of) for number, told in known}

    def _each(self, do: Callable[[int, int], T]) -> list[T]:
        """What `do` says of each connection's number and ClientContext, which lives as long as that takes."""
        done: list[T] = []
        listed = self._functions["connections"](self._manager)
        try:
            for at in range(listed.begin or 0, listed.end or 0, _SHARED_POINTER):
                context, holder = _word(at), _word(at + 8)
                try:
                    done.append(do(self._functions["number"](context), context))
                finally:
                    # What is not given back stays for ever, with its transaction.
                    self._functions["release"](holder)
        finally:
            self._delete(listed.begin)
        return done

    def prove(self) -> None:
        """Raises `StartError` unless one of two statements can be interrupted, and both connections go on."""
        with self._connection.cursor() as one, self._connection.cursor() as other:
            numbers = [_number(each) for each in (one, other)]
            if not set(numbers) <= set(self.numbers()):
                raise StartError("the connections of DuckDB cannot be told apart")
            # One whose rows are being read can be asked whether it was interrupted too.
            other.execute(_ROWS).fetchmany(_CHUNK)
            self._prove_running(numbers[0], one)
            try:
                other.fetchmany(_CHUNK)
            except duckdb.InterruptException:
                raise StartError("an interrupt of one statement ended another") from None
            self.interrupt(numbers[1])
            with suppress(duckdb.InterruptException):
                other.fetchmany(_CHUNK)
                raise StartError("a result that is being read was not interrupted")
            if [_number(each) for each in (one, other)] != numbers:
                raise StartError("a connection does not go on after an interrupt")

    def _prove_running(self, number: int, cursor: duckdb.DuckDBPyConnection) -> None:
        running = _Running(cursor)
        deadline = time.monotonic() + PROOF_SECONDS
        try:
            while running.thread.is_alive():
                if time.monotonic() > deadline:
                    raise StartError("a running statement was not interrupted")
                # One that comes before the statement has begun is forgotten by DuckDB.
                self.interrupt(number)
                running.thread.join(_EVERY)
        finally:
            # Whatever went wrong, the node shall not count for ever.
            while running.thread.is_alive():
                cursor.interrupt()
                running.thread.join(_EVERY)
        if not running.interrupted:
            raise StartError("a statement ended, but not by its interrupt")


def proven(connection: duckdb.DuckDBPyConnection) -> Interrupts:
    """The way to interrupt, of which a proof was made. Raises `StartError` with the reason why there is none."""
    interrupts = Interrupts(connection)
    try:
        interrupts.prove()
    except duckdb.Error as error:
        raise StartError(first_line(error)) from None
    return interrupts


class _Running:
    """A statement that runs in a thread until it is interrupted."""

    def __init__(self, cursor: duckdb.DuckDBPyConnection) -> None:
        self.interrupted = False
        self._cursor = cursor
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        with suppress(duckdb.InterruptException):
            self._cursor.execute(_ENDLESS).fetchall()
            return
        self.interrupted = True


def _number(cursor: duckdb.DuckDBPyConnection) -> int:
    row = cursor.execute(_NUMBER).fetchone()
    assert row is not None
    return int(row[0])


def _word(address: int) -> int:
    return c_void_p.from_address(address).value or 0
