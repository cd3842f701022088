"""What ends a step that is not the last: its time, its requests, its cap; and what counts as a tie."""

import pytest

from shipway.rollout import decide, parse_policy
from shipway.rollout.decide import Assigned, Counts, Evidence, crossed
from shipway.stats.paired import Pairs

NOW = 1_800_000_000.0
POLICY = parse_policy("""
[[guardrail]]
name = "errors"
outcome = "failure"
margin = 0.02

[[step]]
kind = "shadow"
until = "pass"
max_units = 5000

[[step]]
kind = "canary"
share = 0.1
until = "hold"
hold = "60s"
hold_units = 200

[[step]]
kind = "canary"
share = 0.5
until = "pass"

[[step]]
kind = "promote"
""")


def look(step, pairs, *, requests=0, since_s=1000.0):
    arms = (Assigned(1000, requests // 10, requests - requests // 10),) if requests else ()
    seen = Evidence(
        step=step,
        state="running",
        started_at=NOW - 2000,
        step_started_at=NOW - since_s,
        guardrails={"errors": Counts(pairs)},
        shadowed=pairs.units,
        assigned=arms,
        units_before=pairs.units if step else 0,
        last_unit_at=NOW,
    )
    return decide(POLICY, seen, NOW)


def test_a_hold_lasts_for_both_its_time_and_its_requests():
    good = Pairs(same=1000)

    young, sparse, over = (look(1, good, requests=n, since_s=s) for n, s in ((300, 30), (100, 1000), (300, 1000)))

    assert young.sentence.startswith("Holding this canary step for 30 more seconds")
    assert "100 more requests" in sparse.sentence
    assert (over.action, over.rule) == ("advance", "hold")


@pytest.mark.parametrize(("pairs", "action"), [(Pairs(1050, 1000, 2900), "hold"), (Pairs(1050, 1000, 2950), "advance")])
def test_a_step_that_used_its_requests_moves_on_undecided(pairs, action):
    decision = look(0, pairs)

    assert decision.action == action
    assert decision.rule in ("undecided", "max_units")
    assert "% of the evidence asked for" in decision.sentence


def test_a_log_e_value_within_a_millionth_of_its_bar_has_not_crossed_it():
    assert not crossed(3.0 + 9e-7, 3.0)
    assert crossed(3.0 + 2e-6, 3.0)
