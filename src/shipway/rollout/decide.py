"""What a rollout does next, from what it has counted: pure, so that every decision recomputes.

`decide` takes a policy, the evidence and a time, and returns an action with its reasons. In this order:
an open fuse or a proven harm rolls back, in every state; a paused rollout and a wrong sample ratio hold;
the step's own rule holds or advances; after the last one comes the promotion, or the wait for a person.

Evidence adds up over steps. The e-values of shadow pairs and of canary segments are both built one unit
at a time, and a unit enters exactly one of them; so their product is an e-value too, and what a shadow
has shown need not be shown again.

Not here: where counts come from and what an action writes (`shipway.rollout.run`).
"""

from math import log
from typing import Literal

from msgspec import Struct

from shipway.rollout import sentences
from shipway.rollout.evidence import Action, Assigned, Check, Counts, Decision, Evidence
from shipway.rollout.policy import Guardrail, Policy, Step, seconds
from shipway.rollout.sentences import spread
from shipway.stats import evalue, intervals, paired, sample_ratio
from shipway.terms import BASIS

__all__ = [
    "Action",
    "Assigned",
    "Check",
    "Counts",
    "Decision",
    "Evidence",
    "crossed",
    "decide",
    "ratio_evidence",
    "spread",
    "weigh",
]

TIE = 1e-6
"""A log e-value this close to its bar counts as below it: processors differ in the last bit of a logarithm."""

ROLLBACK_UNITS = 30
"""A rollback by statistics needs this many requests seen by the challenger,"""
ROLLBACK_FAILURES = 5
"""and this many of them bad. What cannot wait for that is the fuse's business."""


class _Verdict(Struct, frozen=True):
    action: Action
    rule: str
    sentence: str


def crossed(log_e: float, bar: float) -> bool:
    """Whether a log e-value is above its bar by more than a tie.

    >>> crossed(3.0, 2.9), crossed(2.9 + 1e-7, 2.9)
    (True, False)
    """
    return log_e - bar >= TIE


def weigh(policy: Policy, evidence: Evidence) -> tuple[Check, ...]:
    """Weigh every guardrail of the policy."""
    bar_harm = log(len(policy.guardrail) / policy.rollout.alpha_rollback)
    bar_margin = log(1.0 / policy.rollout.alpha_promote)
    return tuple(
        _weigh(g, evidence.guardrails.get(g.name, Counts()), bar_harm, bar_margin, evidence.obstacles.get(g.name, ""))
        for g in policy.guardrail
    )


def _weigh(rule: Guardrail, counts: Counts, bar_harm: float, bar_margin: float, obstacle: str) -> Check:
    harm = paired.log_e_harm(counts.pairs, limit=rule.harm) + evalue.log_e_harm(counts.segments, limit=rule.harm)
    passing = paired.log_e_margin(counts.pairs, margin=rule.margin) + evalue.log_e_margin(
        counts.segments, margin=rule.margin
    )
    bounds = intervals.difference(counts.segments, counts.pairs, alpha=0.05)
    enough = counts.challenger >= ROLLBACK_UNITS and counts.challenger_bad >= ROLLBACK_FAILURES
    verdict: Literal["harmed", "passed", "undecided", "no_data", "not_asked"] = "undecided"
    if crossed(harm, bar_harm) and enough:
        verdict = "harmed"
    elif not counts.challenger:
        verdict = "not_asked" if rule.unlabelled == "ignore" else "no_data"
    elif crossed(passing, bar_margin):
        verdict = "passed"
    return Check(
        name=rule.name,
        verdict=verdict,
        log_e_harm=harm,
        bar_harm=bar_harm,
        log_e_margin=passing,
        bar_margin=bar_margin,
        challenger=counts.challenger,
        challenger_bad=counts.challenger_bad,
        champion=counts.champion,
        champion_bad=counts.champion_bad,
        estimate=intervals.estimate(counts.segments, counts.pairs),
        low=bounds.low,
        high=bounds.high,
        harm=rule.harm,
        margin=rule.margin,
        obstacle=obstacle,
    )


