"""What the server says of itself and of its SQL: SqlInfo.

The numbers and the types of their values are those of the enumeration `SqlInfo` of `FlightSql.proto`.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import pyarrow as pa

_VALUES = {
    "string_value": pa.utf8(),
    "bool_value": pa.bool_(),
    "bigint_value": pa.int64(),
    "int32_bitmask": pa.int32(),
    "string_list": pa.list_(pa.utf8()),
    "int32_to_int32_list_map": pa.map_(pa.int32(), pa.list_(pa.int32())),
}
SQL_INFO = pa.schema(
    [
        pa.field("info_name", pa.uint32(), nullable=False),
        pa.field(
            "value",
            pa.dense_union([pa.field(name, kind) for name, kind in _VALUES.items()]),
            nullable=False,
        ),
    ]
)
_TEXT, _TRUTH, _NUMBER, _BITS, _TEXTS, _MAP = range(6)
_NO, _YES = (_TRUTH, False), (_TRUTH, True)
_UNLIMITED = (_NUMBER, 0)
_READ_ONLY = 3
_INFO: dict[int, tuple[int, Any]] = {
    0: (_TEXT, "AzQuack"),
    1: (_TEXT, version("azquack")),
    2: (_TEXT, pa.__version__),
    _READ_ONLY: _NO,
    4: _YES,  # SQL
    5: _NO,  # Substrait, and its least and greatest version
    6: (_TEXT, ""),
    7: (_TEXT, ""),
    8: (_BITS, 1),  # transactions, no savepoints
    9: _YES,  # cancel
    10: _YES,  # bulk ingestion
    11: _YES,  # bulk ingestion within a transaction
    100: _UNLIMITED,
    101: _UNLIMITED,
    500: _NO,  # catalogs can be made, schemas, tables
    501: _YES,
    502: _YES,
    503: (_NUMBER, 1),  # identifiers have no case, quoted or not
    504: (_TEXT, '"'),
    505: (_NUMBER, 1),
    506: _NO,
    507: (_NUMBER, 3),  # NULLs come last
    508: (_TEXTS, ["PIVOT", "QUALIFY", "SUMMARIZE", "UNPIVOT"]),
    509: (_TEXTS, ["abs", "ceil", "floor", "greatest", "least", "ln", "log", "pow", "round", "sign", "sqrt"]),
    510: (_TEXTS, ["concat", "contains", "length", "lower", "replace", "substring", "trim", "upper"]),
    511: (_TEXTS, ["current_catalog", "current_database", "current_schema", "version"]),
    512: (_TEXTS, ["date_diff", "date_part", "date_trunc", "epoch", "now", "strftime", "strptime"]),
    513: (_TEXT, "\\"),
    514: (_TEXT, ""),
    515: _YES,
    516: _YES,
    517: (_MAP, []),
    518: _YES,
    519: _NO,
    520: _YES,
    521: _YES,
    522: (_BITS, 3),
    523: _YES,
    524: _YES,
    525: (_BITS, 7),
    526: (_BITS, 7),
    527: _NO,
    528: (_BITS, 6),
    529: (_TEXT, "schema"),
    530: (_TEXT, "procedure"),
    531: (_TEXT, "catalog"),
    532: (_NUMBER, 1),
    533: (_BITS, 0),
    534: (_BITS, 0),
    535: (_BITS, 0),
    536: _NO,
    537: _NO,
    538: (_BITS, 15),
    539: _YES,
    540: (_BITS, 3),
    **dict.fromkeys(range(541, 562), _UNLIMITED),
    556: _NO,
    562: (_NUMBER, 3),  # repeatable read: a transaction sees one snapshot
    563: _YES,
    564: (_BITS, 1 << 3),
    565: _NO,
    566: _NO,
    567: (_BITS, 2),
    568: (_BITS, 0),
    569: (_BITS, 2),
    570: (_BITS, 0),
    571: (_BITS, 0),
    572: _YES,
    573: _NO,
    574: _NO,
    575: _NO,
    576: _NO,
}


def sql_info(numbers: Sequence[int], *, reads_only: bool) -> pa.Table:
    """The values of `numbers`, of all when there are none; those that nobody knows are left out."""
    known = _INFO | {_READ_ONLY: (_TRUTH, reads_only)}
    asked = [each for each in dict.fromkeys(numbers or known) if each in known]
    values: list[list[Any]] = [[] for _ in _VALUES]
    kinds, places = [], []
    for each in asked:
        kind, value = known[each]
        kinds.append(kind)
        places.append(len(values[kind]))
        values[kind].append(value)
    union = pa.UnionArray.from_dense(
        pa.array(kinds, pa.int8()),
        pa.array(places, pa.int32()),
        [pa.array(each, kind) for each, kind in zip(values, _VALUES.values(), strict=True)],
        list(_VALUES),
    )
    return pa.table([pa.array(asked, pa.uint32()), union], schema=SQL_INFO)
