"""Compare a converted model with its original, on real rows and on rows chosen to find differences.

Edge rows are real rows with one cell changed: to a threshold of the model, its two neighbours among doubles
and its rounding to float32; to a missing cell; to a level never seen, a level spelled otherwise, the empty
text and the text "nan"; to whole numbers that float32 cannot hold. Converters that pass on real rows alone
have been wrong by 0.9 of a probability on such rows. Equal means: no label changed, save where the original
itself was tied, and no number differs by more than the tolerance.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from shipway.errors import ShipwayError
from shipway.terms import Column, Task

Columns = dict[str, NDArray[Any]]
Predict = Callable[[Columns], Columns]

DOUBLE, FLOAT32 = 1e-9, 1e-5
"""Tolerances: of a probability, or of the spread of a regressor's answers."""

REAL_ROWS = 4000
_EDGES_PER_COLUMN = 40
_EDGE_ROWS = 3000
_GROUP = 40
UNSEEN = "a level that training never showed"


class Oracle(Protocol):
    """What answers as the original does: the original, or a graph that has none."""

    @property
    def specs(self) -> tuple[Column, ...]:
        """Its input columns."""
        ...

    def answer(self, columns: Columns) -> Columns:
        """Answer rows, in the form of a signature."""
        ...


@dataclass(frozen=True)
class Parity:
    """What a comparison found."""

    rows: int
    edge_rows: int
    tolerance: float
    largest_difference: float
    above_tolerance: int
    labels_changed: int
    ties: int
    largest_batch_difference: float

    @property
    def holds(self) -> bool:
        """Say whether the conversion may be believed."""
        within = self.above_tolerance == 0 and self.labels_changed == 0
        return within and self.largest_batch_difference <= self.tolerance

    def sentence(self) -> str:
        """Tell it in words."""
        count = f"{self.rows:,} rows and {self.edge_rows:,} edge rows"
        found = f"largest difference {self.largest_difference:.1e}, labels changed {self.labels_changed}"
        if self.holds:
            return f"equal on {count}: {found}"
        if self.largest_batch_difference > self.tolerance:
            return f"its batches differ from single rows by {self.largest_batch_difference:.1e}"
        return f"not equal on {count}: {found}, {self.above_tolerance:,} rows above {self.tolerance:.0e}"


@dataclass(frozen=True)
class Trial:
    """Rows to compare on, and what the original answers to them."""

    columns: Columns
    answers: Columns
    rows: int
    edge_rows: int


def head(columns: Columns, limit: int) -> Columns:
    """Take up to `limit` rows, evenly spaced."""
    rows = len(next(iter(columns.values())))
    if rows <= limit:
        return columns
    chosen = np.linspace(0, rows - 1, limit).round().astype(np.intp)
    return {name: values[chosen] for name, values in columns.items()}


def accepted(original: Oracle, columns: Columns, probes: Sequence[tuple[str, Any]]) -> list[bool]:
    """Say of each (column, cell) whether the original answers a row with that cell, with finite numbers."""
    if not probes:
        return []
    if _answers(original, _changed(columns, probes)):
        return [True] * len(probes)
    if len(probes) > _GROUP:
        return [False] * len(probes)
    return [_answers(original, _changed(columns, [probe])) for probe in probes]


def _answers(original: Oracle, columns: Columns) -> bool:
    try:
        answers = original.answer(columns)
    except Exception:  # noqa: BLE001 - whatever a model raises on a cell it does not take
        return False
    return all(np.isfinite(v).all() for v in answers.values() if v.dtype.kind == "f")


def _changed(columns: Columns, probes: Sequence[tuple[str, Any]]) -> Columns:
    """Take one real row per probe and change its cell."""
    rows = len(next(iter(columns.values())))
    chosen = np.arange(len(probes)) * 7919 % rows
    made = {name: values[chosen].copy() for name, values in columns.items()}
    for row, (name, cell) in enumerate(probes):
        made[name][row] = cell
    return made


def trial(
    original: Oracle, columns: Columns, edges: dict[str, list[float]] | None, refused: set[tuple[str, str]]
) -> Trial:
    """Choose rows and ask the original about them.

    Args:
        original: the model.
        columns: real rows.
        edges: raw thresholds by column of numbers; columns without any get some from their own values.
            None for no edge rows at all: where there is no original, they prove nothing.
        refused: (column, "missing" or "unknown") that the original does not take.
    """
    real = head(columns, REAL_ROWS)
    rows = len(next(iter(real.values())))
    specs = original.specs if edges is not None else ()
    probes = [p for s in specs for p in _probes(s, real[s.name], (edges or {}).get(s.name, []), refused)]
    if len(probes) > _EDGE_ROWS:
        probes = [probes[i] for i in np.linspace(0, len(probes) - 1, _EDGE_ROWS).astype(int)]
    together = (
        {name: np.concatenate([real[name], changed]) for name, changed in _changed(real, probes).items()}
        if probes
        else real
    )
    return Trial(together, original.answer(together), rows, len(probes))


