"""The parent of one server: it holds the sockets, keeps workers alive, and tells the control plane what they counted.

One SO_REUSEPORT socket per worker is bound once and stays open for as long as the server lives; every
generation of workers gets it by descriptor, so no accept queue is ever closed. When a worker dies, a
sibling adopts its socket until the replacement has answered its examples. A worker that says nothing
for two seconds is killed, and the challenger it was running gets no more traffic.

SIGHUP replaces all workers, one after the other. SIGTERM drains them and ends.
"""

import asyncio
import logging
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from shipway.capture.spool import recover
from shipway.errors import ShipwayError, Unavailable
from shipway.serve.admin import Admin
from shipway.serve.children import Child, start
from shipway.serve.claim import claim
from shipway.serve.health import gauges, summary
from shipway.serve.push import Pusher
from shipway.serve.route.routefile import RouteFile, has_shadows
from shipway.serve.sockets import adopt, bind_all, bind_one
from shipway.serve.tally import Tally
from shipway.serve.transport.http import HttpServer
from shipway.terms import FORMAT, Cell, CountsReport, RouteTable

logger = logging.getLogger("shipway.serve.supervisor")

WATCH_S = 0.1
SILENT_S = 2.0
SHADOW_SILENT_S = 60.0
START_S = 60.0
STOP_S = 14.0
BACKOFF_S, BACKOFF_LIMIT_S = 0.05, 5.0
LIVED_S = 5.0
"""A worker that lived this long did not die of its start."""

PUSH_AT_LEAST_S = 1.0


class ServerOptions(Struct, frozen=True):
    """What a server is told on its command line."""

    home: Path
    name: str
    host: str = "127.0.0.1"
    port: int = 8786
    admin_host: str = "127.0.0.1"
    admin_port: int = 8788
    workers: int = 1
    listen: tuple[int, ...] = ()
    """Descriptors of listening sockets, one per worker, that a parent holds open over a kill of this process."""
    control_url: str = ""
    token: str = ""
    counts_every_s: float = 0.25
    challenger_grace_s: float = 30.0
    worker_command: tuple[str, ...] = ()
    """Starts a worker; index, sockets, control, flight and incarnation are appended."""
    shadow_command: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        """Folder of this server's spool and counts."""
        return self.home / "servers" / self.name


