"""The e-values from counts are those of betting on one unit after another, and keep their promise while watched."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from shipway.errors import Rejected
from shipway.stats import evalue, intervals, metrics, paired, planner, sample_ratio
from shipway.stats.evalue import Segment
from shipway.stats.paired import Pairs
from shipway.terms import Task

COUNTS = st.integers(0, 25)
RUNS, ALPHA = 400, 0.05
CEILING = ALPHA + 3 * np.sqrt(ALPHA * (1 - ALPHA) / RUNS)


def units(segment):
    """List (challenger?, bad?) of each unit."""
    cells = [(1, 1, "challenger_bad"), (1, 0, "challenger_good"), (0, 1, "champion_bad"), (0, 0, "champion_good")]
    return [(arm, bad) for arm, bad, name in cells for _ in range(getattr(segment, name))]


def bet_on_each(segments, limit, *, harm, rng):
    """Multiply the wealth of every gambler unit by unit, as the formula in the paper reads."""
    fractions = np.exp(np.linspace(np.log(0.02), np.log(0.6), 32))
    wealth = np.ones(32)
    for s in segments:
        pi, listed = s.propensity, units(s)
        for i in rng.permutation(len(listed)):
            arm, bad = listed[i]
            psi = bad * (arm / pi - (1 - arm) / (1 - pi))
            worst = 1 / (1 - pi) + limit if harm else 1 / pi - limit
            wealth *= 1 + (1 if harm else -1) * fractions / worst * (psi - limit)
    return np.log(wealth.mean())


def segments_of(count):
    one = st.builds(Segment, st.sampled_from([0.01, 0.1, 0.5, 0.9]), COUNTS, COUNTS, COUNTS, COUNTS)
    return st.lists(one, max_size=count)


@settings(max_examples=40, deadline=None)
@given(segments_of(3), st.floats(0.0, 0.2), st.integers(0, 99))
def test_counts_weigh_what_bets_on_single_units_in_any_order_weigh(found, limit, seed):
    rng = np.random.default_rng(seed)

    harm, margin = evalue.log_e_harm(found, limit=limit), evalue.log_e_margin(found, margin=limit)

    assert harm == pytest.approx(bet_on_each(found, limit, harm=True, rng=rng), abs=1e-9)
    assert margin == pytest.approx(bet_on_each(found, limit, harm=False, rng=rng), abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(COUNTS, COUNTS, st.sampled_from([0.02, 0.3, 0.5]))
def test_harm_at_limit_0_is_the_conditional_binomial_test_of_whose_failures_they_were(ours, theirs, pi):
    found = evalue.log_e_harm([Segment(pi, ours, 7, theirs, 11)])

    # A fraction f stakes as a coin would whose bias is that of failures at a risk ratio of (1 + f (1-pi)/pi) / (1 - f).
    ratio = (1 + evalue.FRACTIONS * (1 - pi) / pi) / (1 - evalue.FRACTIONS)
    coin = ours * np.log(ratio) - (ours + theirs) * np.log(1 - pi + pi * ratio)
    assert found == pytest.approx(float(evalue.log_mean_exp(coin)), abs=1e-9)


@given(COUNTS, COUNTS, COUNTS, COUNTS, st.floats(0.0, 0.3))
def test_one_more_failure_of_the_challenger_never_speaks_for_it(bad, good, bad0, good0, limit):
    before, after = (Segment(0.2, bad + more, good, bad0, good0) for more in (0, 1))

    assert evalue.log_e_harm([after], limit=limit) > evalue.log_e_harm([before], limit=limit)
    assert evalue.log_e_margin([after], margin=limit) < evalue.log_e_margin([before], margin=limit)


@pytest.mark.parametrize("limit", [-1.0, 1.0, float("nan")])
def test_a_difference_that_no_rates_can_have_is_refused(limit):
    with pytest.raises(Rejected, match="cannot be tested"):
        evalue.log_e_harm([], limit=limit)
    with pytest.raises(Rejected, match="cannot be tested"):
        evalue.log_e_margin([], margin=limit)


def watched(rng, stretches, per_look=50):
    """Draw looks of a ramp: (share, looks, champion's rate, challenger's rate) -> cumulated counts per stretch."""
    done = []
    for share, looks, champion, challenger in stretches:
        ours = np.cumsum(rng.binomial(per_look, share, looks))
        theirs = per_look * np.arange(1, looks + 1) - ours
        bad = np.cumsum(rng.binomial(np.diff(ours, prepend=0), challenger))
        bad0 = np.cumsum(rng.binomial(np.diff(theirs, prepend=0), champion))
        now = [Segment(share, *map(int, (b, n - b, b0, n0 - b0)))
               for b, n, b0, n0 in zip(bad, ours, bad0, theirs, strict=True)]  # fmt: skip
        yield from ([*done, s] for s in now)
        done.append(now[-1])


@pytest.mark.parametrize(
    "stretches",
    [
        [(0.1, 40, 0.05, 0.05)],
        [(0.01, 10, 0.03, 0.03), (0.05, 10, 0.04, 0.04), (0.25, 10, 0.05, 0.05), (0.5, 10, 0.07, 0.07)],
    ],
    ids=["flat", "ramp with a drifting rate"],
)
def test_an_equal_challenger_is_seldom_accused_although_looked_at_again_and_again(stretches):
    rng = np.random.default_rng(1)

    crossed = sum(
        any(evalue.log_e_harm(seen) >= -np.log(ALPHA) for seen in watched(rng, stretches)) for _ in range(RUNS)
    )

    assert crossed / RUNS <= CEILING


def test_a_challenger_worse_by_the_margin_seldom_passes_although_looked_at_again_and_again():
    rng = np.random.default_rng(2)
    ramp = [(0.1, 15, 0.03, 0.08), (0.5, 25, 0.08, 0.13)]

    passed = sum(
        any(evalue.log_e_margin(seen, margin=0.05) >= -np.log(ALPHA) for seen in watched(rng, ramp))
        for _ in range(RUNS)
    )

    assert passed / RUNS <= CEILING


@given(COUNTS, COUNTS, st.integers(0, 200), st.floats(-0.3, 0.3))
def test_counts_of_pairs_weigh_what_bets_on_single_pairs_weigh(worse, better, same, limit):
    stake = np.exp(np.linspace(np.log(2e-3), np.log(0.9), 32))
    harm, margin = np.ones(32), np.ones(32)
    for loss in [1] * worse + [0] * same + [-1] * better:
        harm *= 1 + stake / (1 + limit) * (loss - limit)
        margin *= 1 - stake / (1 - limit) * (loss - limit)

    found = Pairs(worse, better, same)

    assert paired.log_e_harm(found, limit=limit) == pytest.approx(np.log(harm.mean()), abs=1e-9)
    assert paired.log_e_margin(found, margin=limit) == pytest.approx(np.log(margin.mean()), abs=1e-9)


def test_pairs_of_equal_models_seldom_accuse_although_looked_at_again_and_again():
    rng = np.random.default_rng(3)
    crossed = 0
    for _ in range(RUNS):
        seen = np.cumsum(rng.multinomial(20, [0.04, 0.04, 0.92], 50), axis=0)
        crossed += any(paired.log_e_harm(Pairs(*map(int, row))) >= -np.log(ALPHA) for row in seen)

    assert crossed / RUNS <= CEILING


def test_wilson_has_the_bounds_of_the_formula_in_the_books():
    low, high = intervals.wilson([3], [312])

    z, n, p = norm.ppf(0.975), 312, 3 / 312
    middle, half = (p + z**2 / 2 / n) / (1 + z**2 / n), z / (1 + z**2 / n) * np.sqrt(p * (1 - p) / n + z**2 / 4 / n**2)
    assert (low[0], high[0]) == pytest.approx((middle - half, middle + half))


def test_ten_times_the_counts_give_a_narrower_interval_inside_the_wide_one():
    few, many = (intervals.difference([Segment(0.5, 5 * k, 95 * k, 3 * k, 97 * k)]) for k in (1, 10))

    assert few.low < many.low < 0.02 < many.high < few.high


def test_an_effect_that_turned_round_between_stretches_leaves_no_one_difference():
    turned = [Segment(0.02, 60, 140, 0, 9800), Segment(0.98, 0, 9800, 60, 140)]

    low, high = intervals.difference(turned)

    assert low > high


@given(st.lists(st.integers(0, 400), min_size=2, max_size=4))
def test_the_bayes_factor_is_the_product_of_predictions_of_single_units(counts):
    shares = np.arange(1, len(counts) + 1) / sum(range(1, len(counts) + 1))
    seen, log_factor = np.zeros(len(counts)), 0.0
    for arm, count in enumerate(counts):
        for _ in range(count):
            log_factor += np.log((100 * shares[arm] + seen[arm]) / (100 + seen.sum()) / shares[arm])
            seen[arm] += 1

    assert sample_ratio.log_bayes_factor(counts, shares.tolist()) == pytest.approx(log_factor, abs=1e-6)


def test_pairs_to_roll_back_and_to_pass_lie_within_40_percent_of_simulated_medians():
    rng = np.random.default_rng(4)

    def median(shares, log_e):
        taken = []
        for _ in range(60):
            seen = np.cumsum(rng.multinomial(20, shares, 400), axis=0)
            taken.append(
                next((20 * (i + 1) for i, row in enumerate(seen) if log_e(Pairs(*map(int, row))) >= np.log(20)), 8000)
            )
        return np.median(taken)

    assert planner.pairs_to_roll_back(0.03, 0.01, alpha=0.05) == pytest.approx(
        median([0.03, 0.01, 0.96], paired.log_e_harm), rel=0.4
    )
    assert planner.pairs_to_pass(0.01, 0.01, margin=0.01, alpha=0.05) == pytest.approx(
        median([0.01, 0.01, 0.98], lambda p: paired.log_e_margin(p, margin=0.01)), rel=0.4
    )


def test_constant_scores_have_an_auc_of_one_half():
    truth = np.array(["a", "b", "b"], object)
    said = {"label": truth, "probability": np.full((3, 2), 0.5)}

    assert metrics.measure(Task.BINARY, ["a", "b"], truth, said)["auc"] == metrics.Measured(0.5, 0.5, 0.5)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_refused_and_counted(bad):
    truth = np.array(["a", "b", "b"], object)
    said = {"label": truth, "probability": np.array([[0.5, 0.5], [bad, bad], [0.1, 0.9]])}

    with pytest.raises(Rejected, match="1 of 3 rows of probabilities"):
        metrics.measure(Task.BINARY, ["a", "b"], truth, said)
    with pytest.raises(Rejected, match="1 of 2 predictions"):
        metrics.measure(Task.REGRESSION, (), np.array([1.0, 2.0]), {"prediction": np.array([1.0, bad])})
    with pytest.raises(Rejected, match="1 of 2 known outcomes"):
        metrics.measure(Task.REGRESSION, (), np.array([1.0, bad]), {"prediction": np.array([1.0, 2.0])})


def test_r2_keeps_its_digits_far_from_zero():
    rng = np.random.default_rng(5)
    truth, error = rng.normal(0, 1, 500), rng.normal(0, 0.5, 500)

    near, far = (
        metrics.replicate(Task.REGRESSION, (), truth + k, {"prediction": truth + error + k})["r2"] for k in (0.0, 1e9)
    )

    assert far == pytest.approx(near, abs=1e-5)


@pytest.mark.parametrize("value", [0.1, 3.0, 1e9 + 0.1, 0.0])
def test_outcomes_that_are_all_equal_have_no_r2(value):
    found = metrics.measure(Task.REGRESSION, (), np.full(37, value), {"prediction": np.arange(37.0)})

    assert set(found) == {"rmse", "mae"}
