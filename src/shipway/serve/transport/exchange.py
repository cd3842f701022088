"""One request and the place of its answer."""

from http import HTTPStatus
from typing import Protocol

import orjson

REASON = {s.value: b"%d %s" % (s.value, s.phrase.encode()) for s in HTTPStatus}


class Channel(Protocol):
    """The connection that an exchange belongs to."""

    @property
    def date(self) -> bytes:
        """What the header `date` says now."""
        ...

    def advance(self) -> None:
        """Write the answers that are next in order."""
        ...


class Exchange:
    """One request and the place of its answer.

    Attributes:
        method, path, headers (lower-case names), body: what was asked.
        at: `time.monotonic` when the request was complete; deadlines count from here.
    """

    __slots__ = ("_connection", "at", "body", "close", "headers", "method", "path", "payload", "version")

    def __init__(self, connection: Channel, method: bytes, path: bytes, headers: dict[bytes, bytes]) -> None:
        self._connection = connection
        self.payload: tuple[bytes, bytes] | None = None
        self.close = False
        self.version = ""
        self.method = method
        self.path = path
        self.headers = headers
        self.body = b""
        self.at = 0.0

    @property
    def date(self) -> bytes:
        """What the header `date` says now."""
        return self._connection.date

    def answer(
        self, status: int, body: bytes, headers: bytes = b"", *, media_type: bytes = b"application/json"
    ) -> None:
        """Send an answer, as soon as those before it on this connection have left.

        Args:
            status: HTTP status.
            body: what to send; its length is stated for the caller.
            headers: further header lines, each ending in CRLF.
            media_type: of the body.
        """
        self.send(head(status, len(body), headers, self.date, media_type), body)

    def refuse(self, status: int, error: str, fix: str, headers: bytes = b"") -> None:
        """Answer with a sentence and what to do about it."""
        self.answer(status, orjson.dumps({"error": error, "fix": fix}), headers)

    def send(self, heading: bytes, body: bytes) -> None:
        """Send a head made by `head` and its body. The second answer to a request is ignored."""
        if self.payload is None:
            self.payload = (heading, b"" if self.method == b"HEAD" else body)
            self._connection.advance()


def head(status: int, length: int, headers: bytes, date: bytes, media_type: bytes = b"application/json") -> bytes:
    """Compose the head of an answer, without the blank line that ends it."""
    return b"HTTP/1.1 %b\r\ncontent-type: %b\r\ncontent-length: %d\r\ndate: %b\r\n%b" % (
        REASON[status],
        media_type,
        length,
        date,
        headers,
    )
