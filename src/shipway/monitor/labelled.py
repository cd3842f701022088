"""Find out from labels how right a champion was, counting each labelled row once.

Labels come late and in any order, so stretches of the past are counted again at every look, and only what
is new since the last look is weighed.
"""

from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from shipway.monitor.decide import State
from shipway.monitor.policy import Policy, seconds
from shipway.stats import sequences
from shipway.stats.sequences import Baseline, Losses
from shipway.terms import Task

ROWS_FILE = "reference/rows.parquet"
TARGET = "__target__"
SHADOW, FALLBACK, FORCED = 1, 2, 4
OK = 200
LONGEST_MEMORY = 500
"""Stretches of the past whose labelled rows are remembered as counted."""


class Outcomes(Protocol):
    """What a monitor asks of the lake."""

    def outcomes(self, project: str, endpoint: str, *, since: float | None = None) -> Any:  # noqa: ANN401 - a pyarrow table
        """Return one row per row of a primary request, `truth` null while there is no label: at, variant,
        version, status, flags, label, prediction, truth.
        """  # noqa: D205 - the columns belong to the promise
        ...

    def unknown_labels(self, project: str, endpoint: str, *, older_than: float) -> Any:  # noqa: ANN401 - its `labels` is a number
        """Count labels received before `older_than` whose event never arrived."""
        ...


class Realised(NamedTuple):
    """What labels said."""

    losses: Losses | None
    """Rows that were not weighed before; None if there are none."""
    baseline: Baseline | None
    counted: dict[int, Losses]


def promised(bundle: Path, task: Task) -> Baseline | None:
    """Measure a bundle's model on the rows it carries; None where they have no outcomes."""
    file = bundle / ROWS_FILE
    column = "prediction" if task is Task.REGRESSION else "label"
    if task is Task.OTHER or not file.is_file():
        return None
    names = pq.read_schema(file).names
    said = next((n for n in (column, f"output.{column}", f"__{column}__") if n in names), None)
    if said is None or TARGET not in names:
        return None
    table = pq.read_table(file, columns=[said, TARGET])
    pairs = _known(table[said], table[TARGET], is_number=task is Task.REGRESSION)
    return sequences.baseline(*pairs, is_number=task is Task.REGRESSION) if len(pairs[0]) else None


def realised(table: pa.Table, state: State, policy: Policy, task: Task, version: int) -> Realised:
    """Judge the champion's labelled answers, stretch by stretch, and keep what is new."""
    is_number = task is Task.REGRESSION
    at, said, truth = _labelled(table, task, version)
    baseline = state.baseline
    if baseline is None:
        if len(said) < policy.performance.baseline_rows:
            return Realised(None, None, state.counted)
        # The rows that make the baseline are not held against it.
        baseline = sequences.baseline(said, truth, is_number=is_number)
        return Realised(None, baseline, _per_stretch(at, said, truth, baseline, policy))
    now = _per_stretch(at, said, truth, baseline, policy)
    new = None
    for stretch, losses in now.items():
        before = state.counted.get(stretch)
        rest = losses if before is None else _minus(losses, before)
        if rest.rows > 0:
            new = rest if new is None else new + rest
    oldest = min(now, default=0)
    kept = {stretch: losses for stretch, losses in state.counted.items() if stretch >= oldest}
    return Realised(new, baseline, kept | now)


def since(policy: Policy, now: float) -> float:
    """Return the oldest event whose label still counts."""
    stretch = _stretch(policy)
    return float(np.floor((now - seconds(policy.performance.labels_within)) / stretch) * stretch)


def _stretch(policy: Policy) -> float:
    """Return the length of the stretches that labels are counted by: windows, but not thousands of them."""
    return max(policy.window_s, seconds(policy.performance.labels_within) / LONGEST_MEMORY)


def _labelled(table: pa.Table, task: Task, version: int) -> tuple[NDArray[np.float64], NDArray[Any], NDArray[Any]]:
    column = "prediction" if task is Task.REGRESSION else "label"
    flags = np.asarray(table["flags"].to_numpy(), np.int64)
    mine = np.asarray(table["version"].to_numpy() == version)
    mine &= (flags & (SHADOW | FALLBACK | FORCED)) == 0
    mine &= np.asarray(table["status"].to_numpy() == OK)
    mine &= np.asarray([v == "champion" for v in table["variant"].to_pylist()], bool)
    mine &= np.asarray(table["truth"].is_valid()) & np.asarray(table[column].is_valid())
    chosen = table.filter(pa.array(mine))
    at = np.array([_seconds(value) for value in chosen["at"].to_pylist()], np.float64)
    said, truth = chosen[column].to_pylist(), chosen["truth"].to_pylist()
    return at, _values(said, is_number=task is Task.REGRESSION), _values(truth, is_number=task is Task.REGRESSION)


def _per_stretch(
    at: NDArray[np.float64], said: NDArray[Any], truth: NDArray[Any], baseline: Baseline, policy: Policy
) -> dict[int, Losses]:
    stretch = np.floor(at / _stretch(policy)).astype(np.int64)
    order = np.argsort(stretch, kind="stable")
    starts = np.flatnonzero(np.diff(stretch[order], prepend=-1))
    parts = np.split(order, starts[1:]) if order.size else []
    return {int(stretch[part[0]]): sequences.judge(said[part], truth[part], baseline.bars) for part in parts}


def _minus(losses: Losses, before: Losses) -> Losses:
    bad = tuple(max(0, a - b) for a, b in zip(losses.bad, before.bad, strict=True))
    return Losses(losses.rows - before.rows, bad, max(0.0, losses.total - before.total))


def _known(said: pa.ChunkedArray, truth: pa.ChunkedArray, *, is_number: bool) -> tuple[NDArray[Any], NDArray[Any]]:
    pairs = [
        (a, b) for a, b in zip(said.to_pylist(), truth.to_pylist(), strict=True) if a is not None and b is not None
    ]
    return (
        _values([a for a, _ in pairs], is_number=is_number),
        _values([b for _, b in pairs], is_number=is_number),
    )


def _values(values: list[Any], *, is_number: bool) -> NDArray[Any]:
    if not is_number:
        return np.array([_text(v) for v in values], object)
    return np.array([_number(v) for v in values], np.float64)


def _text(value: object) -> str:
    """Write a label as classes are written: 1.0, 1 and "1" are one class."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _number(value: object) -> float:
    try:
        return float(str(value))
    except ValueError:
        return float("nan")


def _seconds(at: Any) -> float:  # noqa: ANN401 - Unix seconds, or an instant as pyarrow gives it
    return float(at.timestamp()) if hasattr(at, "timestamp") else float(at)
