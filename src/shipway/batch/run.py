"""Score a file: read blocks, answer them on a few threads, write them in order.

Each thread has a runtime of its own with one thread inside: two such beat one session with two threads, because
ONNX Runtime and Arrow release the interpreter while they work. At most `2 * threads` blocks are on their way.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from shipway import bundle
from shipway.batch.cells import Faults, convert, kind
from shipway.batch.outputs import Output, form_of
from shipway.batch.report import ScoreReport
from shipway.batch.sources import Block, Source, open_source, unreadable
from shipway.bundle import DEFAULT, Loader, Runtime
from shipway.errors import Rejected, ShipwayError
from shipway.terms import Column, Signature

Progress = Callable[[str, float], None]
"""Takes what has been done, in words, and how much of it, from 0 to 1."""
Columns = dict[str, NDArray[Any]]

THREADS = 2
_REASONS = 10
_SIDE = pa.schema([("row", pa.int64()), ("column", pa.string()), ("reason", pa.string())])


@dataclass(frozen=True)
class _Plan:
    """What every block needs to know."""

    signature: Signature
    kept: tuple[str, ...]
    as_text: bool
    """True: cells of a CSV are written as they stand, into a CSV."""
    is_text: bool
    """True: the source is a CSV, whose empty cells are missing."""


@dataclass(frozen=True)
class _Scored:
    answers: pa.RecordBatch
    bad: list[tuple[int, str, str]]
    """Rows set aside: number, column or "", reason; in order."""
    share: float


def score(  # noqa: PLR0913 - keyword-only options
    model: Path | str | Runtime,
    source: Path | str,
    out: Path | str,
    *,
    columns: Sequence[str] | None = None,
    rejected: Path | str | None = None,
    most_rejected: int | None = None,
    progress: Progress | None = None,
    runtimes: Mapping[str, Loader] = DEFAULT,
    threads: int = THREADS,
) -> ScoreReport:
    """Score every row of a file with a bundle, in constant memory, and write the answers to a file.

    The output has a row for each row of the source that could be scored, in its order: the kept columns, then
    `output.label` and `output.probability.<class>`, or `output.prediction`, or the model's own outputs. Where no
    column is kept, `row` says which row of the source is meant, counted from 0. Cells of a CSV that the model does
    not take stay text.

    Args:
        model: a bundle folder, which is audited first, or an open runtime, which then works alone on one thread.
        source: rows, in .parquet, .csv or .jsonl; must have the signature's inputs, in any order.
        out: the file to write, in the same three forms; it appears whole or not at all.
        columns: columns of the source to copy beside the answers; None for all, () for none.
        rejected: where to list rows that could not be scored, as row, column, reason; None means
            `<out>.rejected.csv`. The file is written only if there are such rows, and an older one is removed.
        most_rejected: more bad rows than that end the scoring with nothing written; None means any number.
        progress: called after every block.
        runtimes: kind -> loader.
        threads: how many blocks are scored at a time, each on a runtime of its own.

    Raises:
        Missing: there is no such bundle, file or folder.
        Rejected: the bundle or the file is refused, columns are lacking, or there are too many bad rows.
        Tampered: the bundle is not what was packed.
        Conflict: another process is writing the same file.
    """
    source, out = Path(source), Path(out)
    side = Path(rejected) if rejected is not None else out.with_name(f"{out.name}.rejected.csv")
    _apart(source, out, side)
    with ExitStack() as stack:
        pool = stack.enter_context(_opened(model, runtimes, threads))
        manifest, digest = pool[0].manifest, pool[0].digest
        opened = open_source(source, manifest.signature, columns)
        plan = _plan(opened, manifest.signature, columns, out)
        answers, aside = stack.enter_context(Output(out)), stack.enter_context(Output(side))
        rows = count = 0
        reasons: Counter[str] = Counter()
        for done in _in_order(pool, lambda runtime, block: _scored(plan, runtime, block), _blocks(source, opened)):
            count += len(done.bad)
            rows += done.answers.num_rows + len(done.bad)
            if done.answers.num_rows or not answers.has_rows:
                answers.write(done.answers)
            if done.bad:
                aside.write(_listed(done.bad))
                reasons.update(f"column {column!r} {why}" if column else why for _, column, why in done.bad)
                _bounded(count, most_rejected, reasons)
            if progress is not None:
                progress(f"scored {rows:,} rows", done.share)
        # The answers come last: where they are, the list of what they lack is there too.
        if count:
            aside.publish()
        else:
            side.unlink(missing_ok=True)
        if count < rows or not rows:
            answers.publish()
    return ScoreReport(
        model=manifest.model,
        digest=digest,
        rows=rows,
        scored=rows - count,
        rejected=count,
        out=out if count < rows or not rows else None,
        rejected_file=side if count else None,
        reasons=dict(reasons.most_common(_REASONS)),
    )


def _apart(source: Path, out: Path, side: Path) -> None:
    form_of(out), form_of(side)
    if len({path.absolute() for path in (source, out, side)}) < 3:
        raise Rejected(
            f"the rows {source.name}, the answers {out.name} and the bad rows {side.name} must be three files",
            fix="give each another name",
        )


def _plan(opened: Source, signature: Signature, columns: Sequence[str] | None, out: Path) -> _Plan:
    kept = opened.names if columns is None else tuple(dict.fromkeys(columns))
    made = [field.name for field in _answer_fields(signature)]
    twice = [name for name in kept if name in made]
    if twice:
        raise Rejected(
            f"the rows have a column {twice[0]!r} already, where the answers go",
            fix="rename it, or keep other columns only",
        )
    return _Plan(signature, kept, as_text=opened.is_text and form_of(out) == "csv", is_text=opened.is_text)


def _bounded(count: int, most: int | None, reasons: Counter[str]) -> None:
    if most is not None and count > most:
        why, times = reasons.most_common(1)[0]
        raise Rejected(
            f"{count:,} rows cannot be scored, and at most {most:,} may be set aside; {times:,} because: {why}",
            fix="correct the rows, or allow more to be set aside; nothing was written",
        )


def _listed(bad: list[tuple[int, str, str]]) -> pa.RecordBatch:
    numbers, columns, reasons = zip(*bad, strict=True)
    return pa.RecordBatch.from_arrays([pa.array(numbers), pa.array(columns), pa.array(reasons)], schema=_SIDE)


@contextmanager
def _opened(model: Path | str | Runtime, runtimes: Mapping[str, Loader], threads: int) -> Iterator[list[Runtime]]:
    """Open as many runtimes as there are threads, or take the one that is given, which stays its owner's."""
    if not isinstance(model, Path | str):
        yield [model]
        return
    audited = bundle.audit(bundle.read(Path(model)))
    pool: list[Runtime] = []
    try:
        pool.extend(bundle.open(audited, runtimes) for _ in range(max(1, threads)))
        yield pool
    finally:
        for runtime in pool:
            runtime.close()


