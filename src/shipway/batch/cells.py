"""Turn a column of a block into what a runtime takes, and find the rows that do not fit.

The common case costs one cast of the whole column. Only where that fails is the column cut in halves, again and
again, until the cells that do not fit stand alone; so the rule is always the cast itself and never a second parser.

A row is named by its place in the block. The first reason found for a row is the one that is told.
"""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from shipway.pack.tables import NO_NUMBER, is_text
from shipway.terms import Column

Faults = dict[int, tuple[str, str]]
"""Place of a row -> the column that does not fit, and why."""

KINDS: dict[str, pa.DataType] = {
    "BOOL": pa.bool_(), "INT32": pa.int32(), "INT64": pa.int64(),
    "FP32": pa.float32(), "FP64": pa.float64(), "BYTES": pa.string(),
}  # fmt: skip
"""Arrow's type of a scalar column."""
_WORDS = {"BOOL": "true or false", "INT32": "a 32-bit whole number", "INT64": "a whole number"}


def kind(column: Column) -> pa.DataType:
    """Return Arrow's type of a column; a tensor is a list of lists.

    >>> kind(Column("embedding", "FP32", shape=(3,)))
    ListType(list<item: float>)
    """
    found = KINDS[column.datatype]
    for _ in column.shape:
        found = pa.list_(found)
    return found


def convertible(found: pa.DataType, column: Column) -> bool:
    """Say whether cells of an Arrow type could be cells of the column at all."""
    if pa.types.is_dictionary(found):
        found = found.value_type
    if column.shape:
        return bool(pa.types.is_list(found) or pa.types.is_large_list(found) or pa.types.is_fixed_size_list(found))
    if is_text(found) or pa.types.is_null(found):
        return True
    if pa.types.is_temporal(found) and column.datatype != "BYTES":
        return False
    try:
        pa.array([], found).cast(KINDS[column.datatype])
    except pa.ArrowException:
        return False
    return not pa.types.is_nested(found) and not pa.types.is_binary(found)


def convert(found: pa.Array, column: Column, faults: Faults) -> NDArray[Any]:
    """Turn one column of a block into the numpy array of its signature column.

    Args:
        found: the cells.
        column: of the signature.
        faults: receives the rows that do not fit; their cells in the answer mean nothing.
    """
    if column.shape:
        return _tensors(found, column, faults)
    if column.datatype == "BYTES":
        return _texts(found, column, faults)
    if pa.types.is_dictionary(found.type):
        found = found.dictionary_decode()
    cast, unreadable = _numbers(found, column)
    for row in unreadable:
        faults.setdefault(row, (column.name, f"is not {_WORDS.get(column.datatype, 'a number')}"))
    if column.datatype in ("FP64", "FP32"):
        return _fractions(cast, column, faults)
    if cast.null_count:
        _missing(np.flatnonzero(cast.is_null().to_numpy(zero_copy_only=False)), column, faults)
        cast = cast.fill_null(pa.scalar(0).cast(cast.type))
    return np.asarray(cast.to_numpy(zero_copy_only=False))


def _missing(rows: NDArray[Any], column: Column, faults: Faults) -> None:
    for row in rows.tolist():
        faults.setdefault(row, (column.name, "is missing, and the model was not made for that"))


def _texts(found: pa.Array, column: Column, faults: Faults) -> NDArray[Any]:
    if not pa.types.is_dictionary(found.type):
        # A level is made into a Python text once per block instead of once per row.
        found = (found if is_text(found.type) else found.cast(pa.string())).dictionary_encode()
    levels = found.dictionary.to_pylist()
    table = np.empty(len(levels) + 1, object)
    table[:-1] = levels
    codes = found.indices.fill_null(len(levels)) if found.indices.null_count else found.indices
    texts: NDArray[Any] = table[codes.to_numpy()]
    if not column.nullable and (found.indices.null_count or None in levels):
        _missing(np.flatnonzero(texts == None), column, faults)  # noqa: E711 - elementwise
    return texts


def _numbers(found: pa.Array, column: Column) -> tuple[pa.Array, list[int]]:
    wanted = pa.float64() if column.datatype in ("FP64", "FP32") else KINDS[column.datatype]
    if not is_text(found.type):
        return _cast(found, wanted)
    try:
        return found.cast(wanted), []
    except pa.ArrowInvalid:
        trimmed = pc.utf8_trim_whitespace(found)
        absent = pc.is_in(trimmed, value_set=pa.array(NO_NUMBER, found.type))
        return _cast(pc.if_else(absent, pa.scalar(None, found.type), trimmed), wanted)


def _cast(found: pa.Array, wanted: pa.DataType) -> tuple[pa.Array, list[int]]:
    """Cast, with null for cells that cannot be, and their places."""
    try:
        # Not "safe" where fractions are wanted: it would refuse whole numbers from 2**53 on, which packing took too.
        return found.cast(wanted, safe=wanted != pa.float64()), []
    except pa.ArrowInvalid:
        if len(found) == 1:
            return pa.nulls(1, wanted), [0]
    half = len(found) // 2
    left, bad = _cast(found[:half], wanted)
    right, worse = _cast(found[half:], wanted)
    return pa.concat_arrays([left, right]), bad + [half + row for row in worse]


def _fractions(cast: pa.Array, column: Column, faults: Faults) -> NDArray[Any]:
    numbers = np.asarray(cast.to_numpy(zero_copy_only=False), np.float64)
    if column.datatype == "FP32":
        with np.errstate(over="ignore"):
            numbers = numbers.astype(np.float32)
    with np.errstate(all="ignore"):
        # A finite sum proves that all cells are finite in half the time of a look at each.
        finite = bool(np.isfinite(np.add.reduce(numbers)))
    if finite:
        return numbers
    for row in np.flatnonzero(np.isinf(numbers)).tolist():
        faults.setdefault(row, (column.name, "is too large or infinite"))
    if not column.nullable:
        _missing(np.flatnonzero(np.isnan(numbers)), column, faults)
    return numbers


def _sound(one: NDArray[Any], column: Column) -> bool:
    return bool((np.isfinite(one) | (np.isnan(one) & column.nullable)).all())


def _tensors(found: pa.Array, column: Column, faults: Faults) -> NDArray[Any]:
    made = np.zeros((len(found), *column.shape), KINDS[column.datatype].to_pandas_dtype())
    for row, cell in enumerate(found.to_pylist()):
        try:
            with np.errstate(over="ignore"):
                one = np.array(cell, made.dtype)
        except (TypeError, ValueError, OverflowError):
            one = np.empty(0)
        if one.shape != column.shape or (one.dtype.kind == "f" and not _sound(one, column)):
            faults.setdefault(row, (column.name, f"is not finite numbers of shape {list(column.shape)}"))
        else:
            made[row] = one
    return made
