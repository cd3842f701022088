"""The shadow: re-score captured requests with a challenger that answers nobody.

A separate, niced process follows the spool. It cannot drop a request and cannot touch an answer; it
can only lag, and says by how much. Its answers are captured with the flag SHADOW and the event id of
the request they belong to, and counted for the challenger at probability 0. The model runs in a
runner, so whatever it does (raise, hang, crash) is one captured failure and the next request.
"""

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from msgspec import Struct

from shipway.bundle import BundleStore
from shipway.capture.counts import CountsFile
from shipway.capture.ids import Ids
from shipway.capture.record import SHADOW, TRUNCATED, CaptureRecord, Context, Prepared, prepare
from shipway.capture.recorder import Recorder
from shipway.capture.spool import Spool
from shipway.capture.tail import Tail
from shipway.endpoint.assign import bucket
from shipway.serve.engine.loader import Loader
from shipway.serve.engine.runner import Columns, RunnerEngine
from shipway.serve.engine.sound import fault
from shipway.serve.messages import converse
from shipway.serve.route.routefile import RouteFile
from shipway.terms import Cell, EndpointRoute, RouteTable, Variant

logger = logging.getLogger("shipway.serve.shadow")

BATCH = 256
POLL_S = 0.05
BEAT_S = 0.25
WITHOUT_WORK_S = 3.0
"""So long after the last shadow left the table, the process leaves too and forgets its place."""

RUNNER_WAIT_S = 20.0
BATCH_TIMEOUT_S = 5.0
STATUS = {"timeout": 504}
RETRY_S = 2.0


class ShadowOptions(Struct, frozen=True):
    """What a shadow is told on its command line."""

    home: Path
    server: Path
    incarnation: str
    control: int
    runner_command: tuple[str, ...]
    segment_bytes: int = 8 << 20
    seal_after_s: float = 5.0


class _Stopping(Exception):
    """The process was told to stop in the middle of a round, which the next life repeats."""


class Kept(NamedTuple):
    """What the challenger made of one captured request."""

    plan: "Plan"
    record: CaptureRecord
    outcome: str
    outputs: Mapping[str, np.ndarray[Any, Any]]
    latency_us: int


class Plan:
    """One endpoint whose traffic is shadowed."""

    def __init__(self, route: EndpointRoute, variant: Variant, epoch: int, engine: RunnerEngine) -> None:
        self.route = route
        self.variant = variant
        self.epoch = epoch
        self.engine = engine
        signature = engine.manifest.signature
        self.prepared: Prepared = prepare(
            Context(
                project=route.project,
                endpoint=route.name,
                epoch=epoch,
                variant=variant.name,
                served=variant.name,
                model=variant.model,
                version=variant.version,
                digest=variant.digest,
                inputs=signature.inputs,
                outputs=signature.outputs,
                rollout=route.rollout,
                restart=route.restart,
            )
        )

    def wants(self, record: CaptureRecord) -> bool:
        """Return whether a captured request is in this shadow's sample."""
        route = self.route
        same_test = record.rollout == route.rollout and record.restart == route.restart
        usable = record.status == 200 and bool(record.inputs) and not record.flags & TRUNCATED
        unit = bytes.fromhex(record.event_id)
        share = self.variant.shadow_share
        return same_test and usable and bucket(unit, f"{route.rollout}|shadow", route.restart) < share


def shadows(table: RouteTable) -> dict[tuple[str, str], tuple[EndpointRoute, Variant]]:
    """Return the shadowing variant of each endpoint that has one."""
    return {
        (route.project, route.name): (route, variant)
        for route in table.endpoints
        for variant in route.variants
        if variant.mode == "shadow" and variant.shadow_share > 0
    }


