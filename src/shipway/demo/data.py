"""Bring any table into the form that the story needs: rows to train on, rows to hold out, rows to stream.

Without a time column rows are shuffled with a fixed seed; with one, the first 40 % train and the rest
streams in order. What cannot be a feature (a text that is different in every row, a column without a
single value) is left out and named. Nothing is made up here: what the story injects, it injects later.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from shipway import pack
from shipway.errors import Rejected
from shipway.terms import Task

SEED = 20260101
TRAIN_AT_MOST = 20_000
STREAM_AT_MOST = 40_000
LEVELS_AT_MOST = 200


@dataclass(frozen=True)
class Data:
    """One table, cut for the story. `target` is a column of all three parts."""

    name: str
    task: Task
    target: str
    train: pd.DataFrame
    holdout: pd.DataFrame
    stream: pd.DataFrame
    ordered: bool
    left_out: dict[str, str]
    """Column -> why it is not a feature."""

    @property
    def features(self) -> list[str]:
        """Names of the input columns."""
        return [column for column in self.train.columns if column != self.target]

    @property
    def numbers(self) -> list[str]:
        """Names of the numeric input columns."""
        return [column for column in self.features if pd.api.types.is_numeric_dtype(self.train[column])]

    @property
    def texts(self) -> list[str]:
        """Names of the text input columns."""
        return [column for column in self.features if column not in self.numbers]


def _missing_column(table: pd.DataFrame, named: str, option: str) -> Rejected:
    import difflib

    close = difflib.get_close_matches(named, list(table.columns), 1)
    meant = f"; did you mean {close[0]!r}?" if close else ""
    shown = ", ".join(map(str, list(table.columns)[:12]))
    return Rejected(f"the table has no column {named!r}{meant}", fix=f"give {option} one of: {shown}")


def _numbers(column: pd.Series) -> pd.Series:
    """Give a column as float64 if it is numbers, truth values or instants; as text with None otherwise."""
    if pd.api.types.is_datetime64_any_dtype(column):
        seconds = pd.to_datetime(column, utc=True).astype("int64") / 10 ** (
            9 if str(column.dtype).startswith("datetime64[ns") else 6
        )
        return seconds.where(column.notna(), np.nan).astype("float64")
    if pd.api.types.is_bool_dtype(column) or pd.api.types.is_numeric_dtype(column):
        return column.astype("float64")
    return (
        column.astype("object")
        .where(column.notna(), None)
        .map(lambda cell: None if cell is None else str(cell))
        .astype("object")
    )


def _why_left_out(column: pd.Series) -> str:
    known = column.dropna()
    if known.empty:
        return "no value in any row"
    if column.dtype == object:
        levels = known.nunique()
        if levels > LEVELS_AT_MOST:
            return f"free text: {levels:,} different values"
    elif not np.isfinite(known.to_numpy(dtype="float64")).all():
        return "holds an infinity"
    return ""


def _task(target: pd.Series) -> Task:
    if pd.api.types.is_numeric_dtype(target) and not pd.api.types.is_bool_dtype(target) and target.nunique() > 20:
        return Task.REGRESSION
    classes = target.nunique()
    if classes < 2:
        raise Rejected(
            f"the target {target.name!r} has {classes} different value", fix="choose a target with at least two"
        )
    if classes > 50:
        raise Rejected(
            f"the target {target.name!r} has {classes} different texts",
            fix="choose a target with at most 50 classes, or a number",
        )
    return Task.BINARY if classes == 2 else Task.MULTICLASS


def _target(column: pd.Series, task: Task) -> pd.Series:
    if task is Task.REGRESSION:
        return column.astype("float64")
    whole = pd.api.types.is_float_dtype(column) and (column == column.round()).all()
    return (column.astype("int64") if whole else column).astype(str).astype("object")


def _cut(table: pd.DataFrame, *, ordered: bool) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    first = int(len(table) * (0.4 if ordered else 0.6))
    known, stream = table.iloc[:first], table.iloc[first:]
    fit = int(len(known) * 0.7)
    train, holdout = known.iloc[:fit], known.iloc[fit:]
    return train.iloc[-TRAIN_AT_MOST:], holdout.iloc[-TRAIN_AT_MOST // 4 :], stream.iloc[:STREAM_AT_MOST]


def _in_order(table: pd.DataFrame, target: str, time: str | None) -> pd.DataFrame:
    """Give the rows that have a target in the order of the story."""
    if target not in table.columns:
        raise _missing_column(table, target, "--target")
    if time is None:
        table = table.sample(frac=1.0, random_state=SEED)
    elif time in table.columns and time != target:
        table = table.sort_values(time, kind="stable").drop(columns=[time])
    else:
        raise _missing_column(table.drop(columns=[target]), time, "--time")
    return table[table[target].notna()].reset_index(drop=True)


def _features(table: pd.DataFrame, target: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Split the columns into features and what is left out, with the reason."""
    columns: dict[str, Any] = {}
    left_out: dict[str, str] = {}
    for column in table.columns.drop(target):
        cells = _numbers(table[column])
        if why := _why_left_out(cells):
            left_out[str(column)] = why
        else:
            columns[str(column)] = cells
    return columns, left_out


def prepare(table: pd.DataFrame, *, name: str, target: str, time: str | None) -> Data:
    """Cut a table for the story.

    Raises:
        Rejected: there is no such column, or the table is too small or its target too odd to tell the story with.
    """
    table = _in_order(table, target, time)
    if len(table) < 200:
        raise Rejected(
            f"{name} has {len(table)} rows with a {target!r}, and the story needs 200", fix="give a larger file"
        )
    task = _task(table[target])
    columns, left_out = _features(table, target)
    if not columns:
        raise Rejected(
            f"{name} has no column to predict {target!r} from", fix="give a file with at least one more usable column"
        )
    features = pd.DataFrame(columns)
    features[target] = _target(table[target], task)
    if task is not Task.REGRESSION:  # a class that is nearly absent cannot be in all three parts
        counts = features[target].value_counts()
        features = features[features[target].isin(counts[counts >= max(10, len(features) // 1000)].index)].reset_index(
            drop=True
        )
        task = _task(features[target])
    train, holdout, stream = _cut(features, ordered=time is not None)
    if task is not Task.REGRESSION:
        known = set(train[target])
        holdout, stream = holdout[holdout[target].isin(known)], stream[stream[target].isin(known)]
    return Data(name, task, target, train, holdout, stream, time is not None, left_out)


def load(path: Path | None, *, target: str | None, time: str | None) -> Data:
    """Load a CSV or Parquet file, or the breast-cancer data that scikit-learn ships.

    Raises:
        Rejected: the file cannot be read as a table, or see `prepare`.
    """
    if path is None:
        from sklearn.datasets import load_breast_cancer

        table = load_breast_cancer(as_frame=True).frame
        table["diagnosis"] = np.where(table.pop("target") == 1, "benign", "malignant")
        return prepare(table, name="breast-cancer", target="diagnosis", time=None)
    if target is None:
        raise Rejected("a file was given without the column to predict", fix="add --target COLUMN")
    frame = pack.read_table(path).to_pandas()
    return prepare(frame, name=path.stem, target=target, time=time)


def to_arrow(frame: pd.DataFrame) -> pa.Table:
    """Give a frame as an Arrow table; the text None stays missing."""
    return pa.Table.from_pandas(frame, preserve_index=False)


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Give rows as JSON-ready records; missing cells are None."""
    rows = frame.astype(object).where(frame.notna(), None).to_dict("records")
    return [{key: (cell.item() if isinstance(cell, np.generic) else cell) for key, cell in row.items()} for row in rows]
