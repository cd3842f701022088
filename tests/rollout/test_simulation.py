"""How often a rollout is wrong, by simulation: 200 rollouts of each kind, looked at again and again.

Requests arrive in batches; each batch is split at the share of the step, and `decide` takes the step. The
failure rate that both arms share drifts from 4 to 6 %, as it does in a day.
"""

from math import sqrt

import numpy as np
import pytest

from shipway.rollout import decide, parse_policy
from shipway.rollout.decide import Assigned, Counts, Evidence
from shipway.stats.evalue import Segment
from shipway.stats.paired import Pairs

RUNS, LOOKS, BATCH = 200, 25, 2000
ALPHA = 0.05
ALLOWED = ALPHA + 3.0 * sqrt(ALPHA * (1 - ALPHA) / RUNS)
"""Three standard errors of the simulation above what the policy promises."""

RULES = """
[[guardrail]]
name = "errors"
outcome = "failure"
margin = 0.01
"""
RAMP = RULES + "".join(
    f'[[step]]\nkind = "canary"\nshare = {share}\nuntil = "hold"\nhold_units = 4000\n' for share in (0.01, 0.05, 0.25)
)
RAMP += '[[step]]\nkind = "canary"\nshare = 0.5\nuntil = "pass"\n[[step]]\nkind = "promote"\n'
SHADOW = RULES + '[[step]]\nkind = "shadow"\nuntil = "pass"\n'
SHADOW += '[[step]]\nkind = "canary"\nshare = 0.5\nuntil = "pass"\n[[step]]\nkind = "promote"\n'


def base_rate(look, *, drift):
    return 0.04 + 0.02 * look / LOOKS if drift else 0.05


def canary(policy, rng, worse, *, drift=True):
    """Run one rollout; return how it ended and the totals that each look saw."""
    arms: dict[float, np.ndarray] = {}
    step = units = before = 0
    seen = []
    for look in range(LOOKS):
        share, rate = policy.step[step].share, base_rate(look, drift=drift)
        ours = rng.binomial(BATCH, share)
        bad = rng.binomial(ours, rate + worse), rng.binomial(BATCH - ours, rate)
        new = np.array([bad[0], ours - bad[0], bad[1], BATCH - ours - bad[1]])
        arms[share] = arms.get(share, np.zeros(4, int)) + new
        seen.append(sum(arms.values()))
        units += BATCH
        decision = decide(policy, evidence(arms, step, before, look), float(look))
        if decision.action == "advance":
            step, before = step + 1, units
        elif decision.action != "hold":
            return decision.action, seen
    return "hold", seen


def evidence(arms, step, before, look):
    segments = tuple(Segment(share, *map(int, n)) for share, n in arms.items())
    return Evidence(
        step=step,
        state="running",
        started_at=0.0,
        step_started_at=0.0,
        guardrails={"errors": Counts(segments=segments)},
        assigned=tuple(Assigned(round(1e4 * s.propensity), s.challenger, s.champion) for s in segments),
        units_before=before,
        last_unit_at=float(look),
        auto_promote=True,
    )


def shadow(policy, rng, worse, better):
    """Run one shadow step of 6,000 pairs, looked at every 250."""
    total = np.zeros(3, int)
    for look in range(24):
        total += rng.multinomial(250, [worse, better, 1.0 - worse - better])
        seen = Evidence(
            step=0, state="running", started_at=0.0, step_started_at=0.0, last_unit_at=float(look),
            guardrails={"errors": Counts(Pairs(*map(int, total)))}, shadowed=int(total.sum()), auto_promote=True,
        )  # fmt: skip
        decision = decide(policy, seen, float(look))
        if decision.action != "hold":
            return decision.action
    return "hold"


def z_test_alarms(seen):
    """Whether a z-test at 5 %, done at every look on pooled counts, would ever have called harm."""
    for bad, good, champion_bad, champion_good in seen:
        n, m = bad + good, champion_bad + champion_good
        pooled = (bad + champion_bad) / (n + m)
        spread = sqrt(pooled * (1 - pooled) * (1 / n + 1 / m)) if n and m and pooled else 0.0
        if spread and (bad / n - champion_bad / m) / spread > 1.645:
            return True
    return False


@pytest.fixture(scope="module")
def ramp():
    return parse_policy(RAMP)


def ends(outcomes, action):
    return sum(end == action for end in outcomes) / RUNS


def test_an_identical_challenger_is_rarely_rolled_back_on_a_ramp_with_a_drifting_rate(ramp):
    rng = np.random.default_rng(1)
    runs = [canary(ramp, rng, 0.0) for _ in range(RUNS)]
    assert ends([end for end, _ in runs], "rollback") <= ALLOWED
    assert ends([end for end, _ in runs], "promote") >= 0.5


def test_a_z_test_looked_at_as_often_would_roll_back_more_than_a_tenth_of_identical_challengers(ramp):
    # Flat rate, full length: what drift and a ramp add to a pooled test would only flatter the comparison.
    flat = parse_policy(RULES + '[[step]]\nkind = "canary"\nshare = 0.1\nuntil = "pass"\n[[step]]\nkind = "promote"\n')
    rng = np.random.default_rng(2)
    runs = [canary(flat, rng, 0.0, drift=False) for _ in range(RUNS)]
    assert sum(z_test_alarms(seen) for _, seen in runs) / RUNS > 0.10
    assert ends([end for end, _ in runs], "rollback") <= ALLOWED
    drifting = [canary(ramp, rng, 0.0)[1] for _ in range(RUNS)]
    assert sum(map(z_test_alarms, drifting)) / RUNS > 0.10


def test_a_challenger_worse_by_exactly_the_margin_is_rarely_promoted(ramp):
    rng = np.random.default_rng(3)
    assert ends([canary(ramp, rng, 0.01)[0] for _ in range(RUNS)], "promote") <= ALLOWED


def test_five_points_worse_is_rolled_back(ramp):
    rng = np.random.default_rng(4)
    assert ends([canary(ramp, rng, 0.05)[0] for _ in range(RUNS)], "rollback") >= 0.95


def test_two_points_worse_is_rolled_back_by_shadow_pairs_before_any_caller_meets_it():
    policy, rng = parse_policy(SHADOW), np.random.default_rng(5)
    assert ends([shadow(policy, rng, 0.03, 0.01) for _ in range(RUNS)], "rollback") >= 0.95


def test_an_equal_challenger_is_rarely_rolled_back_by_shadow_pairs():
    policy, rng = parse_policy(SHADOW), np.random.default_rng(6)
    outcomes = [shadow(policy, rng, 0.01, 0.01) for _ in range(RUNS)]
    assert ends(outcomes, "rollback") <= ALLOWED
    assert ends(outcomes, "advance") >= 0.8
