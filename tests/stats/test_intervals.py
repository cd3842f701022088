"""Laws of the intervals."""

from math import log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipway.errors import Rejected
from shipway.stats import evalue, intervals, paired
from shipway.stats.evalue import Segment
from shipway.stats.paired import Pairs

counts = st.integers(0, 300)
segments = st.builds(Segment, st.floats(0.02, 0.98), counts, counts, counts, counts)
pairs = st.builds(Pairs, counts, counts, counts)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1000), st.integers(1, 1000)), min_size=1))
def test_wilson_holds_the_observed_rate_and_stays_between_0_and_1(found):
    bad, units = zip(*((min(b, n), n) for b, n in found), strict=True)

    low, high = intervals.wilson(bad, units)

    rate = np.array(bad) / np.array(units)
    assert ((low >= 0) & (low <= rate + 1e-12) & (rate <= high + 1e-12) & (high <= 1)).all()


@pytest.mark.parametrize(("bad", "units"), [([1], [0]), ([2], [1]), ([-1], [5])])
def test_wilson_refuses_what_cannot_have_been_counted(bad, units):
    with pytest.raises(Rejected):
        intervals.wilson(bad, units)


def test_wilson_knows_four_confidences_and_refuses_others():
    with pytest.raises(Rejected, match="confidence"):
        intervals.wilson([1], [2], confidence=0.5)


@settings(deadline=None)
@given(st.lists(segments, max_size=3), pairs)
def test_the_bounds_are_where_the_e_values_cross(found, pairs):
    bar = log(2 / 0.05)

    low, high = intervals.difference(found, pairs)

    if low > -1:
        harm = paired.log_e_harm(pairs, limit=low) + evalue.log_e_harm(found, limit=low)
        assert harm >= bar - 1e-6
    if high < 1:
        margin = paired.log_e_margin(pairs, margin=high) + evalue.log_e_margin(found, margin=high)
        assert margin >= bar - 1e-6
    for bound, side in ((low + 1e-5, "harm"), (high - 1e-5, "margin")):
        if -1 < bound < 1:
            log_e = {
                "harm": paired.log_e_harm(pairs, limit=bound) + evalue.log_e_harm(found, limit=bound),
                "margin": paired.log_e_margin(pairs, margin=bound) + evalue.log_e_margin(found, margin=bound),
            }[side]
            assert log_e <= bar + 1e-6


def test_nothing_seen_bounds_nothing():
    assert intervals.difference([]) == (-1.0, 1.0)
    assert intervals.estimate([], Pairs()) is None


def test_the_interval_covers_the_truth_at_every_look_of_nearly_every_run():
    rng = np.random.default_rng(5)
    missed = 0
    for _ in range(60):
        arm = rng.random(4000) < 0.3
        bad = rng.random(4000) < np.where(arm, 0.09, 0.05)
        inside = []
        for seen in (200, 500, 1000, 2000, 4000):
            a, b = arm[:seen], bad[:seen]
            low, high = intervals.difference(
                [Segment(0.3, *(int(np.sum(x)) for x in (a & b, a & ~b, ~a & b, ~a & ~b)))]
            )
            inside.append(low <= 0.04 <= high)
        missed += not all(inside)

    assert missed <= 6  # 3 expected at most; more than 6 would be a one in thirty accident


@settings(deadline=None)
@given(st.integers(1, 200), st.integers(1, 200))
def test_a_drift_common_to_both_arms_leaves_the_estimate_at_zero(early, late):
    ramp = [
        Segment(0.05, early, 19 * early, 19 * early, 361 * early),
        Segment(0.5, 6 * late, 4 * late, 6 * late, 4 * late),
    ]

    assert intervals.estimate(ramp) == pytest.approx(0.0, abs=1e-12)
