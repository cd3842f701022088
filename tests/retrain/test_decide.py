"""Which signals lead to a training, and which do not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipway.retrain import parse_policy
from shipway.retrain.decide import Past, wanted
from shipway.terms import Signal

NOW = 1_800_000_000.0
POLICY = parse_policy('[retrain]\nentry = "train:main"\ncooldown = "1h"\nmax_per_day = 3')


def signal(kind, at=NOW - 10):
    return Signal(kind, "default", "churn", kind, at, at, "", 1.0, 1.0)


def choose(signals, past=(), *, policy=POLICY, in_trial=False):
    return wanted(signals, policy, past, in_trial=in_trial, now=NOW)


def test_worse_answers_weigh_more_than_different_rows():
    chosen = choose([signal("drift"), signal("performance")])

    assert chosen.kind == "performance"


@pytest.mark.parametrize("kind", ["silence", "quality"])
def test_signals_that_training_cannot_mend_ask_for_none(kind):
    assert choose([signal(kind)]) is None


@pytest.mark.parametrize("state", ["proposed", "queued", "running"])
def test_one_job_at_a_time(state):
    assert choose([signal("drift")], [Past(state, NOW - 9e6, by_hand=True)]) is None


def test_nothing_is_trained_while_a_challenger_is_on_trial():
    assert choose([signal("drift")], in_trial=True) is None


def test_the_cooldown_runs_from_the_end_of_the_last_automatic_job():
    assert choose([signal("drift")], [Past("done", NOW - 9000, NOW - 3599)]) is None
    assert choose([signal("drift")], [Past("done", NOW - 9000, NOW - 3601)]) is not None
    assert choose([signal("drift")], [Past("done", NOW - 9000, NOW - 1, by_hand=True)]) is not None


@given(st.lists(st.floats(4000, 200_000), max_size=8))
def test_no_day_sees_more_automatic_jobs_than_allowed(ages):
    past = [Past("failed", NOW - age, NOW - age + 1) for age in ages]

    chosen = choose([signal("drift")], past)

    assert (chosen is None) == (sum(age < 86400 for age in ages) >= 3)


def test_without_a_way_to_train_nothing_is_wanted():
    assert choose([signal("drift")], policy=parse_policy("")) is None
