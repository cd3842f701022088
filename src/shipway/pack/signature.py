"""See from data what a model's inputs are: types, missing cells, levels, ranges."""

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from shipway.errors import Rejected
from shipway.pack.tables import is_text
from shipway.terms import Column, Signature, Task

MAX_LEVELS = 1000


def input_columns(table: pa.Table, names: Iterable[str]) -> tuple[Column, ...]:
    """Describe the named columns of a table.

    Numbers are FP64 whether whole or not (`integral` says that they were whole): traffic is never as tidy as
    training data, and the converted models compute in double anyway.

    Raises:
        Rejected: a column is entirely missing, or of a type that no model takes.
    """
    return tuple(_describe(name, table[name]) for name in names)


def outputs(task: Task, classes: tuple[str, ...]) -> tuple[Column, ...]:
    """Describe what a classifier or regressor answers."""
    if task is Task.REGRESSION:
        return (Column("prediction", "FP64"),)
    return (
        Column("label", "BYTES", levels=tuple(sorted(classes))),
        Column("probability", "FP64", shape=(len(classes),)),
    )


def signature(inputs: tuple[Column, ...], task: Task, classes: tuple[str, ...]) -> Signature:
    """Put a signature together."""
    return Signature(inputs, outputs(task, classes), classes)


def _describe(name: str, column: pa.ChunkedArray) -> Column:
    if column.null_count == len(column):
        raise Rejected(
            f"column {name!r} is missing in all {len(column):,} rows", fix="drop the column, or give rows that have it"
        )
    kind = column.type
    nullable = column.null_count > 0
    if is_text(kind):
        distinct = [v for v in pc.unique(column).to_pylist() if v is not None]
        levels = tuple(sorted(distinct)) if len(distinct) <= MAX_LEVELS else None
        return Column(name, "BYTES", nullable=nullable, levels=levels)
    if pa.types.is_boolean(kind) and not nullable:
        return Column(name, "BOOL")
    if (
        pa.types.is_boolean(kind)
        or pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_decimal(kind)
    ):
        return _numbers(name, column, nullable=nullable)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return _tensor(name, column)
    raise Rejected(
        f"column {name!r} holds {kind}, which no model takes as it is",
        fix="turn dates into numbers (days, hour, weekday) before training, and leave the original column out",
    )


def _numbers(name: str, column: pa.ChunkedArray, *, nullable: bool) -> Column:
    values = np.asarray(column.cast(pa.float64(), safe=False).to_numpy(), np.float64)
    if np.isinf(values).any():
        raise Rejected(f"column {name!r} holds an infinity", fix="replace infinities by empty cells or finite numbers")
    present = values[~np.isnan(values)]
    if not len(present):
        raise Rejected(f"column {name!r} has no number in all {len(values):,} rows", fix="drop the column")
    return Column(
        name,
        "FP64",
        nullable=nullable or len(present) < len(values),
        integral=bool((present == np.floor(present)).all()),
        low=float(present.min()),
        high=float(present.max()),
    )


def _tensor(name: str, column: pa.ChunkedArray) -> Column:
    try:
        shape = np.array(column.to_pylist(), np.float64).shape[1:]
    except (TypeError, ValueError) as exc:
        raise Rejected(f"the lists of column {name!r} differ in length", fix="give lists of one length") from exc
    return Column(name, "FP64", shape=shape)
