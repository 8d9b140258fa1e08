"""DuckDB's use of the Bloom filters of Parquet files, turned off in this process: it leaves out rows.

DuckDB 1.5.5 writes a Bloom filter for each column that it keeps in a dictionary, and passes over a group of rows whose
filter does not know the value that is looked for. It asks for a BLOB by its printed form, `\\xFF`, and for 0.0 by its
bytes, which are not those of -0.0: `=` finds nothing, and an UPDATE or DELETE leaves the rows as they are
(https://github.com/duckdb/duckdb/issues/24994, https://github.com/duckdb/duckdb/pull/23829). No setting turns it off.
Here the function that says which types have such filters says none.
"""

from __future__ import annotations

import ctypes
import platform
from pathlib import Path

import _duckdb
import duckdb

from azquack.errors import StartError
from azquack.lake.memory import overwrite
from azquack.sql import first_line, literal

# bool duckdb::ParquetStatisticsUtils::BloomFilterSupported(const LogicalTypeId &)
_FUNCTION = "_ZN6duckdb22ParquetStatisticsUtils20BloomFilterSupportedERKNS_13LogicalTypeIdE"
_RETURN_FALSE = {
    "x86_64": bytes.fromhex("31c0 c3"),  # xor eax, eax; ret
    "aarch64": bytes.fromhex("00008052 c0035fd6"),  # mov w0, #0; ret
}
_SENTENCE = "DuckDB would leave out rows of Parquet files, and cannot be kept from it here"
# Of each two values: what has one only is found by its statistics.
_TRAP = (
    "SELECT unnest(['\\xFF', 'a']::BLOB[]) AS b, unnest(['-0.0', '1.0']::DOUBLE[]) AS d, "
    "unnest(['-0.0', '1.0']::FLOAT[]) AS f FROM range(15)"
)
_ASKED = "b = '\\xFF'::BLOB AND d = 0.0::DOUBLE AND f = 0.0::FLOAT"


def turn_off(connection: duckdb.DuckDBPyConnection, scratch: Path) -> None:
    """Turns them off for every DuckDB of this process, and proves it with `connection` on the new file `scratch`.

    Raises `StartError` when that cannot be.
    """
    try:
        code = _RETURN_FALSE[platform.machine()]
        library = ctypes.CDLL(_duckdb.__file__)
        address = ctypes.cast(getattr(library, _FUNCTION), ctypes.c_void_p).value or 0
        overwrite(address, code, code=True)
        if platform.machine() == "aarch64":
            # Its instructions are cached apart from the data.
            ctypes.CDLL("libgcc_s.so.1")["__clear_cache"](
                ctypes.c_void_p(address), ctypes.c_void_p(address + len(code))
            )
    except (KeyError, AttributeError):
        raise StartError(f"{_SENTENCE}: this build of DuckDB is not as others are") from None
    except OSError as error:
        raise StartError(f"{_SENTENCE}: {error.strerror or error}") from None
    file = literal(str(scratch))
    try:
        connection.execute(f"COPY ({_TRAP}) TO {file} (FORMAT parquet)")
        found = connection.execute(f"SELECT count(*) FROM read_parquet({file}) WHERE {_ASKED}").fetchall()
    except duckdb.Error as error:
        raise StartError(f"{_SENTENCE}: {first_line(error)}") from None
    if found != [(15,)]:
        raise StartError(f"{_SENTENCE}: it still does")
