"""Follow the published route table: load what it needs, swap it in, let go of what it left.

A table is applied as a whole, once everything it needs has answered its examples or has failed to. A
newer table does not wait for loads that only an older one wanted, so that a rollback is a pointer
flip even while a large challenger is being loaded. Models that were left stay warm for a while.
"""

import asyncio
import logging
from collections.abc import Callable

from shipway.errors import ShipwayError
from shipway.serve.engine.loader import Engine, Loader
from shipway.serve.engine.runner import RunnerEngine
from shipway.serve.route.routefile import RouteFile
from shipway.serve.route.table import EMPTY, Arm, Key, Table, compile_table, needed
from shipway.terms import RouteTable

logger = logging.getLogger("shipway.serve.follow")

LOOK_EVERY_S = 0.1
RETRY_S = 1.0
RETRY_LIMIT_S = 30.0
FIRST_S = 3.0
"""A worker that starts waits so long for challengers; after that it answers by champions until they are loaded."""

KEEP_WARM_S = 600.0
"""So long an inline model that no table names stays loaded, for an instant rollback."""

KEEP_WARM = 2
"""At most so many of them."""

LET_GO_S = 5.0
"""So long a runner lives on after its table: requests that pinned it are answered by then, or late."""


class Follower:
    """Keeps one worker's table in step with the published one. `first` returns once there is one to answer by."""

    def __init__(self, file: RouteFile, loader: Loader, apply: Callable[[Table], None]) -> None:
        self._file = file
        self._loader = loader
        self._apply = apply
        self._wanted: RouteTable | None = None
        self._applied = False
        self._engines: dict[Key, Engine] = {}
        self._loading: dict[Key, asyncio.Task[None]] = {}
        self._failures: dict[Key, str] = {}
        self._retry: dict[Key, tuple[float, float]] = {}
        self._left: dict[Key, float] = {}
        self._unloading: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._time = asyncio.get_running_loop().time
        self._fuses: dict[str, tuple[int, str]] = {}
        self.table: Table = EMPTY

    async def first(self) -> None:
        """Apply the table that is published now, if one is."""
        began = self._time()
        await self._round()
        while self._is_waiting():
            await self._pause()
            await self._round()
            late = self._time() - began > FIRST_S
            if late and self._is_waiting() and self._wanted is not None and not self._champions_load():
                self._swap(self._wanted)

    def _is_waiting(self) -> bool:
        return self._wanted is not None and not self._applied

    async def run(self) -> None:
        """Follow for ever."""
        while True:
            await self._pause()
            await self._round()

    def open_fuse(self, digest: str, why: str, epoch: int | None = None) -> None:
        """Give a challenger no more traffic until the next table."""
        self._fuses[digest] = (self.table.epoch if epoch is None else epoch, why)
        self._blow(self.table)

    def close(self) -> None:
        """Stop loading, and close every engine."""
        for task in self._loading.values():
            task.cancel()
        for engine in self._engines.values():
            if isinstance(engine, RunnerEngine):
                engine.close()
        self._loader.close()

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(LOOK_EVERY_S):
                await self._wake.wait()
        except TimeoutError:
            return
        self._wake.clear()

    async def _round(self) -> None:
        newer = self._file.changed()
        if newer is not None:
            self._wanted, self._applied = newer, False
            self._retry.clear()
        if self._wanted is None:
            return
        wants = needed(self._wanted)
        now = self._time()
        for key in wants:
            due, _ = self._retry.get(key, (0.0, 0.0))
            if key not in self._engines and key not in self._loading and now >= due:
                self._loading[key] = asyncio.create_task(self._load(key))
        if not self._applied and not any(key in self._loading for key in wants):
            self._swap(self._wanted)
        self._let_go(now)

    def _champions_load(self) -> bool:
        routes = self._wanted.endpoints if self._wanted is not None else ()
        champions = {(v.digest, v.isolated) for route in routes for v in route.variants if v.name == "champion"}
        return not champions.isdisjoint(self._loading)

    async def _load(self, key: Key) -> None:
        digest, isolated = key
        try:
            self._engines[key] = await self._loader.load(digest, isolated=isolated)
        except asyncio.CancelledError:
            raise
        except Exception as exc:
            pause = min(2 * self._retry.get(key, (0.0, RETRY_S / 2))[1], RETRY_LIMIT_S)
            self._retry[key] = (self._time() + pause, pause)
            if self._failures.get(key) != str(exc):
                logger.warning("the bundle %s cannot be loaded: %s", digest[:19], exc)
                if not isinstance(exc, ShipwayError):
                    logger.warning("this is how it failed", exc_info=exc)
            self._failures[key] = str(exc)
        else:
            self._failures.pop(key, None)
            self._retry.pop(key, None)
            if self._wanted is not None and key in needed(self._wanted):
                self._applied = False  # a table that was applied without it can be served better now
        finally:
            self._loading.pop(key, None)
            self._wake.set()

    def _swap(self, wanted: RouteTable) -> None:
        table = compile_table(wanted, self._engines, self._failures, self.table)
        self._fuses = {d: (epoch, why) for d, (epoch, why) in self._fuses.items() if epoch >= table.epoch}
        self._blow(table)
        if table.epoch != self.table.epoch:
            logger.info("route table %d is applied: %d endpoints", table.epoch, len(wanted.endpoints))
        self.table = table
        self._applied = True
        now = self._time()
        for key in self._engines:
            if key in table.keys:
                self._left.pop(key, None)
            else:
                self._left.setdefault(key, now)
        self._apply(table)

    def _blow(self, table: Table) -> None:
        for arm in challengers(table):
            epoch, why = self._fuses.get(arm.variant.digest, (-1, ""))
            if epoch == table.epoch:
                arm.fuse.open(why)

    def _let_go(self, now: float) -> None:
        warm = [key for key in self._left if self._engines[key].inline]
        spare = sorted(warm, key=self._left.__getitem__)[: max(0, len(warm) - KEEP_WARM)]
        for key, since in list(self._left.items()):
            engine = self._engines[key]
            keep_s = KEEP_WARM_S if engine.inline and key not in spare else LET_GO_S
            if now - since > keep_s:
                del self._left[key], self._engines[key]
                task = asyncio.create_task(self._loader.unload(engine))
                self._unloading.add(task)
                task.add_done_callback(self._unloading.discard)


def challengers(table: Table) -> list[Arm]:
    """Return the challengers that answer in a table."""
    return [served.challenger for served in table.served() if served.challenger is not None]
