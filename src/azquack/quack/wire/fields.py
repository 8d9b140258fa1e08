"""The pieces that a Quack message is made of: field ids, LEB128 numbers and strings.

DuckDB writes an object as (field id, value) pairs in rising order, leaves out a field that has its default,
and ends with `ff ff`. A field id is two bytes, little-endian; numbers and lengths are LEB128.
"""

from __future__ import annotations

from azquack.errors import WireError

END = b"\xff\xff"
MAX_VARINT = 10
NAME_BYTES = 64 << 10
NONE = (1 << 64) - 1
# Bytes that the chunks of a message may have once they are flat.
ROOM = 256 << 20


_BYTES = [bytes([number]) for number in range(0x80)]


def varint(number: int) -> bytes:
    """`number` (0 to 2**64 - 1) as LEB128."""
    if number < 0x80:
        return _BYTES[number]
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def signed_varint(number: int) -> bytes:
    """`number` (64 bits, with a sign) as signed LEB128."""
    out = bytearray()
    while not -0x40 <= number < 0x40:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number & 0x7F)
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


def _behind(data: bytes, at: int, count: int) -> int:
    """Where `count` strings from `at` on end, if each has less than 128 bytes. It may raise `IndexError`."""
    for _ in range(count >> 3):
        # Eight by eight, for the loop itself costs as much as one of them.
        at += data[at] + 1
        at += data[at] + 1
        at += data[at] + 1
        at += data[at] + 1
        at += data[at] + 1
        at += data[at] + 1
        at += data[at] + 1
        at += data[at] + 1
    for _ in range(count & 7):
        at += data[at] + 1
    return at


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

    def need(self, number: int) -> None:
        """Steps over the id of field `number`, which must come next."""
        if not self.field(number):
            raise WireError("A field of the message is missing, comes twice or is not known to Quack 1")

    def end(self) -> None:
        """Steps over the end of an object."""
        if self.take(2) != END:
            raise WireError("The message has a field that Quack 1 does not know")

    def varint(self) -> int:
        """A LEB128 number below 2**64, in as few bytes as it needs."""
        number = shift = 0
        for byte in self.data[self.at : self.at + MAX_VARINT]:
            number |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                if number > NONE or (byte == 0 and shift > 7):
                    break
                self.at += shift // 7
                return number
        else:
            if shift < 7 * MAX_VARINT:
                raise WireError("The message ends early")
        raise WireError("A number of the message is too large, or longer than it needs to be")

    def string(self) -> str:
        """A string; it must be UTF-8."""
        try:
            return self.take(self.varint()).decode()
        except UnicodeDecodeError:
            raise WireError("A string of the message is not UTF-8") from None

    def skip_strings(self, count: int) -> bool:
        """Steps over `count` strings, whatever they hold; whether all are ASCII, each of less than 128 bytes."""
        start = self.at
        try:
            end = _behind(self.data, start, count)
        except IndexError:
            end = len(self.data) + 1
        # A length of one byte is ASCII: where all is, no length was longer, and each string lies within.
        if end <= len(self.data) and self.data[start:end].isascii():
            self.at = end
            return True
        for _ in range(count):
            length = self.varint()
            self.at += length
        if self.at > len(self.data):
            raise WireError("The message ends early")
        return False

    def strings(self, count: int) -> list[bytes]:
        """`count` strings, whatever they hold."""
        data, at, end = self.data, self.at, len(self.data)
        strings = []
        for _ in range(count):
            length = data[at] if at < end else 128
            if length < 128 and at + length < end:
                stop = at + 1 + length
                strings.append(data[at + 1 : stop])
                at = stop
            else:
                self.at = at
                strings.append(self.take(self.varint()))
                at = self.at
        self.at = at
        return strings

    def signed(self) -> int:
        """A signed LEB128 number of 64 bits, in as few bytes as it needs."""
        start = self.at
        while self.take(1)[0] >= 0x80:
            if self.at - start == MAX_VARINT:
                raise WireError("A number of the message is too large")
        raw = self.data[start : self.at]
        number = sum((byte & 0x7F) << 7 * at for at, byte in enumerate(raw))
        if raw[-1] & 0x40:
            number -= 1 << 7 * len(raw)
        if not -(1 << 63) <= number < 1 << 63 or signed_varint(number) != raw:
            raise WireError("A number of the message is too large, or longer than it needs to be")
        return number

    def name(self) -> str:
        """A string of at most `NAME_BYTES`."""
        text = self.string()
        if len(text) > NAME_BYTES:
            raise WireError("A name of the message is too long")
        return text

    def name_field(self, number: int) -> str:
        """As `text_field`, of a name; one that is there must not be empty."""
        if not self.field(number):
            return ""
        text = self.name()
        if not text:
            raise WireError("A field of the message has its default, which is left out")
        return text

    def text_field(self, number: int) -> str:
        """String field `number`; empty when it is left out."""
        return self.string() if self.field(number) else ""

    def number_field(self, number: int) -> int:
        """Numeric field `number`; 0 when it is left out."""
        return self.varint() if self.field(number) else 0
