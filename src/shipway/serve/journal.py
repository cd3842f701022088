"""Write down what was answered, then let the answers leave: captures and counts of one process.

Answers of one loop tick are held until the captures of that tick are with the kernel, in one write, so
that a kill -9 loses nothing that a caller has seen. Only requests that reached a model are recorded,
failures included; what was refused before that was no evidence about any version.
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from shipway.capture.counts import CountsFile
from shipway.capture.ids import Ids
from shipway.capture.record import FALLBACK, Context, Prepared, prepare
from shipway.capture.recorder import Recorder
from shipway.capture.spool import Spool
from shipway.errors import Unavailable
from shipway.serve.route.table import Arm
from shipway.serve.route.turn import Turn
from shipway.serve.transport.exchange import Exchange, head
from shipway.terms import Cell, Signature

REFUSED = orjson.dumps(
    {
        "error": "the answer could not be recorded, and this endpoint answers nothing that it does not record",
        "fix": "free space on the server's disk, or switch capture_required off",
    }
)

Outputs = Mapping[str, np.ndarray[Any, Any]]


class Journal:
    """The spool and the counts of one incarnation."""

    def __init__(  # noqa: PLR0913 - one argument per fact, all named
        self,
        server: Path,
        incarnation: str,
        *,
        segment_bytes: int,
        seal_after_s: float,
        durability: str,
        now_ns: Callable[[], int],
        random_bytes: Callable[[int], bytes],
    ) -> None:
        self._ids = Ids(random_bytes, now_ns)
        self._now_ns = now_ns
        self._durability = durability
        self._spool = Spool(server / "spool", incarnation, segment_bytes, seal_after_s)
        self._recorder = Recorder(self._spool)
        self._incarnation = self._counts_name = incarnation
        self._folder = server / "counts"
        self._files = 0
        # A worker that replaces a dead one while the disk is full must answer all the same.
        self._counts = CountsFile(self._folder, incarnation, or_memory=True)
        self._call_soon = asyncio.get_running_loop().call_soon
        self._held: list[tuple[Exchange, bytes, bytes, bool]] = []
        self.event = self._ids.new

    @property
    def stopped(self) -> str:
        """Why captures are not written now, or ""."""
        return self._spool.stopped

    @property
    def written(self) -> int:
        """Bytes of captures that this process wrote."""
        return self._spool.written

    @property
    def dropped(self) -> dict[str, int]:
        """Records lost to a full disk, by `project/endpoint/variant`."""
        return self._recorder.dropped

    def take(self, turn: Turn, arm: Arm, status: int, answer: tuple[bytes, bytes], outputs: Outputs) -> None:
        """Count and record an answered request; its answer leaves at the end of this loop tick.

        Args:
            turn: the request.
            arm: who answered it.
            status: HTTP status of the answer.
            answer: its head and its body.
            outputs: what the model said; {} if it failed.
        """
        latency_us = int((turn.time() - turn.exchange.at) * 1e6)
        self._count(turn, latency_us)
        route = turn.served.route
        if not route.capture:
            turn.exchange.send(*answer)
            return
        assigned = turn.assigned
        self._recorder.add(
            self._context(turn, arm, assigned),
            event=turn.event,
            at_ns=self._now_ns() - latency_us * 1000,
            rows=turn.question.rows,
            inputs=turn.columns if arm is assigned else turn.question.columns,
            outputs=outputs,
            unit=int.from_bytes(blake2b(turn.unit, digest_size=8).digest(), "little"),
            latency_us=latency_us,
            status=status,
            flags=0 if arm is assigned else FALLBACK,
            key=turn.key,
        )
        if not self._held:
            self._call_soon(self.flush)
        self._held.append((turn.exchange, *answer, route.capture_required))

    def flush(self) -> None:
        """Write the records of this tick, then let its answers leave."""
        held, self._held = self._held, []
        written = self._recorder.flush()
        if written and self._durability == "request":
            self._spool.sync()
        for exchange, heading, body, required in held:
            if written or not required:
                exchange.send(heading, body)
            else:
                refusal = head(503, len(REFUSED), b"retry-after: 1\r\n", exchange.date)
                exchange.send(refusal, REFUSED)

    async def tick(self, now: float) -> None:
        """Seal old segments, try a full disk again, and bring what was written to the disk; a few times a second."""
        self._spool.tick(now)
        if not self._counts.is_kept:
            with contextlib.suppress(Unavailable):
                self._count_anew()
        if self._durability == "interval":
            await asyncio.to_thread(self._spool.sync)

    def close(self) -> None:
        """Seal what is open."""
        self.flush()
        self._spool.close()
        self._counts.close()

    def _count(self, turn: Turn, latency_us: int) -> None:
        served, outcome = turn.served, turn.failure or "ok"
        key = (self._counts_name, turn.assigned.variant.name, outcome, turn.propensity)
        index = served.cells.get(key)
        if index is None:
            index = served.cells[key] = self._cell(turn, outcome)
        self._counts.add(index, latency_us if outcome == "ok" else None)

    def _cell(self, turn: Turn, outcome: str) -> int:
        route, variant = turn.served.route, turn.assigned.variant
        cell = Cell(
            route.project,
            route.name,
            route.rollout,
            route.restart,
            turn.propensity,
            "challenger" if variant.name == "challenger" else "champion",
            variant.version,
            outcome,
            0,
        )
        try:
            return self._counts.cell(cell)
        except Unavailable:
            # A worker that lived through thousands of tables goes on in another file.
            self._count_anew(or_memory=True)
            return self._counts.cell(cell)

    def _count_anew(self, *, or_memory: bool = False) -> None:
        """Go on counting in another file; which cells are known is forgotten with the name."""
        name = f"{self._incarnation}-{self._files + 1}"
        another = CountsFile(self._folder, name, or_memory=or_memory)
        self._counts.close()
        self._files, self._counts_name, self._counts = self._files + 1, name, another

    def _context(self, turn: Turn, arm: Arm, assigned: Arm) -> Prepared:
        served = turn.served
        key = (arm.variant.name, assigned.variant.name, turn.propensity)
        prepared = served.contexts.get(key)
        if prepared is None:
            signature: Signature = arm.engine.manifest.signature
            route, variant = served.route, arm.variant
            prepared = served.contexts[key] = prepare(
                Context(
                    project=route.project,
                    endpoint=route.name,
                    epoch=served.epoch,
                    variant=assigned.variant.name,
                    served=variant.name,
                    model=variant.model,
                    version=variant.version,
                    digest=variant.digest,
                    inputs=signature.inputs,
                    outputs=signature.outputs,
                    rollout=route.rollout,
                    restart=route.restart,
                    propensity=turn.propensity,
                )
            )
        return prepared
