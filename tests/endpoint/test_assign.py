"""The same unit always goes the same way, and raising the weight never takes one back."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipway.endpoint.assign import bucket, choose
from shipway.errors import Broken
from shipway.terms import EndpointRoute, Variant
from shipway.testing.assignment import VECTORS

UNITS = st.binary(max_size=40)
WEIGHTS = st.integers(0, 10_000)


def route(weight, rollout="r-7", restart=0):
    champion = Variant("champion", "churn", 1, "sha256:1", weight=10_000 - weight)
    challenger = Variant("challenger", "churn", 2, "sha256:2", weight=weight)
    return EndpointRoute("default", "churn", (champion, challenger), rollout, restart)


@pytest.mark.parametrize("vector", VECTORS, ids=str)
def test_every_published_vector_holds(vector):
    assert bucket(vector.unit, vector.rollout, vector.restart) == vector.place


@given(UNITS, WEIGHTS, WEIGHTS)
def test_raising_the_weight_never_moves_a_unit_out_of_the_challenger(unit, a, b):
    low, high = sorted((a, b))

    before, after = choose(route(low), unit)[0].name, choose(route(high), unit)[0].name

    assert (before, after) != ("challenger", "champion")


@given(UNITS, WEIGHTS)
def test_the_challenger_owns_the_places_below_its_weight(unit, weight):
    chosen, propensity = choose(route(weight), unit)

    assert chosen.name == ("challenger" if bucket(unit, "r-7", 0) < weight else "champion")
    assert propensity == weight


@given(UNITS, st.text(max_size=100), st.integers(0, 99))
def test_any_unit_and_rollout_has_one_place(unit, rollout, restart):
    assert 0 <= bucket(unit, rollout, restart) < 10_000
    assert bucket(unit, rollout, restart) == bucket(unit, rollout, restart)


def test_no_weight_sends_nobody_and_all_the_weight_sends_everybody():
    units = [str(n).encode() for n in range(200)]

    assert {choose(route(0), u)[0].name for u in units} == {"champion"}
    assert {choose(route(10_000), u)[0].name for u in units} == {"challenger"}


def test_shares_come_out_as_asked_and_independently_in_the_next_test():
    units = [f"customer-{n}".encode() for n in range(20_000)]

    first = [choose(route(2_500), u)[0].name == "challenger" for u in units]
    second = [choose(route(2_500, restart=1), u)[0].name == "challenger" for u in units]

    # Standard deviations: 61 of 5,000 and 34 of 1,250.
    assert abs(sum(first) - 5_000) < 250
    assert abs(sum(a and b for a, b in zip(first, second, strict=True)) - 1_250) < 140


def test_a_shadow_answers_nobody():
    shadow = Variant("challenger", "churn", 2, "sha256:2", mode="shadow", shadow_share=10_000)
    with_shadow = EndpointRoute(
        "default", "churn", (Variant("champion", "churn", 1, "sha256:1", 10_000), shadow), "r-7"
    )

    assert {choose(with_shadow, str(n).encode()) for n in range(50)} == {(with_shadow.variants[0], 0)}


def test_a_route_without_a_champion_is_refused():
    with pytest.raises(Broken, match="has no champion"):
        choose(EndpointRoute("default", "churn", ()), b"x")


def test_assigning_imports_nothing_that_a_worker_must_not_have():
    code = (
        "import sys, shipway.endpoint, shipway.endpoint.assign, shipway.settings\n"
        "heavy = {'sqlalchemy', 'alembic', 'sqlite3', 'pydantic', 'rfc8785', 'shipway.ledger', 'shipway.database'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )

    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)

    assert done.stdout == "[]\n"
