"""Decode many captured records at once, straight into Arrow columns and profiles.

Records of one context with the same number of rows differ only in their bytes, so their columns of fixed
width are one structured array over the joined bytes; only text is read cell by cell.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from shipway.capture.columns import Layout, decode_texts
from shipway.capture.record import FORCED, NO_PAIR, SHADOW, Context, Prepared
from shipway.capture.segment import Raw
from shipway.lake.inbox import Deltas
from shipway.lake.shape import CAPTURE, INSTANT
from shipway.stats import profile as profiling
from shipway.terms import Signature

Place = tuple[str, str, int]
"""Digest, arm that answered, start of the bucket."""


class Known(NamedTuple):
    """What a bundle says about its columns."""

    signature: Signature
    reference: profiling.Reference


class Batch(NamedTuple):
    """Records of one context that all kept the same number of rows."""

    context: Context
    raws: list[Raw]
    kept: int
    inputs: dict[str, NDArray[Any]]
    outputs: dict[str, NDArray[Any]]

    @property
    def repeat(self) -> int:
        """Lake rows per record: a request of which nothing could be kept still has one."""
        return max(1, self.kept)


def batches(raws: Iterable[Raw]) -> Iterator[Batch]:
    """Group records by context and kept rows, and decode their columns."""
    groups: dict[tuple[int, int, bool, bool], list[Raw]] = {}
    for raw in raws:
        groups.setdefault((raw.prepared.number, raw.kept, bool(raw.inputs), bool(raw.outputs)), []).append(raw)
    for (_, kept, asked, answered), group in groups.items():
        prepared: Prepared = group[0].prepared
        inputs = _columns(prepared.inputs, kept, [raw.inputs for raw in group]) if asked else {}
        outputs = _columns(prepared.outputs, kept, [raw.outputs for raw in group]) if answered else {}
        yield Batch(prepared.context, group, kept, inputs, outputs)


def _columns(form: Layout, kept: int, bodies: list[memoryview]) -> dict[str, NDArray[Any]]:
    size = kept * form.row_bytes
    columns: dict[str, NDArray[Any]] = {}
    if form.fixed:
        packed = np.frombuffer(b"".join([body[:size] for body in bodies]), form.dtype(kept))
        for i, (name, _, shape) in enumerate(form.fixed):
            columns[name] = packed[f"f{i}"].reshape(len(bodies) * kept, *shape)
    if form.texts:
        cells: list[list[str | None]] = [[] for _ in form.texts]
        for body in bodies:
            for i, found in enumerate(decode_texts(form, kept, body)):
                cells[i] += found
        for (name, shape), column in zip(form.texts, cells, strict=True):
            array = np.empty(len(column), dtype=object)
            array[:] = column
            columns[name] = array.reshape(len(bodies) * kept, *shape)
    return columns


def table(batch: Batch) -> pa.Table:
    """Return the lake rows of a batch, with columns as people call them behind `in_` and `out_`."""
    raws, repeat, context = batch.raws, batch.repeat, batch.context
    count = len(raws) * repeat

    def each(values: list[Any], kind: pa.DataType) -> pa.Array:
        return (
            pa.array(np.repeat(np.array(values, dtype=object), repeat), kind) if repeat > 1 else pa.array(values, kind)
        )

    def same(value: str | int, kind: pa.DataType) -> pa.Array:
        return pa.repeat(pa.scalar(value, kind), count)

    made = {
        "event_id": each([raw.event.hex() for raw in raws], pa.string()),
        "row": pa.array(np.tile(np.arange(repeat, dtype=np.int32), len(raws))),
        "at": pa.array(np.repeat(np.array([raw.at_ns // 1000 for raw in raws], np.int64), repeat)).cast(INSTANT),
        "key": each([raw.key.decode(errors="replace") or None for raw in raws], pa.string()),
        "pair": each([None if raw.pair == NO_PAIR else raw.pair.hex() for raw in raws], pa.string()),
        "unit": pa.array(np.repeat(np.array([raw.unit for raw in raws], np.uint64).astype(np.int64), repeat)),
        "rows": each([raw.rows for raw in raws], pa.int32()),
        "latency_us": each([raw.latency_us for raw in raws], pa.int64()),
        "status": each([raw.status for raw in raws], pa.int32()),
        "flags": each([raw.flags for raw in raws], pa.int32()),
    }
    for name in ("epoch", "variant", "served", "model", "version", "digest", "rollout", "restart", "propensity"):
        made[name] = same(getattr(context, name), CAPTURE.field(name).type)
    columns = {name: made[name] for name in CAPTURE.names}
    if batch.kept:
        columns |= {f"in_{name}": _arrow(values, missing=True) for name, values in batch.inputs.items()}
        columns |= {f"out_{name}": _arrow(values, missing=False) for name, values in batch.outputs.items()}
        score = _score(batch.outputs)
        if score is not None:
            columns["out_score"] = pa.array(score)
    return pa.table(columns)


def _arrow(values: NDArray[Any], *, missing: bool) -> pa.Array:
    """Turn one column into Arrow: 64-bit numbers, lists for tensors; a missing number of an input is null."""
    if values.dtype.kind == "f":
        values = values.astype(np.float64, copy=False)
    elif values.dtype.kind == "i":
        values = values.astype(np.int64, copy=False)
    kind = pa.string() if values.dtype.kind == "O" else None
    if values.ndim == 1:
        return pa.array(values, kind, from_pandas=missing)
    flat = pa.array(values.reshape(-1), kind, from_pandas=missing)
    width = flat.type and (len(flat) // len(values))
    return pa.ListArray.from_arrays(np.arange(0, len(flat) + 1, width, dtype=np.int32), flat)


def _score(outputs: dict[str, NDArray[Any]]) -> NDArray[Any] | None:
    """Return the probability of the second class of two, or the largest of more."""
    probability = outputs.get("probability")
    if probability is None or probability.ndim != 2 or "score" in outputs:
        return None
    return probability[:, 1] if probability.shape[1] == 2 else probability.max(axis=1)


def profiles(made: Iterable[Batch], known: Callable[[str], Known | None], bucket_s: int) -> tuple[Deltas, set[str]]:
    """Count the rows of primary answers on their bundle's reference, by (digest, arm that answered, bucket).

    Shadows are not traffic, and forced versions are outside the statistics; requests without an answer
    contribute their inputs.

    Returns:
        The counts, and the digests whose rows do not fit their reference and are in no profile.
    """
    sums: dict[Place, profiling.Profile] = {}
    unfit: set[str] = set()
    for batch in made:
        bundle = known(batch.context.digest)
        if bundle is None or not batch.kept:
            continue
        try:
            counted = _count(batch, bundle, bucket_s)
        except (ValueError, TypeError):
            unfit.add(batch.context.digest)
            continue
        for place, found in counted.items():
            sums[place] = profiling.add(sums[place], found) if place in sums else found
    return [(*place, profiling.encode(sums[place])) for place in sorted(sums)], unfit


def _count(batch: Batch, bundle: Known, bucket_s: int) -> dict[Place, profiling.Profile]:
    counted = np.array([not raw.flags & (SHADOW | FORCED) for raw in batch.raws])
    buckets = np.array([raw.at_ns // 1_000_000_000 // bucket_s * bucket_s for raw in batch.raws])
    flat = profiling.flatten(bundle.signature, batch.inputs, batch.outputs)
    sums = {}
    for bucket in np.unique(buckets[counted]).tolist():
        chosen = np.repeat(counted & (buckets == bucket), batch.kept)
        place = (batch.context.digest, batch.context.served, bucket)
        sums[place] = profiling.count(bundle.reference, {name: values[chosen] for name, values in flat.items()})
    return sums
