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
_GREATEST_FP32 = float(np.finfo(np.float32).max)


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
        known = _CODERS[id(signature)] = (signature, _Coder(signature))
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
    if values.dtype.kind == "f" and not _finite(values):
        unwritable = ~np.isfinite(values)
        values = values.astype(object)
        values[unwritable] = None
    listed: list[Any] = values.tolist()
    return listed


def _finite(values: NDArray[Any]) -> bool:
    if values.size <= 16:  # a call of numpy costs more than a look at each
        return all(map(math.isfinite, values.ravel().tolist()))
    return bool(np.isfinite(values).all())


class _Coder:
    """Coerces rows for one signature."""

    def __init__(self, signature: Signature) -> None:
        columns = signature.inputs
        numbers = [i for i, c in enumerate(columns) if not c.shape and c.datatype == "FP64"]
        texts = [i for i, c in enumerate(columns) if not c.shape and c.datatype == "BYTES"]
        self._signature = signature
        self._cells = _picker([c.name for c in columns])
        self._numbers, self._texts = _picker(numbers), _picker(texts)
        self._number_names = [columns[i].name for i in numbers]
        self._text_names = [columns[i].name for i in texts]
        self._rest = [(i, c) for i, c in enumerate(columns) if c.shape or c.datatype not in ("FP64", "BYTES")]
        self._width = len(columns)
        self._approved: set[tuple[type, ...]] = set()

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> Columns:
        cells = self._approved_cells(rows)
        found: Columns = {}
        if self._number_names:
            found.update(zip(self._number_names, self._matrix(cells).T, strict=False))
        if self._text_names:
            # One flat list: numpy takes it without looking into each row for its shape.
            written = np.empty(len(cells) * len(self._text_names), object)
            written[:] = [text for row in cells for text in self._texts(row)]
            found.update(zip(self._text_names, written.reshape(len(cells), -1).T, strict=False))
        for at, column in self._rest:
            found[column.name] = _rest(column, [row[at] for row in cells])
        return found

    def _approved_cells(self, rows: Sequence[Mapping[str, Any]]) -> list[tuple[Any, ...]]:
        try:
            cells = [self._cells(row) for row in rows]
        except (KeyError, TypeError):
            raise _bad_rows(self._signature, rows) from None
        approved, width = self._approved, self._width
        for at, row in enumerate(cells):
            types = tuple(map(type, row))
            if len(rows[at]) != width:
                raise _bad_rows(self._signature, rows)
            if types not in approved and _approve(self._signature.inputs, row, at) and len(approved) < _REMEMBERED:
                approved.add(types)
        return cells

    def _matrix(self, cells: list[tuple[Any, ...]]) -> NDArray[np.float64]:
        try:
            block = np.array([number for row in cells for number in self._numbers(row)], np.float64)
        except OverflowError:
            raise _too_large(self._signature.inputs, cells) from None
        return block.reshape(len(cells), len(self._number_names))


def _picker(keys: Sequence[Any]) -> Callable[[Any], tuple[Any, ...]]:
    """Return a function that takes several items at once, always as a tuple."""
    if not keys:
        return lambda row: ()  # noqa: ARG005
    if len(keys) == 1:
        key = keys[0]
        return lambda row: (row[key],)
    pick: Callable[[Any], tuple[Any, ...]] = itemgetter(*keys)
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
        case "FP64":
            return kind in (int, float)
        case "FP32":
            return kind in (int, float) and abs(value) <= _GREATEST_FP32
        case "INT64" | "INT32":
            bits = 63 if column.datatype == "INT64" else 31
            whole = kind is int or (kind is float and value.is_integer())
            return whole and -(2**bits) <= value < 2**bits


def _approve_tensor(column: Column, value: Any, at: int) -> None:  # noqa: ANN401 - any JSON value
    try:
        with np.errstate(over="ignore"):
            array = np.array(value, dtype(column))
    except (TypeError, ValueError, OverflowError):
        array = np.empty(0)
    if array.shape != column.shape or (array.dtype.kind == "f" and np.isinf(array).any()):
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
    return _checked_text(column, values) if column.datatype == "BYTES" else _checked_number(column, values)


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
