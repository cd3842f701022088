"""Laws of the two-arm e-values: they are e-values, functions of counts, and blind to common drift."""

from math import exp, log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipway.errors import Rejected
from shipway.stats import evalue
from shipway.stats.evalue import Segment

rates = st.floats(0.0, 0.45)
shares = st.floats(0.01, 0.99)
counts = st.integers(0, 500)
segments = st.builds(Segment, shares, counts, counts, counts, counts)


def one_unit(share):
    """The three things that a unit can be: bad in either arm, or good."""
    return Segment(share, challenger_bad=1), Segment(share, champion_bad=1), Segment(share, champion_good=1)


def expectation(log_e, share, challenger_rate, champion_rate):
    bad1, bad0 = share * challenger_rate, (1 - share) * champion_rate
    return sum(p * exp(log_e([s])) for p, s in zip((bad1, bad0, 1 - bad1 - bad0), one_unit(share), strict=True))


@settings(deadline=None)
@given(shares, rates, st.floats(0.0, 0.5), st.floats(0.0, 1.0))
def test_harm_is_an_e_value_for_every_challenger_within_its_limit(share, champion, limit, part):
    challenger = champion + part * limit

    mean = expectation(lambda s: evalue.log_e_harm(s, limit=limit), share, challenger, champion)

    assert mean <= 1 + 1e-9


@settings(deadline=None)
@given(shares, rates, st.floats(0.0, 0.5), st.floats(0.0, 0.5))
def test_margin_is_an_e_value_for_every_challenger_worse_by_the_margin_or_more(share, champion, margin, more):
    challenger = min(1.0, champion + margin + more)
    margin = min(margin, challenger - champion)

    mean = expectation(lambda s: evalue.log_e_margin(s, margin=margin), share, challenger, champion)

    assert mean <= 1 + 1e-9


@settings(deadline=None)
@given(st.lists(segments, max_size=4), st.floats(-0.9, 0.9), st.floats(0.0, 0.9))
def test_harm_falls_and_margin_grows_with_the_difference_asked_about(found, difference, more):
    larger = min(difference + more, 0.95)

    assert evalue.log_e_harm(found, limit=larger) <= evalue.log_e_harm(found, limit=difference) + 1e-9
    assert evalue.log_e_margin(found, margin=larger) >= evalue.log_e_margin(found, margin=difference) - 1e-9


four = st.tuples(counts, counts, counts, counts)


@settings(deadline=None)
@given(shares, four, four)
def test_two_stretches_at_one_propensity_weigh_what_their_sum_weighs(share, early, late):
    apart = [Segment(share, *early), Segment(share, *late)]
    together = [Segment(share, *(a + b for a, b in zip(early, late, strict=True)))]

    assert evalue.log_e_harm(apart) == pytest.approx(evalue.log_e_harm(together), rel=1e-9, abs=1e-9)
    assert evalue.log_e_margin(apart, margin=0.02) == pytest.approx(
        evalue.log_e_margin(together, margin=0.02), rel=1e-9, abs=1e-9
    )


@settings(deadline=None)
@given(shares, counts, counts)
def test_good_outcomes_alone_never_speak_of_harm(share, challenger, champion):
    assert evalue.log_e_harm([Segment(share, 0, challenger, 0, champion)]) == 0.0


@settings(deadline=None)
@given(shares, st.integers(0, 60), st.integers(0, 60))
def test_the_ratio_engine_is_the_product_of_coin_flips_among_failures(share, ours, theirs):
    ratios = np.exp(np.linspace(np.log(1.05), np.log(20.0), 32))
    heads = share * ratios / (1 - share + share * ratios)
    wealth = (heads / share) ** ours * ((1 - heads) / (1 - share)) ** theirs

    found = evalue.log_e_ratio_harm([Segment(share, challenger_bad=ours, champion_bad=theirs)])

    assert found == pytest.approx(log(np.mean(wealth)), rel=1e-6, abs=1e-6)


def test_fewer_failures_than_a_ratio_allows_speak_for_the_challenger():
    fewer = Segment(0.5, challenger_bad=40, champion_bad=80)

    assert evalue.log_e_ratio_margin([fewer], ratio=1.2) > log(20) > 0 > evalue.log_e_ratio_harm([fewer])


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, 1.5])
def test_a_stretch_in_which_one_arm_had_no_chance_is_refused(share):
    with pytest.raises(Rejected, match="compares nothing"):
        Segment(share)


def test_negative_counts_are_refused():
    with pytest.raises(Rejected, match="negative"):
        Segment(0.5, challenger_bad=-1)


def test_log_e_values_stay_finite_for_a_billion_units():
    huge = Segment(0.01, 10**7, 10**8, 10**7, 10**9)

    assert np.isfinite([evalue.log_e_harm([huge]), evalue.log_e_margin([huge], margin=0.01)]).all()