class Supervisor:
    """One server. `run` returns when it has been told to stop and everything is drained."""

    def __init__(self, options: ServerOptions, *, clock: Callable[[], float], name: Callable[[], str]) -> None:
        loop = asyncio.get_running_loop()
        self._options = options
        self._name = name
        self._clock = clock
        self._time = loop.time
        self._claim = claim(options.folder, options.name)
        self._sockets = (
            adopt(options.listen) if options.listen else bind_all(options.host, options.port, options.workers)
        )
        self._admin_socket = bind_one(options.admin_host, options.admin_port)
        self._current: list[Child | None] = [None] * options.workers
        self._children: set[Child] = set()
        self._shadow: Child | None = None
        self._shadow_after = 0.0
        self._adopters: dict[int, Child] = {}
        self._pauses = [0.0] * options.workers
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()
        self._file = RouteFile(options.home / "routes" / "routes.json")
        self._table: RouteTable | None = None
        self._tally = Tally(options.folder / "counts")
        self._fuses: dict[str, tuple[int, str]] = {}
        self._restarts = 0
        self._contact_at = self._time()
        self._lost = False

    @property
    def ports(self) -> tuple[int, int]:
        """Ports of predictions and of the admin listener."""
        return self._sockets[0].getsockname()[1], self._admin_socket.getsockname()[1]

    async def run(self) -> int:
        """Serve until told to stop; return the exit status."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self.stop)
        loop.add_signal_handler(signal.SIGINT, self.stop)
        loop.add_signal_handler(signal.SIGHUP, lambda: self._do(self._replace_all()))
        (self._options.folder / "counts").mkdir(parents=True, exist_ok=True)
        recover(self._options.folder / "spool")
        admin = HttpServer(Admin(self), self._clock)
        await admin.listen(self._admin_socket)
        port, admin_port = self.ports
        self._write_address(port, admin_port)
        logger.info("serving on %s port %d, admin on port %d", self._options.host, port, admin_port)
        self._look_at_table()
        for index in range(self._options.workers):
            self._do(self._fill(index))
        pushing = asyncio.create_task(self._push_for_ever()) if self._options.control_url else None
        watching = asyncio.create_task(self._watch())
        await self._stopping.wait()
        await self._drain()
        watching.cancel()
        if pushing is not None:
            pushing.cancel()
        await self._last_push()
        admin.close()
        self._claim.close()
        return 0

    def _write_address(self, port: int, admin_port: int) -> None:
        """Say on disk where this server listens: port 0 means any free one."""
        path = self._options.folder / "address.json"
        beside = path.with_suffix(".new")
        address = {"host": self._options.host, "port": port, "admin_port": admin_port, "pid": os.getpid()}
        try:
            beside.write_bytes(msgspec.json.encode(address))
            beside.replace(path)
        except OSError as exc:
            logger.warning("%s cannot be written (%s); this server answers all the same", path, exc.strerror)

    # What the admin listener asks.

    def stop(self) -> None:
        """Begin to drain the whole server."""
        self._stopping.set()

    def report(self) -> CountsReport:
        """Return all counts as they are now."""
        self._tally.read()
        _, epoch = self.in_step()
        return CountsReport(
            FORMAT, self._options.name, self._tally.incarnations(), self._tally.finished(), epoch, self._health()
        )

    def total(self) -> list[Cell]:
        """Return counts added up over incarnations."""
        self._tally.read()
        return self._tally.total()

    def gauges(self) -> dict[str, float]:
        """Return what else is measured."""
        return gauges(self._health(), self.in_step()[1], lost=self._lost)

    def alive(self) -> bool:
        """Return whether any worker answers."""
        return any(child is not None and child.serving for child in self._current)

    def in_step(self) -> tuple[bool, int]:
        """Return whether every worker applied the newest table, and the epoch that all have applied."""
        wanted = self._table.epoch if self._table is not None else 0
        epochs = [child.epoch if child is not None and child.serving else -1 for child in self._current]
        return min(epochs) == wanted, max(0, min(epochs))

    def _health(self) -> dict[str, Any]:
        return summary(self._current, self._shadow, restarts=self._restarts)

    # Workers.

    def _do(self, job: Any) -> None:  # noqa: ANN401 - a coroutine
        task = asyncio.create_task(job)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            logger.error("a job of the supervisor failed", exc_info=task.exception())

    async def _start_worker(self, index: int) -> Child:
        fds = [sock.fileno() for sock in self._sockets]
        command = [*self._options.worker_command, "--index", str(index), "--sockets", ",".join(map(str, fds))]
        child = await start(command, index=index, incarnation=self._name(), sockets=fds, gone=self._gone)
        self._children.add(child)
        child.tell({"do": "contact", "lost": self._lost})
        for digest, (epoch, why) in self._fuses.items():
            child.tell({"do": "fuse", "digest": digest, "epoch": epoch, "why": why})
        return child

    async def _fill(self, index: int) -> None:
        """Bring a worker up in an empty place, however often that takes."""
        while not self._stopping.is_set():
            await asyncio.sleep(self._pauses[index])
            if self._stopping.is_set():
                return
            began = self._time()
            child = await self._start_worker(index)
            self._current[index] = child
            if await self._is_ready(child):
                self._release(index)
                logger.info("worker %d answers, process %d", index, child.process.pid)
                return
            if self._time() - began < LIVED_S:
                self._pauses[index] = min(max(BACKOFF_S, 2 * self._pauses[index]), BACKOFF_LIMIT_S)

    async def _is_ready(self, child: Child) -> bool:
        try:
            async with asyncio.timeout(START_S):
                return bool(await asyncio.shield(child.ready))
        except TimeoutError:
            logger.error("worker %d was not ready after %.0f s and is killed", child.index, START_S)  # noqa: TRY400 - no trace is needed
            child.kill()
            return False

    def _gone(self, child: Child) -> None:
        """Take note of the end of a child, which is called once for each."""
        self._children.discard(child)
        if child is self._shadow:
            self._shadow = None
            lived = child.process.returncode == 0
            self._shadow_after = self._time() + (0.0 if lived else 1.0)
        elif not child.leaving:
            self._died(child)
        recover(self._options.folder / "spool")

    def _died(self, child: Child) -> None:
        status = child.process.returncode
        logger.warning("worker %d ended with status %d", child.index, status)
        self._restarts += 1
        self._blame(child)
        for index, adopter in list(self._adopters.items()):
            if adopter is child:
                del self._adopters[index]
                self._adopt(index)
        if self._current[child.index] is not child:
            return
        was_ready = bool(child.ready.result())
        self._current[child.index] = None
        if was_ready and not self._stopping.is_set():  # otherwise `_fill` is still at it
            self._pauses[child.index] = 0.0 if self._time() - child.began > LIVED_S else BACKOFF_S
            self._adopt(child.index)
            self._do(self._fill(child.index))

    def _adopt(self, index: int) -> None:
        sibling = next((c for c in self._current if c is not None and c.serving and c.index != index), None)
        if sibling is not None:
            self._adopters[index] = sibling
            sibling.tell({"do": "adopt", "index": index})

    def _release(self, index: int) -> None:
        adopter = self._adopters.pop(index, None)
        if adopter is not None:
            adopter.tell({"do": "release", "index": index})

    def _blame(self, child: Child) -> None:
        """Open the fuse of the challenger that a dead worker was running."""
        digest = child.flight.running()
        if not digest:
            return
        epoch = max(child.epoch, 0)
        why = f"it was running when worker {child.index} had to be ended"
        logger.warning("the fuse of %s opened: %s", digest[:19], why)
        self._fuses[digest] = (epoch, why)
        for sibling in self._children:
            sibling.tell({"do": "fuse", "digest": digest, "epoch": epoch, "why": why})

    async def _replace_all(self) -> None:
        """Start a new generation: each new worker answers before its predecessor is told to leave."""
        for index in range(self._options.workers):
            old = self._current[index]
            if old is None or not old.serving:
                continue
            new = await self._start_worker(index)
            if not await self._is_ready(new):
                logger.error("worker %d is not replaced: its successor did not start", index)
                new.leaving = True
                return
            self._current[index] = new
            old.leave()

    async def _watch(self) -> None:
        last = self._time()
        while True:
            await asyncio.sleep(WATCH_S)
            now = self._time()
            late = now - last > SILENT_S / 2  # the machine stood still: nobody could have spoken
            last = now
            self._look_at_table()
            self._keep_shadow(now)
            for child in self._children:
                if late:
                    child.heard = now
                    continue
                allowed_s = SHADOW_SILENT_S if child is self._shadow else SILENT_S
                if child.serving and now - child.heard > allowed_s:
                    logger.error("process %d said nothing for %.1f s and is killed", child.process.pid, allowed_s)
                    child.kill()

    def _look_at_table(self) -> None:
        newer = self._file.changed()
        if newer is not None:
            self._table = newer
            self._fuses = {d: (epoch, why) for d, (epoch, why) in self._fuses.items() if epoch >= newer.epoch}

    def _keep_shadow(self, now: float) -> None:
        wanted = self._table is not None and has_shadows(self._table)
        if wanted and self._shadow is None and now >= self._shadow_after and not self._stopping.is_set():
            self._shadow_after = now + START_S
            self._do(self._start_shadow())

    async def _start_shadow(self) -> None:
        command = self._options.shadow_command
        child = await start(command, index=-1, incarnation=self._name(), sockets=(), gone=self._gone)
        self._children.add(child)
        self._shadow = child

    async def _drain(self) -> None:
        logger.info("draining")
        for sock in self._sockets:
            sock.close()  # the workers hold their own; who waits in a queue is taken in by them
        for child in list(self._children):
            child.leave()
        until = self._time() + STOP_S
        while self._children and self._time() < until:  # noqa: ASYNC110 - children end by themselves
            await asyncio.sleep(0.02)
        for child in list(self._children):
            logger.error("process %d did not end in %.0f s and is killed", child.process.pid, STOP_S)
            child.kill()
        while self._children:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.02)
        for task in list(self._tasks):
            task.cancel()

    # The control plane.

    async def _push_for_ever(self) -> None:
        pusher = Pusher(self._options.control_url, self._options.token)
        sent, sent_at = b"", 0.0
        try:
            while True:
                report = self.report()
                body = msgspec.json.encode(report)
                now = self._time()
                if body != sent or now - sent_at >= PUSH_AT_LEAST_S:
                    sent, sent_at = body, now
                    await self._push(pusher, report)
                await asyncio.sleep(self._options.counts_every_s)
        finally:
            pusher.close()

    async def _push(self, pusher: Pusher, report: CountsReport) -> None:
        try:
            await asyncio.to_thread(pusher.push, report)
        except Unavailable as exc:
            if self._time() - self._contact_at > self._options.challenger_grace_s:
                self._set_lost(lost=True, why=str(exc))
        else:
            self._contact_at = self._time()
            self._set_lost(lost=False)
            self._tally.acknowledge(report.finished)

    def _set_lost(self, *, lost: bool, why: str = "") -> None:
        if lost == self._lost:
            return
        self._lost = lost
        grace = self._options.challenger_grace_s
        if lost:
            logger.warning("no contact for %.0f s (%s): challengers get no traffic until it is back", grace, why)
        else:
            logger.info("contact is back: challengers get their share again")
        for child in self._children:
            child.tell({"do": "contact", "lost": lost})

    async def _last_push(self) -> None:
        """Hand over what the last workers counted; if that fails, the files wait for the next server of this name."""
        if not self._options.control_url:
            return
        pusher = Pusher(self._options.control_url, self._options.token)
        try:
            await asyncio.to_thread(pusher.push, self.report())
        except ShipwayError as exc:
            logger.warning("the last counts were not taken and are kept for the next start: %s", exc)
        finally:
            pusher.close()
