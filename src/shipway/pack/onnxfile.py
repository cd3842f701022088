"""Adopt an ONNX graph that someone else made: find out how to feed it and what its outputs mean.

There is no original to compare with, so parity says that the graph was compared with itself. A `ZipMap` at
its end (a list of dictionaries instead of a tensor) is cut off, tensors in other files are taken in.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pyarrow as pa
from numpy.typing import NDArray

from shipway.bundle.encoding import Encoding
from shipway.bundle.graph import names_other_files
from shipway.bundle.runtime import answers
from shipway.bundle.runtime.session import session_from
from shipway.errors import Rejected
from shipway.pack.attempts import Candidate
from shipway.pack.graph import FACTS
from shipway.pack.parity import FLOAT32
from shipway.pack.tables import need_column
from shipway.terms import Column, Task

_NUMPY = {
    "tensor(double)": "float64", "tensor(float)": "float32", "tensor(float16)": "float16", "tensor(int64)": "int64",
    "tensor(int32)": "int32", "tensor(bool)": "bool", "tensor(string)": "object",
}  # fmt: skip
_DATATYPES = {"int64": "INT64", "int32": "INT32", "bool": "BOOL", "object": "BYTES"}
_BRANCHES = {"Loop", "Scan", "If"}


GIVEN = "none, the graph is the model"


@dataclass(frozen=True)
class OnnxModel:
    """An ONNX graph, and what it does not say itself."""

    content: bytes
    encoding: Encoding | None = None
    """How columns become its one matrix input; None if its inputs are the columns."""
    classes: tuple[str, ...] = ()
    """Labels in the order of its probabilities, where the graph does not name them."""


@dataclass
class Adopted:
    """A graph, understood."""

    names: tuple[str, ...]
    """Input columns."""
    datatypes: dict[str, str]
    """Columns that must be of another type than the data suggest."""
    task: Task
    classes: tuple[str, ...]
    content: bytes
    options: dict[str, Any] = field(default_factory=dict)
    encoding: Encoding | None = None
    outputs: tuple[str, ...] = ()
    """Names of the graph's outputs."""

    def candidate(self) -> Candidate:
        """Return the graph as a form that a runtime opens."""
        # Compared with itself: only batches can differ, by as much as float32 rounds.
        return Candidate(GIVEN, "onnx", self.content, self.options, self.encoding, tolerance=FLOAT32)


def read_graph(path: Path) -> OnnxModel:
    """Read an ONNX file, with tensors it keeps in other files of its folder.

    Raises:
        Rejected: it is not one.
    """
    try:
        return OnnxModel(bytes(onnx.load(str(path)).SerializeToString()))
    except Exception as exc:
        raise Rejected(f"{path} cannot be read as ONNX: {_first(exc)}", fix="export the model again") from exc


def has_branches(content: bytes) -> bool:
    """Say whether a graph holds Loop, Scan or If, at any depth: its time has no bound that rows give."""
    return _branches(onnx.load_from_string(content).graph.node)


def _branches(nodes: Iterable[Any]) -> bool:
    return any(
        node.op_type in _BRANCHES or any(_branches(g.node) for a in node.attribute for g in (*a.graphs, a.g))
        for node in nodes
    )


def adopt(given: OnnxModel, data: pa.Table, target: str | None, task: Task | None) -> Adopted:
    """Understand a graph.

    Args:
        given: the graph.
        data: rows it can answer.
        target: name of the target column, left out of its inputs.
        task: what it predicts; None to see from its outputs and the target.

    Raises:
        Rejected: it cannot be loaded, or its inputs do not fit the data.
    """
    content = _without_zipmap(given.content)
    try:
        refused = names_other_files(content)
    except ValueError as exc:
        raise Rejected(f"these bytes are not an ONNX model: {exc}", fix="export the model again") from exc
    if refused:
        raise Rejected("the graph keeps tensors in other files", fix="give the path of the .onnx file beside them")
    try:
        session = session_from(content)
    except Exception as exc:
        raise Rejected(f"ONNX Runtime cannot load the graph: {_first(exc)}", fix="export it for a lower opset") from exc
    facts = _facts(content)
    if facts and given.encoding is None:
        raise Rejected(
            "this graph was converted by shipway and needs its encoding",
            fix="pack OnnxModel(converted.graph, encoding=converted.encoding)",
        )
    columns = [name for name in data.column_names if name != target]
    inputs = session.get_inputs()
    adopted = Adopted((), {}, task or Task.OTHER, given.classes, content, encoding=given.encoding)
    if given.encoding is not None:
        _by_encoding(adopted, given.encoding, facts, inputs, columns)
    elif len(inputs) == 1 and len(inputs[0].shape) == 2 and _takes(inputs[0], len(columns)):
        kind = _kind(inputs[0])
        adopted.names = tuple(columns)
        adopted.options["matrix"] = {"input": inputs[0].name, "columns": columns, "type": kind}
    else:
        _by_feeds(adopted, inputs, columns, data)
    adopted.outputs = tuple(o.name for o in session.get_outputs())
    _understand_outputs(adopted, session, facts, data, target, task)
    return adopted


