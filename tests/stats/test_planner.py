"""The planner lands near what simulation shows."""

from math import inf, log

import numpy as np
import pytest

from shipway.stats import evalue, planner
from shipway.stats.evalue import Segment


@pytest.mark.parametrize(("share", "measured"), [(0.05, 24_600), (0.1, 12_900), (0.25, 6_400), (0.5, 4_700)])
def test_requests_to_roll_back_two_points_lie_within_30_percent_of_simulated_medians(share, measured):
    planned = planner.requests_to_roll_back(0.05, 0.07, share=share, alpha=0.05)

    assert measured * 0.9 <= planned <= measured * 1.3


def test_requests_to_pass_without_failures_are_those_that_it_really_takes():
    planned = planner.requests_to_pass(0.0, 0.0, share=0.5, margin=0.01, alpha=0.05)

    taken = next(
        n
        for n in range(100, 10_000, 20)
        if evalue.log_e_margin([Segment(0.5, challenger_good=n // 2, champion_good=n // 2)], margin=0.01) >= log(20)
    )
    assert planned == pytest.approx(taken, rel=0.3)


def test_what_can_never_be_shown_takes_for_ever():
    assert planner.requests_to_roll_back(0.05, 0.05, share=0.5, alpha=0.05) == inf
    assert planner.requests_to_pass(0.05, 0.07, share=0.5, margin=0.02, alpha=0.05) == inf
    assert planner.pairs_to_roll_back(0.01, 0.02, alpha=0.05) == inf
    assert planner.pairs_to_pass(0.05, 0.01, margin=0.02, alpha=0.05) == inf


def test_pairs_take_fewer_requests_than_any_split():
    pairs = planner.pairs_to_roll_back(0.03, 0.01, alpha=0.05)

    splits = [planner.requests_to_roll_back(0.05, 0.07, share=s, alpha=0.05) for s in np.linspace(0.05, 0.95, 19)]
    assert pairs < min(splits)
