"""The e-detector is quiet while nothing that matters changes, quick when something does, and names it."""

import csv
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipway.errors import Rejected
from shipway.stats import edetector, profile
from shipway.terms import Signature

YEAR = np.log(8760.0)
SIGNATURE = Signature((), ())


def draw(rng, n, shift=0.0, moved=(), missing=0.01):
    """Fifteen columns of numbers with ties and missing cells, five of text with 3 to 200 levels."""
    columns = {}
    for i in range(15):
        kind = i % 5
        values = (
            rng.normal(size=n) if kind == 0
            else rng.lognormal(size=n) if kind == 1
            else rng.poisson(2.0, n).astype(float) if kind == 2
            else rng.uniform(size=n) if kind == 3
            else np.maximum(rng.normal(size=n), 0.0)
        )  # fmt: skip
        if f"n{i}" in moved:
            values = values + shift
        values[rng.random(n) < missing] = np.nan
        columns[f"n{i}"] = values
    for i, levels in enumerate((3, 5, 20, 60, 200)):
        weights = 1 / np.arange(1, levels + 1)
        columns[f"c{i}"] = rng.choice([f"l{j}" for j in range(levels)], n, p=weights / weights.sum()).astype(object)
    return columns


@pytest.fixture(scope="module")
def reference():
    return profile.make_reference(SIGNATURE, draw(np.random.default_rng(11), 50_000))


def null_window(rng, reference, rows):
    """Draw a window's counts from the reference's own shares, which is cheaper than drawing rows."""
    cells = [rng.multinomial(rows, np.array(c.counts) / sum(c.counts)) for c in reference.columns]
    return profile.Profile(reference.layout, rows, np.concatenate(cells))


def test_three_hundred_stable_windows_raise_no_alarm(reference):
    rng = np.random.default_rng(5)
    armed = edetector.arm(reference, tolerance=0.01, quality_tolerance=0.002)
    capital, highest = edetector.start(armed), -np.inf

    for _ in range(300):
        capital = edetector.update(armed, capital, null_window(rng, reference, 5000))
        weighed = edetector.weigh(armed, capital)
        highest = max(highest, weighed.shape, weighed.quality)

    assert highest < YEAR


def test_rows_of_the_same_source_that_are_not_those_of_the_reference_raise_no_alarm(reference):
    rng = np.random.default_rng(99)
    armed = edetector.arm(reference, tolerance=0.01, quality_tolerance=0.002)
    capital = edetector.start(armed)

    for _ in range(25):
        capital = edetector.update(armed, capital, profile.count(reference, draw(rng, 3000)))

    weighed = edetector.weigh(armed, capital)
    assert max(weighed.shape, weighed.quality) < YEAR


@pytest.mark.parametrize("seed", range(4))
def test_a_third_of_a_standard_deviation_in_two_of_twenty_columns_is_found_and_named_in_three_windows(reference, seed):
    rng = np.random.default_rng(seed)
    armed = edetector.arm(reference, tolerance=0.01, quality_tolerance=0.002)
    capital = edetector.start(armed)
    for _ in range(5):
        capital = edetector.update(armed, capital, profile.count(reference, draw(rng, 2000)))

    taken = 0
    while edetector.weigh(armed, capital).shape < YEAR:
        taken += 1
        window = profile.count(reference, draw(rng, 2000, shift=0.3, moved=("n0", "n5")))
        capital = edetector.update(armed, capital, window)

    top = edetector.named(edetector.weigh(armed, capital).shape_of)
    assert taken <= 3
    assert {armed.columns[i] for i in top[:2]} == {"n0", "n5"}


def test_a_change_inside_the_tolerance_is_never_news(reference):
    rng = np.random.default_rng(3)
    armed = edetector.arm(reference, tolerance=0.05)
    capital = edetector.start(armed)

    for _ in range(40):
        window = profile.count(reference, draw(rng, 2000, shift=0.05, moved=("n0", "n5")))
        capital = edetector.update(armed, capital, window)

    assert edetector.weigh(armed, capital).shape < YEAR


@pytest.mark.parametrize("trouble", ["missing", "new", "range"])
def test_missing_new_and_out_of_range_cells_are_told_from_a_change_of_shape(reference, trouble):
    rng = np.random.default_rng(8)
    armed = edetector.arm(reference, tolerance=0.01, quality_tolerance=0.002)
    rows = draw(rng, 2000)
    name = "c1" if trouble == "new" else "n0"
    rows[name][:80] = {"missing": np.nan, "new": "never seen", "range": 1e6}[trouble]

    capital = edetector.update(armed, edetector.start(armed), profile.count(reference, rows))

    weighed = edetector.weigh(armed, capital)
    assert weighed.quality > YEAR
    assert armed.columns[int(weighed.quality_of.argmax())] == name
    assert weighed.shape < YEAR


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 300), st.floats(0.05, 0.9), st.floats(-1.0, 1.0))
def test_no_bet_gains_on_average_while_the_share_stays_inside_the_tolerance(rows, own, moved):
    ones = round(own * 1000)
    made = profile.make_reference(SIGNATURE, {"c": np.array(["a"] * ones + ["b"] * (1000 - ones), object)})
    armed = edetector.arm(made, tolerance=0.02)
    share = min(max(ones / 1000 + 0.02 * moved, 0.0), 1.0)
    first = made.columns[0].levels[0] == "a"
    law = [math.comb(rows, k) * share**k * (1 - share) ** (rows - k) for k in range(rows + 1)]

    mean = sum(
        chance * np.exp(edetector.update(armed, edetector.start(armed), two_levels(made, k, rows - k, first=first)))
        for k, chance in enumerate(law)
    )

    assert mean.max() <= 1 + 1e-9


