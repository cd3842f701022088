"""Gather the records of one loop tick and write them at its end, in one block.

Order is the promise: `add` for every request of the tick, then one `flush`, and only then the answers. The
recorder announces each context once per segment, in front of the block that first uses it.
"""

from shipway.capture.columns import Columns
from shipway.capture.record import NO_PAIR, Prepared, frame
from shipway.capture.spool import Spool


class Recorder:
    """Frames records for one spool; one per worker, used only in its loop."""

    def __init__(self, spool: Spool) -> None:
        self.spool = spool
        self.dropped: dict[str, int] = {}
        """Records lost to a full disk, by `project/endpoint/variant`: unequal loss is a sample-ratio alarm."""
        self._block: list[bytes] = []
        self._used: dict[int, Prepared] = {}
        self._arms: list[Prepared] = []
        self._announced: set[int] = set()
        self._segment = -1

    def add(  # noqa: PLR0913 - the facts of a record, see `shipway.capture.record.frame`
        self,
        prepared: Prepared,
        *,
        event: bytes,
        at_ns: int,
        rows: int,
        inputs: Columns,
        outputs: Columns | None = None,
        unit: int = 0,
        latency_us: int = 0,
        status: int = 200,
        flags: int = 0,
        key: str = "",
        pair: bytes = NO_PAIR,
    ) -> None:
        """Frame one request for the next `flush`; arguments are those of `shipway.capture.record.frame`."""
        self._used[prepared.number] = prepared
        self._arms.append(prepared)
        self._block += frame(
            prepared, event=event, at_ns=at_ns, rows=rows, inputs=inputs, outputs=outputs, unit=unit,
            latency_us=latency_us, status=status, flags=flags, key=key, pair=pair,
        )  # fmt: skip

    @property
    def waiting(self) -> int:
        """Records that the next flush will write."""
        return len(self._arms)

    def flush(self) -> bool:
        """Write what was added; True if all of it is safe from a kill (or if there was nothing)."""
        if not self._arms:
            return True
        arms, self._arms = self._arms, []
        block, self._block = self._block, []
        used, self._used = self._used, {}
        if self._segment != self.spool.segment:
            self._segment = self.spool.segment
            self._announced.clear()
        fresh = [prepared for number, prepared in used.items() if number not in self._announced]
        if fresh:
            block[:0] = [prepared.frame for prepared in fresh]
        if self.spool.write(b"".join(block), len(arms)):
            self._announced.update(prepared.number for prepared in fresh)
            return True
        for prepared in arms:
            name = f"{prepared.context.project}/{prepared.context.endpoint}/{prepared.context.variant}"
            self.dropped[name] = self.dropped.get(name, 0) + 1
        return False
