"""A sequential test that units went to the arms in the promised shares.

A split that loses units of one arm (logs dropped, requests refused, labels missing) makes every later
comparison wrong, so a rollout stops believing its counts when this alarm sounds.
"""

from collections.abc import Sequence
from math import lgamma, log

from shipway.errors import Rejected


def log_bayes_factor(counts: Sequence[int], shares: Sequence[float], *, concentration: float = 100.0) -> float:
    """Weigh the evidence against "units fell into the arms with these probabilities".

    A Dirichlet-multinomial against a multinomial; an e-process under the null, so it may be looked at
    after every unit. Add the values of stretches with different shares.

    Args:
        counts: units per arm.
        shares: promised probability per arm, each above 0, adding up to 1.
        concentration: how close to the promise the alternative is thought to be; 100 finds losses of 5 % and more.

    Returns:
        Natural logarithm of the Bayes factor; 0 without units.

    Raises:
        Rejected: lengths differ, a share is not above 0, or they do not add up to 1.

    Source:
        M. Lindon, A. Malek (2022), Anytime-valid inference for multinomial count data, NeurIPS, arXiv 2011.03567.

    >>> round(log_bayes_factor([500, 500], [0.5, 0.5]), 2), round(log_bayes_factor([400, 600], [0.5, 0.5]), 2)
    (-1.2, 17.1)
    """
    if len(counts) != len(shares) or min(shares, default=0.0) <= 0.0 or abs(sum(shares) - 1.0) > 1e-9:
        raise Rejected(
            f"{len(counts)} counts do not go with shares {list(shares)}",
            fix="give one share above 0 per arm, adding up to 1",
        )
    total = sum(counts)
    arms = zip(counts, shares, strict=True)
    return (
        lgamma(concentration)
        - lgamma(concentration + total)
        + sum(lgamma(concentration * p + n) - lgamma(concentration * p) - n * log(p) for n, p in arms)
    )
