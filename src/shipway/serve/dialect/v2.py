"""Open Inference Protocol V2, REST: metadata, tensors as JSON in and out.

A request names one tensor per input column, of shape [n] or [n, 1] (or [n, *shape of the column]);
or, where all columns are numbers, one tensor of shape [n, columns] in the order of the signature.
A missing number is null.

Source: Open Inference Protocol, "Predict Protocol - Version 2", kserve/open-inference-protocol.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson

from shipway.bundle import check
from shipway.errors import Rejected
from shipway.serve.dialect.question import Question, caller_key, row_limit
from shipway.serve.dialect.strict import no_duplicates, shallow
from shipway.terms import Column, Manifest, Signature

INTEGERS = frozenset({"INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64"})
FLOATS = frozenset({"FP16", "FP32", "FP64"})
ACCEPTED = {
    "FP64": INTEGERS | FLOATS,
    "FP32": INTEGERS | FLOATS,
    "INT64": INTEGERS - {"UINT64"},
    "INT32": frozenset({"INT8", "INT16", "INT32", "UINT8", "UINT16"}),
    "BOOL": frozenset({"BOOL"}),
    "BYTES": frozenset({"BYTES"}),
}
"""Datatypes that a caller may send for a column of a datatype: nothing is lost on the way."""

DTYPES: dict[str, Any] = {
    "FP64": np.float64,
    "FP32": np.float32,
    "INT64": np.int64,
    "INT32": np.int32,
    "BOOL": np.bool_,
}
_nullable_number: frozenset[type] = frozenset({float, int, type(None)})
KINDS: dict[str, frozenset[type]] = {
    "FP64": _nullable_number,
    "FP32": _nullable_number,
    "INT64": frozenset({int}),
    "INT32": frozenset({int}),
    "BOOL": frozenset({bool}),
    "BYTES": frozenset({str, type(None)}),
}
"""Types of JSON values that a column of a datatype takes."""

KNOWN = frozenset({"id", "parameters", "inputs", "outputs", "key"})


def read(document: dict[str, Any], body: bytes, signature: Signature, max_rows: int) -> Question:
    """Turn a parsed V2 body into columns.

    Raises:
        Rejected: something in it is not what the signature allows.
    """
    unknown = document.keys() - KNOWN
    if unknown:
        raise Rejected(f"{min(unknown)[:80]!r} is no part of a V2 request", fix="see the Open Inference Protocol, V2")
    parameters = _parameters(document)
    name = document.get("id", "")
    if type(name) is not str or len(name) > 200:
        raise Rejected("'id' is not a text of at most 200 characters", fix="send a shorter id, or none")
    tensors = document["inputs"]
    if type(tensors) is not list or not tensors or not all(type(t) is dict for t in tensors):
        shallow(tensors)
        raise Rejected("'inputs' must be a list of at least one tensor", fix=_example(signature))
    no_duplicates(body, len(document) + sum(map(len, tensors)) + len(parameters))
    columns: dict[str, np.ndarray[Any, Any]] = {}
    rows = -1
    for tensor in tensors:
        label, shape = _label(tensor, signature), _shape(tensor)
        if rows >= 0 and shape[0] != rows:
            raise Rejected(
                f"the tensor {label!r} has {shape[0]} rows and others have {rows}", fix="send as many of each"
            )
        rows = shape[0]
        row_limit(rows, max_rows)
        column = signature.input(label)
        added = {label: _column(column, tensor, shape)} if column else _matrix(signature, tensor, shape, len(tensors))
        if not columns.keys().isdisjoint(added):
            raise Rejected(f"the tensor {label!r} came twice", fix="send each column once")
        columns.update(added)
    return Question(check(signature, columns), rows, caller_key(document.get("key")), name)


def _label(tensor: dict[str, Any], signature: Signature) -> str:
    label = tensor.get("name")
    if type(label) is not str:
        raise Rejected("a tensor has no name", fix=_example(signature))
    if type(tensor.get("datatype")) is not str:
        raise Rejected(f"the tensor {label[:80]!r} has no datatype", fix=_example(signature))
    if "binary_data_size" in _parameters(tensor):
        raise Rejected(f"the tensor {label[:80]!r} is binary", fix="send its data as JSON")
    return label


def _parameters(owner: dict[str, Any]) -> dict[str, Any]:
    parameters = owner.get("parameters")
    if parameters is None:
        return {}
    shallow(parameters)
    if type(parameters) is not dict:
        raise Rejected("'parameters' is not an object", fix="leave it out")
    return parameters


def _shape(tensor: dict[str, Any]) -> list[int]:
    shape = tensor.get("shape")
    # A bool is an int to Python, not to the protocol.
    if type(shape) is not list or not 0 < len(shape) <= 8 or not all(type(d) is int and 0 < d < 1 << 31 for d in shape):
        label = tensor["name"][:80]
        raise Rejected(
            f"the shape of the tensor {label!r} is not a list of 1 to 8 positive whole numbers",
            fix="send its shape as [rows] or [rows, 1]",
        )
    return shape


def _column(column: Column, tensor: dict[str, Any], shape: list[int]) -> np.ndarray[Any, Any]:
    rows, rest = shape[0], tuple(shape[1:])
    if rest != column.shape and not (column.shape == () and rest == (1,)):
        wanted = [rows, *column.shape]
        raise Rejected(f"the tensor {column.name!r} has the shape {shape}", fix=f"send it as {wanted}")
    sent = tensor.get("datatype")
    if sent not in ACCEPTED[column.datatype]:
        raise Rejected(
            f"the tensor {column.name!r} came as {str(sent)[:20]} and the model takes {column.datatype}",
            fix=f"send it as {column.datatype}",
        )
    cells = _cells(
        tensor, shape, KINDS["INT64" if sent in INTEGERS and column.datatype != "BYTES" else column.datatype]
    )
    return _array(column.name, cells, column.datatype, (rows, *column.shape))


def _matrix(
    signature: Signature, tensor: dict[str, Any], shape: list[int], tensors: int
) -> dict[str, np.ndarray[Any, Any]]:
    """Read one tensor that holds all columns."""
    inputs = signature.inputs
    plain = all(c.datatype != "BYTES" and c.shape == () for c in inputs)
    if tensors > 1 or len(shape) != 2 or not plain:
        raise Rejected(f"the model has no input {tensor['name'][:80]!r}", fix=_example(signature))
    if shape[1] != len(inputs):
        raise Rejected(f"a row has {shape[1]} numbers and the model takes {len(inputs)}", fix=_example(signature))
    if tensor.get("datatype") not in INTEGERS | FLOATS:
        raise Rejected("one tensor for all columns must be numbers", fix="send it as FP64")
    cells = _cells(tensor, shape, _nullable_number)
    matrix = _array(tensor["name"], cells, "FP64", (shape[0], shape[1]))
    return {c.name: _narrowed(matrix[:, i], c) for i, c in enumerate(inputs)}


def _narrowed(values: np.ndarray[Any, Any], column: Column) -> np.ndarray[Any, Any]:
    dtype = DTYPES[column.datatype]
    if dtype is np.float64 or dtype is np.float32:
        return np.ascontiguousarray(values, dtype)
    with np.errstate(invalid="ignore"):
        narrowed = values.astype(dtype)
    if not np.array_equal(narrowed, values):
        raise Rejected(f"the column {column.name!r} takes {column.datatype}", fix="send whole numbers in its range")
    return narrowed


def _cells(tensor: dict[str, Any], shape: list[int], kinds: frozenset[type]) -> list[Any]:
    """Return the data flat, whether it came flat or nested like its shape."""
    data, label = tensor.get("data"), tensor["name"][:80]
    if type(data) is not list:
        raise Rejected(f"the tensor {label!r} has no data", fix="send its data as a list")
    wanted = math.prod(shape)
    if data and type(data[0]) is list:
        data = _flat(data, shape, label)
    if len(data) != wanted:
        raise Rejected(f"the tensor {label!r} has {len(data)} values and its shape {shape} asks for {wanted}",
                       fix="send as many values as the shape says")  # fmt: skip
    if not kinds.issuperset(map(type, data)):
        row = next(i for i, cell in enumerate(data) if type(cell) not in kinds)
        shallow(data[row])
        raise Rejected(f"value {row} of the tensor {label!r} is a {_json_type(data[row])}",
                       fix=f"send {tensor.get('datatype')} values only")  # fmt: skip
    return data


def _flat(data: list[Any], shape: list[int], label: str) -> list[Any]:
    for size in shape[1:]:
        if not all(type(part) is list and len(part) == size for part in data):
            shallow(data)
            raise Rejected(f"the data of {label!r} is not nested like its shape {shape}", fix="send it flat")
        data = [cell for part in data for cell in part]
    return data


def _array(label: str, cells: list[Any], datatype: str, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    if datatype == "BYTES":
        texts = np.empty(len(cells), dtype=object)
        texts[:] = cells
        return texts.reshape(shape)
    try:
        with np.errstate(over="raise"):
            values = np.array(cells, dtype=DTYPES[datatype])
    except (OverflowError, FloatingPointError):
        raise Rejected(f"a value of {label[:80]!r} does not fit {datatype}", fix="send numbers in its range") from None
    return values.reshape(shape)


def _json_type(value: object) -> str:
    if isinstance(value, bool):
        return "boolean"
    names = {str: "text", dict: "object", list: "list", type(None): "null", int: "whole number", float: "fraction"}
    return names.get(type(value), "value of another kind")


def _example(signature: Signature) -> str:
    columns = ", ".join(f"{c.name} ({c.datatype})" for c in signature.inputs[:8])
    more = f" and {len(signature.inputs) - 8} more" if len(signature.inputs) > 8 else ""
    return f"send one tensor for each of {columns}{more}"


def write(
    signature: Signature, outputs: Mapping[str, np.ndarray[Any, Any]], *, model: str, version: int, name: str
) -> bytes:
    """Answer a V2 request: one tensor per output."""
    tensors = [
        {
            "name": column.name,
            "datatype": column.datatype,
            "shape": outputs[column.name].shape,
            "data": _data(outputs[column.name]),
        }
        for column in signature.outputs
        if column.name in outputs
    ]
    answer: dict[str, Any] = {"model_name": model, "model_version": str(version)}
    if name:
        answer["id"] = name
    answer["outputs"] = tensors
    return orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)


def _data(values: np.ndarray[Any, Any]) -> Any:  # noqa: ANN401 - a list, or an array that orjson writes
    flat = values.reshape(-1)
    return flat.tolist() if flat.dtype == object else np.ascontiguousarray(flat)


def metadata(endpoint: str, manifest: Manifest, versions: list[str]) -> bytes:
    """Describe a served model the way V2 does; clients build requests from it."""
    signature = manifest.signature

    def tensors(columns: tuple[Column, ...]) -> list[dict[str, Any]]:
        return [{"name": c.name, "datatype": c.datatype, "shape": [-1, *c.shape]} for c in columns]

    return orjson.dumps(
        {
            "name": endpoint,
            "versions": versions,
            "platform": f"{manifest.runtime.kind}_shipway",
            "inputs": tensors(signature.inputs),
            "outputs": tensors(signature.outputs),
            "parameters": {"task": str(manifest.task), "classes": list(signature.classes)},
        }
    )