def _probes(
    spec: Column, values: NDArray[Any], edges: list[float], refused: set[tuple[str, str]]
) -> list[tuple[str, Any]]:
    if spec.shape or spec.datatype == "BOOL":
        return []
    cells: list[Any] = []
    if spec.datatype == "BYTES":
        if (spec.name, "unknown") not in refused:
            level = next((v for v in values.tolist() if v is not None), "")
            cells += [UNSEEN, "", "nan", level.upper(), level.lower(), f" {level}"]
        if (spec.name, "missing") not in refused:
            cells += [None]
        return [(spec.name, cell) for cell in cells for _ in range(3)]
    if values.dtype.kind != "f":
        return []
    cells += _edge_numbers(np.array(edges) if edges else _own_edges(values))
    if (spec.name, "missing") not in refused:
        cells += [math.nan] * 3
    if spec.integral and not edges and (values[~np.isnan(values)] % 1 == 0).all():
        cells = [c if c != c else float(round(c)) for c in cells]  # noqa: PLR0124 - NaN
    if spec.integral:
        cells += [2.0**24 + 1, 2.0**24 + 3]
    return [(spec.name, cell) for cell in cells]


def _own_edges(values: NDArray[np.float64]) -> NDArray[np.float64]:
    present = values[~np.isnan(values)]
    return np.unique(np.quantile(present, [0, 0.1, 0.25, 0.5, 0.75, 0.9, 1])) if len(present) else present


def _edge_numbers(thresholds: NDArray[np.float64]) -> list[float]:
    distinct = np.unique(thresholds)
    if len(distinct) > _EDGES_PER_COLUMN:
        distinct = distinct[np.linspace(0, len(distinct) - 1, _EDGES_PER_COLUMN).astype(int)]
    with np.errstate(over="ignore"):
        around = [
            distinct,
            np.nextafter(distinct, -np.inf),
            np.nextafter(distinct, np.inf),
            distinct.astype(np.float32).astype(np.float64),
        ]
    together = np.concatenate(around)
    return [float(v) for v in np.unique(together[np.isfinite(together)])]


def compare(task: Task, asked: Trial, predict: Predict, tolerance: float) -> Parity:
    """Compare a runtime's answers with the original's, in one batch, and in batches of 1, 2 and 64."""
    got = predict(asked.columns)
    expected, given = _numbers(task, asked.answers), _numbers(task, got)
    classifies = task in (Task.BINARY, Task.MULTICLASS)
    spread = 1.0 if classifies else max(float(np.ptp(expected)), 1e-12)
    by_row = (_difference(expected, given) / spread).max(axis=1)
    changed = ties = 0
    if classifies:
        other = asked.answers["label"] != got["label"]
        best = np.sort(expected, axis=1)
        tied = best[:, -1] - best[:, -2] <= 2 * tolerance
        changed, ties = int((other & ~tied).sum()), int((other & tied).sum())
    apart = _batches(task, asked.columns, given, predict) / spread
    above = int((by_row > tolerance).sum())
    return Parity(asked.rows, asked.edge_rows, tolerance, float(by_row.max()), above, changed, ties, apart)


def _difference(a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.float64]:
    if a.shape != b.shape:
        return np.full(len(a), np.inf)
    with np.errstate(invalid="ignore"):
        gap = np.abs(a - b)
    alike = (a == b) | (np.isnan(a) & np.isnan(b))
    return np.where(alike, 0.0, np.where(np.isnan(gap), np.inf, gap))


def _numbers(task: Task, answers: Columns) -> NDArray[np.float64]:
    """Return the answered numbers of each row side by side."""
    if task is Task.REGRESSION:
        return answers["prediction"][:, None]
    if task is not Task.OTHER:
        return answers["probability"]
    parts = [v.reshape(len(v), -1).astype(np.float64) for v in answers.values() if v.dtype.kind in "fiub"]
    rows = len(next(iter(answers.values())))
    return np.concatenate(parts, axis=1) if parts else np.zeros((rows, 1))


def _batches(task: Task, columns: Columns, whole: NDArray[Any], predict: Predict) -> float:
    rows = len(whole)
    largest = 0.0
    for size in (1, 2, 64):
        for start in sorted({0, max(0, rows // 2 - size), max(0, rows - size)}):
            part = _numbers(task, predict({k: v[start : start + size] for k, v in columns.items()}))
            largest = max(largest, float(_difference(whole[start : start + size], part).max()))
    return largest


def explain(error: Exception) -> str:
    """Write why an attempt failed on one line; the cause says more than the wrapper."""
    while error.__cause__ is not None and not isinstance(error, ShipwayError):
        error = error.__cause__  # type: ignore[assignment]
    lines = [line for line in str(error).strip().splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__