def _takes(entry: Any, columns: int) -> bool:  # noqa: ANN401 - a NodeArg
    wide = entry.shape[1]
    return entry.type != "tensor(string)" and (wide == columns if isinstance(wide, int) else columns > 1)


def _by_encoding(
    adopted: Adopted, encoding: Encoding, facts: dict[str, Any], inputs: list[Any], columns: list[str]
) -> None:
    if len(inputs) != 1:
        raise Rejected(
            f"a graph with an encoding has one input, not {len(inputs)}", fix="keep the converted graph's input X"
        )
    for entry in encoding.columns:
        need_column(columns, entry.column, "the encoding")
    used = [entry.column for entry in encoding.columns]
    adopted.names = tuple(facts.get("inputs") or dict.fromkeys(used))
    for name in adopted.names:
        need_column(columns, name, "the graph")
    adopted.options["input"] = inputs[0].name
    adopted.datatypes |= {e.column: "BYTES" if e.kind == "text" else "FP64" for e in encoding.columns}


def _by_feeds(adopted: Adopted, inputs: list[Any], columns: list[str], data: pa.Table) -> None:
    mangled = {re.sub(r"\W", "_", name): name for name in columns}
    names = [i.name if i.name in columns else mangled.get(i.name) for i in inputs]
    if None in names and len(columns) == len(inputs):
        names = list(columns)
    wide = len(inputs) == 1 and len(inputs[0].shape) == 2 and inputs[0].shape[1] != 1
    if wide and not any(pa.types.is_nested(data.schema.field(name).type) for name in columns):
        raise Rejected(
            f"the graph takes {inputs[0].shape[1]} columns and the data have {len(columns)} besides the target",
            fix="give exactly the columns that the model was trained on, in the same order",
        )
    if None in names:
        wanted = inputs[names.index(None)].name
        raise Rejected(
            f"the graph has the inputs {', '.join(i.name for i in inputs)}, and the data have no column {wanted!r}",
            fix="name the columns of the data like the graph's inputs",
        )
    adopted.names = tuple(name for name in names if name is not None)
    feeds = []
    for entry, name in zip(inputs, adopted.names, strict=True):
        kind = _kind(entry)
        feeds.append({"input": entry.name, "column": name, "type": kind, "flat": len(entry.shape) == 1})
        if kind in _DATATYPES:
            adopted.datatypes[name] = _DATATYPES[kind]
    adopted.options["feeds"] = feeds


def _kind(entry: Any) -> str:  # noqa: ANN401 - a NodeArg
    if entry.type not in _NUMPY:
        raise Rejected(f"the graph's input {entry.name!r} is a {entry.type}", fix="export a graph that takes tensors")
    return _NUMPY[entry.type]


