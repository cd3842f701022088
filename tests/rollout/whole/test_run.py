"""A rollout from its start to its end: database, registry, endpoint, route table and ledger move together."""

import msgspec
import pytest
from sqlalchemy import select, update

from shipway import rollout
from shipway.database import lease, schema
from shipway.endpoint import EndpointSettings, latest
from shipway.errors import Conflict, Missing, Rejected
from shipway.registry import SqlRegistry
from shipway.rollout import run
from shipway.terms import Verdict

SLOW = '[[guardrail]]\nname = "slow"\noutcome = "slower_than"\nquantile = 0.95\nmargin = 0.02\n'


def alias(house, named):
    with house.database.read() as tx:
        return SqlRegistry(tx).alias("default", "churn", named).version


def epoch(house):
    with house.database.read() as tx:
        return latest(tx).epoch


def begin(house, tx, endpoint):
    challenger = SqlRegistry(tx).version("default", "churn", 2)
    return run.start(
        tx, project="default", endpoint=endpoint, challenger=challenger, policy_text=None, actor="ann", now=house.now
    )


def test_a_start_puts_the_challenger_into_the_split_as_a_shadow_that_answers_nobody(house, policy_text):
    name = house.start(policy_text(shadow=True))
    challenger = house.route().variant("challenger")
    assert (challenger.version, challenger.mode, challenger.weight, challenger.shadow_share) == (2, "shadow", 0, 10_000)
    assert house.route().rollout == house.endpoint().rollout == name
    assert house.shares()["champion"] == (1, 10_000)
    assert alias(house, "challenger") == 2
    (started,) = house.entries("rollout.started")
    assert started.payload["policy_digest"] == house.trial(name).policy_digest


def test_without_counts_every_look_holds_and_nothing_moves(house, policy_text):
    name = house.start(policy_text(shadow=True))
    before = epoch(house)
    assert [d.action for _ in range(5) for d in house.step()] == ["hold"] * 5
    assert (house.trial(name).step, epoch(house), house.entries("rollout.decided")) == (0, before, [])


def test_enough_requests_take_a_rollout_through_every_step_to_a_promotion(house, policy_text):
    name = house.start(policy_text())
    assert house.shares() == {"champion": (1, 9000), "challenger": (2, 1000)}
    (decision,) = house.answers(100)
    assert (decision.action, decision.rule) == ("advance", "hold")
    assert house.shares() == {"champion": (1, 5000), "challenger": (2, 5000)}
    (decision,) = house.answers(2000)
    assert decision.action == "promote"
    assert house.shares() == {"champion": (2, 10_000)}
    there = house.endpoint()
    assert (there.champion, there.previous, there.rollout) == (2, 1, "")
    assert house.champion() == 2
    assert house.trial(name).state == "promoted"
    assert house.step() == []


def test_a_shadow_that_passes_lets_the_challenger_answer_its_first_callers(house, policy_text):
    name = house.start(policy_text(shadow=True))
    (decision,) = house.shadows(600)
    assert (decision.action, decision.step) == ("advance", 0)
    assert house.shares() == {"champion": (1, 9000), "challenger": (2, 1000)}
    assert house.trial(name).step == 1


def test_the_ledger_keeps_the_counts_that_each_decision_was_made_from(house, policy_text):
    house.start(policy_text())
    house.answers(100)
    house.answers(2000)
    held, promoted = house.entries("rollout.decided")
    assert (held.payload["decision"]["action"], promoted.payload["decision"]["action"]) == ("advance", "promote")
    assert promoted.payload["evidence"]["guardrails"]["errors"]["segments"] == [
        {"propensity": 0.1, "challenger_bad": 0, "challenger_good": 10, "champion_bad": 0, "champion_good": 90},
        {"propensity": 0.5, "challenger_bad": 0, "challenger_good": 1000, "champion_bad": 0, "champion_good": 1000},
    ]
    moved = house.entries("alias.moved")[-1]
    assert moved.payload["why"] == promoted.payload["decision"]["sentence"]


def test_a_harmful_challenger_is_rolled_back_and_the_champion_answers_everybody(house, policy_text):
    name = house.start(policy_text())
    house.answers(100)
    (decision,) = house.answers(400, failed=0.01, challenger_failed=0.2)
    assert (decision.action, decision.rule) == ("rollback", "harm:errors")
    assert house.shares() == {"champion": (1, 10_000)}
    assert (house.endpoint().champion, house.endpoint().rollout, house.trial(name).state) == (1, "", "rolled_back")
    assert house.champion() == 1
    assert house.entries("rollout.decided")[-1].payload["decision"]["checks"][0]["challenger_bad"] == 40


def test_a_fuse_in_a_server_rolls_back_at_the_next_look(house, policy_text):
    name = house.start(policy_text())
    house.server.health = {"fuses": {"churn:2": "5 crashes in a row"}}
    house.server.report(house.now, epoch(house))
    (decision,) = house.step()
    assert (decision.rule, house.trial(name).state) == ("fuse", "rolled_back")
    assert "5 crashes in a row" in decision.sentence


