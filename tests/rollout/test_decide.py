"""What follows from which counts; nothing here opens anything."""

from math import log

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipway.rollout import decide, default_policy, parse_policy
from shipway.rollout.decide import Assigned, Counts, Evidence
from shipway.stats.evalue import Segment
from shipway.stats.paired import Pairs

TWO = """
[rollout]
min_units = 200
[[guardrail]]
name = "errors"
outcome = "failure"
margin = 0.02
[[guardrail]]
name = "quality"
outcome = "loss"
margin = 0.02
[[step]]
kind = "canary"
share = 0.5
until = "pass"
[[step]]
kind = "promote"
"""
POLICY = parse_policy(TWO)
GOOD = Counts(segments=(Segment(0.5, 0, 3000, 0, 3000),))
BAD = Counts(segments=(Segment(0.5, 300, 2700, 30, 2970),))
NOTHING = Counts()


def evidence(errors=GOOD, quality=GOOD, **changes):
    assigned = tuple(Assigned(round(1e4 * s.propensity), s.challenger, s.champion) for s in errors.segments)
    fields = {
        "step": 0, "state": "running", "started_at": 0.0, "step_started_at": 0.0, "last_unit_at": 100.0,
        "guardrails": {"errors": errors, "quality": quality}, "assigned": assigned, "auto_promote": True,
    }  # fmt: skip
    return Evidence(**(fields | changes))


def act(seen, policy=POLICY, now=101.0):
    return decide(policy, seen, now)


def test_a_challenger_that_passes_every_guardrail_is_promoted():
    decision = act(evidence())
    assert (decision.action, decision.rule) == ("promote", "pass")
    assert decision.sentence.startswith("Promoted: errors at most")


def test_without_auto_promote_a_person_is_asked():
    decision = act(evidence(auto_promote=False))
    assert (decision.action, decision.rule) == ("wait_approval", "pass")


@pytest.mark.parametrize("which", ["errors", "quality"])
def test_one_harmed_guardrail_wins_over_all_that_pass(which):
    decision = act(evidence(**{which: BAD}))
    assert (decision.action, decision.rule) == ("rollback", f"harm:{which}")
    assert "300 bad of 3000 for the challenger, 30 of 3000 for the champion" in decision.sentence


def test_a_guardrail_that_is_both_proven_harmful_and_within_its_margin_rolls_back():
    # Worse by one point, which is proven; the margin of two points is proven to be kept as well.
    both = Counts(segments=(Segment(0.5, 2000, 98_000, 1000, 99_000),))
    decision = act(evidence(errors=both))
    check = decision.checks[0]
    assert check.log_e_margin > check.bar_margin
    assert check.log_e_harm > check.bar_harm
    assert decision.action == "rollback"


@pytest.mark.parametrize("state", ["running", "paused", "waiting"])
def test_a_rollback_is_armed_in_every_state(state):
    assert act(evidence(errors=BAD, state=state)).action == "rollback"


@pytest.mark.parametrize(("state", "rule"), [("paused", "paused"), ("waiting", "waiting")])
def test_a_paused_or_waiting_rollout_is_not_promoted(state, rule):
    decision = act(evidence(state=state))
    assert (decision.action, decision.rule) == ("hold", rule)
    assert "a rollback stays armed" in decision.sentence


@pytest.mark.parametrize("state", ["running", "paused", "waiting"])
def test_an_open_fuse_rolls_back_at_once_in_every_state_and_without_any_count(state):
    seen = evidence(NOTHING, NOTHING, state=state, fuses=("server one saw 5 crashes in a row",))
    decision = act(seen)
    assert (decision.action, decision.rule) == ("rollback", "fuse")
    assert "5 crashes in a row" in decision.sentence


def test_no_data_holds_and_says_so():
    decision = act(evidence(NOTHING, NOTHING))
    assert (decision.action, decision.rule) == ("hold", "no_data")
    assert decision.sentence == "Held: no request has reached this canary step yet."


def test_silence_holds_and_says_for_how_long():
    decision = act(evidence(), now=100.0 + 3600.0)
    assert (decision.action, decision.sentence) == ("hold", "Held: no request for 60 minutes.")


def test_a_guardrail_without_data_blocks_a_promotion_that_the_others_allow():
    decision = act(evidence(quality=NOTHING))
    assert (decision.action, decision.rule) == ("hold", "undecided")
    assert "quality has no data" in decision.sentence


def test_unlabelled_ignore_asks_nothing_without_labels_and_everything_with_them():
    lenient = parse_policy(TWO.replace('outcome = "loss"', 'outcome = "loss"\nunlabelled = "ignore"'))
    assert act(evidence(quality=NOTHING), lenient).action == "promote"
    few = Counts(segments=(Segment(0.5, 0, 3, 0, 3),))
    assert act(evidence(quality=few), lenient).action == "hold"
    assert act(evidence(quality=BAD), lenient).action == "rollback"


def test_a_wrong_sample_ratio_blocks_the_promotion_but_not_the_rollback():
    skewed = (Assigned(5000, 2000, 4000),)
    decision = act(evidence(assigned=skewed))
    assert (decision.action, decision.rule) == ("hold", "sample_ratio")
    assert "2000 of 6000 at 50 %" in decision.sentence
    assert act(evidence(errors=BAD, assigned=skewed)).action == "rollback"


def test_labels_that_reach_one_arm_only_block_the_promotion():
    assert act(evidence(labelled=(Assigned(5000, 100, 300),))).rule == "sample_ratio"


def test_a_promotion_waits_for_the_smallest_number_of_units():
    policy = parse_policy(TWO.replace("min_units = 200", "min_units = 3100"))
    decision = act(evidence(), policy)
    assert (decision.action, decision.rule) == ("hold", "min_units")
    assert "100 more requests" in decision.sentence


