"""One connection and the server that owns it: parse, bound, order, answer, drain.

Start from `HttpServer`. The application is a function of one `Exchange`; it may answer at once or
later, in any order, and each answer leaves in the order of the requests on its connection. Whatever
a client does (splits every byte, pipelines, trickles, never reads, half-closes, lies about lengths)
ends in an answer, a 4xx with a sentence, or a closed connection, within the `Limits`.
"""

import asyncio
import contextlib
import logging
import socket
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import cast

import httptools
from msgspec import Struct

from shipway.serve.transport.date import http_date
from shipway.serve.transport.exchange import Exchange

logger = logging.getLogger("shipway.serve.transport")

SWEEP_S = 0.5
LINGER_S = 2.0
SINGLE = frozenset({b"host", b"content-length", b"content-type", b"authorization", b"expect"})


class Limits(Struct, frozen=True):
    """What one client may ask of a server."""

    head_bytes: int = 32_768
    headers: int = 100
    body_bytes: int = 32 << 20
    pipeline: int = 64
    """Requests of one connection that may wait for answers before we stop reading from it."""
    read_timeout_s: float = 20.0
    """A request must be complete this long after its first byte."""
    idle_timeout_s: float = 75.0
    write_timeout_s: float = 20.0
    """A client that reads nothing for this long is cut off."""
    connections: int = 10_000