def two_levels(made, a, b, *, first):
    cells = [0, 0, 0, a, b] if first else [0, 0, 0, b, a]
    return profile.Profile(made.layout, a + b, np.array(cells))


def test_years_of_windows_in_which_nothing_happens_raise_no_alarm():
    rng = np.random.default_rng(4)
    made = profile.make_reference(SIGNATURE, {"b": rng.random(2000) < 0.5, "absent": rng.normal(size=2000)})
    armed = edetector.arm(made, tolerance=0.01)
    cells = np.zeros(made.size, np.int64)
    cells[3:5] = 50, 50
    window = profile.Profile(made.layout, 100, cells)
    capital = edetector.start(armed)

    for _ in range(10_000):
        capital = edetector.update(armed, capital, window)

    weighed = edetector.weigh(armed, capital)
    assert max(weighed.shape, weighed.quality) < YEAR / 2


def test_capital_survives_a_restart_and_other_bets_start_anew(reference):
    armed = edetector.arm(reference, tolerance=0.01)
    capital = edetector.update(armed, edetector.start(armed), null_window(np.random.default_rng(0), reference, 500))

    again = edetector.decode(armed, edetector.encode(capital))

    assert np.array_equal(again, capital)
    assert len(edetector.encode(capital)) < 100_000
    assert np.isneginf(edetector.decode(armed, b"short")).all()


def test_a_change_that_is_over_is_forgotten(reference):
    rng = np.random.default_rng(1)
    armed = edetector.arm(reference, tolerance=0.01)
    capital = edetector.start(armed)
    for _ in range(30):
        window = profile.count(reference, draw(rng, 1000, shift=2.0, moved=("n0",)))
        capital = edetector.update(armed, capital, window)

    for _ in range(30):
        capital = edetector.update(armed, capital, null_window(rng, reference, 5000))

    assert edetector.weigh(armed, capital).shape < YEAR / 2


def test_forgetting_one_group_keeps_the_other(reference):
    armed = edetector.arm(reference, tolerance=0.01)
    capital = edetector.update(armed, edetector.start(armed), null_window(np.random.default_rng(0), reference, 500))

    left = edetector.weigh(armed, edetector.forget(armed, capital, edetector.SHAPE))

    assert np.isneginf(left.shape)
    assert left.quality == edetector.weigh(armed, capital).quality


def test_independent_rows_have_a_design_effect_near_one_and_repeated_rows_a_large_one():
    rng = np.random.default_rng(2)
    sticky = np.repeat(rng.normal(size=(40, 5)), 40, axis=1).ravel()
    rows = {"free": rng.normal(size=8000), "sticky": sticky}
    made = profile.make_reference(SIGNATURE, rows)
    windows = [
        profile.count(made, {name: values[i : i + 200] for name, values in rows.items()}) for i in range(0, 8000, 200)
    ]

    learned = edetector.with_design_effects(made, windows)

    assert learned.column("free").deff < 1.5
    assert learned.column("sticky").deff > 15


def test_too_few_windows_teach_no_design_effect(reference):
    with pytest.raises(Rejected, match="2 windows say too little"):
        edetector.with_design_effects(reference, [profile.own(reference)] * 2)


def test_a_window_on_other_edges_is_refused(reference):
    armed = edetector.arm(reference, tolerance=0.01)

    with pytest.raises(Rejected, match="cannot be weighed"):
        edetector.update(armed, edetector.start(armed), profile.Profile("x", 0, np.zeros(0, np.int64)))


def test_a_reference_of_no_rows_never_alarms():
    made = profile.make_reference(SIGNATURE, {"x": np.zeros(0), "c": np.zeros(0, object)})
    armed = edetector.arm(made, tolerance=0.01)
    window = profile.count(made, {"x": np.ones(1000), "c": np.full(1000, "a", object)})

    weighed = edetector.weigh(armed, edetector.update(armed, edetector.start(armed), window))

    assert max(weighed.shape, weighed.quality) < 1


def test_the_electricity_stream_alarms_only_when_its_neighbour_state_joins(test_data):
    with (test_data / "elec2.csv").open() as file:
        rows = list(csv.DictReader(file))
    names = ["nswprice", "nswdemand", "vicprice", "vicdemand", "transfer"]
    columns = {name: np.array([float(r[name]) for r in rows]) for name in names}
    week = 336
    made = profile.make_reference(SIGNATURE, {n: v[: 26 * week] for n, v in columns.items()})
    weekly = [profile.count(made, {n: v[i : i + week] for n, v in columns.items()}) for i in range(0, 134 * week, week)]
    armed = edetector.arm(edetector.with_design_effects(made, weekly[:26]), tolerance=0.02)
    capital, alarms, found = edetector.start(armed), [], []

    for at, window in enumerate(weekly[26:56], 26):
        capital = edetector.update(armed, capital, window)
        weighed = edetector.weigh(armed, capital)
        if np.logaddexp(weighed.shape, weighed.quality) - np.log(2) >= np.log(520):
            alarms.append(at)
            both = np.logaddexp(weighed.shape_of, weighed.quality_of)
            found = [armed.columns[i] for i in np.argsort(-both)[:3]]

    assert min(alarms) in {51, 52, 53}
    assert set(found) == {"vicprice", "vicdemand", "transfer"}
