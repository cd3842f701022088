"""What users of other tools complain about, one test each; the number is the upstream issue it answers."""

import pytest

from shipway import rollout
from shipway.endpoint import choose
from shipway.errors import Conflict, Rejected
from shipway.rollout import parse_policy


def test_no_data_neither_passes_nor_fails_nor_crashes(house, policy_text):
    """argo-rollouts#1466 (empty result crashes), #4479 (phase successful without measurements), flagger#1689."""
    name = house.start(policy_text())
    for _ in range(3):
        (decision,) = house.step()
        assert (decision.action, decision.rule) == ("hold", "no_data")
    assert decision.sentence == "Held: no request has reached this canary step yet."
    assert house.trial(name).state == "running"


def test_a_rollout_goes_on_by_itself_when_data_is_back(house, policy_text):
    """argo-rollouts#1905 (pause while the metric is absent, resume when it is back)."""
    name = house.start(policy_text())
    house.answers(50)
    house.now += 3600
    assert "no request for 60 minutes" in house.step()[0].sentence
    assert house.answers(50)[0].action == "advance"
    assert house.trial(name).step == 1


def test_low_traffic_neither_aborts_nor_promotes(house, policy_text):
    """kortix-ai/suna#3396, #3403 (every rollout false-aborted at low traffic, then "fixed" by a pass)."""
    name = house.start(policy_text())
    house.answers(100)
    for _ in range(5):
        (decision,) = house.answers(4, challenger_failed=0.5)  # one of two fails: 50 % by a threshold's count
        assert decision.action == "hold"
    assert house.trial(name).latest.checks[0].challenger_bad == 5
    assert house.endpoint().champion == 1


def test_an_incident_that_both_arms_share_rolls_nothing_back(house, policy_text):
    """argo-rollouts#1107, juspay/hyperswitch-helm#308 (thresholds blame the canary for everybody's incident)."""
    name = house.start(policy_text())
    house.answers(100)
    for _ in range(10):
        (decision,) = house.answers(400, failed=0.3, challenger_failed=0.3)
        assert decision.action in ("hold", "promote")
    assert house.trial(name).state != "rolled_back"


def test_a_rollback_fires_while_a_person_is_waited_for(house, policy_text):
    """flagger#1801 (18 failed checks and no rollback, because a hook was waited for)."""
    house.deploy(1, auto_promote=False)
    name = house.start(policy_text())
    house.answers(100)
    house.answers(2000)
    assert house.trial(name).state == "waiting"
    (decision,) = house.answers(1000, challenger_failed=0.3)
    assert decision.action == "rollback"
    assert house.shares() == {"champion": (1, 10_000)}
    with pytest.raises(Conflict, match="it is rolled back"):
        house.act("approve", name)


def test_a_challenger_does_not_come_back_after_an_abort_and_may_be_tried_again(house, policy_text):
    """argo-rollouts#3078 (flaps after abort), #3578 (the new version will not start after an abort)."""
    name = house.start(policy_text())
    old = house.route()
    house.act("rollback", name)
    # A server that has not heard of it yet goes on counting.
    house.server.add(old, "challenger", "ok", 5000)
    house.server.add(old, "champion", "ok", 5000)
    house.server.report(house.now)
    assert house.step() == []
    assert house.shares() == {"champion": (1, 10_000)}
    again = house.start(policy_text())
    assert again != name
    assert house.step()[0].units == 0


def test_a_promotion_can_be_taken_back_at_once_and_to_another_version(house, policy_text):
    """argo-rollouts#574, #2939 (no fast rollback after success), Truxify#10444 (production as its own predecessor)."""
    house.act("promote", house.start(policy_text()))
    house.deploy(2)  # once more: its predecessor stays version 1
    assert (house.endpoint().champion, house.endpoint().previous) == (2, 1)
    with house.database.transaction() as tx:
        rollout.rollback_endpoint(tx, "default", "churn", "ann", house.now)
    assert house.shares() == {"champion": (1, 10_000)}


@pytest.mark.parametrize("line", ["canaryTrafficPercent = 10", "holdback = 0.02", 'on_missing_key = "champion"'])
def test_a_weight_or_rule_that_would_be_ignored_is_refused_by_name(house, policy_text, line):
    """kserve#5335 (`canaryTrafficPercent` silently ignored, full rollout), flagger#1581 (metrics silently unused)."""
    key = line.split()[0]
    with pytest.raises(Rejected, match=f"`{key}`"):
        house.start(policy_text() + line)
    assert house.shares() == {"champion": (1, 10_000)}


def test_the_share_that_was_asked_for_is_what_servers_are_told(house, policy_text):
    """kserve#2040, #2097 (traffic at the wrong revision)."""
    text = policy_text()
    house.start(text)
    for i in range(2):
        wanted = parse_policy(text).step[i].weight
        assert house.shares() == {"champion": (1, 10_000 - wanted), "challenger": (2, wanted)}
        house.answers(100)


def test_a_shadow_finds_harm_before_any_caller_is_answered(house, policy_text):
    """kserve#2978, #2240 (no mirroring), flagger#1415."""
    house.start(policy_text(shadow=True))
    before = house.route()
    assert all(choose(before, str(i).encode())[0].version == 1 for i in range(1000))
    (decision,) = house.shadows(200, failed=20)
    assert (decision.action, decision.rule) == ("rollback", "harm:errors")


def test_raising_the_share_never_takes_a_caller_away_from_the_challenger(house, policy_text):
    """growthbook-js#22 (a change of coverage swaps variants), ray PR#8449 (mapping changes with weights)."""
    house.start(policy_text())
    units = [str(i).encode() for i in range(5000)]
    small = {u for u in units if choose(house.route(), u)[0].name == "challenger"}
    house.answers(100)
    large = {u for u in units if choose(house.route(), u)[0].name == "challenger"}
    assert small < large
    assert abs(len(small) / 5000 - 0.1) < 0.02
    assert abs(len(large) / 5000 - 0.5) < 0.03


def test_the_record_of_a_decision_holds_what_it_was_made_from_and_who_was_champion_when(house, policy_text):
    """argo-rollouts#1591 (the resolved query is not recorded), mlflow#2169 (no history of what was production)."""
    name = house.start(policy_text())
    house.answers(100)
    house.answers(2000)
    (promoted,) = [e for e in house.entries("rollout.decided") if e.payload["decision"]["action"] == "promote"]
    assert promoted.payload["evidence"]["assigned"][1] == {"propensity": 5000, "challenger": 1000, "champion": 1000}
    assert promoted.payload["policy_digest"] == house.trial(name).policy_digest
    assert house.verify(name).ok
    champions = [e.payload["to"] for e in house.entries("alias.moved") if e.payload["alias"] == "champion"]
    assert champions == [1, 2]
