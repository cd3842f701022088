"""Log e-values that compare two arms of a randomised split, as functions of counts alone.

`log_e_harm` grows when the challenger fails more often than the champion; `log_e_margin` grows when
it provably does not fail more often by a margin. Look at either as often as you like: under its null
hypothesis the chance that it ever reaches ln(1/alpha) is at most alpha (Ville's inequality). The
arms are compared inside stretches of equal propensity, so that neither a ramp of the split nor a
drift of the failure rate common to both arms can pass for a difference between them.

Not here: pairs on the same input (`shipway.stats.paired`), and bars or actions (`shipway.rollout.decide`).
"""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from shipway.errors import Rejected

Floats = npt.NDArray[np.float64]

FRACTIONS: Floats = np.exp(np.linspace(np.log(0.02), np.log(0.6), 32))
"""Bets tried side by side, as fractions of the largest bet that cannot go broke at the propensity of
the moment. A grid of absolute bets would let a first step at 1 % cripple all later ones."""

HARM_RATIOS: Floats = np.exp(np.linspace(np.log(1.05), np.log(20.0), 32))
MARGIN_RATIOS: Floats = np.exp(-np.linspace(np.log(1.03), np.log(20.0), 32))


class Segment(Struct, frozen=True, forbid_unknown_fields=True):
    """Outcomes of both arms while the challenger had one probability.

    >>> Segment(propensity=0.05, challenger_bad=1, challenger_good=49, champion_bad=10, champion_good=940).units
    1000
    """

    propensity: float
    """Probability of the challenger at exposure, in (0, 1)."""
    challenger_bad: int = 0
    challenger_good: int = 0
    champion_bad: int = 0
    champion_good: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot have been observed."""
        if not 0.0 < self.propensity < 1.0:
            raise Rejected(
                f"a propensity of {self.propensity} compares nothing: one arm is empty by design",
                fix="leave out stretches in which one arm had no chance of being chosen",
            )
        if min(self.challenger_bad, self.challenger_good, self.champion_bad, self.champion_good) < 0:
            raise Rejected("a count is negative", fix="counts of outcomes are whole numbers from 0 up")

    @property
    def challenger(self) -> int:
        """Units of the challenger."""
        return self.challenger_bad + self.challenger_good

    @property
    def champion(self) -> int:
        """Units of the champion."""
        return self.champion_bad + self.champion_good

    @property
    def units(self) -> int:
        """Units of both arms."""
        return self.challenger + self.champion


def log_mean_exp(log_wealth: Floats) -> Floats:
    """Return ln(mean(exp(x))) over the last axis, without overflow.

    >>> float(log_mean_exp(np.array([1000.0, 1000.0])))
    1000.0
    """
    top = np.max(log_wealth, axis=-1, keepdims=True)
    total: Floats = top[..., 0] + np.log(np.mean(np.exp(log_wealth - top), axis=-1))
    return total


def harm_curve(segments: Iterable[Segment], limits: Floats) -> Floats:
    """Return `log_e_harm` for each of `limits`; it falls as the limit grows."""
    limit = limits[..., np.newaxis]
    wealth = np.zeros((*limits.shape, len(FRACTIONS)))
    for s in segments:
        bet = FRACTIONS / (1.0 / (1.0 - s.propensity) + limit)
        wealth += (
            s.challenger_bad * np.log1p(bet * (1.0 / s.propensity - limit))
            + s.champion_bad * np.log1p(bet * (-1.0 / (1.0 - s.propensity) - limit))
            + (s.challenger_good + s.champion_good) * np.log1p(-bet * limit)
        )
    return log_mean_exp(wealth)


def margin_curve(segments: Iterable[Segment], margins: Floats) -> Floats:
    """Return `log_e_margin` for each of `margins`; it grows with the margin."""
    margin = margins[..., np.newaxis]
    wealth = np.zeros((*margins.shape, len(FRACTIONS)))
    for s in segments:
        bet = FRACTIONS / (1.0 / s.propensity - margin)
        wealth += (
            s.challenger_bad * np.log1p(-bet * (1.0 / s.propensity - margin))
            + s.champion_bad * np.log1p(bet * (1.0 / (1.0 - s.propensity) + margin))
            + (s.challenger_good + s.champion_good) * np.log1p(bet * margin)
        )
    return log_mean_exp(wealth)


def _check(limit: float) -> None:
    if not -1.0 < limit < 1.0:
        raise Rejected(
            f"a difference of {limit} cannot be tested on rates", fix="give a fraction between -1 and 1, e.g. 0.01"
        )


def log_e_harm(segments: Iterable[Segment], *, limit: float = 0.0) -> float:
    """Weigh the evidence against "the challenger's failure rate exceeds the champion's by at most `limit`".

    The average of 32 betting martingales on psi = Y (A/pi - (1-A)/(1-pi)), whose mean is the difference
    of the failure rates. Exact at any sample size. With `limit` 0 a unit that did not fail costs nothing.

    Args:
        segments: outcomes per propensity; one of each is enough, order does not matter.
        limit: tolerated excess as a fraction in (-1, 1); 0.01 is one point.

    Returns:
        Natural logarithm of the e-value; 0 without data.

    Source:
        I. Waudby-Smith, A. Ramdas (2024), Estimating means of bounded random variables by betting,
        JRSS-B 86(1), arXiv 2010.09686.

    >>> bad = Segment(propensity=0.5, challenger_bad=30, challenger_good=470, champion_bad=5, champion_good=495)
    >>> round(log_e_harm([bad]), 2), log_e_harm([])
    (6.96, 0.0)
    """
    _check(limit)
    return float(harm_curve(segments, np.array(limit)))


def log_e_margin(segments: Iterable[Segment], *, margin: float) -> float:
    """Weigh the evidence against "the challenger's failure rate exceeds the champion's by `margin` or more".

    The mirror of `log_e_harm`: reaching ln(1/alpha) shows the challenger not worse by the margin.

    Args:
        segments: outcomes per propensity.
        margin: smallest excess that matters, as a fraction in (-1, 1).

    Returns:
        Natural logarithm of the e-value; 0 without data.

    Source:
        As `log_e_harm`.

    >>> clean = Segment(propensity=0.5, challenger_good=1000, champion_good=1000)
    >>> round(log_e_margin([clean], margin=0.01), 2)
    3.48
    """
    _check(margin)
    return float(margin_curve(segments, np.array(margin)))


def _log_ratio_wealth(segments: Iterable[Segment], null: float, ratios: Floats) -> float:
    wealth = np.zeros_like(ratios)
    for s in segments:
        share = s.propensity
        odds = np.log((1.0 - share + share * ratios * null) / (1.0 - share + share * null))
        wealth += s.challenger_bad * np.log(ratios) - (s.challenger_bad + s.champion_bad) * odds
    return float(log_mean_exp(wealth))


def log_e_ratio_harm(segments: Iterable[Segment], *, ratio: float = 1.0) -> float:
    """Weigh the evidence against "the challenger fails at most `ratio` times as often as the champion".

    Uses failures alone: given a failure, its arm is a coin whose bias is the ratio. Prefer it to
    `log_e_harm` where failures are rare and good outcomes are not counted.

    Source:
        M. Lindon, A. Malek (2022), Anytime-valid inference for multinomial count data, NeurIPS, arXiv 2011.03567.

    >>> round(log_e_ratio_harm([Segment(propensity=0.5, challenger_bad=20, champion_bad=4)]), 2)
    5.03
    """
    return _log_ratio_wealth(segments, ratio, HARM_RATIOS)


def log_e_ratio_margin(segments: Iterable[Segment], *, ratio: float) -> float:
    """Weigh the evidence against "the challenger fails at least `ratio` times as often as the champion".

    Source:
        As `log_e_ratio_harm`.

    >>> round(log_e_ratio_margin([Segment(propensity=0.5, challenger_bad=40, champion_bad=60)], ratio=1.2), 2)
    2.46
    """
    return _log_ratio_wealth(segments, ratio, MARGIN_RATIOS)
