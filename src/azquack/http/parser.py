"""An HTTP/1.1 parser that ignores offers of other protocols, as a server may (RFC 9110, 7.8)."""

from __future__ import annotations

from typing import Protocol

import httptools

_BOUNDS = (b"content-length", b"transfer-encoding")


class Events(Protocol):
    """What is told of the requests."""

    def on_message_begin(self) -> None: ...
    def on_url(self, url: bytes) -> None: ...
    def on_header(self, name: bytes, value: bytes) -> None: ...
    def on_headers_complete(self) -> None: ...
    def on_body(self, data: bytes) -> None: ...
    def on_message_complete(self) -> None: ...


class Parser:
    """Parses requests, one after another, and tells `events` of them.

    httptools takes what follows the head of a request with `Connection: Upgrade`, such as Java's HttpClient sends, for
    the other protocol. So another parser reads on from there, which is given of that head what bounds the body.
    """

    def __init__(self, events: Events) -> None:
        self._events = events
        self._parser = httptools.HttpRequestParser(self)
        # The lines of the head that bound the body, and whether the body is read by a parser that got these alone.
        self._bounds: list[bytes] = []
        self._reads_on = False

    @property
    def method(self) -> bytes:
        """The method of the request whose head was read last; of one that is read on, a POST."""
        return self._parser.get_method()

    @property
    def keep_alive(self) -> bool:
        """Whether the client of that request sends more on its socket."""
        return self._parser.should_keep_alive()

    def feed(self, data: bytes) -> None:
        """Takes in what has come. Raises `httptools.HttpParserError` where it is not HTTP."""
        while True:
            try:
                self._parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as offer:
                if self.method == b"CONNECT":
                    raise httptools.HttpParserError("what follows a CONNECT is not HTTP") from None
                data = data[offer.args[0] :]
            self._parser = httptools.HttpRequestParser(self)
            if self._bounds:
                self._reads_on = True
                self._parser.feed_data(b"POST / HTTP/1.1\r\n%s\r\n" % b"".join(self._bounds))

    # Called by httptools.

    def on_message_begin(self) -> None:
        if not self._reads_on:
            self._bounds.clear()
            self._events.on_message_begin()

    def on_url(self, url: bytes) -> None:
        if not self._reads_on:
            self._events.on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._reads_on:
            if name.lower() in _BOUNDS:
                self._bounds.append(b"%s: %s\r\n" % (name, value))
            self._events.on_header(name, value)

    def on_headers_complete(self) -> None:
        if not self._reads_on:
            self._events.on_headers_complete()

    def on_body(self, data: bytes) -> None:
        self._events.on_body(data)

    def on_message_complete(self) -> None:
        if self._parser.should_upgrade() and self._bounds:
            # Its body is still to come.
            return
        self._reads_on = False
        self._events.on_message_complete()
