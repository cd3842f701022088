"""Intervals for rates and for the difference of two rates.

`wilson` is for a fixed number of units; `difference` holds at every look at once, because it inverts
the e-values of `shipway.stats.evalue` and `shipway.stats.paired`.
"""

from collections.abc import Callable, Sequence
from math import log
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from shipway.errors import Rejected
from shipway.stats import evalue, paired
from shipway.stats.evalue import Floats, Segment
from shipway.stats.paired import Pairs

_NORMAL_QUANTILES = {
    0.8: 1.2815515655446004,
    0.9: 1.6448536269514722,
    0.95: 1.959963984540054,
    0.99: 2.5758293035489004,
}


class Interval(NamedTuple):
    """A lower and an upper bound, both included."""

    low: float
    high: float


def wilson(bad: npt.ArrayLike, units: npt.ArrayLike, *, confidence: float = 0.95) -> tuple[Floats, Floats]:
    """Bound the true failure rate of each group from its counts.

    Unlike the textbook interval it never leaves [0, 1] and stays honest at zero failures. For one look
    at a fixed number of units; a rollout that looks all the time uses `difference`.

    Args:
        bad: failures per group, whole numbers from 0 up.
        units: units per group, same shape, each at least 1.
        confidence: 0.8, 0.9, 0.95 or 0.99.

    Returns:
        Lower and upper bounds as fractions, of the shape of `bad`.

    Raises:
        Rejected: a group has no units or more failures than units, or the confidence is not one of the four.

    Source:
        E. B. Wilson (1927), JASA 22(158), 209-212.

    >>> low, high = wilson([0, 8], [50, 10])
    >>> low.round(3).tolist(), high.round(3).tolist()
    ([0.0, 0.49], [0.071, 0.943])
    """
    k, n = np.asarray(bad, dtype=np.float64), np.asarray(units, dtype=np.float64)
    if confidence not in _NORMAL_QUANTILES:
        raise Rejected(f"no interval is tabled for confidence {confidence}", fix="use 0.8, 0.9, 0.95 or 0.99")
    if np.any(n < 1) or np.any(k < 0) or np.any(k > n):
        raise Rejected("a group has no units, or more failures than units", fix="leave out groups without units")
    z = _NORMAL_QUANTILES[confidence]
    rate = k / n
    centre = (rate + z * z / (2 * n)) / (1 + z * z / n)
    half = z * np.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    # A group where everything failed overshoots 1 by about 2e-16 without the clip.
    return np.clip(centre - half, 0.0, 1.0), np.clip(centre + half, 0.0, 1.0)


def estimate(segments: Sequence[Segment], pairs: Pairs | None = None) -> float | None:
    """Estimate the challenger's failure rate minus the champion's; None while an arm is empty everywhere.

    Differences inside segments are averaged with Mantel-Haenszel weights n1 n0 / (n1 + n0), so that a
    common drift cancels; pairs weigh what they count.

    >>> estimate([Segment(propensity=0.5, challenger_bad=2, challenger_good=98, champion_bad=1, champion_good=99)])
    0.01
    """
    total, weight = 0.0, 0.0
    for s in segments:
        if s.challenger and s.champion:
            w = s.challenger * s.champion / s.units
            total += w * (s.challenger_bad / s.challenger - s.champion_bad / s.champion)
            weight += w
    if pairs is not None and pairs.units:
        total += pairs.worse - pairs.better
        weight += pairs.units
    return total / weight if weight else None


def difference(segments: Sequence[Segment], pairs: Pairs | None = None, *, alpha: float = 0.05) -> Interval:
    """Bound the challenger's failure rate minus the champion's, at every look at once.

    All differences that neither e-value rejects at alpha / 2. Evidence of pairs and segments multiplies,
    as in a rollout. The chance that the interval ever misses a constant difference is at most `alpha`.

    Args:
        segments: outcomes per propensity.
        pairs: shadow pairs, if any.
        alpha: chance of ever missing, in (0, 1).

    Returns:
        Bounds as fractions in [-1, 1]. `low` above `high` means that no one difference fits: it changed
        between stretches of different propensity.

    >>> few = Segment(propensity=0.5, challenger_bad=30, challenger_good=470, champion_bad=5, champion_good=495)
    >>> low, high = difference([few])
    >>> round(low, 3), round(high, 3)
    (0.014, 0.093)
    """
    # Each log e-value is monotone in the tested difference, so a grid refined four times finds the crossing.
    bar = log(2.0 / alpha)
    judged = pairs if pairs is not None else Pairs()

    def harm(limits: Floats) -> Floats:
        return evalue.harm_curve(segments, limits) + paired.harm_curve(judged, limits)

    def margin(margins: Floats) -> Floats:
        return evalue.margin_curve(segments, margins) + paired.margin_curve(judged, margins)

    return Interval(_last_rejected(harm, bar, -1.0, 1.0), _last_rejected(margin, bar, 1.0, -1.0))


def _last_rejected(log_e: Callable[[Floats], Floats], bar: float, start: float, end: float) -> float:
    """Return the difference nearest to `end` that is still rejected, or `start`; log e falls on the way."""
    for _ in range(4):
        tried = np.linspace(start, end, 42)[1:-1]
        rejected = int(np.count_nonzero(np.logical_and.accumulate(log_e(tried) >= bar)))
        if rejected:
            start, end = float(tried[rejected - 1]), float(tried[rejected]) if rejected < len(tried) else end
        else:
            end = float(tried[0])
    return start
