"""The pieces that a Quack message is made of: field ids, LEB128 numbers and strings.

DuckDB writes an object as (field id, value) pairs in rising order, leaves out a field that has its default,
and ends with `ff ff`. A field id is two bytes, little-endian; numbers and lengths are LEB128.
"""

from __future__ import annotations

from azquack.errors import WireError

END = b"\xff\xff"
MAX_VARINT = 10
NONE = (1 << 64) - 1


def varint(number: int) -> bytes:
    """`number` (0 to 2**64 - 1) as LEB128."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def string(text: str) -> bytes:
    """`text` as its length and its UTF-8 bytes."""
    raw = text.encode()
    return varint(len(raw)) + raw


def field(number: int, value: bytes) -> bytes:
    """A field whose encoded value is `value`."""
    return number.to_bytes(2, "little") + value


def text_field(number: int, text: str) -> bytes:
    """A string field; nothing when `text` is empty, as DuckDB does."""
    return field(number, string(text)) if text else b""


class Reader:
    """Reads fields from `data`, from `at` on. Everything that does not fit raises `WireError`."""

    __slots__ = ("at", "data")

    def __init__(self, data: bytes, at: int = 0) -> None:
        self.data = data
        self.at = at

    def take(self, count: int) -> bytes:
        """The next `count` bytes."""
        end = self.at + count
        if end > len(self.data):
            raise WireError("The message ends early")
        part = self.data[self.at : end]
        self.at = end
        return bytes(part)

    def field(self, number: int) -> bool:
        """Whether field `number` comes next; steps over its id when it does."""
        found = self.data.startswith(number.to_bytes(2, "little"), self.at)
        if found:
            self.at += 2
        return found

    def end(self) -> None:
        """Steps over the end of an object."""
        if self.take(2) != END:
            raise WireError("The message has a field that Quack 1 does not know")

    def varint(self) -> int:
        """A LEB128 number below 2**64."""
        number = shift = 0
        for byte in self.data[self.at : self.at + MAX_VARINT]:
            number |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                if number > NONE:
                    break
                self.at += shift // 7
                return number
        else:
            if shift < 7 * MAX_VARINT:
                raise WireError("The message ends early")
        raise WireError("A number of the message is too large")

    def string(self) -> str:
        """A string; it must be UTF-8."""
        try:
            return self.take(self.varint()).decode()
        except UnicodeDecodeError:
            raise WireError("A string of the message is not UTF-8") from None

    def text_field(self, number: int) -> str:
        """String field `number`; empty when it is left out."""
        return self.string() if self.field(number) else ""

    def number_field(self, number: int) -> int:
        """Numeric field `number`; 0 when it is left out."""
        return self.varint() if self.field(number) else 0
