"""How many requests a decision will take, before it starts.

Rough on purpose: in simulation these were 14 to 23 % above the median for harm. They answer "hours or
weeks", and whether to prefer a shadow or a larger share.
"""

from math import inf, log

import numpy as np

from shipway.stats import evalue, paired
from shipway.stats.evalue import Floats

_MIXTURE = 1.7
"""What averaging over 32 bets costs, in natural-log units."""


def requests_to_roll_back(
    champion_rate: float, challenger_rate: float, *, share: float, alpha: float, guardrails: int = 1
) -> float:
    """Expect this many requests (both arms) until a worse challenger is rolled back.

    Args:
        champion_rate: its failure rate, in [0, 1].
        challenger_rate: likewise; infinite requests if it is not higher.
        share: the challenger's share, in (0, 1).
        alpha: chance of a false rollback.
        guardrails: how many share that alpha.

    Source:
        Wald's approximation for sequential tests: bar over growth per request, the growth being the
        Kullback-Leibler divergence between the arms of failures.

    >>> round(requests_to_roll_back(0.05, 0.07, share=0.1, alpha=0.05), -2)
    14900.0
    """
    if challenger_rate <= champion_rate:
        return inf
    failures = share * challenger_rate + (1 - share) * champion_rate
    q = share * challenger_rate / failures
    divergence = q * log(q / share) + ((1 - q) * log((1 - q) / (1 - share)) if q < 1 else 0.0)
    return (log(guardrails / alpha) + _MIXTURE) / (divergence * failures)


def _growth(outcomes: list[tuple[float, Floats]]) -> float:
    return float(np.max(sum((p * np.log1p(stake) for p, stake in outcomes), np.zeros(32))))


def requests_to_pass(
    champion_rate: float, challenger_rate: float, *, share: float, margin: float, alpha: float
) -> float:
    """Expect this many requests (both arms) until the challenger is shown not worse by `margin`.

    Infinite where it is worse by the margin or more.

    >>> round(requests_to_pass(0.0, 0.0, share=0.5, margin=0.01, alpha=0.05), -2)
    1600.0
    """
    bet = evalue.FRACTIONS / (1 / share - margin)
    bad1, bad0 = share * challenger_rate, (1 - share) * champion_rate
    growth = _growth(
        [
            (bad1, -bet * (1 / share - margin)),
            (bad0, bet * (1 / (1 - share) + margin)),
            (1 - bad1 - bad0, bet * margin),
        ]
    )
    return (log(1 / alpha) + _MIXTURE) / growth if growth > 0 else inf


def pairs_to_roll_back(worse_rate: float, better_rate: float, *, alpha: float, guardrails: int = 1) -> float:
    """Expect this many shadow pairs until a worse challenger is rolled back.

    Args:
        worse_rate: fraction of pairs on which only the challenger is wrong.
        better_rate: fraction on which only the champion is.
        alpha: chance of a false rollback.
        guardrails: how many share that alpha.

    >>> round(pairs_to_roll_back(0.03, 0.01, alpha=0.05), -1)
    900.0
    """
    growth = _growth([(worse_rate, paired.FRACTIONS), (better_rate, -paired.FRACTIONS)])
    return (log(guardrails / alpha) + _MIXTURE) / growth if growth > 0 else inf


def pairs_to_pass(worse_rate: float, better_rate: float, *, margin: float, alpha: float) -> float:
    """Expect this many shadow pairs until the challenger is shown not worse by `margin`.

    >>> round(pairs_to_pass(0.01, 0.01, margin=0.01, alpha=0.05), -1)
    2070.0
    """
    bet = paired.FRACTIONS / (1 - margin)
    growth = _growth(
        [
            (worse_rate, -bet * (1 - margin)),
            (better_rate, bet * (1 + margin)),
            (1 - worse_rate - better_rate, bet * margin),
        ]
    )
    return (log(1 / alpha) + _MIXTURE) / growth if growth > 0 else inf
