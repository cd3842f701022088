"""Watch how often a model is wrong, as labels come in, with the same kind of guarantee as for drift.

`reference` remembers how a model did on holdout rows, `judge` counts how it did on labelled live rows,
`update` and `log_e` are an e-detector of "it is wrong more often than the reference by more than the
tolerance", and `interval` bounds the realised rate at every look at once.

A classifier is wrong or right. A regressor's errors are held against two bars, the median and the 90 %
quantile of the absolute errors it made on the reference: more rows above either bar is worse.

Source:
    The e-detector as in `shipway.stats.edetector`. The interval inverts Robbins's beta mixture, see
    H. Robbins (1970), "Statistical methods related to the law of the iterated logarithm", AMS 41(5).
"""

from collections.abc import Callable
from math import lgamma, log

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from shipway.stats.edetector import CEILING, STAKES, wilson_bounds

Floats = NDArray[np.float64]

QUANTILES = (0.5, 0.9)
"""Of a regressor's absolute errors on the reference: its bars."""


class Losses(Struct, frozen=True):
    """How a model did on some labelled rows; two of them add up."""

    rows: int
    bad: tuple[int, ...]
    """Rows above each bar; for a classifier one number, the rows it got wrong."""
    total: float = 0.0
    """Sum of absolute errors of a regressor; the number of wrong rows of a classifier."""

    @property
    def rate(self) -> float:
        """Mean loss: share of wrong rows, or mean absolute error. NaN without rows."""
        return self.total / self.rows if self.rows else float("nan")

    def __add__(self, other: "Losses") -> "Losses":
        pairs = zip(self.bad, other.bad, strict=True)
        return Losses(self.rows + other.rows, tuple(a + b for a, b in pairs), self.total + other.total)


class Baseline(Struct, frozen=True):
    """How a model did where it was measured before it went live."""

    losses: Losses
    bars: tuple[float, ...] = ()
    """Absolute errors that count as bad, for a regressor; empty for a classifier."""


def judge(said: NDArray[np.generic], truth: NDArray[np.generic], bars: tuple[float, ...] = ()) -> Losses:
    """Count how often a model was wrong.

    Args:
        said: labels as text, or predicted numbers where there are `bars`.
        truth: what turned out to be true, same shape and kind.
        bars: absolute errors that count as bad.

    >>> judge(np.array(["a", "b", "a"]), np.array(["a", "a", "a"]))
    Losses(rows=3, bad=(1,), total=1.0)
    """
    if not bars:
        wrong = int((said != truth).sum())
        return Losses(len(said), (wrong,), float(wrong))
    errors = np.abs(said.astype(np.float64) - truth.astype(np.float64))
    errors[~np.isfinite(errors)] = np.inf
    bad = tuple(int((errors > bar).sum()) for bar in bars)
    return Losses(len(said), bad, float(errors[np.isfinite(errors)].sum()))


def baseline(said: NDArray[np.generic], truth: NDArray[np.generic], *, is_number: bool) -> Baseline:
    """Measure a model on reference rows.

    >>> baseline(np.array([1.0, 2.0, 3.0, 9.0]), np.array([1.0, 2.5, 3.0, 3.0]), is_number=True).bars
    (0.0, 6.0)
    """
    if not is_number:
        return Baseline(judge(said, truth))
    errors = np.sort(np.abs(said.astype(np.float64) - truth.astype(np.float64)))
    at = [max(0, int(np.ceil(q * errors.size)) - 1) for q in QUANTILES] if errors.size else []
    bars = tuple(float(errors[i]) for i in at)
    return Baseline(judge(said, truth, bars), bars) if bars else Baseline(Losses(0, (0, 0)), QUANTILES)


def start(reference: Baseline) -> Floats:
    """Return the log capital of a detector that has seen nothing, shape (bars, stakes)."""
    return np.full((len(reference.losses.bad), STAKES.size), -np.inf)


def update(reference: Baseline, capital: Floats, losses: Losses, *, tolerance: float) -> Floats:
    """Take in labelled rows and return the new log capital; without rows it stays as it is."""
    if not losses.rows:
        return capital
    bad, rows = np.array(reference.losses.bad, np.float64), float(reference.losses.rows)
    _, high = wilson_bounds(bad, np.full(bad.shape, rows), np.ones(bad.shape))
    dearest = np.minimum(high + tolerance, 1.0)[:, None]
    gain = np.array(losses.bad)[:, None] * STAKES - losses.rows * np.log1p(dearest * np.expm1(STAKES))
    return np.where(dearest < 1.0, np.minimum(gain + np.logaddexp(capital, 0.0), CEILING), -np.inf)


def log_e(capital: Floats) -> float:
    """Average capital over bars and stakes: natural logarithm of an e-detector."""
    return float(np.logaddexp.reduce(capital, axis=None) - np.log(capital.size))


def interval(bad: int, rows: int, *, alpha: float = 0.05) -> tuple[float, float]:
    """Bound a rate by counts, validly at every look at once with probability 1 - alpha.

    >>> low, high = interval(30, 300)
    >>> round(low, 3), round(high, 3)
    (0.05, 0.171)
    """
    if not rows:
        return 0.0, 1.0
    mixture = lgamma(bad + 0.5) + lgamma(rows - bad + 0.5) - lgamma(rows + 1.0) - log(np.pi)

    def is_rejected(p: float) -> bool:
        likelihood = (bad * log(p) if bad else 0.0) + ((rows - bad) * log(1 - p) if bad < rows else 0.0)
        return mixture - likelihood > -log(alpha)

    best = bad / rows
    low = _boundary(is_rejected, 1e-12, best) if bad else 0.0
    high = _boundary(is_rejected, 1 - 1e-12, best) if bad < rows else 1.0
    return low, high


def _boundary(is_rejected: Callable[[float], bool], outside: float, inside: float) -> float:
    """Halve the way between a rejected and a kept rate until they meet."""
    if not is_rejected(outside):
        return outside
    for _ in range(60):
        middle = (outside + inside) / 2
        outside, inside = (middle, inside) if is_rejected(middle) else (outside, middle)
    return outside