def ratio_evidence(evidence: Evidence) -> float:
    """Weigh whether requests or labels reached the arms in the wrong shares; the larger of the two.

    >>> even = Assigned(propensity=5000, challenger=500, champion=500)
    >>> round(ratio_evidence(Evidence(0, "running", 0, 0, {}, assigned=(even,))), 2)
    0.0
    """

    def of(arms: tuple[Assigned, ...]) -> float:
        return sum(
            sample_ratio.log_bayes_factor(
                [a.challenger, a.champion], [a.propensity / BASIS, 1.0 - a.propensity / BASIS]
            )
            for a in arms
        )

    return max(0.0, of(evidence.assigned), of(evidence.labelled))


def decide(policy: Policy, evidence: Evidence, now: float) -> Decision:
    """Choose what the rollout does next.

    Args:
        policy: its rules.
        evidence: counts so far and where it stands.
        now: Unix seconds.

    Returns:
        The action with everything it was decided from. The same arguments give the same decision.

    >>> from shipway.rollout.policy import default_policy
    >>> from shipway.stats.paired import Pairs
    >>> broken = Counts(pairs=Pairs(worse=40, same=60))
    >>> seen = Evidence(0, "running", 0.0, 0.0, {"errors": broken}, shadowed=100, last_unit_at=5.0)
    >>> decision = decide(default_policy(), seen, 6.0)
    >>> decision.action, decision.rule
    ('rollback', 'harm:errors')
    """
    checks = weigh(policy, evidence)
    log_e_ratio = ratio_evidence(evidence)
    # Two families of counts are watched, so each gets half of the chance of a false alarm.
    bar_ratio = log(2.0 / policy.checks.sample_ratio_alpha)
    verdict = _alarm(checks, evidence)
    if verdict is None and evidence.state == "paused":
        verdict = _Verdict("hold", "paused", "Held: paused by a person; a rollback stays armed.")
    if verdict is None and crossed(log_e_ratio, bar_ratio):
        verdict = _Verdict(
            "hold",
            "sample_ratio",
            f"Held: requests or labels reach the arms in the wrong shares ({sentences.arms(evidence)}), so the counts "
            "cannot be compared.",
        )
    if verdict is None:
        verdict = _progress(policy, evidence, checks, now)
    return Decision(
        action=verdict.action,
        step=evidence.step,
        rule=verdict.rule,
        sentence=verdict.sentence,
        checks=checks,
        log_e_ratio=log_e_ratio,
        bar_ratio=bar_ratio,
        units=evidence.units,
        challenger_units=evidence.challenger_units,
        units_before=evidence.units_before,
        last_unit_at=evidence.last_unit_at,
        decided_at=now,
    )


def _alarm(checks: tuple[Check, ...], evidence: Evidence) -> _Verdict | None:
    if evidence.fuses:
        return _Verdict("rollback", "fuse", f"Rolled back at once: {evidence.fuses[0]}.")
    for check in checks:
        if check.verdict == "harmed":
            much = spread(check.low, check.high, 1)
            said = f"Rolled back: {check.name} got worse by {much} ({sentences.tally(check)})."
            return _Verdict("rollback", f"harm:{check.name}", said)
    return None


def _progress(policy: Policy, evidence: Evidence, checks: tuple[Check, ...], now: float) -> _Verdict:
    if evidence.state == "waiting":
        return _Verdict("hold", "waiting", "Waiting for a person to approve the promotion; a rollback stays armed.")
    verdict = _in_step(policy, evidence, checks, now)
    # Time ends a rollout only while it is undecided: what has been shown by then is worth what it was worth before.
    over = now - evidence.started_at > seconds(policy.rollout.max_duration)
    if over and verdict.action in ("hold", "advance"):
        return _timeout(policy, checks, f"{policy.rollout.max_duration} are over")
    return verdict


def _in_step(policy: Policy, evidence: Evidence, checks: tuple[Check, ...], now: float) -> _Verdict:
    step = policy.step[evidence.step]
    in_step = evidence.units - evidence.units_before
    if in_step <= 0:
        return _Verdict("hold", "no_data", f"Held: no request has reached this {step.kind} step yet.")
    silent = now - evidence.last_unit_at
    if silent > seconds(policy.checks.no_data_after):
        return _Verdict("hold", "no_data", f"Held: no request for {silent / 60:.0f} minutes.")
    if step.until == "hold":
        verdict = _held(step, evidence, in_step, now)
    elif policy.is_last(evidence.step):
        verdict = _passing_last(policy, evidence, checks, now)
    else:
        verdict = _passing(policy, evidence, checks)
    if verdict.action == "advance" and (obstacle := _next_obstacle(policy, evidence)):
        return _Verdict("hold", "baseline", f"Held: {obstacle}.")
    return verdict


