"""The sample-ratio test sounds for lost units and seldom for sound splits."""

from math import log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipway.errors import Rejected
from shipway.stats.sample_ratio import log_bayes_factor


@settings(deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 10_000), st.floats(0.01, 0.99))
def test_the_order_of_arms_does_not_matter(a, b, share):
    assert log_bayes_factor([a, b], [share, 1 - share]) == pytest.approx(
        log_bayes_factor([b, a], [1 - share, share]), rel=1e-9, abs=1e-7
    )


def test_sound_splits_are_seldom_accused_although_looked_at_again_and_again():
    rng = np.random.default_rng(3)
    accused = 0
    for _ in range(200):
        arms = np.cumsum(rng.random(3000) < 0.1)
        accused += any(
            log_bayes_factor([int(arms[n - 1]), n - int(arms[n - 1])], [0.1, 0.9]) >= log(1000)
            for n in range(50, 3000, 50)
        )

    assert accused <= 2


def test_a_canary_that_loses_a_fifth_of_its_units_is_found():
    assert log_bayes_factor([800, 9000], [0.1, 0.9]) >= log(1000)


@pytest.mark.parametrize(("counts", "shares"), [([1, 2], [1.0]), ([1, 2], [0.0, 1.0]), ([1, 2], [0.6, 0.6]), ([], [])])
def test_shares_that_are_no_split_are_refused(counts, shares):
    with pytest.raises(Rejected):
        log_bayes_factor(counts, shares)