def _understand_outputs(
    adopted: Adopted,
    session: Any,  # noqa: ANN401 - an InferenceSession
    facts: dict[str, Any],
    data: pa.Table,
    target: str | None,
    task: Task | None,
) -> None:
    outputs = session.get_outputs()
    labels = [o for o in outputs if o.type in ("tensor(int64)", "tensor(string)")]
    floats = [o for o in outputs if o.type in ("tensor(double)", "tensor(float)")]
    named = {o.name: o for o in floats}
    known = tuple(facts.get("classes", ())) or adopted.classes
    distinct = _distinct(data, target)
    textual = bool(distinct) and not all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in distinct)
    if not floats:
        adopted.task = Task.OTHER
        return
    chosen = named.get(facts.get("output", ""), floats[0])
    width = chosen.shape[1] if len(chosen.shape) == 2 and isinstance(chosen.shape[1], int) else 1
    if task is None:
        task = (
            Task(facts["task"]) if "task" in facts else _guess(adopted, len(labels), width, distinct, textual=textual)
        )
    adopted.task = task
    if task is Task.REGRESSION:
        adopted.options["prediction"] = chosen.name
    elif task is not Task.OTHER:
        count = max(2, width)
        adopted.classes = known or _class_labels(adopted.content) or tuple(answers.label(v) for v in distinct)
        if len(adopted.classes) != count and isinstance(chosen.shape[-1], int):
            raise Rejected(
                f"the graph answers {count} probabilities, and {len(adopted.classes)} classes are known",
                fix="name the classes in the order of the probabilities: OnnxModel(content, classes=(...))",
            )
        adopted.options["probability"] = chosen.name
        if "threshold" in facts:
            adopted.options["threshold"] = facts["threshold"]
        if labels and "output" not in facts:
            adopted.options["label"] = labels[0].name
        adopted.task = Task.BINARY if len(adopted.classes) == 2 else Task.MULTICLASS


def _guess(adopted: Adopted, labels: int, width: int, distinct: list[Any], *, textual: bool) -> Task:
    if labels or textual or (width > 1 and (len(distinct) == width or len(adopted.classes) == width)):
        return Task.BINARY if max(2, width) == 2 else Task.MULTICLASS
    return Task.REGRESSION if width == 1 else Task.OTHER


def _distinct(data: pa.Table, target: str | None) -> list[Any]:
    if target is None or target not in data.column_names:
        return []
    return sorted((v for v in data[target].unique().to_pylist() if v is not None), key=lambda v: (str(type(v)), v))


def _class_labels(content: bytes) -> tuple[str, ...]:
    for node in onnx.load_from_string(content).graph.node:
        for attribute in node.attribute:
            if attribute.name in ("classlabels_strings", "classlabels_int64s", "classlabels_ints"):
                labels = list(attribute.strings) or list(attribute.ints)
                if labels:
                    return tuple(answers.label(v) for v in labels)
    return ()


def _without_zipmap(content: bytes) -> bytes:
    try:
        model = onnx.load_from_string(content)
    except Exception as exc:
        raise Rejected("these bytes are not an ONNX model", fix="give a .onnx file, or export the model again") from exc
    inferred = onnx.shape_inference.infer_shapes(model)
    types = {v.name: v.type.tensor_type.elem_type for v in inferred.graph.value_info}
    maps = {node.output[0]: node for node in model.graph.node if node.op_type == "ZipMap"}
    if not maps:
        return content
    for place, output in enumerate(model.graph.output):
        if output.name in maps:
            tensor = maps[output.name].input[0]
            classes = max((len(a.strings) or len(a.ints) for a in maps[output.name].attribute), default=0)
            made = onnx.helper.make_tensor_value_info(
                tensor, types.get(tensor) or onnx.TensorProto.FLOAT, [None, classes or None]
            )
            model.graph.output[place].CopyFrom(made)
    for node in maps.values():
        model.graph.node.remove(node)
    return bytes(model.SerializeToString())


def _facts(content: bytes) -> dict[str, Any]:
    for entry in onnx.load_from_string(content).metadata_props:
        if entry.key == FACTS:
            found = json.loads(entry.value)
            return found if isinstance(found, dict) else {}
    return {}


def output_columns(answered: dict[str, NDArray[Any]]) -> tuple[Column, ...]:
    """Describe outputs that have no agreed meaning, from some answers."""
    made = []
    for name, values in answered.items():
        kinds = {
            "f": "FP64" if values.dtype == np.float64 else "FP32",
            "i": "INT32" if values.dtype == np.int32 else "INT64",
        }
        datatype: Any = kinds.get(values.dtype.kind, "BOOL" if values.dtype.kind == "b" else "BYTES")
        made.append(Column(name, datatype, shape=tuple(int(n) for n in values.shape[1:])))
    return tuple(made)


def _first(exc: Exception) -> str:
    return (str(exc).strip().splitlines() or [type(exc).__name__])[0][:300]