def _missing(policy: Policy, evidence: Evidence, checks: tuple[Check, ...]) -> list[Check]:
    required = policy.required(evidence.step)
    return [c for c in checks if c.name in required and not _satisfied(c)]


def _passing(policy: Policy, evidence: Evidence, checks: tuple[Check, ...]) -> _Verdict:
    step, in_step = policy.step[evidence.step], evidence.units - evidence.units_before
    missing = _missing(policy, evidence, checks)
    if not missing:
        return _Verdict("advance", "pass", f"Passed the {step.kind} step: {sentences.passes(checks)}.")
    if step.max_units is not None and in_step >= step.max_units:
        return _Verdict(
            "advance", "max_units", f"Moved on undecided after {in_step} requests; {sentences.lacking(missing)}."
        )
    return _Verdict(
        "hold", "undecided", f"Undecided after {in_step} requests of this step; {sentences.lacking(missing)}."
    )


def _passing_last(policy: Policy, evidence: Evidence, checks: tuple[Check, ...], now: float) -> _Verdict:
    step, in_step = policy.step[evidence.step], evidence.units - evidence.units_before
    missing = _missing(policy, evidence, checks)
    if not missing:
        return _promotion(policy, evidence, checks, now)
    if step.max_units is not None and in_step >= step.max_units:
        return _timeout(policy, checks, f"{in_step} requests are over")
    return _Verdict(
        "hold", "undecided", f"Undecided after {in_step} requests of this step; {sentences.lacking(missing)}."
    )


def _satisfied(check: Check) -> bool:
    return check.verdict in ("passed", "not_asked")


def _next_obstacle(policy: Policy, evidence: Evidence) -> str:
    """Say what must be known before the challenger answers its first caller."""
    entering = policy.step[evidence.step].kind == "shadow" and policy.step[evidence.step + 1].kind == "canary"
    slow = [g.name for g in policy.guardrail if g.outcome == "slower_than"]
    return next((evidence.obstacles[n] for n in slow if n in evidence.obstacles), "") if entering else ""


def _held(step: Step, evidence: Evidence, in_step: int, now: float) -> _Verdict:
    left_s = seconds(step.hold or "0s") - (now - evidence.step_started_at)
    left = (step.hold_units or 0) - in_step
    if left_s > 0 or left > 0:
        wait = [f"{left} more requests"] if left > 0 else []
        wait += [f"{left_s:.0f} more seconds"] if left_s > 0 else []
        return _Verdict("hold", "hold", f"Holding this {step.kind} step for {' and '.join(wait)}; nothing got worse.")
    return _Verdict("advance", "hold", f"The {step.kind} step is over after {in_step} requests and nothing got worse.")


def _promotion(policy: Policy, evidence: Evidence, checks: tuple[Check, ...], now: float) -> _Verdict:
    lacking = policy.rollout.min_units - evidence.challenger_units
    if lacking > 0:
        return _Verdict(
            "hold", "min_units", f"Every guardrail passed; {lacking} more requests to the challenger are asked for."
        )
    left = seconds(policy.rollout.min_duration) - (now - evidence.started_at)
    if left > 0:
        return _Verdict(
            "hold", "min_duration", f"Every guardrail passed; {left:.0f} s of the shortest duration remain."
        )
    if evidence.auto_promote:
        return _Verdict("promote", "pass", f"Promoted: {sentences.passes(checks)}.")
    return _Verdict("wait_approval", "pass", f"Ready to promote, waiting for a person: {sentences.passes(checks)}.")


def _timeout(policy: Policy, checks: tuple[Check, ...], why: str) -> _Verdict:
    rest = f"undecided: {sentences.lacking([c for c in checks if not _satisfied(c)])}"
    match policy.rollout.on_timeout:
        case "rollback":
            return _Verdict("rollback", "timeout", f"Rolled back because {why} and it is still {rest}.")
        case "approve":
            return _Verdict("wait_approval", "timeout", f"Waiting for a person because {why} and it is still {rest}.")
        case "hold":
            return _Verdict("hold", "timeout", f"Held because {why} and it is still {rest}.")
