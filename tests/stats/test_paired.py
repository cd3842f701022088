"""Laws of the paired e-values."""

from math import exp, log

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipway.errors import Rejected
from shipway.stats import evalue, paired
from shipway.stats.evalue import Segment
from shipway.stats.paired import Pairs

limits = st.floats(-0.5, 0.5)


def expectation(log_e, worse, better):
    one = (Pairs(worse=1), Pairs(better=1), Pairs(same=1))
    return sum(p * exp(log_e(pair)) for p, pair in zip((worse, better, 1 - worse - better), one, strict=True))


@settings(deadline=None)
@given(st.floats(0.0, 0.5), st.floats(0.0, 0.5))
def test_both_sides_are_e_values_at_the_true_difference(worse, better):
    difference = worse - better

    assert expectation(lambda p: paired.log_e_harm(p, limit=min(difference, 0.99)), worse, better) <= 1 + 1e-9
    assert expectation(lambda p: paired.log_e_margin(p, margin=max(difference, -0.99)), worse, better) <= 1 + 1e-9


@settings(deadline=None)
@given(st.integers(0, 400), st.integers(0, 400), st.integers(0, 4000), limits)
def test_swapping_the_models_swaps_the_sides(worse, better, same, limit):
    harm = paired.log_e_harm(Pairs(worse, better, same), limit=limit)

    assert harm == pytest.approx(paired.log_e_margin(Pairs(better, worse, same), margin=-limit), rel=1e-9, abs=1e-9)


@settings(deadline=None)
@given(st.integers(0, 400), st.integers(0, 400), st.integers(0, 4000))
def test_equal_pairs_change_nothing_about_harm_and_speak_for_the_margin(worse, better, same):
    some, more = Pairs(worse, better, same), Pairs(worse, better, same + 100)

    assert paired.log_e_harm(more) == paired.log_e_harm(some)
    assert paired.log_e_margin(more, margin=0.01) > paired.log_e_margin(some, margin=0.01)


def test_pairs_decide_with_a_fraction_of_the_requests_that_a_split_needs():
    pairs = Pairs(worse=30, better=10, same=960)
    split = Segment(0.5, challenger_bad=35, challenger_good=465, champion_bad=25, champion_good=475)

    assert paired.log_e_harm(pairs) > log(20) > evalue.log_e_harm([split])


@pytest.mark.parametrize("limit", [-1.0, 1.0, 3.0])
def test_a_difference_that_no_pair_can_have_is_refused(limit):
    with pytest.raises(Rejected, match="cannot be tested"):
        paired.log_e_harm(Pairs(), limit=limit)
    with pytest.raises(Rejected, match="cannot be tested"):
        paired.log_e_margin(Pairs(), margin=limit)


def test_negative_counts_of_pairs_are_refused():
    with pytest.raises(Rejected, match="negative"):
        Pairs(worse=-1)
