"""How long a rollout will take, before it starts: requests per step at given failure rates.

Expected values by `shipway.stats.planner`, for each guardrail on its own; a step lasts as long as its
slowest. Evidence that earlier steps leave behind is not credited, so the real rollout tends to be shorter.
"""

from math import inf, isfinite
from typing import Literal

from msgspec import Struct

from shipway.rollout.policy import Guardrail, Policy, Step
from shipway.stats import planner
from shipway.terms import BASIS


class Need(Struct, frozen=True):
    """What one guardrail takes in one step."""

    guardrail: str
    to_pass: float | None
    """Requests until an equally good challenger passes; None if never."""
    to_roll_back: float | None
    """Requests until a challenger worse by twice the margin is rolled back; None if never."""


class StepPlan(Struct, frozen=True):
    """One step, as expected."""

    kind: Literal["shadow", "canary", "promote"]
    share: float
    requests: float | None
    """Requests to the endpoint until the step ends; None if it may never end."""
    hours: float | None
    needs: tuple[Need, ...]
    sentence: str


class Plan(Struct, frozen=True):
    """A rollout, as expected for an equally good challenger."""

    steps: tuple[StepPlan, ...]
    requests: float | None
    sentence: str


def plan(policy: Policy, *, rate: float = 0.0, disagreement: float = 0.02, per_second: float | None = None) -> Plan:
    """Expect how many requests each step takes.

    Args:
        policy: the rollout's rules.
        rate: failure rate of champion and challenger, in [0, 1).
        disagreement: fraction of shadow pairs on which exactly one of them is wrong, for guardrails on labels.
        per_second: requests per second of the endpoint, to turn requests into hours.

    >>> from shipway.rollout.policy import default_policy
    >>> [round(s.requests or 0.0, -2) for s in plan(default_policy()).steps]
    [500.0, 500.0, 4800.0, 0.0]
    """
    steps = tuple(_step(policy, i, rate, disagreement, per_second) for i in range(len(policy.step)))
    total = _sum([s.requests for s in steps])
    if total is None:
        sentence = "An equally good challenger may never be promoted: a step has no end at these rates."
    else:
        sentence = f"An equally good challenger takes about {total:,.0f} requests{_hours_text(total, per_second)}."
    return Plan(steps, total, sentence)


def _step(policy: Policy, index: int, rate: float, disagreement: float, per_second: float | None) -> StepPlan:
    step = policy.step[index]
    share = step.weight / BASIS
    if step.kind == "promote":
        return StepPlan(step.kind, 1.0, 0.0, 0.0, (), "All traffic moves at once.")
    needs = tuple(_need(policy, step, g, rate, disagreement) for g in policy.guardrail if _measures(step, g))
    requests = _length(policy, index, needs, share)
    hours = requests / per_second / 3600 if requests is not None and per_second else None
    if requests is None:
        sentence = f"This {step.kind} step may never end at these rates: raise its share or a margin."
    else:
        sentence = f"This {step.kind} step takes about {requests:,.0f} requests{_hours_text(requests, per_second)}."
    return StepPlan(step.kind, share, requests, hours, needs, sentence)


def _length(policy: Policy, index: int, needs: tuple[Need, ...], share: float) -> float | None:
    step = policy.step[index]
    if step.until == "hold":
        return float(step.hold_units or 0)
    required = policy.required(index)
    optional = {g.name for g in policy.guardrail if g.unlabelled == "ignore"}
    asked = [n.to_pass for n in needs if n.guardrail in required and n.guardrail not in optional]
    longest = None if None in asked else max([a for a in asked if a is not None], default=0.0)
    if step.kind == "shadow" and longest is not None:
        longest /= share
    if step.max_units is not None and not policy.is_last(index):
        cap = step.max_units / (share if step.kind == "shadow" else 1.0)
        return cap if longest is None else min(longest, cap)
    return longest


def _measures(step: Step, guardrail: Guardrail) -> bool:
    return step.kind == "canary" or guardrail.outcome != "slower_than"


def _need(policy: Policy, step: Step, guardrail: Guardrail, rate: float, disagreement: float) -> Need:
    margin, rules = guardrail.margin, policy.rollout
    failing = (1.0 - guardrail.quantile) if guardrail.quantile is not None else rate
    number = len(policy.guardrail)
    if step.kind == "shadow":
        half = disagreement / 2 if guardrail.outcome == "loss" else 0.0
        passing = planner.pairs_to_pass(half, half, margin=margin, alpha=rules.alpha_promote)
        harmed = planner.pairs_to_roll_back(half + 2 * margin, half, alpha=rules.alpha_rollback, guardrails=number)
    else:
        share = step.weight / BASIS
        passing = planner.requests_to_pass(failing, failing, share=share, margin=margin, alpha=rules.alpha_promote)
        harmed = planner.requests_to_roll_back(
            failing, min(1.0, failing + 2 * margin), share=share, alpha=rules.alpha_rollback, guardrails=number
        )
    return Need(guardrail.name, _finite(passing), _finite(harmed))


def _finite(value: float) -> float | None:
    return value if isfinite(value) else None


def _sum(values: list[float | None]) -> float | None:
    return _finite(sum(inf if v is None else v for v in values))


def _hours_text(requests: float, per_second: float | None) -> str:
    if not per_second:
        return ""
    seconds = requests / per_second
    return f" ({seconds / 3600:.1f} hours)" if seconds >= 3600 else f" ({seconds / 60:.0f} minutes)"
