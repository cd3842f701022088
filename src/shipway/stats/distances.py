"""Say how far two profiles of one column are apart, in the measures people know.

All functions take cell counts of one column as `shipway.stats.profile` lays them out, before and
after, and cost microseconds whatever the number of rows was. Binning costs little: with the default
20 bins the Kolmogorov-Smirnov distance is exact at the edges and at most a bin too small between them.

Not here: whether a distance is news or noise (`shipway.stats.edetector`).
"""

import numpy as np
from msgspec import Struct
from numpy.typing import ArrayLike, NDArray

from shipway.stats.profile import BELOW, MISSING, NEW, ColumnReference

Floats = NDArray[np.float64]


class Rates(Struct, frozen=True):
    """Shares of one column's rows, each a fraction of one; NaN-free: no rows give zeros."""

    rows: int
    missing: float
    """Missing cells, as a share of all rows."""
    new: float
    """Levels never seen before, as a share of cells that are not missing."""
    below: float
    """Values below the reference's range, as a share of cells that are not missing."""
    above: float

    @property
    def outside(self) -> float:
        """Values outside the reference's range, as a share of cells that are not missing."""
        return self.below + self.above


def rates(column: ColumnReference, cells: ArrayLike) -> Rates:
    """Return the shares of one column that people call data quality."""
    counts = np.asarray(cells, np.float64)
    rows = float(counts.sum())
    present = max(rows - float(counts[MISSING]), 1.0)
    is_level = column.kind == "level"
    return Rates(
        rows=int(rows),
        missing=float(counts[MISSING]) / max(rows, 1.0),
        new=float(counts[NEW]) / present if is_level else 0.0,
        below=0.0 if is_level else float(counts[BELOW]) / present,
        above=0.0 if is_level else float(counts[-1]) / present,
    )


def shares(cells: ArrayLike) -> Floats:
    """Return the distribution of the cells that are not missing; zeros if there are none."""
    present = np.asarray(cells, np.float64)[1:]
    total = present.sum()
    return present / total if total else present


def kolmogorov_smirnov(column: ColumnReference, before: ArrayLike, after: ArrayLike) -> float:
    """Return the largest difference of the two distributions, in [0, 1].

    For numbers that is the Kolmogorov-Smirnov distance at the edges; for levels, which have no order, the
    largest difference of one level's share.
    """
    gap = shares(after) - shares(before)
    if column.kind != "level":
        gap = np.cumsum(gap)
    return float(np.abs(gap).max(initial=0.0))


def population_stability(before: ArrayLike, after: ArrayLike) -> float:
    """Return the population stability index, with half a row added to every cell so that empty cells stay finite."""
    p, q = _smoothed(before), _smoothed(after)
    return float(((q - p) * np.log(q / p)).sum())


def jensen_shannon(before: ArrayLike, after: ArrayLike) -> float:
    """Return the Jensen-Shannon distance to base 2, in [0, 1]."""
    p, q = shares(before), shares(after)
    middle = (p + q) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        divergence = [np.where(x > 0, x * np.log2(x / middle), 0.0).sum() / 2 for x in (p, q)]
    return float(np.sqrt(max(sum(divergence), 0.0)))


def wasserstein(column: ColumnReference, before: ArrayLike, after: ArrayLike) -> float:
    """Approximate how far a value has moved on average, in the column's own unit; 0 for levels.

    Values are taken to be spread evenly inside their bin, and to be at the end of the range beyond it.
    """
    ends = _ends(column)
    if ends.size < 2:
        return 0.0
    gap = np.abs(np.cumsum(_inner(shares(after)) - _inner(shares(before))))
    joints = np.concatenate([[0.0], gap])
    return float(((joints[:-1] + joints[1:]) / 2 * np.diff(ends)).sum())


def quantiles(column: ColumnReference, cells: ArrayLike, at: ArrayLike) -> Floats:
    """Approximate quantiles of a column of numbers, linearly inside each bin; NaN where there are none.

    Args:
        column: the column's reference.
        cells: counts, shape (cells,).
        at: wanted probabilities in [0, 1].
    """
    wanted = np.asarray(at, np.float64)
    ends = _ends(column)
    inner = _inner(shares(cells))
    if not ends.size or not inner.sum():
        return np.full(wanted.shape, np.nan)
    return np.asarray(np.interp(wanted, np.concatenate([[0.0], np.cumsum(inner)]), ends))


def mean(column: ColumnReference, cells: ArrayLike) -> float:
    """Approximate the mean of a column of numbers from the middles of its bins; NaN where there are none."""
    ends = _ends(column)
    inner = _inner(shares(cells))
    if not ends.size or not inner.sum():
        return float("nan")
    return float((inner * (ends[:-1] + ends[1:]) / 2).sum() / inner.sum())


def _ends(column: ColumnReference) -> Floats:
    """Return the ends of the bins, range included; empty where the column has no range."""
    if column.kind == "level" or column.low is None or column.high is None:
        return np.zeros(0)
    return np.array([column.low, *column.edges, column.high])


def _inner(present: Floats) -> Floats:
    """Fold rows outside the range into the outer bins."""
    inner = present[1:-1].copy()
    inner[0] += present[0]
    inner[-1] += present[-1]
    return inner


def _smoothed(cells: ArrayLike) -> Floats:
    present = np.asarray(cells, np.float64)[1:] + 0.5
    return np.asarray(present / present.sum())
