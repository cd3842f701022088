"""Callers of the demo: a steady stream of real HTTP requests, and labels that follow later.

`Traffic` runs in a thread with an event loop of its own and keeps the ledger that the closing table is
made from: how many requests were sent, how many failed, which version answered them. A request fails if
it got anything but a complete 200. A reused connection that ends before the first byte of an answer is
opened again once, as every HTTP client does.
"""

import asyncio
import threading
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from time import monotonic
from typing import Any, Protocol, Self

import orjson

from shipway.errors import ShipwayError

CONNECTIONS = 12

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True)
class Rows:
    """Rows that callers ask about, each with what will turn out to be true."""

    bodies: tuple[bytes, ...]
    truths: tuple[Any, ...]
    ordered: bool = False
    """True: walk through in order, again and again. False: draw with replacement."""

    @staticmethod
    def of(records: Sequence[dict[str, Any]], truths: Sequence[Any], *, ordered: bool = False) -> "Rows":
        """Encode the requests once."""
        return Rows(tuple(orjson.dumps({"rows": [record]}) for record in records), tuple(truths), ordered)


class _Labels(Protocol):
    def __call__(self, labels: list[dict[str, Any]]) -> object: ...


@dataclass(frozen=True)
class Answer:
    """One answered request."""

    event: str
    version: str
    truth: Any


@dataclass
class Tally:
    """What has happened so far."""

    requests: int = 0
    failed: int = 0
    reconnected: int = 0
    labels: int = 0
    versions: Counter[str] = field(default_factory=Counter)
    trouble: Counter[str] = field(default_factory=Counter)
    """How callers failed, in words -> how many."""


def _in_words(failure: Exception) -> str:
    if isinstance(failure, ConnectionRefusedError):
        return "nothing listened: the server was away"
    if isinstance(failure, TimeoutError):
        return "no answer within ten seconds"
    if isinstance(failure, (ConnectionError, asyncio.IncompleteReadError)):
        return "the connection ended in the middle of an answer: the process that held it was gone"
    return f"{type(failure).__name__}: {failure}"


class Traffic:
    """Sends requests at a steady rate until closed; change `rows` at any time to change what is asked."""

    def __init__(  # noqa: PLR0913 - what a caller is
        self,
        host: str,
        port: int,
        endpoint: str,
        rows: Rows,
        *,
        rate: float,
        send_labels: _Labels,
        label_delay_s: float = 0.4,
    ) -> None:
        self.rows = rows
        self.rate = rate
        self.tally = Tally()
        self.headers_seen: Counter[str] = Counter()
        self._address = (host, port)
        self._head = (
            f"POST /v2/models/{endpoint}/infer HTTP/1.1\r\nhost: {host}:{port}\r\n"
            "content-type: application/json\r\ncontent-length: "
        ).encode()
        self._send_labels = send_labels
        self._label_delay_s = label_delay_s
        self._waiting: deque[tuple[float, Answer]] = deque()
        self._random = Random(7)  # noqa: S311 - reproducible rows, not secrets
        self._next = 0
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=work, name=name, daemon=True)
            for name, work in (("traffic", self._run), ("labels", self._label))
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=15)

    def wait(self, reached: Callable[[], bool], timeout_s: float) -> bool:
        """Wait until `reached` says so; False if the time ran out."""
        until = monotonic() + timeout_s
        while not reached():
            if monotonic() > until:
                return False
            self._stop.wait(0.1)
        return True

    def _pick(self) -> tuple[bytes, Any]:
        rows = self.rows
        if rows.ordered:
            self._next += 1
            i = self._next % len(rows.bodies)
        else:
            i = self._random.randrange(len(rows.bodies))
        return rows.bodies[i], rows.truths[i]

    def _run(self) -> None:
        asyncio.run(self._drive())

    async def _drive(self) -> None:
        turns: asyncio.Queue[None] = asyncio.Queue(CONNECTIONS * 2)
        callers = [asyncio.create_task(self._call(turns)) for _ in range(CONNECTIONS)]
        began, due = monotonic(), 0.0
        while not self._stop.is_set():
            due = max(due, (monotonic() - began) - 0.25)  # after a pause, do not send all that was missed at once
            while due <= monotonic() - began:
                await turns.put(None)
                due += 1 / self.rate
            await asyncio.sleep(0.004)
        await asyncio.wait_for(turns.join(), 15)
        for caller in callers:
            caller.cancel()
        await asyncio.gather(*callers, return_exceptions=True)

    async def _call(self, turns: "asyncio.Queue[None]") -> None:
        connection: Connection | None = None
        try:
            while True:
                connection = await self._turn(turns, connection)
        finally:
            if connection is not None:
                connection[1].close()

    async def _turn(self, turns: "asyncio.Queue[None]", connection: Connection | None) -> Connection | None:
        await turns.get()
        body, truth = self._pick()
        self.tally.requests += 1
        try:
            return await self._exchange(connection, body, truth)
        except (OSError, asyncio.IncompleteReadError, TimeoutError, ValueError) as failure:
            self._fail(_in_words(failure))
            if connection is not None:
                connection[1].close()
            return None
        finally:
            turns.task_done()

    async def _exchange(
        self,
        connection: Connection | None,
        body: bytes,
        truth: Any,  # noqa: ANN401 - a label is any JSON scalar
    ) -> Connection | None:
        reused = connection is not None
        reader, writer = connection or await asyncio.open_connection(*self._address)
        message = b"%b%d\r\n\r\n%b" % (self._head, len(body), body)
        try:
            writer.write(message)
            first = await asyncio.wait_for(reader.readline(), 10)
            if not first:
                raise asyncio.IncompleteReadError(b"", None)  # noqa: TRY301 - the same end as a reset, handled below
        except (ConnectionError, asyncio.IncompleteReadError) as ended:
            begun = isinstance(ended, asyncio.IncompleteReadError) and ended.partial
            if not reused or begun:
                raise
            self.tally.reconnected += 1
            writer.close()
            return await self._exchange(None, body, truth)
        headers: dict[bytes, bytes] = {}
        while (line := await reader.readline()) not in (b"\r\n", b""):
            key, _, value = line.partition(b":")
            headers[key.lower()] = value.strip()
        content = await reader.readexactly(int(headers.get(b"content-length", b"0")))
        status = int(first.split()[1])
        if status == 200:
            version = headers[b"shipway-version"].decode()
            self.tally.versions[version] += 1
            self._waiting.append(
                (monotonic() + self._label_delay_s, Answer(headers[b"shipway-event-id"].decode(), version, truth))
            )
        else:
            self._fail(f"{status}: {content[:200].decode(errors='replace')}")
        if headers.get(b"connection", b"").lower() == b"close":
            writer.close()
            return None
        return reader, writer

    def _fail(self, sentence: str) -> None:
        self.tally.failed += 1
        self.tally.trouble[sentence] += 1

    def _label(self) -> None:
        """Send labels of answers that are old enough; keep them while the control plane is away."""
        held: list[Answer] = []
        while not self._stop.wait(0.15) or self._waiting or held:
            now = monotonic()
            while self._waiting and len(held) < 1000 and (self._waiting[0][0] <= now or self._stop.is_set()):
                held.append(self._waiting.popleft()[1])
            if not held:
                continue
            try:
                self._send_labels([{"event": answer.event, "value": answer.truth} for answer in held])
            except ShipwayError as failure:
                if self._stop.is_set():
                    self._fail(f"labels were not taken: {failure}")
                    return
                continue
            self.tally.labels += len(held)
            held = []
