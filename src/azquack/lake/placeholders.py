"""DuckLake's placeholders, renamed in this process so that no user can have written one.

DuckLake 1.5.5 (`d8a1881e`, `SubstituteSnapshotPlaceholders` and `SubstituteCatalogPlaceholders`) writes what a user
wrote into its SQL first, quoted, and replaces `{SNAPSHOT_ID}`, `{AUTHOR}` and the like in the whole text after that:
a value that holds such a word is altered, or ends its literal and goes on as SQL. Its templates and the words that it
looks for are constants in the read-only data of the loaded extension. Here each word is overwritten there by a random
one of the same length, made anew in each process: DuckLake finds its own places, and nothing of a user's.

Of a few templates the compiler has put the end of a word into instructions. Those words keep these letters, and are
random before them.
"""

from __future__ import annotations

import ctypes
import logging
import re
import secrets
import string
import sys
from pathlib import Path

import duckdb

from azquack.errors import StartError
from azquack.lake.memory import overwrite
from azquack.sql import first_line, literal

log = logging.getLogger(__name__)

WORDS = (
    "{SNAPSHOT_ID}",
    "{SCHEMA_VERSION}",
    "{NEXT_CATALOG_ID}",
    "{NEXT_FILE_ID}",
    "{AUTHOR}",
    "{COMMIT_MESSAGE}",
    "{COMMIT_EXTRA_INFO}",
    "{METADATA_CATALOG}",
    "{METADATA_CATALOG_NAME_LITERAL}",
    "{METADATA_CATALOG_NAME_IDENTIFIER}",
    "{METADATA_SCHEMA_NAME_LITERAL}",
    "{METADATA_SCHEMA_ESCAPED}",
    "{METADATA_PATH}",
    "{DATA_PATH}",
)
# How many letters of these words stand in constants, in the official builds of ducklake 1.5.5; the rest is the same in
# the word's new name.
_IN_CONSTANTS = {
    "{SNAPSHOT_ID}": 6,
    "{NEXT_FILE_ID}": 12,
    "{METADATA_CATALOG}": 16,
    "{METADATA_CATALOG_NAME_LITERAL}": 16,
    "{METADATA_CATALOG_NAME_IDENTIFIER}": 16,
    "{METADATA_SCHEMA_NAME_LITERAL}": 22,
}
# No letter that SQL, or DuckDB's formatting of it, gives a meaning to.
_LETTERS = string.ascii_letters + string.digits + "_"
_FILE = "ducklake.duckdb_extension"
_MAPPING = re.compile(r"(?P<begin>[0-9a-f]+)-(?P<end>[0-9a-f]+) r--p .*/" + re.escape(_FILE) + r"\n")
_MAPS = Path("/proc/self/maps")
_SENTENCE = "DuckLake would alter data that holds its placeholders, and cannot be kept from it here"


def rename(connection: duckdb.DuckDBPyConnection, scratch: Path) -> None:
    """Renames the placeholders of the DuckLake that `connection` has loaded, and proves it on a lake in `scratch`.

    Call it before the process opens its lake; again, it does nothing but prove. Raises `StartError` when it cannot be
    done, or does not hold. A system that is not Linux shows no process its memory: there a pair on a laptop runs
    without, and the catalog's policy still refuses what a placeholder would smuggle into a commit.
    """
    if sys.platform != "linux":
        log.warning("%s: this system is not Linux", _SENTENCE)
        return
    names = dict(map(_renamed, WORDS))
    pattern = re.compile(b"|".join(map(re.escape, names)))
    found = set()
    for begin, end in _constants():
        for match in pattern.finditer(ctypes.string_at(begin, end - begin)):
            try:
                overwrite(begin + match.start(), names[match[0]], code=False)
            except OSError as error:
                raise StartError(f"{_SENTENCE}: {error.strerror}") from None
            found.add(match[0])
    # None at all: this process has renamed them before, which the proof tells.
    if found and found != names.keys():
        raise StartError(f"{_SENTENCE}: this build of DuckLake does not hold its placeholders as others do")
    _prove(connection, scratch)


def _renamed(word: str) -> tuple[bytes, bytes]:
    """What is to be replaced of `word`, and by what."""
    old = word[: _IN_CONSTANTS.get(word, len(word))]
    letters = [secrets.choice(_LETTERS) for _ in old[1:].removesuffix("}")]
    return old.encode(), ("{" + "".join(letters) + old[1 + len(letters) :]).encode()


def _constants() -> list[tuple[int, int]]:
    """The read-only memory of the extension, from and to."""
    try:
        maps = _MAPS.read_text()
    except OSError:
        raise StartError(f"{_SENTENCE}: this system does not show a process its memory (/proc)") from None
    return [(int(each["begin"], 16), int(each["end"], 16)) for each in _MAPPING.finditer(maps)]


def _prove(connection: duckdb.DuckDBPyConnection, scratch: Path) -> None:
    """Every word goes into a lake as a value, a comment and a name, and must come out as it was."""
    values = ", ".join(f"({literal(word)})" for word in WORDS)
    try:
        connection.execute(
            f"ATTACH 'ducklake::memory:' AS proof (DATA_PATH {literal(str(scratch))}, DATA_INLINING_ROW_LIMIT 100)"
        )
        connection.execute("CREATE TABLE proof.t (s VARCHAR)")
        connection.execute(f"INSERT INTO proof.t VALUES {values}")
        connection.execute(f"COMMENT ON TABLE proof.t IS {literal(''.join(WORDS))}")
        rows = connection.execute("SELECT s FROM proof.t ORDER BY rowid").fetchall()
        comment = connection.execute(
            "SELECT comment FROM duckdb_tables() WHERE database_name = 'proof' AND table_name = 't'"
        ).fetchall()
        connection.execute("DETACH proof")
    except duckdb.Error as error:
        raise StartError(f"{_SENTENCE}: {first_line(error)}") from None
    if [row[0] for row in rows] != list(WORDS) or comment != [("".join(WORDS),)]:
        raise StartError(f"{_SENTENCE}: they came out of a lake otherwise than they went in")
