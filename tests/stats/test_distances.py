"""Distances read from counts agree with what the rows themselves say."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipway.stats import distances, profile
from shipway.terms import Signature

counts = st.lists(st.integers(0, 1000), min_size=6, max_size=6)


def of(values, **options):
    return profile.column_reference("x", np.asarray(values), **options)


def exact_ks(a, b):
    at = np.concatenate([a, b])
    return np.abs(
        np.searchsorted(np.sort(a), at, "right") / a.size - np.searchsorted(np.sort(b), at, "right") / b.size
    ).max()


def test_the_kolmogorov_smirnov_distance_is_near_that_of_the_rows():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=20_000), rng.normal(0.3, 1.2, size=20_000)
    column = of(a, bins=64)

    found = distances.kolmogorov_smirnov(column, column.counts, profile.column_cells(column, b))

    assert found == pytest.approx(exact_ks(a, b), abs=0.01)
    assert found <= exact_ks(a, b) + 1e-12


def test_the_wasserstein_distance_of_a_shift_is_the_shift():
    rng = np.random.default_rng(1)
    a = rng.uniform(0, 10, 20_000)
    column = of(a, bins=64)
    inside = a[a < 9] + 0.5

    found = distances.wasserstein(column, profile.column_cells(column, a[a < 9]), profile.column_cells(column, inside))

    assert found == pytest.approx(0.5, abs=0.02)


def test_quantiles_and_mean_are_near_those_of_the_rows():
    a = np.random.default_rng(2).gamma(2.0, size=20_000)
    column = of(a, bins=64)

    found = distances.quantiles(column, column.counts, [0.1, 0.5, 0.9])

    assert found == pytest.approx(np.quantile(a, [0.1, 0.5, 0.9]), rel=0.02)
    assert distances.mean(column, column.counts) == pytest.approx(a.mean(), rel=0.05)


@given(counts, counts)
def test_every_distance_of_a_profile_to_itself_is_zero_and_none_is_negative(a, b):
    column = of([1.0, 2.0, 3.0])

    for distance in (
        lambda p, q: distances.kolmogorov_smirnov(column, p, q),
        lambda p, q: distances.wasserstein(column, p, q),
        distances.population_stability,
        distances.jensen_shannon,
    ):
        assert distance(a, a) == pytest.approx(0, abs=1e-7)
        assert distance(a, b) >= 0


@given(counts, counts)
def test_shares_stay_within_zero_and_one(a, b):
    column = of([1.0, 2.0, 3.0])
    rates = distances.rates(column, a)

    assert 0 <= rates.missing <= 1
    assert 0 <= rates.outside <= 1
    assert distances.jensen_shannon(a, b) <= 1 + 1e-9
    assert distances.kolmogorov_smirnov(column, a, b) <= 1 + 1e-9


def test_rates_name_missing_new_and_outside():
    made = profile.make_reference(Signature((), ()), {"x": np.arange(10.0), "c": np.array(["a"] * 10, object)})
    cells = profile.count(
        made, {"x": np.array([np.nan, -1, 5, 5, 99]), "c": np.array(["a", "b", None, "a", "a"], object)}
    ).cells
    spans = profile.spans(made)

    number = distances.rates(made.columns[0], cells[spans["x"]])
    level = distances.rates(made.columns[1], cells[spans["c"]])

    assert (number.missing, number.below, number.above) == (0.2, 0.25, 0.25)
    assert (level.missing, level.new, level.outside) == (0.2, 0.25, 0.0)


def test_a_column_without_values_has_no_quantiles():
    column = of([np.nan, np.nan])

    assert np.isnan(distances.quantiles(column, column.counts, [0.5])).all()
    assert np.isnan(distances.mean(column, column.counts))
