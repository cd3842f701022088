"""A model in a child process: raw tensors over a socketpair, a deadline, a warm spare.

Nothing in a worker can interrupt a model that hangs in native code, so a model that is not trusted
yet, or is too slow, runs in a child that can be killed. One child is active and one is warm; a hang
or a crash is ended by promoting the spare. Whoever was in flight is told at once: the oldest call is
the guilty one (`timeout` or `crash`), the others are `collateral` and count against nobody.

`RunnerEngine.submit` never blocks and never raises; its callback is called exactly once.
"""

import asyncio
import contextlib
import logging
import signal
import socket
import subprocess
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from shipway.errors import Broken, ShipwayError, Unavailable
from shipway.serve.engine import wire
from shipway.terms import Manifest

logger = logging.getLogger("shipway.serve.runner")

IN_FLIGHT = 64
"""Calls that may wait for one runner; more are answered by someone else at once."""

KILLS, KILLS_WITHIN_S = 3, 60.0
"""So many lost children in so many seconds are a crash loop."""

BACKOFF_S, BACKOFF_LIMIT_S = 0.2, 10.0
START_S = 30.0

Columns = dict[str, np.ndarray[Any, Any]]
Done = Callable[[str, Columns | None, str], None]
"""What a caller of `submit` is told: outcome, outputs if it is `ok`, a sentence if it is not."""


