"""Lines of JSON between a supervisor and its children, over a socketpair that also says who still lives."""

import asyncio
import socket
from collections.abc import Callable
from typing import Any, cast

import msgspec


class Line(asyncio.Protocol):
    """One end of the conversation.

    Args of the constructor: `told` is called with each message, `ended` once, when the other end is gone.
    """

    def __init__(self, told: Callable[[dict[str, Any]], None], ended: Callable[[], None]) -> None:
        self._told = told
        self._ended = ended
        self._bytes = b""
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.WriteTransport", transport)  # uvloop's is no subclass

    def data_received(self, data: bytes) -> None:
        """Hand on each whole line."""
        *lines, self._bytes = (self._bytes + data).split(b"\n")
        for line in lines:
            self._told(msgspec.json.decode(line, type=dict[str, Any]))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the protocol's signature
        """Say so."""
        self._transport = None
        self._ended()

    def send(self, message: dict[str, Any]) -> None:
        """Send a message; nothing happens if the other end is gone."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(msgspec.json.encode(message) + b"\n")

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.close()


async def converse(sock: socket.socket, told: Callable[[dict[str, Any]], None], ended: Callable[[], None]) -> Line:
    """Talk over one end of a socketpair."""
    line = Line(told, ended)
    await asyncio.get_running_loop().create_unix_connection(lambda: line, sock=sock)
    return line