def test_a_second_rollout_on_one_endpoint_is_refused(house, policy_text):
    name = house.start(policy_text(shadow=True))
    with pytest.raises(Conflict, match=f"rollout {name} of churn:2 runs on churn"):
        house.start(policy_text(), challenger=3)
    assert [e.subject for e in house.entries("rollout.started")] == [f"rollout:{name}"]


def test_a_version_without_a_gate_verdict_may_not_be_tried(house, policy_text):
    with house.database.transaction() as tx:
        registry = SqlRegistry(tx)
        champion = registry.version("default", "churn", 1)
        registry.attach("default", champion.digest, "gate", {}, Verdict.PASS, house.now)
    house.deploy(1, require_gate=True)
    with pytest.raises(Rejected, match="has not been through the gate"):
        house.start(policy_text())
    assert house.endpoint().rollout == ""


def test_the_champion_cannot_challenge_itself(house, policy_text):
    with pytest.raises(Rejected, match="is the champion of churn already"):
        house.start(policy_text(), challenger=1)


def test_a_trial_at_an_endpoint_that_is_not_there_is_refused(house):
    with house.database.transaction() as tx, pytest.raises(Missing, match="no endpoint is called chrn"):
        begin(house, tx, "chrn")


@pytest.mark.parametrize(
    ("change", "said"), [({"sticky": "header:x-user"}, "keeps callers"), ({"capture": False}, "capture")]
)
def test_an_endpoint_that_cannot_be_compared_or_captured_is_refused(house, policy_text, change, said):
    house.deploy(1, **change)
    with pytest.raises(Rejected, match=said):
        house.start(policy_text(shadow=True))


def test_a_paused_rollout_stays_in_its_step_until_it_is_resumed(house, policy_text):
    name = house.start(policy_text())
    house.act("pause", name)
    (decision,) = house.answers(200)
    assert (decision.rule, house.trial(name).step, house.trial(name).state) == ("paused", 0, "paused")
    house.act("resume", name)
    (decision,) = house.step()
    assert (decision.action, house.trial(name).step) == ("advance", 1)
    assert [e.kind for e in house.entries() if e.kind in ("rollout.paused", "rollout.resumed")] == [
        "rollout.paused", "rollout.resumed",
    ]  # fmt: skip


def test_without_auto_promote_the_promotion_waits_for_a_person(house, policy_text):
    house.deploy(1, auto_promote=False)
    name = house.start(policy_text())
    with pytest.raises(Conflict, match="cannot approve"):
        house.act("approve", name)
    house.answers(100)
    (decision,) = house.answers(2000)
    assert (decision.action, house.trial(name).state, house.endpoint().champion) == ("wait_approval", "waiting", 1)
    house.act("approve", name)
    assert (house.trial(name).state, house.endpoint().champion, house.champion()) == ("promoted", 2, 2)
    assert house.entries("rollout.approved")[0].actor == "ann"


def test_a_person_may_promote_or_roll_back_and_not_do_it_twice(house, policy_text):
    name = house.start(policy_text())
    house.act("rollback", name)
    assert (house.shares(), house.trial(name).state) == ({"champion": (1, 10_000)}, "rolled_back")
    for verb in ("rollback", "promote", "pause", "resume", "approve"):
        with pytest.raises(Conflict, match="it is rolled back"):
            house.act(verb, name)
    again = house.start(policy_text())
    house.act("promote", again)
    assert (house.endpoint().champion, house.endpoint().previous, house.trial(again).state) == (2, 1, "promoted")


def test_an_endpoint_goes_back_to_the_champion_before(house, policy_text):
    house.act("promote", house.start(policy_text()))
    with house.database.transaction() as tx:
        row = rollout.rollback_endpoint(tx, "default", "churn", "ann", house.now)
    assert (row.champion, row.previous) == (1, 2)
    assert house.shares() == {"champion": (1, 10_000)}
    assert house.champion() == 1


def test_rolling_back_an_endpoint_ends_its_rollout_and_leaves_its_champion(house, policy_text):
    name = house.start(policy_text())
    with house.database.transaction() as tx:
        row = rollout.rollback_endpoint(tx, "default", "churn", "ann", house.now)
    assert (row.champion, row.rollout, house.trial(name).state) == (1, "", "rolled_back")


def test_an_endpoint_without_an_earlier_champion_says_so(house):
    with house.database.transaction() as tx, pytest.raises(Conflict, match="has had no champion before churn:1"):
        rollout.rollback_endpoint(tx, "default", "churn", "ann", house.now)


def test_a_policy_edited_on_the_endpoint_leaves_the_running_test_under_its_own(house, policy_text):
    name = house.start(policy_text())
    before = house.trial(name)
    house.deploy(1, policies={"rollout": policy_text().replace("0.02", "0.9")})
    house.answers(100)
    after = house.trial(name)
    assert (after.policy, after.policy_digest, after.restart) == (before.policy, before.policy_digest, 0)
    assert after.latest.checks[0].margin == 0.02
    house.act("rollback", name)
    assert "margin = 0.9" in house.trial(house.start(None)).policy


