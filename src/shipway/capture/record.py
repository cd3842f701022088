"""The capture record: what a request asked, what was answered, by which variant, at which probability.

What stays the same for all requests of one route and variant is a `Context`; it is written once per
segment, and each record names it by the hash of its content. `prepare` does the work that needs doing once
per context, `frame` the work per request.

A frame is its length and crc32 (8 bytes) and a payload; the first byte of the payload says whether it is a
context (`C`) or a record (`R`).
"""

from collections.abc import Mapping
from hashlib import blake2b, sha256
from struct import Struct as Layouted
from typing import Any, NamedTuple
from zlib import crc32

import msgspec
from msgspec import Struct
from numpy.typing import NDArray

from shipway.capture.columns import Columns, Layout, encode, layout
from shipway.terms import FORMAT, Column

SHADOW, FALLBACK, FORCED, TRUNCATED = 1, 2, 4, 8
"""Flags. SHADOW: a challenger's answer nobody saw. FALLBACK: the champion answered for a failed challenger.
FORCED: the caller chose the version, outside the statistics. TRUNCATED: only the first rows were kept."""

LIMIT = 64 * 1024
"""Bytes of columns that one record may keep; beyond it a digest of all rows and the first of them are kept."""

MAGIC = b"SHIPSPL" + bytes([FORMAT])
"""First bytes of a segment: what it is, and the version of its format."""

FRAME = Layouted("<II")
"""Bytes that follow, crc32 of them."""

HEAD = Layouted("<cQ16s16sQQIIIIHHH")
"""Kind, context, event, pair, at_ns, unit, latency_us, rows, kept rows, size of inputs, status, flags, size of key."""

NO_PAIR = bytes(16)


class Context(Struct, frozen=True):
    """What all requests of one route table, endpoint, assigned arm and answering arm share."""

    project: str
    endpoint: str
    epoch: int
    variant: str
    """Arm that the request was assigned to."""
    served: str
    """Arm that answered (or, for a shadow, that was asked)."""
    model: str
    version: int
    digest: str
    """Bundle of the arm that answered."""
    inputs: tuple[Column, ...]
    outputs: tuple[Column, ...] = ()
    rollout: str = ""
    restart: int = 0
    propensity: int = 0
    """Challenger's probability at exposure, basis points."""


class Prepared(NamedTuple):
    """A context, ready for the hot path."""

    context: Context
    number: int
    """64-bit hash of the content: equal contexts have equal numbers."""
    frame: bytes
    """The frame that announces it in a segment."""
    inputs: Layout
    outputs: Layout


class CaptureRecord(Struct, frozen=True):
    """One request, decoded."""

    event_id: str
    key: str
    """The caller's own id, or ""."""
    at_ns: int
    context: Context
    unit: int
    """Hash of what was randomised, 64 bits."""
    latency_us: int
    status: int
    flags: int
    pair: str
    """Event id of the primary that a shadow answers again, or ""."""
    rows: int
    """Rows asked; `inputs` and `outputs` may hold fewer (TRUNCATED)."""
    inputs: dict[str, NDArray[Any]]
    outputs: dict[str, NDArray[Any]]
    """Empty where the request was not answered."""

    @property
    def project(self) -> str:
        """Project of the endpoint."""
        return self.context.project

    @property
    def endpoint(self) -> str:
        """Endpoint that was called."""
        return self.context.endpoint

    @property
    def epoch(self) -> int:
        """Route table that the request was answered under."""
        return self.context.epoch

    @property
    def variant(self) -> str:
        """Arm that the request was assigned to."""
        return self.context.variant

    @property
    def served(self) -> str:
        """Arm that answered."""
        return self.context.served

    @property
    def model(self) -> str:
        """Model that answered."""
        return self.context.model

    @property
    def version(self) -> int:
        """Version that answered."""
        return self.context.version

    @property
    def digest(self) -> str:
        """Bundle that answered."""
        return self.context.digest

    @property
    def rollout(self) -> str:
        """Running rollout, or ""."""
        return self.context.rollout

    @property
    def restart(self) -> int:
        """Restart number of the rollout."""
        return self.context.restart

    @property
    def propensity(self) -> int:
        """Challenger's probability at exposure, basis points."""
        return self.context.propensity


def _slim(columns: tuple[Column, ...]) -> tuple[Column, ...]:
    return tuple(Column(c.name, c.datatype, c.shape) for c in columns)


def prepare(context: Context) -> Prepared:
    """Do once per context what `frame` would otherwise do per request.

    Columns may come straight from a signature: only name, datatype and shape are kept.
    """
    slim = msgspec.structs.replace(context, inputs=_slim(context.inputs), outputs=_slim(context.outputs))
    text = msgspec.json.encode(slim)
    number = int.from_bytes(blake2b(text, digest_size=8).digest(), "little")
    payload = b"C" + number.to_bytes(8, "little") + text
    return Prepared(
        slim, number, FRAME.pack(len(payload), crc32(payload)) + payload, layout(slim.inputs), layout(slim.outputs)
    )


def frame(  # noqa: PLR0913 - a record has that many facts; all are keywords
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
) -> list[bytes]:
    """Return the frame of one request as pieces to join.

    Args:
        prepared: the context of the request.
        event: its id, 16 bytes.
        at_ns: when it was asked, Unix nanoseconds.
        rows: number of rows; every column has this many.
        inputs: the decoded inputs, by name, as the signature says; {} where nothing could be decoded.
        outputs: what the model answered, or None where it did not.
        unit: hash of what was randomised, 64 bits.
        latency_us: microseconds from the request to its answer.
        status: HTTP status of the answer.
        flags: SHADOW, FALLBACK and FORCED, added up; TRUNCATED is set here.
        key: the caller's own id.
        pair: id of the primary event, for a shadow.
    """
    body = encode(prepared.inputs, inputs) if inputs else b""
    answer = encode(prepared.outputs, outputs) if outputs else b""
    named = key.encode("utf-8", "replace")[:512] if key else b""
    kept = rows if inputs or outputs else 0
    whole = b""
    if len(body) + len(answer) > LIMIT:
        whole = sha256(body + answer).digest()
        flags |= TRUNCATED
        kept, body, answer = _shorten(prepared, rows, inputs, outputs, len(body) + len(answer))
    head = HEAD.pack(
        b"R",
        prepared.number,
        event,
        pair,
        at_ns,
        unit,
        min(latency_us, 0xFFFF_FFFF),
        rows,
        kept,
        len(body),
        status,
        flags,
        len(named),
    )
    size = len(head) + len(named) + len(whole) + len(body) + len(answer)
    return [
        FRAME.pack(size, crc32(answer, crc32(body, crc32(whole, crc32(named, crc32(head)))))),
        head,
        named,
        whole,
        body,
        answer,
    ]


def _shorten(
    prepared: Prepared, rows: int, inputs: Columns, outputs: Columns | None, size: int
) -> tuple[int, bytes, bytes]:
    """Return how many of the first rows fit into LIMIT, and their inputs and outputs."""
    kept = rows * LIMIT // size
    while kept:
        body = encode(prepared.inputs, _first(inputs, kept)) if inputs else b""
        answer = encode(prepared.outputs, _first(outputs, kept)) if outputs else b""
        if len(body) + len(answer) <= LIMIT:
            return kept, body, answer
        kept //= 2  # the first rows hold longer texts than the rest
    return 0, b"", b""


def _first(columns: Columns, rows: int) -> Mapping[str, NDArray[Any]]:
    return {name: column[:rows] for name, column in columns.items()}
