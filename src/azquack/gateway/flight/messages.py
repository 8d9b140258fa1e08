"""The messages of Flight SQL, from a table of their fields.

Names, numbers and types are those of the published interface, `FlightSql.proto` and `Flight.proto` of Apache Arrow
(Apache License 2.0, https://arrow.apache.org/docs/format/FlightSql.html). Only what is answered here is in the table;
fields that are not, protobuf passes over.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError, Message

from azquack.errors import Refusal

PACKAGE = "arrow.flight.protocol.sql"
TYPE_URL = f"type.googleapis.com/{PACKAGE}."
FOREIGN = "This server speaks Flight SQL: it does not know what was sent as {}"
_TRANSACTION = "transaction_id=2:bytes?"
_KEYS = "catalog=1:string?, db_schema=2:string?, table=3:string"
_HANDLE = "prepared_statement_handle=1:bytes"
# "?" marks a field of which it is known whether it was set, "*" one that may come more than once.
_FIELDS = {
    "CommandGetSqlInfo": "info=1:uint32*",
    "CommandGetXdbcTypeInfo": "data_type=1:int32?",
    "CommandGetCatalogs": "",
    "CommandGetDbSchemas": "catalog=1:string?, db_schema_filter_pattern=2:string?",
    "CommandGetTables": "catalog=1:string?, db_schema_filter_pattern=2:string?, "
    "table_name_filter_pattern=3:string?, table_types=4:string*, include_schema=5:bool",
    "CommandGetTableTypes": "",
    "CommandGetPrimaryKeys": _KEYS,
    "CommandGetExportedKeys": _KEYS,
    "CommandGetImportedKeys": _KEYS,
    "CommandGetCrossReference": "pk_catalog=1:string?, pk_db_schema=2:string?, pk_table=3:string, "
    "fk_catalog=4:string?, fk_db_schema=5:string?, fk_table=6:string",
    "CommandStatementQuery": f"query=1:string, {_TRANSACTION}",
    "CommandStatementUpdate": f"query=1:string, {_TRANSACTION}",
    "CommandStatementSubstraitPlan": _TRANSACTION,
    "CommandPreparedStatementQuery": _HANDLE,
    "CommandPreparedStatementUpdate": _HANDLE,
    "TicketStatementQuery": "statement_handle=1:bytes",
    "TableDefinitionOptions": "if_not_exist=1:int32, if_exists=2:int32",
    "CommandStatementIngest": "table_definition_options=1:TableDefinitionOptions, table=2:string, "
    "schema=3:string?, catalog=4:string?, temporary=5:bool, transaction_id=6:bytes?",
    "DoPutUpdateResult": "record_count=1:int64",
    "DoPutPreparedStatementResult": "prepared_statement_handle=1:bytes?",
    "ActionCreatePreparedStatementRequest": f"query=1:string, {_TRANSACTION}",
    "ActionCreatePreparedStatementResult": f"{_HANDLE}, dataset_schema=2:bytes, parameter_schema=3:bytes, "
    "is_update=4:bool?",
    "ActionClosePreparedStatementRequest": _HANDLE,
    "ActionBeginTransactionRequest": "",
    "ActionBeginTransactionResult": "transaction_id=1:bytes",
    "ActionEndTransactionRequest": "transaction_id=1:bytes, action=2:int32",
    "ActionCancelQueryRequest": "info=1:bytes",
    "ActionCancelQueryResult": "result=1:int32",
    # Of Flight itself, of a ticket in a FlightInfo no more than is needed to find it.
    "Ticket": "ticket=1:bytes",
    "FlightEndpoint": "ticket=1:Ticket",
    "FlightInfo": "endpoint=3:FlightEndpoint*",
    "CancelFlightInfoRequest": "info=1:FlightInfo",
    "CancelFlightInfoResult": "result=1:int32",
}


def _file() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(name="azquack/flight_sql", package=PACKAGE, syntax="proto3")
    for name, text in _FIELDS.items():
        message = file.message_type.add(name=name)
        for each in filter(None, text.split(", ")):
            field, _, rest = each.partition("=")
            number, _, kind = rest.partition(":")
            _add(message, field, int(number), kind)
    return file


def _add(message: descriptor_pb2.DescriptorProto, name: str, number: int, kind: str) -> None:
    field = message.field.add(name=name, number=number)
    field.label = field.LABEL_REPEATED if kind.endswith("*") else field.LABEL_OPTIONAL
    bare = kind.rstrip("?*")
    if bare in _FIELDS:
        field.type, field.type_name = field.TYPE_MESSAGE, f".{PACKAGE}.{bare}"
    else:
        field.type = getattr(field, f"TYPE_{bare.upper()}")
    if kind.endswith("?"):
        # As protobuf itself writes an optional field of proto3.
        field.proto3_optional, field.oneof_index = True, len(message.oneof_decl)
        message.oneof_decl.add(name=f"_{name}")


_CLASSES: dict[str, Any] = {
    name.rpartition(".")[2]: made
    for name, made in message_factory.GetMessages([_file()], descriptor_pool.DescriptorPool()).items()
}


def make(name: str, **fields: Any) -> Any:
    """The message `name` with these fields."""
    return _CLASSES[name](**fields)


def read(name: str, body: bytes) -> Any:
    """The message `name` of `body`. Raises `Refusal` for bytes that are none."""
    try:
        return _CLASSES[name].FromString(body)
    except DecodeError:
        raise Refusal("unreadable", FOREIGN.format(f"{name}, whose bytes are no protobuf")) from None


def pack(message: Any) -> bytes:
    """`message` within an Any, as commands and results travel."""
    return any_pb2.Any(
        type_url=TYPE_URL + message.DESCRIPTOR.name, value=message.SerializeToString()
    ).SerializeToString()


def unpack(body: bytes) -> tuple[str, Any]:
    """The name of the message within an Any, and it. Raises `Refusal` for all else."""
    try:
        outer = any_pb2.Any.FromString(body)
    except DecodeError:
        raise Refusal("unreadable", FOREIGN.format("a command, whose bytes are no protobuf")) from None
    name = outer.type_url.removeprefix(TYPE_URL)
    if name == outer.type_url or name not in _CLASSES:
        shown = outer.type_url[:100] or "a command without a type"
        raise Refusal("unsupported", FOREIGN.format(shown))
    return name, read(name, outer.value)


def has(message: Message, field: str) -> bool:
    """Whether `field` was set."""
    return bool(message.HasField(field))
