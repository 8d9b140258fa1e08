"""The types of DuckDB as ODBC and JDBC number them: XdbcTypeInfo."""

from __future__ import annotations

import pyarrow as pa

_UTF8, _INT, _BOOL = pa.utf8(), pa.int32(), pa.bool_()
TYPE_INFO = pa.schema(
    [
        pa.field("type_name", _UTF8, nullable=False),
        pa.field("data_type", _INT, nullable=False),
        ("column_size", _INT),
        ("literal_prefix", _UTF8),
        ("literal_suffix", _UTF8),
        ("create_params", pa.list_(pa.field("item", _UTF8, nullable=False))),
        pa.field("nullable", _INT, nullable=False),
        pa.field("case_sensitive", _BOOL, nullable=False),
        pa.field("searchable", _INT, nullable=False),
        ("unsigned_attribute", _BOOL),
        pa.field("fixed_prec_scale", _BOOL, nullable=False),
        ("auto_increment", _BOOL),
        ("local_type_name", _UTF8),
        ("minimum_scale", _INT),
        ("maximum_scale", _INT),
        pa.field("sql_data_type", _INT, nullable=False),
        ("datetime_subcode", _INT),
        ("num_prec_radix", _INT),
        ("interval_precision", _INT),
    ]
)
_NULLABLE, _ANYWHERE, _NOT_LIKE = 1, 3, 2
_DATETIME = 9
# Name, number, digits or size, of integers whether they are unsigned; after the enumeration XdbcDataType.
_TYPES: tuple[tuple[str, int, int, bool | None], ...] = (
    ("BOOLEAN", -7, 1, None),
    ("TINYINT", -6, 3, False),
    ("UTINYINT", -6, 3, True),
    ("BIGINT", -5, 19, False),
    ("UBIGINT", -5, 20, True),
    ("BLOB", -3, 2**31 - 1, None),
    ("DECIMAL", 3, 38, False),
    ("INTEGER", 4, 10, False),
    ("UINTEGER", 4, 10, True),
    ("SMALLINT", 5, 5, False),
    ("USMALLINT", 5, 5, True),
    ("FLOAT", 7, 24, False),
    ("DOUBLE", 8, 53, False),
    ("VARCHAR", 12, 2**31 - 1, None),
    ("DATE", 91, 10, None),
    ("TIME", 92, 15, None),
    ("TIMESTAMP", 93, 26, None),
)
_SUBCODES = {"DATE": 1, "TIME": 2, "TIMESTAMP": 3}
_FLOATS = ("FLOAT", "DOUBLE")


def type_info(number: int | None) -> pa.Table:
    """The types that are numbered so, or all of them, by number and name."""
    rows = [_row(*each) for each in sorted(_TYPES, key=lambda each: (each[1], each[0]))]
    wanted = [each for each in rows if number is None or each["data_type"] == number]
    return pa.Table.from_pylist(wanted, schema=TYPE_INFO)


def _row(name: str, number: int, size: int, unsigned: bool | None) -> dict[str, object]:
    quoted = "'" if unsigned is None and name != "BOOLEAN" else None
    decimal = name == "DECIMAL"
    return {
        "type_name": name,
        "data_type": number,
        "column_size": size,
        "literal_prefix": quoted,
        "literal_suffix": quoted,
        "create_params": ["precision", "scale"] if decimal else [],
        "nullable": _NULLABLE,
        "case_sensitive": name == "VARCHAR",
        "searchable": _ANYWHERE if name == "VARCHAR" else _NOT_LIKE,
        "unsigned_attribute": unsigned,
        "fixed_prec_scale": False,
        "auto_increment": None if unsigned is None else False,
        "local_type_name": name,
        "minimum_scale": None if unsigned is None else 0,
        "maximum_scale": None if unsigned is None else 38 if decimal else 0,
        "sql_data_type": _DATETIME if name in _SUBCODES else number,
        "datetime_subcode": _SUBCODES.get(name),
        "num_prec_radix": None if unsigned is None else 2 if name in _FLOATS else 10,
        "interval_precision": None,
    }