def _blocks(path: Path, opened: Source) -> Iterator[Block]:
    try:
        yield from opened.blocks()
    except (pa.ArrowException, OSError) as exc:
        raise unreadable(path, exc) from exc


def _in_order(
    pool: list[Runtime], work: Callable[[Runtime, Block], _Scored], blocks: Iterable[Block]
) -> Iterator[_Scored]:
    """Work on blocks on several threads and give the results back in the order of the blocks."""
    idle: SimpleQueue[Runtime] = SimpleQueue()
    for runtime in pool:
        idle.put(runtime)

    def one(block: Block) -> _Scored:
        runtime = idle.get()
        try:
            return work(runtime, block)
        finally:
            idle.put(runtime)

    executor = ThreadPoolExecutor(len(pool), "score")
    waiting: deque[Future[_Scored]] = deque()
    try:
        for block in blocks:
            waiting.append(executor.submit(one, block))
            if len(waiting) >= 2 * len(pool):
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        executor.shutdown(cancel_futures=True)


def _scored(plan: _Plan, runtime: Runtime, block: Block) -> _Scored:
    """Answer one block."""
    faults: Faults = {}
    batch = _without_blanks(plan, block.batch) if plan.is_text else block.batch
    inputs = {c.name: convert(batch.column(c.name), c, faults) for c in plan.signature.inputs}
    good = np.ones(len(block.numbers), np.bool_)
    good[list(faults)] = False
    if faults:
        inputs = {name: values[good] for name, values in inputs.items()}
    outputs = _answers(runtime, inputs, np.flatnonzero(good), faults)
    if faults:
        still = np.array([i not in faults for i in np.flatnonzero(good).tolist()], np.bool_)
        good[list(faults)] = False
        inputs = {name: values[still] for name, values in inputs.items()}
        batch = batch.filter(pa.array(good))
    kept = _kept(plan, batch, inputs, block.numbers[good])
    bad = [(int(block.numbers[i]), *reason) for i, reason in faults.items()]
    answered = _as_arrow(plan.signature, outputs)
    return _Scored(
        pa.RecordBatch.from_arrays(
            [*kept.values(), *answered],
            schema=pa.schema(
                [
                    *(pa.field(name, array.type) for name, array in kept.items()),
                    *_answer_fields(plan.signature),
                ]
            ),
        ),
        sorted([*bad, *block.unreadable]),
        block.share,
    )


