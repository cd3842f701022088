"""Turn rows of JSON into columns that a runtime takes, and refuse what the signature does not promise.

`coerce` is on the hot path. Whether a row of scalars is acceptable depends (almost) only on the types
of its values, so a row whose types were approved once is approved again by one look into a set; only a
row with new types is looked at value by value. Numbers of all rows become one matrix, and each column
is a view of it.

Not here: parsing JSON, and what a model does with a level it does not know (see `shipway.bundle.encoding`).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shipway.errors import Rejected
from shipway.terms import Column, Signature

Columns = dict[str, NDArray[Any]]
_DTYPES: dict[str, Any] = {
    "BOOL": np.bool_, "INT32": np.int32, "INT64": np.int64, "FP32": np.float32, "FP64": np.float64, "BYTES": object,
}  # fmt: skip
_WORDS = {
    "BOOL": "true or false", "INT32": "a whole number", "INT64": "a whole number",
    "FP32": "a number", "FP64": "a number", "BYTES": "a text",
}  # fmt: skip
_REMEMBERED = 4096


def dtype(column: Column) -> Any:  # noqa: ANN401 - numpy's dtype-like
    """Return the numpy type of a column in process.

    >>> dtype(Column("age", "FP64")).__name__
    'float64'
    """
    return _DTYPES[column.datatype]


def coerce(signature: Signature, rows: Sequence[Mapping[str, Any]]) -> Columns:
    """Turn JSON records into columns.

    A whole number is accepted where a fraction is expected, and a fraction without a fractional part where
    a whole number is. Nothing else is converted: "1" is not 1 and true is not 1.

    Args:
        signature: of the model.
        rows: records, each with exactly the input columns of the signature.

    Raises:
        Rejected: a column is missing, unknown or of another type; the message names column and row.

    >>> age = Column("age", "FP64", nullable=True)
    >>> coerce(Signature((age,), ()), [{"age": 41}, {"age": None}])
    {'age': array([41., nan])}
    """
    known = _CODERS.get(id(signature))
    if known is None or known[0] is not signature:
        if len(_CODERS) >= 256:
            _CODERS.clear()
        known = _CODERS[id(signature)] = (signature, _coder(signature))
    return known[1](rows)


_CODERS: dict[int, tuple[Signature, Callable[[Sequence[Mapping[str, Any]]], Columns]]] = {}


def check(signature: Signature, columns: Mapping[str, Any]) -> Columns:
    """Approve columns that came as such, and give them back in the types of the signature, in its order.

    Args:
        signature: of the model.
        columns: name -> array of shape (rows, *shape); (rows, 1) will do for a scalar column.

    Raises:
        Rejected: a column is missing, unknown, of another type or shape, or missing cells are not allowed there.
    """
    unknown = [name for name in columns if signature.input(name) is None]
    if unknown:
        raise _unknown(signature, unknown, "the request")
    lacking = [c.name for c in signature.inputs if c.name not in columns]
    if lacking:
        raise _lacking(lacking, "the request")
    checked = {c.name: _checked(c, np.asarray(columns[c.name])) for c in signature.inputs}
    lengths = {name: len(values) for name, values in checked.items()}
    if len(set(lengths.values())) > 1:
        shortest, longest = min(lengths, key=lengths.__getitem__), max(lengths, key=lengths.__getitem__)
        raise Rejected(
            f"columns differ in length: {shortest!r} has {lengths[shortest]} rows and {longest!r} {lengths[longest]}",
            fix="send the same number of rows in every column",
        )
    return checked


def records(signature: Signature, outputs: Mapping[str, NDArray[Any]]) -> list[dict[str, Any]]:
    """Turn a runtime's outputs into one JSON-ready answer per row.

    A classifier answers `{"label", "probability": {class: p}}`, a regressor `{"prediction"}`, any other
    model its own outputs. A number that is not finite becomes null.

    >>> records(Signature((), ()), {"prediction": np.array([1.5])})
    [{'prediction': 1.5}]
    """
    listed = {name: _plain(values) for name, values in outputs.items()}
    if signature.classes and "probability" in listed:
        listed["probability"] = [dict(zip(signature.classes, row, strict=True)) for row in listed["probability"]]
    names = list(listed)
    return [dict(zip(names, row, strict=True)) for row in zip(*listed.values(), strict=True)]


def _plain(values: NDArray[Any]) -> list[Any]:
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        return np.where(np.isfinite(values), values, None).tolist()
    return values.tolist()


def _coder(signature: Signature) -> Callable[[Sequence[Mapping[str, Any]]], Columns]:
    columns = signature.inputs
    numbers = [(i, c) for i, c in enumerate(columns) if not c.shape and c.datatype == "FP64"]
    texts = [(i, c) for i, c in enumerate(columns) if not c.shape and c.datatype == "BYTES"]
    rest = [(i, c) for i, c in enumerate(columns) if c.shape or c.datatype not in ("FP64", "BYTES")]
    names = [c.name for c in columns]
    if not names:
        return lambda rows: {}  # noqa: ARG005
    values_of = itemgetter(*names) if len(names) > 1 else _single(names[0])
    pick_numbers, pick_texts = _picker([i for i, _ in numbers]), _picker([i for i, _ in texts])
    number_names, text_names = [c.name for _, c in numbers], [c.name for _, c in texts]
    approved: set[tuple[type, ...]] = set()
    width = len(names)

    def code(rows: Sequence[Mapping[str, Any]]) -> Columns:
        try:
            cells = [values_of(row) for row in rows]
        except (KeyError, TypeError):
            raise _bad_rows(signature, rows) from None
        for at, row in enumerate(cells):
            types = tuple(map(type, row))
            if len(rows[at]) != width:
                raise _bad_rows(signature, rows)
            if types not in approved:
                if _approve(columns, row, at) and len(approved) < _REMEMBERED:
                    approved.add(types)
        found: Columns = {}
        if number_names:
            try:
                block = np.array([pick_numbers(row) for row in cells], np.float64).reshape(len(rows), len(number_names))
            except OverflowError:
                raise _too_large(columns, cells) from None
            found.update(zip(number_names, block.T, strict=True))
        if text_names:
            written = np.empty((len(rows), len(text_names)), object)
            written[:] = [pick_texts(row) for row in cells]
            found.update(zip(text_names, written.T, strict=True))
        for at, column in rest:
            found[column.name] = _rest(column, [row[at] for row in cells])
        return found

    return code


def _single(name: str) -> Callable[[Mapping[str, Any]], tuple[Any, ...]]:
    return lambda row: (row[name],)


def _picker(places: list[int]) -> Callable[[tuple[Any, ...]], tuple[Any, ...]]:
    if not places:
        return lambda row: ()  # noqa: ARG005
    if len(places) == 1:
        at = places[0]
        return lambda row: (row[at],)
    pick: Callable[[tuple[Any, ...]], tuple[Any, ...]] = itemgetter(*places)
    return pick


def _rest(column: Column, values: list[Any]) -> NDArray[Any]:
    if column.shape:
        return np.array(values, dtype(column)).reshape(len(values), *column.shape)
    if column.datatype == "FP32":
        return np.array([math.nan if v is None else v for v in values], np.float32)
    return np.array(values, dtype(column))


def _approve(columns: Sequence[Column], row: tuple[Any, ...], at: int) -> bool:
    """Look at every value; return True if the next row of the same types needs no look."""
    by_type = True
    for column, value in zip(columns, row, strict=True):
        _approve_value(column, value, at)
        by_type = by_type and not column.shape and column.datatype in ("FP64", "BYTES", "BOOL")
    return by_type


def _approve_value(column: Column, value: Any, at: int) -> None:  # noqa: ANN401 - any JSON value
    if column.shape:
        _approve_tensor(column, value, at)
    elif value is None:
        if not column.nullable:
            raise Rejected(
                f"column {column.name!r} is missing in row {at}, and the model was not made for that",
                fix=f"send {_WORDS[column.datatype]} for {column.name!r}",
            )
    elif not _fits(column, value):
        raise Rejected(
            f"column {column.name!r} of row {at} must be {_WORDS[column.datatype]}, not {_shown(value)}",
            fix="send the JSON type that the signature names (`shipway inspect` shows it)",
        )


def _fits(column: Column, value: Any) -> bool:  # noqa: ANN401 - any JSON value
    kind = type(value)
    match column.datatype:
        case "BYTES":
            return kind is str
        case "BOOL":
            return kind is bool
        case "FP64" | "FP32":
            return kind in (int, float)
        case "INT64" | "INT32":
            bits = 63 if column.datatype == "INT64" else 31
            whole = kind is int or (kind is float and value.is_integer())
            return whole and -(2**bits) <= value < 2**bits


def _approve_tensor(column: Column, value: Any, at: int) -> None:  # noqa: ANN401 - any JSON value
    try:
        array = np.array(value, dtype(column))
    except (TypeError, ValueError, OverflowError):
        array = np.empty(0)
    if array.shape != column.shape:
        raise Rejected(
            f"column {column.name!r} of row {at} must be a nested list of shape {list(column.shape)}",
            fix="send one list per dimension, all of equal length, with numbers inside",
        )


def _shown(value: Any) -> str:  # noqa: ANN401 - any JSON value
    if isinstance(value, bool):
        return "true" if value else "false"
    words = {int: "a number", float: "a number", str: "a text", list: "a list", dict: "an object"}
    return words.get(type(value), type(value).__name__)


def _bad_rows(signature: Signature, rows: Sequence[Any]) -> Rejected:
    names = {c.name for c in signature.inputs}
    for at, row in enumerate(rows):
        if not isinstance(row, Mapping):
            return Rejected(f"row {at} is not an object", fix='send rows like {"rows": [{"column": value}]}')
        lacking = [c.name for c in signature.inputs if c.name not in row]
        if lacking:
            return _lacking(lacking, f"row {at}")
        unknown = [name for name in row if name not in names]
        if unknown:
            return _unknown(signature, unknown, f"row {at}")
    return Rejected("a row cannot be read", fix='send rows like {"rows": [{"column": value}]}')


def _too_large(columns: Sequence[Column], cells: list[tuple[Any, ...]]) -> Rejected:
    for at, row in enumerate(cells):
        for column, value in zip(columns, row, strict=True):
            if type(value) is int and abs(value) >= 2**1023:
                return Rejected(
                    f"column {column.name!r} of row {at} is too large for a 64-bit float", fix="send a smaller number"
                )
    return Rejected("a number is too large for a 64-bit float", fix="send a smaller number")


def _lacking(names: list[str], where: str) -> Rejected:
    listed = ", ".join(repr(name) for name in names[:8]) + (", ..." if len(names) > 8 else "")
    return Rejected(f"{where} lacks column {listed}", fix="send every input column; null where the cell is missing")


def _unknown(signature: Signature, names: list[str], where: str) -> Rejected:
    listed = ", ".join(repr(name[:60]) for name in names[:8]) + (", ..." if len(names) > 8 else "")
    known = ", ".join(c.name for c in signature.inputs[:20]) + (", ..." if len(signature.inputs) > 20 else "")
    return Rejected(f"{where} has column {listed}, which the model does not know", fix=f"its columns are {known}")


def _checked(column: Column, values: NDArray[Any]) -> NDArray[Any]:
    if not column.shape and values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 1 + len(column.shape) or values.shape[1:] != column.shape:
        raise Rejected(
            f"column {column.name!r} has shape {list(values.shape)} instead of {[-1, *column.shape]}",
            fix="the first dimension counts rows, the others are the signature's",
        )
    cast = _checked_text(column, values) if column.datatype == "BYTES" else _checked_number(column, values)
    return cast


def _checked_text(column: Column, values: NDArray[Any]) -> NDArray[Any]:
    if values.dtype.kind == "U":
        values = values.astype(object)
    if values.dtype.kind != "O" or any(type(v) is not str and v is not None for v in values.flat):
        raise _other_type(column, values)
    if not column.nullable and any(v is None for v in values.flat):
        raise _missing_cells(column)
    return values


def _checked_number(column: Column, values: NDArray[Any]) -> NDArray[Any]:
    wanted = np.dtype(dtype(column))
    if values.dtype == wanted and wanted.kind != "f":
        return values
    allowed = {"f": "fiu", "i": "fiu", "b": "b"}[wanted.kind]
    if values.dtype.kind not in allowed:
        raise _other_type(column, values)
    if wanted.kind == "f":
        cast = values.astype(wanted, copy=False)
        if np.isinf(cast).any():
            raise Rejected(f"column {column.name!r} holds an infinity", fix="send finite numbers")
        if not column.nullable and np.isnan(cast).any():
            raise _missing_cells(column)
        return cast
    with np.errstate(invalid="ignore"):
        whole = values.astype(wanted)
    if not np.array_equal(whole, values):
        raise Rejected(f"column {column.name!r} holds numbers that {column.datatype} cannot", fix="send whole numbers")
    return whole


def _other_type(column: Column, values: NDArray[Any]) -> Rejected:
    return Rejected(
        f"column {column.name!r} must hold {column.datatype} ({_WORDS[column.datatype]}), not {values.dtype}",
        fix="send the datatype that the signature names (`shipway inspect` shows it)",
    )


def _missing_cells(column: Column) -> Rejected:
    return Rejected(
        f"column {column.name!r} has missing cells, and the model was not made for that",
        fix=f"send {_WORDS[column.datatype]} in every row of {column.name!r}",
    )
