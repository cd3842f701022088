"""What a rollout's page shows of its checks is true where bounds contradict, and fits its picture."""

from dataclasses import replace
from itertools import pairwise

import pytest

from shipway.console import checks, plot
from shipway.console.views import Rollout
from shipway.rollout.decide import Check, Decision, spread
from shipway.rollout.policy import DEFAULT_TOML


def weighed(low, high, **changes):
    fields = {
        "name": "errors", "verdict": "passed", "log_e_harm": 0.0, "bar_harm": 4.0, "log_e_margin": 9.0,
        "bar_margin": 3.0, "challenger": 900, "challenger_bad": 18, "champion": 900, "champion_bad": 0,
        "estimate": 0.01, "low": low, "high": high, "harm": 0.0, "margin": 0.02,
    }  # fmt: skip
    return Check(**(fields | changes))


def tried(*bounds, state="running", ended=None):
    history = [
        {"at": 60.0 * i, "checks": {"errors": {"harm": 0.0, "margin": 1.0, "estimate": 0.0, "low": low, "high": high}}}
        for i, (low, high) in enumerate(bounds)
    ]
    latest = Decision("hold", 0, "r", "Held.", (weighed(*bounds[-1]),), 0.0, 7.6, 1800, 900, 0, 0.0, 60.0)
    return Rollout("c-1", "c", "c", 1, 2, state, 0, 0, 0.0, 0.0, ended, DEFAULT_TOML, "", latest, history)


def test_bounds_that_contradict_are_told_as_a_change_and_never_as_an_interval():
    card = checks.cards(tried((-0.01, 0.01), (0.0559, 0.0075)), ["errors: ..."])[0]

    assert card.interval == "points over all; at times below +0.75, at others above +5.59"
    assert [row[1:3] for row in card.chart.rows] == [("\N{MINUS SIGN}1.00", "+1.00"), ("+0.75", "+5.59")]
    assert "to" not in spread(0.0559, 0.0075).split()


@pytest.mark.parametrize("bounds", [(-0.61, -0.53), (-0.003, 0.004), (0.5, 0.7), (0.06, 0.01)])
def test_picture_holds_both_lines_and_the_newest_bounds(bounds):
    rollout = tried((-0.9, 0.9), (-0.9, 0.9), bounds, bounds)

    low, high = checks._reach(weighed(*bounds), checks._past(rollout, "errors"))

    assert low < min(0.0, *bounds)
    assert high > max(0.02, *bounds)


def test_stage_that_an_ended_rollout_never_came_to_is_not_promised():
    steps = checks.steps(tried((0.0, 0.1), state="rolled_back", ended=5.0), 9.0)

    assert [step.text for step in steps] == ["rolled back here", *["not reached"] * (len(steps) - 1)]


def test_labels_at_the_ends_of_lines_never_cover_each_other():
    axes = plot.Axes((0.0, 1.0), (0.0, 1.0))
    lines = [plot.Line([(0.0, y), (1.0, y)], label=f"p{i}") for i, y in enumerate((0.01, 0.02, 0.03, 0.9))]

    ends = sorted(y for y in plot._ends(axes, lines) if y is not None)

    assert len(ends) == 4
    assert all(b - a >= plot.LABEL for a, b in pairwise(ends))


def test_asking_line_of_a_trial_that_waits_names_the_approval():
    assert "waits for your approval" in checks.asked(replace(tried((0.0, 0.1)), state="waiting"))
