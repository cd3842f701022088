"""Where a rollout stands, in words with numbers."""

import msgspec
import pytest

from shipway.errors import Missing
from shipway.rollout import run
from shipway.rollout.texts import explain, status


def stands(world, rollout):
    with world.database.read() as tx:
        return status(tx, rollout)


def lines(world, rollout):
    with world.database.read() as tx:
        return explain(tx, rollout)["lines"]


def test_a_fresh_rollout_says_that_nothing_was_counted(world):
    found = stands(world, world.start())

    assert (found.state, found.kind, found.step, found.steps, found.share) == ("running", "shadow", 0, 4, 0.0)
    assert found.sentence == "Started; nothing has been counted yet."


def test_the_share_is_what_callers_meet_now(world):
    rollout = world.start()
    world.count(rollout, n=1000)
    world.step()

    found = stands(world, rollout)

    assert (found.kind, found.share, found.units, found.challenger_units) == ("canary", 0.2, 1000, 1000)


def test_an_open_question_says_how_much_is_missing_and_what_would_end_it(world):
    rollout = world.start()
    world.count(rollout, n=60)
    world.count(rollout, "error", 1)
    world.step()

    (line,) = lines(world, rollout)

    assert "1 bad of 61 for the challenger" in line
    assert "% of the evidence needed" in line
    assert "more requests at the rates seen so far" in line or "not to be had" in line
    assert "4 more bad answers" in line
    assert " p " not in line
    assert "p-value" not in line


def test_a_passed_guardrail_says_what_is_proven(world):
    rollout = world.start()
    world.count(rollout, n=1000)
    world.step()

    assert "Not worse than +2 points: proven" in lines(world, rollout)[0]


def test_a_guardrail_without_data_says_that_it_will_not_pass(world, policies):
    rollout = world.start(policy=policies["quality"])
    world.count(rollout, n=10)
    world.step()

    assert lines(world, rollout)[1] == "quality: no data yet; without data it never passes."


@pytest.mark.parametrize(
    ("verb", "sentence"),
    [
        (run.rollback, "All traffic is back at the champion."),
        (run.promote, "The challenger is the champion now."),
        (run.pause, "Held: paused by a person; a rollback stays armed."),
    ],
)
def test_what_a_person_did_is_said_in_place_of_the_last_look(world, verb, sentence):
    rollout = world.start()
    world.count(rollout, n=10)
    world.step()

    world.do(verb, rollout)

    assert stands(world, rollout).sentence == sentence


def test_a_rollback_by_evidence_keeps_its_figures(world):
    rollout = world.start()
    world.count(rollout, "error", 50)
    world.count(rollout, n=50)
    world.step()

    found = stands(world, rollout)

    assert found.state == "rolled_back"
    assert "50 bad of 100" in found.sentence
    assert msgspec.json.encode(found)


def test_a_rollout_that_is_not_there_is_missing_with_a_way_to_find_one(world):
    with pytest.raises(Missing) as missing:
        stands(world, "churn-7")

    assert "rollout" in missing.value.fix
