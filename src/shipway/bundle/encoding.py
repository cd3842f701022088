"""Turn columns into the one matrix that a converted graph takes, by tables made when packing.

A text column cannot be cheap inside a graph (a text tensor costs more than a whole model), but it
has few levels: a dict from level to number costs nothing. So each column of the matrix X is either a
column of numbers as it is, or one looked up: level -> number, with a number for a level never seen
and one for a missing cell. `encoding.json` holds these tables and is part of the digest.

    {"format": 1, "columns": [
        {"column": "age", "kind": "number"},
        {"column": "job", "kind": "text", "levels": {"cook": 0, "nurse": 1}, "unknown": 2, "missing": 3}]}

A table of `kind` "level" is the same for a column of numbers with few values; its levels are written
[[value, number], ...]. "unknown" or "missing" may be absent: then the model refuses such a cell, and so
do we. A number that JSON lacks, NaN, is written null.
"""

import math
from collections.abc import Callable, Mapping
from itertools import repeat
from typing import Any, Literal

import msgspec
import numpy as np
from msgspec import UNSET, Struct, UnsetType
from numpy.typing import NDArray

from shipway.errors import Rejected
from shipway.terms import FORMAT

Cell = float | None


class TableColumn(Struct, frozen=True, omit_defaults=True):
    """One column of X: where it comes from and how."""

    column: str
    kind: Literal["number", "text", "level"]
    levels: dict[str, Cell] | list[tuple[float, Cell]] = {}
    unknown: Cell | UnsetType = UNSET
    missing: Cell | UnsetType = UNSET


class Encoding(Struct, frozen=True):
    """All columns of X, in order."""

    columns: tuple[TableColumn, ...]
    format: int = FORMAT

    def position(self, column: str) -> int:
        """Return the place in X of an input column that is passed on as it is.

        Raises:
            Rejected: no such column is.
        """
        for place, entry in enumerate(self.columns):
            if entry.column == column and entry.kind == "number":
                return place
        raise Rejected(f"column {column!r} is not passed on as a number", fix="choose a column of numbers")


def encode(encoding: Encoding) -> bytes:
    """Write an encoding as JSON, the same bytes for the same tables."""
    return msgspec.json.encode(encoding, order="sorted")


def decode(data: bytes) -> Encoding:
    """Read an encoding.

    Raises:
        Rejected: these bytes are none.
    """
    try:
        return msgspec.json.decode(data, type=Encoding)
    except msgspec.MsgspecError as exc:
        raise Rejected(f"the text encoding of the bundle cannot be read: {exc}", fix="pack the model again") from exc


def encoder(encoding: Encoding) -> Callable[[Mapping[str, NDArray[Any]]], NDArray[np.float64]]:
    """Compile an encoding into a function from columns to the matrix X, float64 of shape (rows, columns of X).

    The function raises Rejected where a table has no number for a cell.
    """
    if not encoding.columns:
        raise Rejected("the encoding has no columns", fix="pack a model with at least one input")
    first, width = encoding.columns[0].column, len(encoding.columns)
    numbers = [(place, entry.column) for place, entry in enumerate(encoding.columns) if entry.kind == "number"]
    texts = [
        (place, e.column, _table(e).get, _number(e.unknown)) for place, e in enumerate(encoding.columns) if _open(e)
    ]
    tables = [
        (place, e.column, _careful(e))
        for place, e in enumerate(encoding.columns)
        if e.kind != "number" and not _open(e)
    ]

    def matrix(columns: Mapping[str, NDArray[Any]]) -> NDArray[np.float64]:
        rows = len(columns[first])
        x = np.empty((rows, width))
        for place, name in numbers:
            x[:, place] = columns[name]
        if rows == 1:  # most requests: spare the lists
            row = x[0]
            for place, name, get, other in texts:
                row[place] = get(columns[name].item(), other)
            for place, name, look in tables:
                row[place] = look(columns[name].item())
        else:
            for place, name, get, other in texts:
                x[:, place] = list(map(get, columns[name].tolist(), repeat(other)))
            for place, name, look in tables:
                x[:, place] = [look(cell) for cell in columns[name].tolist()]
        return x

    return matrix


def _open(entry: TableColumn) -> bool:
    """Say whether a table of text has a number for any cell there may be."""
    return entry.kind == "text" and UNSET not in (entry.missing, entry.unknown)


def _table(entry: TableColumn) -> dict[Any, float]:
    pairs = entry.levels.items() if isinstance(entry.levels, dict) else entry.levels
    table: dict[Any, float] = {level: _number(value) for level, value in pairs}
    if entry.kind == "text" and not isinstance(entry.missing, UnsetType):
        table[None] = _number(entry.missing)
    return table


def _careful(entry: TableColumn) -> Callable[[Any], float]:
    table = _table(entry)

    def careful(cell: Any) -> float:  # noqa: ANN401 - a cell of any column
        return table[cell] if cell in table else _fall_back(entry, cell)

    return careful


def _fall_back(entry: TableColumn, cell: Any) -> float:  # noqa: ANN401 - a cell of any column
    missing = cell is None or cell != cell  # noqa: PLR0124 - NaN alone differs from itself
    value = entry.missing if missing else entry.unknown
    if isinstance(value, UnsetType):
        what = "is missing" if missing else "has a level that the model has never seen"
        raise Rejected(
            f"column {entry.column!r} {what}, and its encoder refuses that",
            fix="send a known level (`shipway inspect` lists them), or train the encoder to accept unknown ones",
        )
    return _number(value)


def _number(value: Cell | UnsetType) -> float:
    return math.nan if value is None or isinstance(value, UnsetType) else float(value)
