"""What a Quack 3 server answers. Chunks are bytes here, as they stand in a message: the same in Quack 1 and 3."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from azquack.quack.wire.fields import END, NONE, field, signed_varint, string, text_field, varint
from azquack.quack.wire3.messages import QUACK_VERSION, Kind

# One BIGINT with the name Count: the result of an INSERT.
_COUNT = field(1, b"\x01d\x00\x0e" + END) + field(2, b"\x01" + string("Count"))


def _header(kind: Kind, connection_id: str = "") -> bytes:
    return field(1, bytes([kind])) + text_field(2, connection_id) + field(3, varint(NONE)) + END


def _hugeint(number: int) -> bytes:
    return signed_varint(number >> 64) + varint(number & NONE)


def connected(connection_id: str, version: str, platform: str, heartbeat: int) -> bytes:
    """The answer to a login that was taken; `heartbeat` in seconds."""
    return (
        _header(Kind.CONNECTION_RESPONSE, connection_id)
        + text_field(1, version)
        + text_field(2, platform)
        + field(3, varint(QUACK_VERSION))
        + field(4, varint(heartbeat))
        + END
    )


def prepared(columns: bytes, chunks: Sequence[bytes], query: int, *, more: bool) -> bytes:
    """The answer to a PREPARE: `columns` are the fields of types and names, `more` whether there are batches."""
    parts = [_header(Kind.PREPARE_RESPONSE), columns]
    if more:
        parts.append(field(3, b"\x01"))
    if chunks:
        parts.append(field(4, varint(len(chunks))))
        for chunk in chunks:
            parts += [b"\x01\x2c\x01", chunk, END]
    parts += [field(5, _hugeint(query)), END]
    return b"".join(parts)


def count_pending(query: int) -> bytes:
    """The answer to the PREPARE of an INSERT whose rows are still to come."""
    return prepared(_COUNT, (), query, more=True)


def fetched(chunks: Sequence[bytes], *, index: int | None = None, total: int | None = None) -> bytes:
    """The answer to a FETCH: batch `index`, or the end of a result of `total` batches."""
    return b"".join(
        [
            _header(Kind.FETCH_RESPONSE),
            field(1, varint(len(chunks))) if chunks else b"",
            b"" if total is None else field(2, varint(total)),
            b"" if index is None else field(3, varint(index)),
            END,
            *chunks,
        ]
    )


def sent() -> bytes:
    """The answer to a SEND_DATA; without a budget, so that the client sends on."""
    return _header(Kind.SEND_DATA_RESPONSE) + END


def success() -> bytes:
    """A SUCCESS."""
    return _header(Kind.SUCCESS) + END


def error(
    sentence: str, exception: str, extra: Mapping[str, str] | None = None, *, fatal: bool = False
) -> bytes:
    """An ERROR that the client shows as one of the type `exception`; `fatal`: its session is over."""
    pairs = b"".join(
        field(0, string(name)) + field(1, string(text)) + END for name, text in (extra or {}).items()
    )
    return (
        _header(Kind.ERROR)
        + field(1, string(sentence))
        + text_field(2, exception)
        + (field(3, varint(len(extra)) + pairs) if extra else b"")
        + (field(4, b"\x01") if fatal else b"")
        + END
    )
