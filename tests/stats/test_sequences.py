"""Realised performance: quiet while a model does as it did, quick when it gets worse, bounds that hold."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipway.stats import sequences
from shipway.stats.sequences import Baseline, Losses

YEAR = np.log(8760.0)


BEFORE = Baseline(Losses(5000, (500,), 500.0))


def run(rates, *, reference=BEFORE, rows=200, seed=0):
    rng = np.random.default_rng(seed)
    capital = sequences.start(reference)
    for at, rate in enumerate(rates):
        bad = int(rng.binomial(rows, rate))
        capital = sequences.update(reference, capital, Losses(rows, (bad,), bad), tolerance=0.01)
        if sequences.log_e(capital) >= YEAR:
            return at
    return None


def test_a_thousand_windows_at_the_old_rate_raise_no_alarm():
    assert run([0.1] * 1000) is None


def test_an_error_rate_that_doubles_is_found_within_four_windows_of_two_hundred_labels():
    assert run([0.1] * 50 + [0.2] * 10) in range(50, 54)


def test_a_model_that_gets_better_raises_no_alarm():
    assert run([0.02] * 500) is None


def test_windows_without_labels_change_nothing():
    reference = Baseline(Losses(100, (10,), 10.0))
    capital = sequences.update(reference, sequences.start(reference), Losses(50, (9,), 9.0), tolerance=0.01)

    assert sequences.update(reference, capital, Losses(0, (0,)), tolerance=0.01) is capital


def test_a_regressor_whose_errors_grow_is_found():
    rng = np.random.default_rng(1)
    truth = rng.normal(size=2000)
    reference = sequences.baseline(truth + rng.normal(size=2000), truth, is_number=True)
    capital = sequences.start(reference)
    before = sequences.judge(truth + rng.normal(size=2000), truth, reference.bars)
    capital = sequences.update(reference, capital, before, tolerance=0.01)
    assert sequences.log_e(capital) < 1

    worse = sequences.judge(truth[:500] + 1.5 * rng.normal(size=500), truth[:500], reference.bars)

    assert sequences.log_e(sequences.update(reference, capital, worse, tolerance=0.01)) > YEAR
    assert worse.rate > before.rate


def test_a_prediction_that_is_no_number_counts_as_bad():
    losses = sequences.judge(np.array([1.0, np.nan]), np.array([1.0, 1.0]), (0.5, 2.0))

    assert losses.bad == (1, 1)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=30), st.integers(0, 30))
def test_losses_of_two_parts_add_up(rows, at):
    said, truth = np.array([a for a, _ in rows], bool), np.array([b for _, b in rows], bool)

    parts = sequences.judge(said[:at], truth[:at]) + sequences.judge(said[at:], truth[at:])

    assert parts == sequences.judge(said, truth)


@given(st.integers(0, 400), st.integers(0, 400))
def test_the_interval_holds_the_observed_rate_and_stays_inside_zero_and_one(bad, good):
    low, high = sequences.interval(bad, bad + good)

    assert 0 <= low <= high <= 1
    if bad + good:
        assert low <= bad / (bad + good) <= high


def test_the_interval_covers_the_truth_at_every_look():
    rng = np.random.default_rng(3)
    misses = 0
    for _ in range(100):
        wrong = np.cumsum(rng.random(400) < 0.15)
        bounds = [sequences.interval(int(wrong[n - 1]), n) for n in range(5, 400, 15)]
        misses += any(not low <= 0.15 <= high for low, high in bounds)

    assert misses <= 10


@pytest.mark.parametrize("rows", [0, 1])
def test_a_baseline_of_hardly_any_rows_never_alarms(rows):
    reference = sequences.baseline(np.zeros(rows), np.zeros(rows), is_number=True)
    bad = Losses(50, (50, 50), 50.0)

    capital = sequences.update(reference, sequences.start(reference), bad, tolerance=0.01)

    assert sequences.log_e(capital) < YEAR
