"""Log e-values for pairs: champion and challenger on the same input, as functions of three counts.

Both see the same request, so everything they share cancels: pairs decide with a tenth of the requests
that a split needs, and no caller is answered by the challenger. With margin 0 this is a sequential
McNemar test.

Not here: arms that saw different requests (`shipway.stats.evalue`).
"""

import numpy as np
from msgspec import Struct

from shipway.errors import Rejected
from shipway.stats.evalue import Floats, log_mean_exp

FRACTIONS: Floats = np.exp(np.linspace(np.log(2e-3), np.log(0.9), 32))
"""Bets tried side by side, as fractions of the largest bet that cannot go broke."""


class Pairs(Struct, frozen=True, forbid_unknown_fields=True):
    """Requests on which both were judged."""

    worse: int = 0
    """n10: the challenger was wrong and the champion right."""
    better: int = 0
    """n01: the challenger was right and the champion wrong."""
    same: int = 0
    """n00: both right or both wrong."""

    def __post_init__(self) -> None:
        """Refuse what cannot have been observed."""
        if min(self.worse, self.better, self.same) < 0:
            raise Rejected("a count of pairs is negative", fix="counts of pairs are whole numbers from 0 up")

    @property
    def units(self) -> int:
        """All pairs."""
        return self.worse + self.better + self.same


def harm_curve(pairs: Pairs, limits: Floats) -> Floats:
    """Return `log_e_harm` for each of `limits`; it falls as the limit grows."""
    limit = limits[..., np.newaxis]
    bet = FRACTIONS / (1.0 + limit)
    return log_mean_exp(
        pairs.worse * np.log1p(bet * (1.0 - limit))
        + pairs.better * np.log1p(bet * (-1.0 - limit))
        + pairs.same * np.log1p(-bet * limit)
    )


def margin_curve(pairs: Pairs, margins: Floats) -> Floats:
    """Return `log_e_margin` for each of `margins`; it grows with the margin."""
    margin = margins[..., np.newaxis]
    bet = FRACTIONS / (1.0 - margin)
    return log_mean_exp(
        pairs.worse * np.log1p(-bet * (1.0 - margin))
        + pairs.better * np.log1p(bet * (1.0 + margin))
        + pairs.same * np.log1p(bet * margin)
    )


def _check(limit: float) -> None:
    if not -1.0 < limit < 1.0:
        raise Rejected(
            f"a difference of {limit} cannot be tested on pairs", fix="give a fraction between -1 and 1, e.g. 0.01"
        )


def log_e_harm(pairs: Pairs, *, limit: float = 0.0) -> float:
    """Weigh the evidence against "the challenger is wrong more often than the champion by at most `limit`".

    Args:
        pairs: counts of pairs.
        limit: tolerated excess as a fraction in (-1, 1).

    Returns:
        Natural logarithm of the e-value; 0 without pairs.

    Source:
        I. Waudby-Smith, A. Ramdas (2024), JRSS-B 86(1), arXiv 2010.09686, on D = loss difference in [-1, 1].

    >>> round(log_e_harm(Pairs(worse=20, better=2, same=978)), 2)
    5.9
    """
    _check(limit)
    return float(harm_curve(pairs, np.array(limit)))


def log_e_margin(pairs: Pairs, *, margin: float) -> float:
    """Weigh the evidence against "the challenger is wrong more often than the champion by `margin` or more".

    Args:
        pairs: counts of pairs.
        margin: smallest excess that matters, as a fraction in (-1, 1).

    Returns:
        Natural logarithm of the e-value; 0 without pairs.

    Source:
        As `log_e_harm`.

    >>> round(log_e_margin(Pairs(same=700), margin=0.01), 2)
    3.37
    """
    _check(margin)
    return float(margin_curve(pairs, np.array(margin)))