class Connection(asyncio.Protocol):
    """One client. Made by `HttpServer`; nothing else constructs it."""

    __slots__ = (
        "_body",
        "_body_bytes",
        "_continue",
        "_current",
        "_head_bytes",
        "_headers",
        "_in_message",
        "_last",
        "_lingering",
        "_parser",
        "_pending",
        "_reading_paused",
        "_refusal",
        "_since",
        "_transport",
        "_url",
        "_write_paused",
        "_writing_since",
        "server",
    )

    def __init__(self, server: "HttpServer") -> None:
        self.server = server
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._pending: deque[Exchange] = deque()
        self._last = False  # nothing after this request will be read
        self._lingering = False
        self._reading_paused = False
        self._write_paused = False
        self._in_message = False
        self._since = server.time()
        self._writing_since = 0.0
        self._forget()

    def _forget(self) -> None:
        self._url = b""
        self._headers: dict[bytes, bytes] = {}
        self._head_bytes = 0
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._current: Exchange | None = None
        self._continue = False
        self._refusal: tuple[int, str, str] | None = None

    # The transport calls these.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the client in."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass
        server = self.server
        server.connections.add(self)
        if len(server.connections) > server.limits.connections:
            self._refuse(503, f"{server.limits.connections} connections are open already", "try again in a second")

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the protocol's signature
        """Forget what it still waited for."""
        self._transport = None
        self._pending.clear()
        self.server.connections.discard(self)

    def data_received(self, data: bytes) -> None:
        """Parse; each whole request goes to the application at once."""
        if self._last:
            return
        if not self._in_message:
            self._since = self.server.time()
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._last = True  # RFC 9110 7.8: a server may ignore Upgrade; the request was answered as HTTP/1.1
            self.advance()
        except httptools.HttpParserError as exc:
            if not self._last:
                self._refuse(400, f"this is not HTTP/1.1: {exc}", "send a well-formed request")
        if self._refusal is not None:
            self._refuse(*self._refusal)
        elif self._in_message and self._current is None:
            self._head_bytes += len(data)
            if self._head_bytes > self.server.limits.head_bytes:
                self._refuse(*self._too_large_head())
        if len(self._pending) >= self.server.limits.pipeline:
            self._pause()

    def eof_received(self) -> bool:
        """The client asks no more: answer what was asked, then close."""
        self._last = True
        self._in_message = False
        return bool(self._pending)  # answer what was asked, then close

    def pause_writing(self) -> None:
        """The client does not read: neither do we."""
        self._write_paused = True
        self._writing_since = self.server.time()
        self._pause()

    def resume_writing(self) -> None:
        """It reads again."""
        self._write_paused = False
        self.advance()

    # llhttp calls these, within data_received.

    def on_message_begin(self) -> None:
        """llhttp: the first byte of a request."""
        if self._refusal is None:
            self._forget()
            self._in_message = True

    def on_url(self, url: bytes) -> None:
        """llhttp: a piece of the target."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """llhttp: a whole header, or a trailer."""
        if self._current is not None or self._refusal is not None:
            return  # a trailer
        name = name.lower()
        headers = self._headers
        if name not in headers:
            headers[name] = value
        elif name in SINGLE:
            self._refusal = (400, f"the header {name.decode('latin-1')!r} came twice", "send it once")
        else:
            headers[name] += b", " + value
        if len(headers) > self.server.limits.headers:
            self._refusal = self._too_large_head()

    def on_headers_complete(self) -> None:
        """llhttp: the blank line."""
        if self._refusal is not None:
            return
        headers, parser = self._headers, self._parser
        exchange = Exchange(self, parser.get_method(), self._url, headers)
        exchange.close = not parser.should_keep_alive()
        exchange.version = parser.get_http_version()
        self._current = exchange
        self._refusal = self._unfit(exchange)
        if self._refusal is None and b"expect" in headers:
            self._continue = True
            self.advance()

    def on_body(self, body: bytes) -> None:
        """llhttp: a piece of the body."""
        if self._refusal is not None:
            return
        self._body_bytes += len(body)
        if self._body_bytes > self.server.limits.body_bytes:
            self._refusal = self._too_large_body()
            self._body = []
        else:
            self._body.append(body)

    def on_message_complete(self) -> None:
        """llhttp: the last byte of a request."""
        exchange = self._current
        if exchange is None or self._refusal is not None or self._last:
            return
        self._in_message = False
        self._continue = False
        self._current = None
        body = self._body
        exchange.body = body[0] if len(body) == 1 else b"".join(body)
        exchange.at = self._since = self.server.time()
        self._last = exchange.close
        self._pending.append(exchange)
        self.server.application(exchange)

    # Ours.

    def advance(self) -> None:
        """Write the answers that are next in order, and whatever waits for them to have left."""
        transport, pending = self._transport, self._pending
        if transport is None or transport.is_closing():  # uvloop raises on a write to a closed transport
            pending.clear()
            return
        while pending and pending[0].payload is not None and not self._write_paused:
            exchange = pending.popleft()
            heading, body = exchange.payload  # type: ignore[misc]
            final = not pending and (exchange.close or (self.server.draining and not self._in_message))
            connection = b"connection: close\r\n\r\n" if final else b"\r\n"
            if not final and exchange.version == "1.0":
                connection = b"connection: keep-alive\r\n\r\n"
            transport.write(heading + connection + body)
            if final:
                self._last = True
                self._finish(transport)
                return
        if not pending:
            self._since = self.server.time() if not self._in_message else self._since
            if self._continue:
                self._continue = False
                transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            if self._last:
                self._finish(transport)
                return
        if self._reading_paused and not self._write_paused and len(pending) < self.server.limits.pipeline:
            self._reading_paused = False
            transport.resume_reading()

    def sweep(self, now: float, *, idle_s: float) -> None:
        """Cut off a client that has taken too long to write, to read, or to come back."""
        transport = self._transport
        if transport is None:
            return
        limits = self.server.limits
        if self._write_paused:
            if now - self._writing_since > limits.write_timeout_s:
                transport.abort()
        elif self._lingering:
            if now - self._since > LINGER_S:
                transport.abort()
        elif self._pending:
            return
        elif self._in_message:
            if now - self._since > limits.read_timeout_s:
                sentence = f"the request was not complete after {limits.read_timeout_s:g} s"
                self._refuse(408, sentence, "send it faster, or in parts")
        elif now - self._since >= idle_s:
            transport.close()

    def touch(self, now: float) -> None:
        """Let the time without a request begin now."""
        if not self.busy:
            self._since = now

    def abort(self) -> None:
        """Cut the client off."""
        if self._transport is not None:
            self._transport.abort()

    @property
    def date(self) -> bytes:
        """What the header `date` says now."""
        return self.server.date

    @property
    def busy(self) -> bool:
        """True while a request is being read or waits for its answer."""
        return bool(self._pending) or self._in_message

    def _unfit(self, exchange: Exchange) -> tuple[int, str, str] | None:
        headers = exchange.headers
        if exchange.version == "1.1" and b"host" not in headers:
            return 400, "an HTTP/1.1 request needs the header 'host'", "send it"
        if int(headers.get(b"content-length", b"0")) > self.server.limits.body_bytes:
            return self._too_large_body()
        if headers.get(b"expect", b"100-continue").lower() != b"100-continue":
            return 417, "only 'expect: 100-continue' is known here", "leave the header 'expect' out"
        if headers.get(b"content-encoding", b"identity") != b"identity":
            return 415, "compressed bodies are not accepted", "send the body as it is"
        if len(exchange.path) > self.server.limits.head_bytes // 4:
            return 414, f"the path has {len(exchange.path)} bytes", "put what you ask into the body"
        return None

    def _too_large_head(self) -> tuple[int, str, str]:
        limits = self.server.limits
        sentence = f"the head has more than {limits.headers} headers or {limits.head_bytes} bytes"
        return 431, sentence, "send fewer or shorter headers"

    def _too_large_body(self) -> tuple[int, str, str]:
        sentence = f"the body has more than {self.server.limits.body_bytes} bytes"
        return 413, sentence, "send fewer rows per request"

    def _refuse(self, status: int, error: str, fix: str) -> None:
        """Answer what cannot be read with a sentence, behind the answers that are due, and close."""
        exchange = Exchange(self, b"", b"", {})
        exchange.close = self._last = self._lingering = True
        self._in_message = self._continue = False
        self._refusal = None
        self._body = []
        self._since = self.server.time()
        self._pending.append(exchange)
        exchange.refuse(status, error, fix)

    def _finish(self, transport: asyncio.Transport) -> None:
        if self._lingering and transport.can_write_eof():
            # Closing with unread bytes sends a reset, which may overtake the answer: wait for the client's end.
            transport.write_eof()
        else:
            transport.close()

    def _pause(self) -> None:
        if not self._reading_paused and self._transport is not None and not self._last:
            self._reading_paused = True
            self._transport.pause_reading()


class HttpServer:
    """Connections on any number of listening sockets, one application, one drain.

    Usage: `server = HttpServer(application, clock)`; `await server.listen(sock)`; `await server.drain(...)`.
    """

    def __init__(
        self, application: Callable[[Exchange], None], clock: Callable[[], float], limits: Limits | None = None
    ) -> None:
        self._application = application
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._listeners: dict[int, tuple[asyncio.Server, socket.socket]] = {}
        self.time = time.monotonic  # uvloop's own clock stands still within a round, and latencies need microseconds
        self.limits = limits or Limits()
        self.connections: set[Connection] = set()
        self.draining = False
        self._idle_s = self.limits.idle_timeout_s
        self.date = http_date(clock())
        self._sweeper = self._loop.call_later(SWEEP_S, self._sweep)

    def application(self, exchange: Exchange) -> None:
        """Hand a request to the application; its failure is an answer, never a dead connection."""
        try:
            self._application(exchange)
        except Exception:
            logger.exception("a request ended in an error of ours: %s %s", exchange.method, exchange.path[:200])
            exchange.refuse(500, "the server failed on this request", "report it, with the server's log")

    async def listen(self, sock: socket.socket) -> None:
        """Accept connections from a bound socket, which stays the caller's."""
        own = sock.dup()  # closing the listener must not close what the parent holds for the next generation
        own.setblocking(False)
        server = await self._loop.create_server(lambda: Connection(self), sock=own, backlog=2048)
        self._listeners[sock.fileno()] = (server, own)

    def ignore(self, sock: socket.socket) -> None:
        """Stop accepting from a socket; connections made through it live on."""
        server, own = self._listeners.pop(sock.fileno(), (None, None))
        if server is not None and own is not None:
            server.close()

    async def retire(self, sockets: Sequence[socket.socket]) -> None:
        """Stop accepting, take in everyone who waits in the sockets' queues, and close the sockets.

        Whoever closes a listening socket last resets the connections in its queue. So each process
        empties the queue first, whoever of them turns out to be the last.
        """
        self.draining = True
        self._close_listeners()
        await asyncio.sleep(0.01)  # uvloop closes its descriptor in a later round
        waiting = []
        for sock in sockets:
            sock.setblocking(False)
            with contextlib.suppress(OSError):  # nobody waits any more
                while True:
                    waiting.append(sock.accept()[0])
            sock.close()
        for connection in waiting:
            await self._loop.connect_accepted_socket(lambda: Connection(self), connection)

    async def drain(self, *, idle_s: float, at_most_s: float) -> bool:
        """Answer what comes with `Connection: close` until no connection is left.

        Args:
            idle_s: how long a connection without a request may still bring one.
            at_most_s: when to give up on requests that are not finished.

        Returns:
            True if nothing was cut off.
        """
        self.draining = True
        began = self.time()
        self._close_listeners()
        for connection in self.connections:
            connection.touch(began)
        self._idle_s = idle_s
        while self.connections and self.time() - began < at_most_s:
            self._sweep_once()
            await asyncio.sleep(0.02)
        cut_off = [c for c in self.connections if c.busy]
        for connection in list(self.connections):
            connection.abort()
        return not cut_off

    def close(self) -> None:
        """Stop accepting and drop every connection."""
        self._sweeper.cancel()
        self._close_listeners()
        for connection in list(self.connections):
            connection.abort()

    def _close_listeners(self) -> None:
        for server, _ in self._listeners.values():
            server.close()
        self._listeners.clear()

    def _sweep(self) -> None:
        self._sweeper = self._loop.call_later(SWEEP_S, self._sweep)
        self.date = http_date(self._clock())
        self._sweep_once()

    def _sweep_once(self) -> None:
        now = self.time()
        for connection in list(self.connections):
            connection.sweep(now, idle_s=self._idle_s)