def test_a_promotion_waits_for_the_shortest_duration():
    policy = parse_policy(TWO.replace("min_units = 200", 'min_duration = "24h"\nmax_duration = "7d"'))
    seen = evidence(last_unit_at=86_399.0)
    assert act(seen, policy, 86_399.0).rule == "min_duration"
    assert act(seen, policy, 86_400.0).action == "promote"


def test_the_bar_for_harm_is_shared_among_guardrails_and_that_for_a_pass_is_not():
    for check in act(evidence()).checks:
        assert check.bar_harm == pytest.approx(log(2 / 0.05))
        assert check.bar_margin == pytest.approx(log(1 / 0.05))
    assert act(Evidence(0, "running", 0, 0, {}), default_policy()).checks[0].bar_harm == pytest.approx(log(3 / 0.05))


@pytest.mark.parametrize(
    ("counts", "verdict"),
    [
        (Counts(Pairs(worse=29)), "undecided"),
        (Counts(Pairs(worse=30)), "harmed"),
        (Counts(segments=(Segment(0.01, 4, 30, 0, 3000),)), "undecided"),
        (Counts(segments=(Segment(0.01, 5, 30, 0, 3000),)), "harmed"),
    ],
)
def test_harm_needs_thirty_units_and_five_failures(counts, verdict):
    check = act(evidence(errors=counts)).checks[0]
    assert check.log_e_harm > check.bar_harm
    assert check.verdict == verdict


@pytest.mark.parametrize(
    ("choice", "action"), [("hold", "hold"), ("rollback", "rollback"), ("approve", "wait_approval")]
)
def test_after_the_longest_duration_the_policy_says_what_happens(choice, action):
    policy = parse_policy(TWO.replace("min_units = 200", f'on_timeout = "{choice}"\nmax_duration = "1h"'))
    undecided = Counts(segments=(Segment(0.5, 1, 20, 1, 20),))
    decision = act(evidence(undecided, undecided, last_unit_at=3600.0), policy, 3601.0)
    assert (decision.action, decision.rule) == (action, "timeout")


@pytest.mark.parametrize("choice", ["hold", "rollback", "approve"])
def test_a_challenger_that_has_passed_is_promoted_even_after_the_longest_duration(choice):
    policy = parse_policy(TWO.replace("min_units = 200", f'on_timeout = "{choice}"\nmax_duration = "1h"'))

    assert act(evidence(last_unit_at=3600.0), policy, 3601.0).action == "promote"


def test_what_a_shadow_has_shown_counts_in_the_canary():
    half = Counts(Pairs(same=150), (Segment(0.5, 0, 150, 0, 150),))
    shadow = act(evidence(errors=Counts(half.pairs))).checks[0].log_e_margin
    canary = act(evidence(errors=Counts(segments=half.segments))).checks[0].log_e_margin
    assert act(evidence(errors=half)).checks[0].log_e_margin == pytest.approx(shadow + canary)


def test_a_shadow_step_does_not_let_a_challenger_answer_before_its_slowness_can_be_judged():
    seen = Evidence(
        0, "running", 0.0, 0.0, {"errors": Counts(Pairs(same=5000))}, shadowed=5000, last_unit_at=1.0,
        obstacles={"slow": "slow: the champion has given 3 of the 200 answers"},
    )  # fmt: skip
    decision = decide(default_policy(), seen, 2.0)
    assert (decision.action, decision.rule) == ("hold", "baseline")
    assert "3 of the 200 answers" in decision.sentence


segments = st.builds(
    Segment,
    propensity=st.sampled_from([0.01, 0.05, 0.25, 0.5]),
    challenger_bad=st.integers(0, 200),
    challenger_good=st.integers(0, 3000),
    champion_bad=st.integers(0, 200),
    champion_good=st.integers(0, 3000),
)
counts = st.builds(
    Counts,
    st.builds(Pairs, worse=st.integers(0, 60), better=st.integers(0, 60), same=st.integers(0, 3000)),
    st.lists(segments, max_size=3, unique_by=lambda s: s.propensity).map(tuple),
)
looks = st.builds(
    evidence, counts, counts, state=st.sampled_from(["running", "paused", "waiting"]), auto_promote=st.booleans()
)


@given(looks)
@settings(max_examples=40, deadline=None)
def test_a_decision_is_a_function_of_its_evidence_also_after_the_ledger_wrote_it_down(seen):
    read_back = msgspec.json.decode(msgspec.json.encode(seen), type=Evidence)
    assert act(seen) == act(read_back)


@given(looks, st.integers(1, 200))
@settings(max_examples=60, deadline=None)
def test_more_failures_of_the_challenger_never_turn_a_rollback_into_a_promotion(seen, more):
    before = act(seen)
    errors = seen.guardrails["errors"]
    worse = msgspec.structs.replace(errors.pairs, worse=errors.pairs.worse + more)
    arms = tuple(
        msgspec.structs.replace(
            s,
            challenger_bad=s.challenger_bad + min(more, s.challenger_good),
            challenger_good=s.challenger_good - min(more, s.challenger_good),
        )
        for s in errors.segments
    )
    changed = msgspec.structs.replace(seen, guardrails=seen.guardrails | {"errors": Counts(worse, arms)})
    after = act(changed)
    assert after.checks[0].log_e_harm >= before.checks[0].log_e_harm - 1e-9
    if before.action == "rollback":
        assert after.action == "rollback"


@given(looks)
@settings(max_examples=60, deadline=None)
def test_a_promotion_means_that_every_guardrail_passed(seen):
    decision = act(seen)
    if decision.action in ("promote", "wait_approval"):
        assert {c.verdict for c in decision.checks} == {"passed"}
