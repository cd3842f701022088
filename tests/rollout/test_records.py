"""Decisions recompute from the ledger, and edits are found."""

import msgspec
import pytest

from shipway import ledger
from shipway.errors import Missing
from shipway.rollout import run
from shipway.rollout.records import verify


@pytest.fixture
def told(world):
    """A world in which one rollout was promoted and one was rolled back; verified through a function."""
    first = world.start()
    world.count(first, n=600)
    world.step()
    world.canary(first, 2000, challenger=(0, 200), champion=(1, 800))
    world.step()
    world.canary(first, 5000, challenger=(1, 1500), champion=(2, 1500))
    world.step()
    second = world.start(3)
    world.count(second, "error", 40)
    world.count(second, n=40)
    world.step()
    assert (world.row(first).state, world.row(second).state) == ("promoted", "rolled_back")
    return world


def report(world, rollout=None):
    with world.database.read() as tx:
        return verify(tx, rollout)


def rewritten(world, change):
    """Append the last decision once more, changed, as a forger with write access would."""
    last = world.entries("rollout.decided")[-1]
    payload = msgspec.json.decode(msgspec.json.encode(last.payload))
    change(payload)
    with world.database.transaction() as tx:
        ledger.append(
            tx, project="default", actor="eve", kind=last.kind, subject=last.subject, payload=payload, now=world.now
        )
    return report(world)


def test_every_decision_recomputes(told):
    found = report(told)

    assert found.ok
    assert found.decisions == len(told.entries("rollout.decided")) >= 4
    assert report(told, "churn-1").decisions + report(told, "churn-2").decisions == found.decisions


def test_before_the_first_decision_there_is_nothing_to_recompute(world):
    assert report(world).ok
    assert "no decision" in report(world).sentence


def test_a_rollout_that_is_not_there_is_missing(world):
    with pytest.raises(Missing, match="churn-9"):
        report(world, "churn-9")


@pytest.mark.parametrize(
    ("place", "value", "named"),
    [
        (("decision", "action"), "promote", "action"),
        (("decision", "rule"), "pass", "rule"),
        (("decision", "units"), 81, "units"),
        (("decision", "checks", 0, "bar_harm"), 99.0, "bar_harm"),
        (("decision", "checks", 0, "challenger_bad"), 0, "challenger_bad"),
        (("evidence", "guardrails", "errors", "pairs", "worse"), 1, "recomputes"),
        (("evidence", "state"), 5, "cannot be recomputed"),
    ],
)
def test_a_changed_figure_is_found_and_named(told, place, value, named):
    def change(payload):
        for key in place[:-1]:
            payload = payload[key]
        payload[place[-1]] = value

    found = rewritten(told, change)

    assert not found.ok
    assert len(found.mismatches) == 1
    assert named in found.sentence


@pytest.mark.parametrize(("factor", "ok"), [(1 + 1e-10, True), (1 + 1e-7, False)])
def test_a_log_e_value_may_differ_by_a_billionth_and_no_more(told, factor, ok):
    def change(payload):
        payload["decision"]["checks"][0]["log_e_harm"] *= factor

    assert rewritten(told, change).ok is ok


def test_what_a_person_did_is_no_decision_to_recompute(told):
    before = report(told).decisions
    third = told.start(2 if told.endpoint().champion != 2 else 3)
    told.do(run.rollback, third)

    assert report(told).decisions == before
