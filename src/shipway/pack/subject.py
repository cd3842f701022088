"""Understand what is to be packed: the model, its columns, what it accepts, what it learnt from."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from shipway.bundle.runtime.answers import label as label_text
from shipway.errors import Rejected
from shipway.pack.attempts import Packer, packers
from shipway.pack.layout import MAX_LEVELS
from shipway.pack.onnxfile import Adopted, OnnxModel, adopt, output_columns, read_graph
from shipway.pack.opening import open_candidate
from shipway.pack.original import Original, original
from shipway.pack.parity import UNSEEN, Oracle, accepted, explain, head
from shipway.pack.signature import input_columns, outputs
from shipway.pack.tables import cells, need_column, sound
from shipway.terms import Column, Signature, Task

Columns = dict[str, NDArray[Any]]
Data: TypeAlias = pa.Table | pd.DataFrame


@dataclass(frozen=True)
class Subject:
    """A model and its data, understood."""

    name: str
    """Class of the model."""
    model: Any
    """The original, or None where a graph is all there is."""
    oracle: Oracle
    """What answers as the original does."""
    signature: Signature
    task: Task
    data: Columns
    """Inputs of the training rows."""
    holdout: Columns
    truth: pa.Array | None
    """Targets of the holdout rows: text for a classifier, numbers for a regressor."""
    levels: dict[str, list[str]]
    refused: set[tuple[str, str]]
    """(column, "missing" or "unknown") that the model does not take."""
    tries: dict[str, Packer]
    notes: list[str] = field(default_factory=list)


class _Graph:
    """A graph as its own oracle."""

    def __init__(self, adopted: Adopted, specs: tuple[Column, ...]) -> None:
        self.specs = specs
        plain = Signature(specs, (), adopted.classes)
        unknown = tuple(Column(name, "FP64") for name in adopted.outputs)
        given = unknown if adopted.task is Task.OTHER else outputs(adopted.task, adopted.classes)
        self._runtime = open_candidate(adopted.candidate(), "graph", adopted.task, replace_outputs(plain, given))

    def answer(self, columns: Columns) -> Columns:
        """Answer rows."""
        return self._runtime.predict(columns)


def replace_outputs(signature: Signature, columns: tuple[Column, ...]) -> Signature:
    """Return a signature with other outputs."""
    return Signature(signature.inputs, columns, signature.classes)


def understand(  # noqa: PLR0913 - everything that is known about a model
    model: Any,  # noqa: ANN401 - any fitted model, an OnnxModel, bytes or a path
    data: Data,
    target: str | None,
    *,
    holdout: Data | None = None,
    task: Task | None = None,
    prefer: str = "onnx",
    plugins: Mapping[str, Packer] | None = None,
) -> Subject:
    """Understand a model and its data.

    Raises:
        Rejected: they do not fit each other, or the model is of no kind that can be packed.
    """
    table = as_table(data, "the data")
    held = table if holdout is None else as_table(holdout, "the holdout")
    if target is not None:
        need_column(table.column_names, target, "the target")
    if isinstance(model, (bytes, bytearray)):
        model = OnnxModel(bytes(model))
    if isinstance(model, (str, Path)):
        model = read_graph(Path(model))
    if isinstance(model, OnnxModel):
        return _graph_subject(model, table, held, target, task)
    names = [name for name in table.column_names if name != target]
    found = original(model, names, target=target, labels=_distinct(table, target), task=task)
    specs = input_columns(table, found.names)
    found = _with_categories(found.with_specs(specs), data)
    inputs, kept = _inputs(table, specs, "the data"), _inputs(held, specs, "the holdout")
    _must_answer(found, kept, "the holdout" if holdout is not None else "the data")
    specs, refused, notes = _accepting(found, kept, specs)
    found = found.with_specs(specs)
    return Subject(
        type(found.model).__name__,
        found.model,
        found,
        Signature(specs, outputs(found.task, found.classes), found.classes),
        found.task,
        inputs,
        kept,
        truth(held, target, found.task, found.classes),
        _levels(specs, inputs),
        refused,
        packers(found, prefer, plugins or {}),
        notes,
    )


def _graph_subject(model: OnnxModel, table: pa.Table, held: pa.Table, target: str | None, task: Task | None) -> Subject:
    adopted = adopt(model, table, target, task)
    specs = tuple(_retyped(s, adopted.datatypes.get(s.name)) for s in input_columns(table, adopted.names))
    oracle = _Graph(adopted, specs)
    inputs, kept = _inputs(table, specs, "the data"), _inputs(held, specs, "the holdout")
    _must_answer(oracle, kept, "the data")
    specs, refused, notes = _accepting(oracle, kept, specs)
    oracle.specs = specs
    if adopted.task is Task.OTHER:
        given = output_columns(oracle.answer(head(kept, 2)))
    else:
        given = outputs(adopted.task, adopted.classes)
    candidate = adopted.candidate()
    return Subject(
        "ONNX graph",
        None,
        oracle,
        Signature(specs, given, adopted.classes),
        adopted.task,
        inputs,
        kept,
        truth(held, target, adopted.task, adopted.classes),
        _levels(specs, inputs),
        refused,
        {candidate.converter: lambda o, levels: candidate},  # noqa: ARG005 - a Packer
        notes,
    )


def as_table(data: Data, what: str) -> pa.Table:
    """See frames and tables alike.

    Raises:
        Rejected: it has no rows, or columns that are neither numbers, text nor true and false.
    """
    if isinstance(data, pa.Table):
        return sound(data, what)
    if not isinstance(data, pd.DataFrame):
        raise Rejected(
            f"{what} must be a table, not {type(data).__name__}", fix="give a pyarrow table or a pandas frame"
        )
    try:
        plain = data.rename(columns=str)
        return sound(pa.Table.from_pandas(plain, preserve_index=False).replace_schema_metadata(None), what)
    except pa.ArrowException as exc:
        reason = str(exc).strip().splitlines()[0]
        raise Rejected(f"a column of {what} mixes types: {reason[:200]}", fix="make each column one type") from exc


def truth(held: pa.Table, target: str | None, task: Task, classes: tuple[str, ...]) -> pa.Array | None:
    """Return the targets of the holdout rows, or None if there are none.

    Raises:
        Rejected: they are not what the model predicts.
    """
    if target is None or target not in held.column_names or task is Task.OTHER:
        return None
    column = held[target]
    if column.null_count == len(column):
        raise Rejected(
            f"the target {target!r} is missing in all {len(column):,} rows", fix="name another target column"
        )
    if task is Task.REGRESSION:
        try:
            return column.cast(pa.float64(), safe=False).combine_chunks()
        except pa.ArrowException as exc:
            raise Rejected(
                f"the target {target!r} holds {column.type} and the model predicts numbers", fix="name the right target"
            ) from exc
    texts = [None if v is None else label_text(v) for v in column.to_pylist()]
    present = {t for t in texts if t is not None}
    strange = sorted(present - set(classes))
    if strange:
        shown = ", ".join(map(repr, strange[:5])) + (", ..." if len(strange) > 5 else "")
        raise Rejected(
            f"the target {target!r} holds {shown}, and the model knows {', '.join(map(repr, classes[:10]))}",
            fix="name the column that the model was trained to predict, or leave rows of other classes out",
        )
    if len(present) < 2:
        raise Rejected(f"the target {target!r} holds only one class, {present.pop()!r}", fix="give rows of every class")
    return pa.array(texts, pa.string())


def _inputs(table: pa.Table, specs: tuple[Column, ...], what: str) -> Columns:
    for spec in specs:
        need_column(table.column_names, spec.name, what)
    return {spec.name: cells(table[spec.name], spec) for spec in specs}


def _levels(specs: tuple[Column, ...], columns: Columns) -> dict[str, list[str]]:
    found = {}
    for spec in specs:
        if spec.datatype == "BYTES":
            known = sorted({v for v in columns[spec.name].tolist() if v is not None})
            if len(known) <= MAX_LEVELS:
                found[spec.name] = known
    return found


def _retyped(spec: Column, datatype: Any) -> Column:  # noqa: ANN401 - a Datatype or None
    if datatype is None or datatype == spec.datatype:
        return spec
    return Column(spec.name, datatype, shape=spec.shape, nullable=spec.nullable and datatype in ("FP64", "BYTES"))


def _with_categories(found: Original, data: Data) -> Original:
    if found.flavour != "lightgbm":
        return found
    booster = getattr(found.model, "booster_", found.model)
    categories = booster.pandas_categorical or []
    if not categories:
        return found
    texts = [s.name for s in found.specs if s.datatype == "BYTES"]
    framed: list[str] = []
    if isinstance(data, pd.DataFrame):
        framed = [n for n in found.names if isinstance(data[n].dtype, pd.CategoricalDtype)]
    elif isinstance(data, pa.Table):
        framed = [n for n in found.names if pa.types.is_dictionary(data.schema.field(n).type)]
    for columns in (framed, texts):
        if len(columns) == len(categories):
            return replace(found, categories=dict(zip(columns, categories, strict=True)))
    raise Rejected(
        f"the model knows {len(categories)} categorical columns, and the data have {len(texts)} columns of text",
        fix="give the data as a frame whose categorical columns have the dtype category, as in training",
    )


def _must_answer(oracle: Oracle, columns: Columns, what: str) -> None:
    try:
        oracle.answer(head(columns, 100))
    except Exception as exc:
        raise Rejected(
            f"the model itself fails on rows of {what}: {explain(exc)}", fix="give rows like those it was trained on"
        ) from exc


def _accepting(
    oracle: Oracle, columns: Columns, specs: tuple[Column, ...]
) -> tuple[tuple[Column, ...], set[tuple[str, str]], list[str]]:
    """Find out where the model takes missing cells and levels it has never seen; note where not."""
    probes: list[tuple[str, str, Any]] = []
    for kind in ("FP64", "BYTES"):
        group = [s for s in specs if s.datatype == kind and not s.shape]
        probes += [("missing", s.name, np.nan if kind == "FP64" else None) for s in group]
    unseen = [("unknown", s.name, UNSEEN) for s in specs if s.datatype == "BYTES" and not s.shape]
    refused: set[tuple[str, str]] = set()
    numbers = [p for p in probes if p[2] is not None]
    texts = [p for p in probes if p[2] is None]
    for group_of in (numbers, texts, unseen):
        taken = accepted(oracle, columns, [(name, cell) for _, name, cell in group_of])
        refused |= {(name, kind) for (kind, name, _), fine in zip(group_of, taken, strict=True) if not fine}
    seen = {s.name for s in specs if s.nullable}
    refused -= {(name, "missing") for name in seen}
    probed = {name for _, name, _ in probes}
    made = tuple(
        Column(s.name, s.datatype, s.shape, (s.name, "missing") not in refused, s.integral, s.levels, s.low, s.high)
        if s.name in probed
        else s
        for s in specs
    )
    return made, refused, _notes(specs, refused, probed)


def _notes(specs: tuple[Column, ...], refused: set[tuple[str, str]], probed: set[str]) -> list[str]:
    notes = []
    for kind, what in (("missing", "missing cells"), ("unknown", "levels that training never showed")):
        names = [s.name for s in specs if (s.name, kind) in refused and s.name in probed]
        if names:
            where = (
                "all columns"
                if len(names) == len(specs)
                else ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
            )
            notes.append(f"the model does not take {what} in {where}: such requests are refused")
    return notes


def _distinct(table: pa.Table, target: str | None) -> list[Any]:
    if target is None:
        return []
    found = [v for v in pc.unique(table[target]).to_pylist() if v is not None]
    return sorted(found) if len({type(v) for v in found}) == 1 else found