def test_a_new_champion_begins_the_test_again_without_the_old_counts(house, policy_text):
    name = house.start(policy_text())
    house.answers(100)
    house.deploy(3)
    assert house.step() == []
    row = house.trial(name)
    assert (row.champion, row.restart, row.step, row.latest) == (3, 1, 0, None)
    assert house.shares() == {"champion": (3, 9000), "challenger": (2, 1000)}
    assert house.route().restart == 1
    (decision,) = house.step()
    assert (decision.rule, decision.units) == ("no_data", 0)
    assert [e.payload["champion"] for e in house.entries("rollout.restarted")] == [3]


def test_a_challenger_deployed_by_hand_makes_its_rollout_pointless(house, policy_text):
    name = house.start(policy_text())
    house.deploy(2)
    house.step()
    assert house.trial(name).state == "superseded"
    assert house.shares() == {"champion": (2, 10_000)}
    assert len(house.entries("rollout.superseded")) == 1


def test_a_clockwork_that_lost_its_lease_writes_nothing(house, policy_text):
    name = house.start(policy_text())
    with house.database.transaction() as tx:
        fence = lease.acquire(tx, run.LEASE, "first", house.now)
    house.server.add(house.route(), "challenger", "ok", 10)
    house.server.add(house.route(), "champion", "ok", 90)
    house.server.report(house.now)
    with house.database.transaction() as tx:
        newer = lease.acquire(tx, run.LEASE, "second", house.now + 60)
    before = house.trial(name), house.entries(), epoch(house)
    with pytest.raises(Conflict, match="nothing was written"):
        run.step(house.database, None, house.now + 61, fence)
    assert (house.trial(name), house.entries(), epoch(house)) == before
    (decision,) = run.step(house.database, None, house.now + 62, newer)
    assert (decision.action, house.trial(name).step) == ("advance", 1)


def test_one_rollout_that_cannot_be_looked_at_does_not_keep_the_others_from_their_turn(house, policy_text):
    with house.database.transaction() as tx:
        champion = SqlRegistry(tx).version("default", "churn", 1)
        settings = EndpointSettings(require_gate=False)
        rollout.deploy(
            tx, project="default", endpoint="zzz", version_row=champion, settings=settings, policies={}, actor="ann",
            now=house.now,
        )  # fmt: skip
        broken = begin(house, tx, "zzz")
        tx.execute(
            update(schema.rollout).where(schema.rollout.c.id == broken).values(policy="not toml", started_at=0.0)
        )
    name = house.start(policy_text())
    with pytest.raises(Rejected, match="is not TOML"):
        house.answers(100)
    assert house.trial(name).step == 1


def test_a_rollout_that_begins_with_a_canary_needs_the_champions_latency_first(house, policy_text):
    with pytest.raises(Rejected, match=r"has given 0 of the 200 answers"):
        house.start(SLOW + policy_text())
    assert house.endpoint().rollout == ""
    house.server.add(house.route(), "champion", "ok", 200)  # all in latency bin 20
    house.server.report(house.now)
    house.start(SLOW + policy_text())
    assert house.entries("rollout.frozen")[0].payload["first_slow_bin"] == 21


def test_every_webhook_is_told_how_a_rollout_ended(house, policy_text):
    house.deploy(1, webhooks=("https://example.org/hook",))
    house.act("rollback", house.start(policy_text()), why="too slow")
    with house.database.read() as tx:
        ((target, body),) = tx.execute(select(schema.outbox.c.target, schema.outbox.c.body)).all()
    assert (target, msgspec.json.decode(body)["sentence"]) == ("https://example.org/hook", "too slow")


def test_the_challenger_alias_starts_a_rollout_by_itself_once(house):
    with house.database.transaction() as tx:
        registry = SqlRegistry(tx)
        registry.attach("default", registry.version("default", "churn", 3).digest, "gate", {}, Verdict.PASS, house.now)
        registry.move_alias("default", "churn", "challenger", 3, seen=None, by="ann", why="", now=house.now)
    house.step()
    assert house.endpoint().rollout == "churn-1"
    house.act("rollback", "churn-1")
    house.step()
    assert house.endpoint().rollout == ""


def test_a_challenger_with_other_classes_is_refused(house, manifest, policy_text):
    with house.database.transaction() as tx:
        number = house.register(tx, manifest(9, classes=("no", "perhaps", "yes")))
    with pytest.raises(Rejected, match="another question"):
        house.start(policy_text(), challenger=number)


def test_a_version_of_another_model_is_refused(house, manifest, policy_text):
    with house.database.transaction() as tx:
        house.register(tx, manifest(1, model="prices"))
    with pytest.raises(Rejected, match="is a version of another"):
        house.start(policy_text(), model="prices", challenger=1)


def test_a_decision_and_its_route_table_name_the_same_moment_of_the_ledger(house, policy_text):
    house.start(policy_text())
    house.answers(100)
    with house.database.read() as tx:
        table = latest(tx)
    assert table.ledger_head in {e.hash for e in house.entries()}
    assert table.endpoints[0].variant("challenger").weight == 5000