class Shadow:
    """Follows one server's spool. `run` returns when told to stop, or when nothing is left to shadow."""

    def __init__(
        self,
        options: ShadowOptions,
        *,
        clock: Callable[[], float],
        now_ns: Callable[[], int],
        random_bytes: Callable[[int], bytes],
    ) -> None:
        self._options = options
        self._clock = clock
        self._time = asyncio.get_running_loop().time
        self._ids = Ids(random_bytes, now_ns)
        spool = options.server / "spool"
        self._spool = Spool(spool, options.incarnation, options.segment_bytes, options.seal_after_s)
        self._recorder = Recorder(self._spool)
        self._counts = CountsFile(options.server / "counts", options.incarnation)
        self._tail = Tail(spool)
        self._file = RouteFile(options.home / "routes" / "routes.json")
        self._loader = Loader(
            BundleStore(options.home / "bundles"), options.runner_command, lambda _digest, _why: None, spare=False
        )
        self._table: RouteTable | None = None
        self._plans: dict[tuple[str, str], Plan] = {}
        self._problems: dict[str, str] = {}
        self._retry_at = 0.0
        self._stop = asyncio.Event()
        self._scored = 0

    async def run(self) -> int:
        """Shadow until told to stop; return the exit status."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._stop.set)
        loop.add_signal_handler(signal.SIGINT, lambda: None)
        os.nice(19)
        line = await converse(socket.socket(fileno=self._options.control), lambda _: None, self._stop.set)
        line.send({"is": "ready"})
        idle_since = beat_at = self._time()
        while not self._stop.is_set():
            await self._follow()
            busy = await self._round()
            now = self._time()
            if self._plans or self._problems:
                idle_since = now
            elif now - idle_since > WITHOUT_WORK_S:
                break
            if now - beat_at > BEAT_S:
                beat_at = now
                self._spool.tick(self._clock())
                line.send({"is": "beat", "health": self._state()})
            if not busy:
                await self._nap()
        self._close(forget=not self._plans and not self._problems)
        line.close()
        return 0

    def _state(self) -> dict[str, Any]:
        lag_s = round(self._tail.lag_s(self._clock()), 3)
        return {
            "lag_s": lag_s,
            "scored": self._scored,
            "problems": self._problems,
            "capture_stopped": self._spool.stopped,
            "capture_dropped": self._recorder.dropped,
        }

    async def _nap(self) -> None:
        try:
            async with asyncio.timeout(POLL_S):
                await self._stop.wait()
        except TimeoutError:
            return

    async def _follow(self) -> None:
        """Bring the plans in step with the published table."""
        newer = self._file.changed()
        if newer is None and not (self._problems and self._time() >= self._retry_at):
            return
        self._table = newer or self._table
        if self._table is None:
            return
        self._retry_at = self._time() + RETRY_S
        wanted = shadows(self._table)
        old = {plan.variant.digest: plan.engine for plan in self._plans.values()}
        plans: dict[tuple[str, str], Plan] = {}
        self._problems = {}
        for name, (route, variant) in wanted.items():
            engine = old.get(variant.digest)
            try:
                engine = engine or await self._load(variant.digest)
            except Exception as exc:  # noqa: BLE001 - whatever a bundle does when it is opened, the shadow goes on
                self._problems["/".join(name)] = f"{variant.model}:{variant.version} cannot be shadowed: {exc}"
                logger.warning("%s:%d cannot be shadowed: %s", variant.model, variant.version, exc)
                continue
            plans[name] = Plan(route, variant, self._table.epoch, engine)
        kept = {id(plan.engine) for plan in plans.values()}
        for engine in old.values():
            if id(engine) not in kept:
                engine.close()
        self._plans = plans

    async def _load(self, digest: str) -> RunnerEngine:
        engine = await self._loader.load(digest, isolated=True)
        assert isinstance(engine, RunnerEngine)  # noqa: S101 - that is what isolated means
        return engine

    async def _round(self) -> bool:
        """Score what was captured since the last round; return whether there was anything."""
        batches: dict[tuple[str, str], list[CaptureRecord]] = {}
        found = False
        for record in self._tail.poll(BATCH):
            found = True
            name = (record.project, record.endpoint)
            plan = self._plans.get(name)
            if plan is not None and plan.wants(record):
                batches.setdefault(name, []).append(record)
        kept: list[Kept] = []
        try:
            for name, records in batches.items():
                kept += await self._score(self._plans[name], records)
        except _Stopping:
            return False
        for one in kept:
            self._keep(one)
        if found:
            self._recorder.flush()
            self._tail.commit()
        return found

    async def _score(self, plan: Plan, records: Sequence[CaptureRecord]) -> list[Kept]:
        """Score requests together; if that fails, one by one, so that the failure is that of a request."""
        began = self._time()
        same = len({tuple(r.inputs) for r in records}) == 1
        if len(records) > 1 and same:
            columns = {k: np.concatenate([r.inputs[k] for r in records]) for k in records[0].inputs}
            outcome, outputs = await self._ask(plan, columns, BATCH_TIMEOUT_S)
            if outcome == "ok":
                each_us = int((self._time() - began) / len(records) * 1e6)
                ends = np.cumsum([r.rows for r in records]).tolist()
                return [
                    Kept(plan, r, "ok", {k: v[end - r.rows : end] for k, v in outputs.items()}, each_us)
                    for r, end in zip(records, ends, strict=True)
                ]
        kept = []
        for record in records:
            began = self._time()
            outcome, outputs = await self._ask(plan, record.inputs, plan.variant.timeout_ms / 1000)
            kept.append(Kept(plan, record, outcome, outputs, int((self._time() - began) * 1e6)))
        return kept

    async def _ask(
        self, plan: Plan, columns: Columns, timeout_s: float
    ) -> tuple[str, Mapping[str, np.ndarray[Any, Any]]]:
        signature = plan.engine.manifest.signature
        missing = [c.name for c in signature.inputs if c.name not in columns]
        if missing:
            return "error", {}
        asked = {c.name: columns[c.name] for c in signature.inputs}
        give_up = self._time() + RUNNER_WAIT_S
        while True:
            told: asyncio.Future[tuple[str, Columns | None, str]] = asyncio.get_running_loop().create_future()
            plan.engine.submit(asked, self._time() + timeout_s, lambda *said, told=told: told.set_result(said))
            outcome, outputs, _ = await told
            if outcome != "collateral":
                break
            if self._stop.is_set():
                raise _Stopping
            if self._time() > give_up:
                return "crash", {}  # no runner of it lives long enough to be asked
            await asyncio.sleep(POLL_S)
        rows = len(next(iter(columns.values())))
        if outputs is not None and fault(signature, outputs, rows):
            return "invalid", {}
        return outcome, outputs or {}

    def _keep(self, kept: Kept) -> None:
        plan, record, outcome, outputs, latency_us = kept
        route, variant = plan.route, plan.variant
        cell = Cell(
            route.project, route.name, route.rollout, route.restart, 0, "challenger", variant.version, outcome, 0
        )
        self._counts.add(self._counts.cell(cell), latency_us if outcome == "ok" else None)
        inputs = {c.name: record.inputs[c.name] for c in plan.prepared.context.inputs if c.name in record.inputs}
        self._recorder.add(
            plan.prepared,
            event=self._ids.new(),
            at_ns=record.at_ns,
            rows=record.rows,
            inputs=inputs if len(inputs) == len(plan.prepared.context.inputs) else {},
            outputs=outputs,
            unit=record.unit,
            latency_us=latency_us,
            status=200 if outcome == "ok" else STATUS.get(outcome, 500),
            flags=SHADOW,
            key=record.key,
            pair=bytes.fromhex(record.event_id),
        )
        self._scored += 1

    def _close(self, *, forget: bool) -> None:
        for plan in self._plans.values():
            plan.engine.close()
        self._loader.close()
        self._tail.close(forget=forget)
        self._recorder.flush()
        self._spool.close()
        self._counts.close()