def _without_blanks(plan: _Plan, batch: pa.RecordBatch) -> pa.RecordBatch:
    """Make empty texts missing cells in the columns of text that the model takes."""
    for column in plan.signature.inputs:
        if column.datatype == "BYTES":
            found = batch.column(column.name)
            filled = pc.if_else(pc.equal(found, ""), pa.scalar(None, found.type), found)
            batch = batch.set_column(batch.schema.get_field_index(column.name), column.name, filled)
    return batch


def _answers(runtime: Runtime, inputs: Columns, places: NDArray[np.int64], faults: Faults) -> Columns:
    """Ask the model; rows that it refuses, fails on or answers without a number become faults and have no answer.

    Args:
        runtime: to ask.
        inputs: columns of the rows at `places`.
        places: of those rows in the block.
        faults: receives the rows without an answer.
    """
    signature = runtime.manifest.signature
    if not len(places):
        return _nothing(signature)
    try:
        outputs = runtime.predict(inputs)
    except (MemoryError, ShipwayError) as exc:
        if not isinstance(exc, Rejected):
            raise
        refusal = str(exc)
    except Exception as exc:  # noqa: BLE001 - a graph may fail in any way on the rows that it was not made for
        refusal = f"the model failed: {(str(exc).strip().splitlines() or [type(exc).__name__])[0][:200]}"
    else:
        return _finite(signature, outputs, places, faults)
    if len(places) == 1:
        faults[int(places[0])] = ("", refusal)
        return _nothing(signature)
    half = len(places) // 2
    left = _answers(runtime, {n: v[:half] for n, v in inputs.items()}, places[:half], faults)
    right = _answers(runtime, {n: v[half:] for n, v in inputs.items()}, places[half:], faults)
    return {name: np.concatenate([left[name], right[name]]) for name in left}


def _nothing(signature: Signature) -> Columns:
    types = {"BYTES": object, "BOOL": np.bool_, "INT32": np.int32, "INT64": np.int64, "FP32": np.float32}
    return {c.name: np.empty((0, *c.shape), types.get(c.datatype, np.float64)) for c in signature.outputs}


def _finite(signature: Signature, outputs: Columns, places: NDArray[np.int64], faults: Faults) -> Columns:
    lost = np.zeros(len(places), np.bool_)
    for column in signature.outputs:
        values = outputs[column.name]
        if values.dtype.kind == "f":
            bad = ~np.isfinite(values.reshape(len(places), -1)).all(axis=1)
            for at in np.flatnonzero(bad & ~lost).tolist():
                faults[int(places[at])] = ("", f"the model's output {column.name!r} is not a finite number")
            lost |= bad
    answered = {column.name: outputs[column.name] for column in signature.outputs}
    return {name: values[~lost] for name, values in answered.items()} if lost.any() else answered


def _kept(plan: _Plan, batch: pa.RecordBatch, inputs: Columns, numbers: NDArray[np.int64]) -> dict[str, pa.Array]:
    if not plan.kept:
        return {"row": pa.array(numbers)}
    kept: dict[str, pa.Array] = {}
    for name in plan.kept:
        column = plan.signature.input(name)
        if plan.is_text and not plan.as_text and column is not None and column.datatype != "BYTES":
            kept[name] = pa.array(inputs[name], from_pandas=True)
        else:
            kept[name] = batch.column(name)
    return kept


def _answer_fields(signature: Signature) -> list[pa.Field]:
    fields: list[pa.Field] = []
    for column in signature.outputs:
        if _per_class(signature, column):
            fields += [pa.field(f"output.probability.{label}", pa.float64()) for label in signature.classes]
        else:
            fields.append(pa.field(f"output.{column.name}", kind(column)))
    return fields


def _as_arrow(signature: Signature, outputs: Columns) -> list[pa.Array]:
    arrays: list[pa.Array] = []
    for column in signature.outputs:
        values = outputs[column.name]
        if _per_class(signature, column):
            arrays += [pa.array(np.ascontiguousarray(values[:, k])) for k in range(len(signature.classes))]
        elif values.ndim > 1 and column.shape:
            arrays.append(pa.array(values.tolist(), kind(column)))
        else:
            arrays.append(pa.array(values.reshape(len(values)), kind(column)))
    return arrays


def _per_class(signature: Signature, column: Column) -> bool:
    return column.name == "probability" and bool(signature.classes)
