"""What is frozen, when, and which fuse is believed."""

import pytest

from shipway.terms import Task

SLOW = """
[[guardrail]]
name = "errors"
outcome = "failure"
margin = 0.02

[[guardrail]]
name = "slow"
outcome = "slower_than"
quantile = 0.9
at_least = "{at_least}"
harm = 0.05
margin = 0.05
"""
STEPS = """
[[step]]
kind = "shadow"
until = "pass"
max_units = 400

[[step]]
kind = "canary"
share = 0.5
until = "pass"

[[step]]
kind = "promote"
"""
FAST = (0,) * 40
"""Bins below about a millisecond."""


def with_latency(at_least="0s"):
    return SLOW.format(at_least=at_least) + STEPS


def frozen(world):
    return [entry.payload for entry in world.entries("rollout.frozen")]


def test_the_champions_latency_is_frozen_before_the_challenger_answers_anyone(world):
    rollout = world.start(policy=with_latency())
    world.count(rollout, n=500)
    world.count(rollout, arm="champion", n=100, latency_us=(*FAST, 100))
    world.step()
    waiting = world.row(rollout).latest

    world.count(rollout, arm="champion", n=200, latency_us=(*FAST, 180, 20))
    world.step()
    world.step()

    assert waiting.rule == "baseline"
    assert "100 of the 200 answers" in waiting.sentence
    assert [f["first_slow_bin"] for f in frozen(world)] == [41]
    assert world.row(rollout).step == 1


def test_nothing_below_the_floor_is_called_slow(world):
    rollout = world.start(policy=with_latency("10ms"))
    world.count(rollout, arm="champion", n=300, latency_us=(*FAST, 300))

    world.step()

    assert [f["first_slow_bin"] for f in frozen(world)] == [54]  # 2 ** (54 / 4) us = 11.6 ms; bin 53 begins at 9.7 ms


def test_a_slower_challenger_is_rolled_back_for_being_slow(world):
    rollout = world.start(policy=with_latency())
    world.count(rollout, n=500)
    world.count(rollout, arm="champion", n=300, latency_us=(*FAST, 300))
    world.step()
    world.step()
    world.count(rollout, arm="champion", n=300, propensity=5000, latency_us=(*FAST, 290, 10))
    world.count(rollout, n=300, propensity=5000, latency_us=(*FAST, 100, 100, 100))

    world.step()

    assert world.row(rollout).state == "rolled_back"
    assert world.row(rollout).latest.rule == "harm:slow"


def test_an_old_fuse_of_the_same_version_does_not_end_a_new_rollout(world):
    world.push(fuses={"churn:2": "5 failures in a row"})
    rollout = world.start()

    world.step()
    before = world.row(rollout).state
    world.push(fuses={"churn:3": "5 failures in a row"})
    world.step()
    other = world.row(rollout).state
    world.push(fuses={"churn:2": "5 failures in a row, the last: it\n raised"})
    world.step()

    assert (before, other) == ("running", "running")
    row = world.row(rollout)
    assert (row.state, row.latest.rule) == ("rolled_back", "fuse")
    assert "the last: it raised" in row.latest.sentence


def test_labels_that_come_late_still_roll_back_in_the_canary(world, policies):
    rollout = world.start(policy=policies["quality"])
    world.count(rollout, n=1000)
    world.lake.pair(rollout, "yes", "yes", "yes", n=400)
    world.step()
    assert world.row(rollout).step == 1
    world.canary(rollout, 2000, challenger=(0, 200), champion=(0, 800))
    world.step()

    world.lake.answer(rollout, "yes", "no", variant="challenger", propensity=2000, n=60)
    world.lake.answer(rollout, "yes", "yes", variant="challenger", propensity=2000, n=140)
    world.lake.answer(rollout, "yes", "yes", propensity=2000, n=800)
    world.step()

    assert world.row(rollout).latest.rule == "harm:quality"


def test_without_any_label_a_guardrail_on_quality_never_lets_it_pass(world, policies):
    rollout = world.start(policy=policies["quality"])
    world.count(rollout, n=5000)
    world.lake.pair(rollout, None, "yes", "yes", n=5000)

    world.step()

    assert world.row(rollout).step == 0
    assert "quality has no data" in world.row(rollout).latest.sentence


@pytest.mark.parametrize(("error", "ended"), [(30.0, "rolled_back"), (0.5, "running")])
def test_a_regressor_is_held_to_the_champions_own_p90(make_world, policies, error, ended):
    world = make_world(task=Task.REGRESSION)
    for i in range(100):
        world.lake.answer("", "0", None, prediction=i / 50)
    rollout = world.start(policy=policies["quality"])
    world.step()
    world.count(rollout, n=200)
    world.lake.pair(rollout, "0", None, None, champion_prediction=0.5, challenger_prediction=error, n=200)

    world.step()

    assert [round(f["error_above"], 3) for f in frozen(world)] == [1.782]
    assert world.row(rollout).state == ended
