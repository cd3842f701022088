"""Labelled captures become pairs and arms, one voice per request."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipway.rollout.decide import Assigned
from shipway.rollout.outcomes import FALLBACK, FORCED, Loss, freeze, judged_pairs, judged_segments
from shipway.stats.evalue import Segment
from shipway.stats.paired import Pairs
from shipway.terms import Task

CLASSES = Loss(Task.BINARY)


def pairs(lake, loss=CLASSES):
    return judged_pairs(lake.pairs("default", "churn", rollout="r", restart=0), loss)


def arms(lake, loss=CLASSES, restart=0):
    return judged_segments(lake.outcomes("default", "churn", rollout="r"), loss, restart)


def test_a_pair_is_judged_by_who_alone_was_wrong(list_lake):
    list_lake.pair("r", "yes", "yes", "no", n=3)
    list_lake.pair("r", "yes", "no", "yes", n=2)
    list_lake.pair("r", "yes", "yes", "yes", n=7)
    list_lake.pair("r", "yes", "no", "no", n=1)

    assert pairs(list_lake) == Pairs(worse=3, better=2, same=8)


def test_an_unlabelled_pair_and_every_row_but_the_first_say_nothing(list_lake):
    list_lake.pair("r", None, "yes", "no", n=5)
    list_lake.pair("r", "yes", "yes", "no", n=5, row=1)

    assert pairs(list_lake) == Pairs()


def test_a_shadow_that_failed_is_wrong_once_the_label_is_there(list_lake):
    list_lake.pair("r", "yes", "yes", None, challenger_status=500)
    list_lake.pair("r", "yes", "yes", "yes", challenger_status=504)
    list_lake.pair("r", None, "yes", None, challenger_status=500)

    assert pairs(list_lake) == Pairs(worse=2)


def test_an_answer_that_the_champion_gave_for_a_failed_challenger_counts_against_the_challenger(list_lake):
    list_lake.answer("r", "yes", "yes", n=4)
    list_lake.answer("r", "yes", "yes", variant="challenger", flags=FALLBACK)
    list_lake.answer("r", "yes", "yes", variant="challenger", n=2)

    (segment,), (labelled,) = arms(list_lake)

    assert segment == Segment(0.5, challenger_bad=1, challenger_good=2, champion_good=4)
    assert labelled == Assigned(5000, 3, 4)


def test_what_belongs_to_no_arm_of_this_test_is_left_out(list_lake):
    list_lake.answer("r", "yes", "no", flags=FORCED)
    list_lake.answer("r", "yes", "no", restart=1)
    list_lake.answer("r", "yes", "no", propensity=0)
    list_lake.answer("r", "yes", "no", row=1)
    list_lake.answer("r", None, "no")
    list_lake.answer("another", "yes", "no")

    assert arms(list_lake) == ((), ())


def test_each_propensity_is_a_segment_of_its_own(list_lake):
    list_lake.answer("r", "yes", "no", propensity=500, n=2)
    list_lake.answer("r", "yes", "yes", propensity=5000, variant="challenger", n=3)

    segments, labelled = arms(list_lake)

    assert segments == (Segment(0.05, champion_bad=2), Segment(0.5, challenger_good=3))
    assert labelled == (Assigned(500, 0, 2), Assigned(5000, 3, 0))


def test_a_regressor_is_wrong_above_the_frozen_error_and_when_it_says_nothing(list_lake):
    loss = Loss(Task.REGRESSION, above=1.0)
    for said in (10.5, 12.0, None):
        list_lake.pair("r", "10", None, None, champion_prediction=10.0, challenger_prediction=said)
    list_lake.pair("r", "not a number", None, None, champion_prediction=10.0, challenger_prediction=10.0)

    assert pairs(list_lake, loss) == Pairs(worse=2, same=1)


def test_the_p90_of_the_champion_is_frozen_from_before_the_rollout_where_there_is_enough(list_lake):
    for error in range(100):
        list_lake.answer("", "0", None, prediction=float(error))
    list_lake.answer("r", "0", None, prediction=1e6, n=50)
    list_lake.answer("", "0", None, prediction=1e6, n=50, version=7)

    loss = freeze(list_lake.outcomes("default", "churn"), 1, "r")

    assert loss == Loss(Task.REGRESSION, pytest.approx(np.quantile(range(100), 0.9)), "")


def test_else_the_first_answers_of_the_rollout_freeze_it_and_are_not_judged_by_it(list_lake):
    for error in range(99):
        list_lake.answer("r", "0", None, prediction=float(error))
    too_few = freeze(list_lake.outcomes("default", "churn"), 1, "r")
    list_lake.answer("r", "0", None, prediction=99.0)

    loss = freeze(list_lake.outcomes("default", "churn"), 1, "r")
    list_lake.answer("r", "0", None, prediction=500.0, n=3)

    assert too_few is None
    assert arms(list_lake, loss)[0] == (Segment(0.5, champion_bad=3),)


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["yes", "no"]), st.sampled_from(["yes", "no"])), max_size=40))
def test_swapping_the_arms_swaps_who_was_worse(make_list_lake, said):
    here, there = make_list_lake(), make_list_lake()
    for ours, theirs in said:
        here.pair("r", "yes", ours, theirs)
        there.pair("r", "yes", theirs, ours)

    a, b = pairs(here), pairs(there)

    assert (a.worse, a.better, a.same) == (b.better, b.worse, b.same)
