"""Read segments: every whole record up to the first torn or foreign byte.

`scan` finds the frames and checks their sums; `read_segment` decodes records one by one. The collector
decodes many records of one context at once and uses `scan` alone.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

import msgspec

from shipway.capture.columns import decode
from shipway.capture.record import FRAME, HEAD, MAGIC, NO_PAIR, TRUNCATED, CaptureRecord, Context, Prepared, prepare
from shipway.errors import Rejected


class Raw(NamedTuple):
    """One record of a segment whose columns are still bytes."""

    prepared: Prepared
    event: bytes
    pair: bytes
    at_ns: int
    unit: int
    latency_us: int
    rows: int
    kept: int
    status: int
    flags: int
    key: bytes
    inputs: memoryview
    outputs: memoryview


class Scanner:
    """Splits the bytes of one segment into records; bytes may arrive a stretch at a time."""

    def __init__(self) -> None:
        self.end = 0
        """Offset behind the last whole frame, from the start of the segment."""
        self._contexts: dict[int, Prepared] = {}

    def feed(self, data: bytes) -> Iterator[Raw]:
        """Yield the whole records in `data`, which starts at offset `self.end` of the segment.

        Stops at the first frame that is short or whose sum is wrong; `end` then stands before it.

        Raises:
            Rejected: the bytes are not a segment, or of another format.
        """
        view = memoryview(data)
        at = 0
        if self.end == 0:
            if len(data) < len(MAGIC):
                return
            _check_magic(data[: len(MAGIC)])
            at = self.end = len(MAGIC)
        begin = self.end - at
        while at + FRAME.size <= len(data):
            size, wanted = FRAME.unpack_from(view, at)
            payload = view[at + FRAME.size : at + FRAME.size + size]
            if size == 0 or len(payload) < size or crc32(payload) != wanted:
                return
            at += FRAME.size + size
            raw = self._payload(payload)
            self.end = begin + at
            if raw is not None:
                yield raw

    def _payload(self, payload: memoryview) -> Raw | None:
        if payload[0] == ord("C"):
            prepared = prepare(msgspec.json.decode(payload[9:], type=Context))
            self._contexts[int.from_bytes(payload[1:9], "little")] = prepared
            return None
        _, number, event, pair, at_ns, unit, latency_us, rows, kept, size, status, flags, named = HEAD.unpack_from(
            payload
        )
        at = HEAD.size + named
        key = bytes(payload[HEAD.size : at])
        if flags & TRUNCATED:
            at += 32
        return Raw(
            self._contexts[number], event, pair, at_ns, unit, latency_us, rows, kept, status, flags, key,
            payload[at : at + size], payload[at + size :],
        )  # fmt: skip


def _check_magic(found: bytes) -> None:
    if found != MAGIC:
        other = found[:-1] == MAGIC[:-1]
        raise Rejected(
            f"a segment of format {found[-1]} cannot be read, only {MAGIC[-1]}"
            if other
            else "the file is not a capture segment",
            fix="upgrade this shipway to the version that wrote it"
            if other
            else "move the file out of the spool folder",
        )


def read(raw: Raw) -> CaptureRecord:
    """Decode the columns of one record."""
    prepared = raw.prepared
    return CaptureRecord(
        event_id=raw.event.hex(),
        key=raw.key.decode(errors="replace"),
        at_ns=raw.at_ns,
        context=prepared.context,
        unit=raw.unit,
        latency_us=raw.latency_us,
        status=raw.status,
        flags=raw.flags,
        pair="" if raw.pair == NO_PAIR else raw.pair.hex(),
        rows=raw.rows,
        inputs=decode(prepared.inputs, raw.kept, raw.inputs) if raw.inputs else {},
        outputs=decode(prepared.outputs, raw.kept, raw.outputs) if raw.outputs else {},
    )


def read_segment(path: Path) -> Iterator[CaptureRecord]:
    """Yield the records of a segment, in order, up to the first torn one.

    Raises:
        Rejected: the file is not a segment.
    """
    for raw in Scanner().feed(path.read_bytes()):
        yield read(raw)
