"""Call a server from a process of its own: kept connections, each asking again as soon as it is answered.

    python bench/caller.py PORT PATH REQUESTS CONNECTIONS BODIES_FILE

The file holds one body per line; requests take them in turn, so that no answer can be remembered. Prints one JSON
object: requests, failures, seconds, p50_ms, p99_ms, and the first answer's body.
"""

import asyncio
import json
import sys
import time
from itertools import cycle
from pathlib import Path

import uvloop


class Caller(asyncio.Protocol):
    """One connection."""

    def __init__(self, load: "Load") -> None:
        self._load = load
        self._transport: asyncio.Transport | None = None
        self._received = b""
        self._asked_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask the first time."""
        self._transport = transport  # type: ignore[assignment]
        self._ask()

    def _ask(self) -> None:
        if self._transport is None:
            return
        if self._load.left == 0:
            self._transport.close()
            return
        self._load.left -= 1
        self._asked_at = time.perf_counter()
        self._transport.write(next(self._load.requests))

    def data_received(self, data: bytes) -> None:
        """Gather an answer; when it is whole, ask again."""
        self._received += data
        head, found, body = self._received.partition(b"\r\n\r\n")
        if not found:
            return
        at = head.lower().index(b"content-length:") + 15
        end = head.find(b"\r\n", at)
        if len(body) < int(head[at : end if end > 0 else None]):
            return
        self._load.answered(head, body, time.perf_counter() - self._asked_at)
        self._received = b""
        self._ask()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the protocol's signature
        """Count a connection that ended in the middle."""
        self._load.ended()


class Load:
    """All connections of one run."""

    def __init__(self, requests: list[bytes], total: int, connections: int) -> None:
        self.requests = cycle(requests)
        self.left = total
        self.open = connections
        self.failures = 0
        self.first = b""
        self.latencies: list[float] = []
        self.done = asyncio.get_running_loop().create_future()

    def answered(self, head: bytes, body: bytes, took_s: float) -> None:
        """Take an answer in."""
        self.latencies.append(took_s)
        self.first = self.first or body
        self.failures += b" 200 " not in head[:15]

    def ended(self) -> None:
        """Take the end of a connection in."""
        self.open -= 1
        if self.open == 0 and not self.done.done():
            self.done.set_result(None)


async def call(port: int, path: str, total: int, connections: int, bodies: list[bytes]) -> dict[str, object]:
    """Make the calls and return what was seen."""
    head = f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: "
    load = Load([f"{head}{len(body)}\r\n\r\n".encode() + body for body in bodies], total, connections)
    began = time.perf_counter()
    loop = asyncio.get_running_loop()
    for _ in range(connections):
        await loop.create_connection(lambda: Caller(load), "127.0.0.1", port)
    await load.done
    times = sorted(load.latencies)
    return {
        "requests": len(times),
        "failures": load.failures + total - len(times),
        "seconds": time.perf_counter() - began,
        "p50_ms": 1e3 * times[len(times) // 2],
        "p99_ms": 1e3 * times[len(times) * 99 // 100],
        "first": load.first.decode(),
    }


if __name__ == "__main__":
    port, path, total, connections, file = sys.argv[1:]
    bodies = Path(file).read_bytes().splitlines()
    print(json.dumps(uvloop.run(call(int(port), path, int(total), int(connections), bodies))))
