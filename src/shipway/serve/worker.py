"""A worker: one process that answers.

It needs a route table and bundles on disk, writes captures and counts to disk, and needs nothing
else. Its supervisor gives it listening sockets that stay open when it dies, and hears from it four
times a second. SIGTERM, or the end of the supervisor, makes it drain: it answers what comes with
`Connection: close` and leaves when the last connection is gone.
"""

import asyncio
import logging
import os
import resource
import signal
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from shipway.bundle import BundleStore
from shipway.serve.application import Application
from shipway.serve.engine.loader import Loader
from shipway.serve.flight import Flight
from shipway.serve.journal import Journal
from shipway.serve.messages import Line, converse
from shipway.serve.route.answer import Answering
from shipway.serve.route.follow import Follower, challengers
from shipway.serve.route.routefile import RouteFile
from shipway.serve.route.table import Table
from shipway.serve.transport.http import HttpServer

logger = logging.getLogger("shipway.serve.worker")

BEAT_S = 0.25
TICK_S = 0.2
STOP_S = 10.0
"""When to give up on requests that are not finished."""


class WorkerOptions(Struct, frozen=True):
    """What a worker is told on its command line."""

    home: Path
    server: Path
    """Folder of this server: spool and counts are in it."""
    incarnation: str
    index: int
    sockets: tuple[int, ...]
    """Descriptors of all listening sockets of the server; this worker accepts on `sockets[index]`."""
    control: int
    flight: int
    runner_command: tuple[str, ...]
    version: str = ""
    segment_bytes: int = 8 << 20
    seal_after_s: float = 5.0
    durability: str = "interval"
    drain_idle_s: float = 1.0
    """How long a connection without a request may still bring one while the worker drains."""


class Worker:
    """Everything one worker owns. `run` returns when it has drained."""

    def __init__(
        self,
        options: WorkerOptions,
        *,
        clock: Callable[[], float],
        now_ns: Callable[[], int],
        random_bytes: Callable[[int], bytes],
    ) -> None:
        self._options = options
        self._clock = clock
        self._stop = asyncio.Event()
        self._sockets = [socket.socket(fileno=fd) for fd in options.sockets]
        self._flight = Flight(options.flight)
        self._journal = Journal(
            options.server,
            options.incarnation,
            segment_bytes=options.segment_bytes,
            seal_after_s=options.seal_after_s,
            durability=options.durability,
            now_ns=now_ns,
            random_bytes=random_bytes,
        )
        self._answering = Answering(self._journal, self._flight)
        loader = Loader(BundleStore(options.home / "bundles"), options.runner_command, self._crash_loop)
        self._follower = Follower(RouteFile(options.home / "routes" / "routes.json"), loader, self._apply)
        self._server = HttpServer(Application(self._answering, clock, options.version), clock)
        self._line: Line | None = None

    async def run(self) -> int:
        """Serve until told to stop; return the exit status."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._stop.set)
        loop.add_signal_handler(signal.SIGINT, lambda: None)  # Ctrl-C reaches the whole group; the supervisor decides
        control = socket.socket(fileno=self._options.control)
        self._line = await converse(control, self._told, self._stop.set)
        await self._follower.first()
        await self._server.listen(self._sockets[self._options.index])
        self._line.send({"is": "ready", **self._state()})
        chores = [asyncio.create_task(job) for job in (self._follower.run(), self._beat(), self._tick())]
        stopped = asyncio.create_task(self._stop.wait())
        done, _ = await asyncio.wait([*chores, stopped], return_when=asyncio.FIRST_COMPLETED)
        broken = [task for task in done if task is not stopped]
        for task in broken:
            logger.error("a chore of this worker failed", exc_info=task.exception())
        await self._drain(chores)
        return 1 if broken else 0

    async def _drain(self, chores: Sequence["asyncio.Task[None]"]) -> None:
        await self._server.retire(self._sockets)
        whole = await self._server.drain(idle_s=self._options.drain_idle_s, at_most_s=STOP_S)
        if not whole:
            logger.warning("requests were cut off after %.0f s of draining", STOP_S)
        for chore in chores:
            chore.cancel()
        self._server.close()
        self._journal.close()
        self._follower.close()

    def _apply(self, table: Table) -> None:
        self._answering.table = table

    def _crash_loop(self, digest: str, why: str) -> None:
        self._follower.open_fuse(digest, why)

    def _told(self, message: dict[str, Any]) -> None:
        match message:
            case {"do": "adopt", "index": int(index)}:
                logger.info("this worker adopts the connections of worker %d", index)
                asyncio.ensure_future(self._server.listen(self._sockets[index]))  # noqa: RUF006 - done within this round of the loop
            case {"do": "release", "index": int(index)}:
                self._server.ignore(self._sockets[index])
            case {"do": "contact", "lost": bool(lost)}:
                self._answering.lost = lost
            case {"do": "fuse", "digest": str(digest), "why": str(why), "epoch": int(epoch)}:
                self._follower.open_fuse(digest, why, epoch)
            case _:
                logger.warning("the supervisor said something unknown: %r", message)

    async def _beat(self) -> None:
        while True:
            if self._line is not None:
                self._line.send({"is": "beat", **self._state()})
            await asyncio.sleep(BEAT_S)

    async def _tick(self) -> None:
        written, stopped = 0, False
        while True:
            await asyncio.sleep(TICK_S)
            # The journal forgets a fault to try again: only what it wrote since tells that the fault is over.
            if self._journal.stopped and not stopped:
                logger.error("capture stopped (%s): answers go on, unrecorded", self._journal.stopped)
                stopped, written = True, self._journal.written
            elif stopped and self._journal.written > written:
                logger.info("capture goes on; %d records were lost", sum(self._journal.dropped.values()))
                stopped = False
            await self._journal.tick(self._clock())

    def _state(self) -> dict[str, Any]:
        table = self._follower.table
        fuses = {
            f"{arm.variant.model}:{arm.variant.version}": arm.fuse.why for arm in challengers(table) if arm.fuse.why
        }
        return {
            "epoch": table.epoch,
            "health": {
                "connections": len(self._server.connections),
                "capture_stopped": self._journal.stopped,
                "capture_dropped": self._journal.dropped,
                "ineligible": self._answering.ineligible,
                "fuses": fuses,
                "problems": table.problems,
                "pid": os.getpid(),
                "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
            },
        }