class Child(asyncio.Protocol):
    """One runner process, seen from its worker."""

    def __init__(self, command: Sequence[str], engine: "RunnerEngine") -> None:
        self._engine = engine
        self._frames = wire.Frames()
        self._transport: asyncio.Transport | None = None
        self.calls: dict[int, tuple[float, Done]] = {}
        self.hello: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._ours, theirs = socket.socketpair()
        try:
            # From the main thread: the child's death signal is tied to the thread that made it.
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and arguments
                [*command, "--fd", str(theirs.fileno())], pass_fds=(theirs.fileno(),), stdin=subprocess.DEVNULL
            )
        finally:
            theirs.close()
        self.pid = self._process.pid

    async def connect(self) -> None:
        """Open our end of the line."""
        await asyncio.get_running_loop().create_unix_connection(lambda: self, sock=self._ours)

    @property
    def ready(self) -> bool:
        """True once it has answered its examples and while it lives."""
        return self.hello.done() and not self.hello.cancelled() and self.hello.exception() is None and not self.dead

    @property
    def dead(self) -> bool:
        """True once its socket is closed."""
        return self._transport is None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Settle each call that is answered."""
        try:
            frames = self._frames.feed(data)
        except Broken:
            logger.exception("runner %d is not understood", self.pid)
            self.kill()
            return
        for number, status, payload in frames:
            if number == wire.HELLO:
                self._greet(status, payload)
            else:
                self._settle(number, status, payload)

    def _greet(self, status: int, payload: bytes) -> None:
        if self.hello.done():
            return
        if status == wire.COLUMNS:
            self.hello.set_result(None)
        else:
            self.hello.set_exception(Unavailable(payload.decode(), fix="look at the bundle, or deploy another version"))

    def _settle(self, number: int, status: int, payload: bytes) -> None:
        call = self.calls.pop(number, None)
        if call is None:
            return
        if status != wire.COLUMNS:
            call[1]("error", None, payload.decode())
            return
        try:
            columns = wire.unpack(payload)
        except Broken as exc:
            call[1]("error", None, str(exc))
        else:
            call[1]("ok", columns, "")

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the protocol's signature
        """The process is gone: whoever waits is told."""
        self._transport = None
        if not self.hello.done():
            self.hello.set_exception(Unavailable("a runner died before it was ready", fix="look at the server's log"))
        self.hello.exception()  # it was told; nobody has to fetch it
        self.kill()
        self._engine.lost(self, "crash")

    def send(self, frames: list[bytes]) -> None:
        """Send frames in one write."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(b"".join(frames))

    def kill(self) -> None:
        """End the process, whatever it is doing. Safe to call twice."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGKILL)
        if self._transport is not None:
            self._transport.abort()
        self._reap()

    def _reap(self) -> None:
        if self._process.poll() is None:  # large processes take a while to die; the loop does not wait for them
            asyncio.get_running_loop().call_later(0.05, self._reap)


class RunnerEngine:
    """A model in one active and one spare child.

    Usage: `await engine.start()`, then `submit`; `close` kills both.
    """

    inline = False

    def __init__(
        self,
        command: Sequence[str],
        manifest: Manifest,
        digest: str,
        *,
        folder: Path,
        spare: bool = True,
        on_crash_loop: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._command = [*command, "runner", "--bundle", str(folder), "--digest", digest]
        self._loop = asyncio.get_running_loop()
        self._active: Child | None = None
        self._spare: Child | None = None
        self._number = 0
        self._unsent: list[bytes] = []
        self._timer: asyncio.TimerHandle | None = None
        self._losses: deque[float] = deque(maxlen=KILLS)
        self._spawning: asyncio.Task[None] | None = None
        self._closed = False
        self._backoff_s = 0.0
        self._wants_spare = spare
        self.on_crash_loop = on_crash_loop
        self.manifest = manifest
        self.digest = digest
        self.slow_s = 0.0
        """A decaying maximum of how long answers took: above the p99."""

    async def start(self) -> None:
        """Start a child and wait until it has answered its examples; the spare follows by itself.

        Raises:
            Unavailable: it does not come up.
        """
        self._active = await self._spawn()
        self._refill()

    @property
    def pids(self) -> list[int]:
        """Process ids of the children that live, the active one first."""
        return [c.pid for c in (self._active, self._spare) if c is not None and not c.dead]

    @property
    def in_flight(self) -> int:
        """Calls that wait for an answer."""
        return len(self._active.calls) if self._active else 0

    def submit(self, columns: Mapping[str, np.ndarray[Any, Any]], deadline: float, done: Done) -> None:
        """Ask the model, and call `done` once, with an answer or with a reason, at `deadline` at the latest.

        Args:
            columns: what to predict on.
            deadline: of `time.monotonic`, which is the loop's clock.
            done: told (outcome, outputs, sentence); may be called before this returns.
        """
        child = self._active
        if child is None or not child.ready or len(child.calls) >= IN_FLIGHT:
            done("collateral", None, "no runner is free")
            return
        self._number += 1
        began = time.monotonic()

        def timed(outcome: str, outputs: Columns | None, sentence: str) -> None:
            self.slow_s = max(self.slow_s * 0.99, time.monotonic() - began) if outcome == "ok" else self.slow_s
            done(outcome, outputs, sentence)

        child.calls[self._number] = (deadline, timed)
        if not self._unsent:
            self._loop.call_soon(self._flush)
        self._unsent.append(wire.frame(self._number, wire.COLUMNS, wire.pack(columns)))
        if self._timer is None or deadline < self._timer.when():
            self._watch(deadline)

    def _flush(self) -> None:
        frames, self._unsent = self._unsent, []
        if self._active is not None:
            self._active.send(frames)

    def _watch(self, deadline: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(deadline, self._check)

    def _check(self) -> None:
        self._timer = None
        child = self._active
        if child is None or not child.calls:
            return
        first = min(deadline for deadline, _ in child.calls.values())
        if time.monotonic() >= first:
            self.lost(child, "timeout")
        else:
            self._watch(first)

    def lost(self, child: Child, how: str) -> None:
        """Take a child out of service and answer everyone who waited for it. Two paths lead here; one counts."""
        if child is not self._active and child is not self._spare:
            return
        if child is self._active:
            self._active, self._spare = self._spare, None
            self._unsent = []
        else:
            self._spare = None
        child.kill()
        waiting, child.calls = list(child.calls.values()), {}
        if not self._closed:
            self._note_loss(how)
            self._refill()
        for position, (_, done) in enumerate(waiting):
            if position == 0:
                done(how, None, "the model did not answer in time" if how == "timeout" else "the model's process died")
            else:
                done("collateral", None, "a neighbour in the same runner failed")

    def _note_loss(self, how: str) -> None:
        now = time.monotonic()
        self._losses.append(now)
        logger.warning("a runner of %s was lost by %s", self.digest[:19], how)
        self._backoff_s = min(max(BACKOFF_S, 2 * self._backoff_s), BACKOFF_LIMIT_S)
        if len(self._losses) == KILLS and now - self._losses[0] < KILLS_WITHIN_S:
            self.on_crash_loop(f"{KILLS} runners were lost within {KILLS_WITHIN_S:.0f} s")
        else:
            self._backoff_s = min(self._backoff_s, BACKOFF_S)

    def _refill(self) -> None:
        if not self._closed and (self._spawning is None or self._spawning.done()):
            self._spawning = self._loop.create_task(self._fill())

    async def _fill(self) -> None:
        while not self._closed and (self._active is None or (self._wants_spare and self._spare is None)):
            await asyncio.sleep(self._backoff_s)
            try:
                child = await self._spawn()
            except (ShipwayError, OSError, TimeoutError) as exc:
                logger.warning("a runner of %s does not start: %s", self.digest[:19], exc)
                self._backoff_s = min(max(BACKOFF_S, 2 * self._backoff_s), BACKOFF_LIMIT_S)
                continue
            if self._active is None:
                self._active = child
            else:
                self._spare = child

    async def _spawn(self) -> Child:
        child = Child(self._command, self)
        try:
            await child.connect()
            async with asyncio.timeout(START_S):
                await asyncio.shield(child.hello)
        except BaseException:
            child.kill()
            raise
        if self._closed:
            child.kill()
        return child

    def close(self) -> None:
        """Kill the children; calls in flight end as collateral."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        if self._spawning is not None:
            self._spawning.cancel()
        for child in (self._active, self._spare):
            if child is not None:
                self.lost(child, "collateral")
