"""Say where a rollout stands and why, in words with numbers: no bare p-value, and what would change the answer."""

from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import Connection

from shipway.rollout import rows
from shipway.rollout.decide import ROLLBACK_FAILURES, ROLLBACK_UNITS, Check, spread
from shipway.rollout.policy import Policy, parse_policy
from shipway.rollout.rows import Trial
from shipway.stats import planner
from shipway.terms import BASIS

_ENDED = {
    "promoted": "The challenger is the champion now.",
    "rolled_back": "All traffic is back at the champion.",
    "superseded": "Another deployment made it pointless.",
}


class Status(Struct, frozen=True):
    """Where a rollout stands."""

    id: str
    endpoint: str
    model: str
    champion: int
    challenger: int
    state: str
    sentence: str
    kind: str
    """Of the step it is in: shadow, canary or promote."""
    step: int
    steps: int
    share: float
    """Of callers that the challenger answers now."""
    units: int
    challenger_units: int
    restart: int
    started_at: float
    step_started_at: float
    ended_at: float | None
    policy_digest: str
    rule: str
    checks: tuple[Check, ...]


def status(tx: Connection, rollout_id: str) -> Status:
    """Say where a rollout stands.

    Raises:
        Missing: there is none of this id.
    """
    row = rows.trial(tx, rollout_id)
    policy = parse_policy(row.policy)
    stage = policy.step[row.step]
    latest = row.latest
    answers = stage.weight / BASIS if row.open and stage.kind == "canary" else 0.0
    return Status(
        id=row.id,
        endpoint=row.endpoint,
        model=row.model,
        champion=row.champion,
        challenger=row.challenger,
        state=row.state,
        sentence=_sentence(row),
        kind="promote" if row.state == "promoted" else stage.kind,
        step=row.step,
        steps=len(policy.step),
        share=1.0 if row.state == "promoted" else answers,
        units=latest.units if latest else 0,
        challenger_units=latest.challenger_units if latest else 0,
        restart=row.restart,
        started_at=row.started_at,
        step_started_at=row.step_started_at,
        ended_at=row.ended_at,
        policy_digest=row.policy_digest,
        rule=latest.rule if latest else "",
        checks=latest.checks if latest else (),
    )


def _sentence(row: Trial) -> str:
    decided = row.latest is not None and row.latest.action in ("promote", "rollback")
    if row.latest is None:
        return _ENDED.get(row.state, "Started; nothing has been counted yet.")
    if not row.open and not decided:
        return _ENDED[row.state]
    if row.state == "paused" and row.latest.rule != "paused":
        return "Held: paused by a person; a rollback stays armed."
    return row.latest.sentence


def explain(tx: Connection, rollout_id: str) -> dict[str, Any]:
    """Explain why a rollout stands where it stands: every figure against its bar, and what would change it.

    Raises:
        Missing: there is none of this id.
    """
    row = rows.trial(tx, rollout_id)
    policy = parse_policy(row.policy)
    latest = row.latest
    lines = [] if latest is None else [_line(policy, row, c) for c in latest.checks]
    return {**msgspec.to_builtins(status(tx, rollout_id)), "lines": lines, "policy": row.policy}


def _line(policy: Policy, row: Trial, check: Check) -> str:
    if check.obstacle:
        return f"{check.obstacle}."
    if not check.challenger:
        return f"{check.name}: no data yet; without data it never passes."
    seen = (
        f"{check.name}: {check.challenger_bad} bad of {check.challenger} for the challenger, {check.champion_bad} of "
        f"{check.champion} for the champion; {_difference(check)}."
    )
    if not row.open:
        return seen
    match check.verdict:
        case "passed":
            return (
                f"{seen} Not worse than {100 * check.margin:+.2g} points: proven. Enough new failures would undo that."
            )
        case "harmed":
            return f"{seen} Worse: proven; it is rolled back."
        case _:
            share = min(max(check.log_e_margin / check.bar_margin, 0.0), 1.0)
            return (
                f"{seen} Not worse than {100 * check.margin:+.2g} points: {100 * share:.0f} % of the evidence needed"
                f"{_more(policy, row, check)}. {_alarm(check)}"
            )


def _difference(check: Check) -> str:
    if check.low > check.high:
        return f"the difference changed on the way, {spread(check.low, check.high)}"
    return f"the difference lies between {100 * check.low:+.2f} and {100 * check.high:+.2f} points"


def _more(policy: Policy, row: Trial, check: Check) -> str:
    """Estimate how many more requests a pass takes at the rates seen so far."""
    stage = policy.step[row.step]
    left = 1.0 - max(check.log_e_margin, 0.0) / check.bar_margin
    good, bad = check.champion_bad / max(check.champion, 1), check.challenger_bad / check.challenger
    alpha = policy.rollout.alpha_promote
    if stage.kind == "shadow":
        total = planner.pairs_to_pass(bad, good, margin=check.margin, alpha=alpha)
    else:
        total = planner.requests_to_pass(good, bad, share=stage.weight / BASIS, margin=check.margin, alpha=alpha)
    if total > 1e7:
        return ", and not to be had at the rates seen so far"
    return f", about {max(1, round(total * left)):,} more requests at the rates seen so far"


def _alarm(check: Check) -> str:
    share = min(max(check.log_e_harm / check.bar_harm, 0.0), 1.0)
    short = []
    if check.challenger < ROLLBACK_UNITS:
        short.append(f"{ROLLBACK_UNITS - check.challenger} more requests")
    if check.challenger_bad < ROLLBACK_FAILURES:
        short.append(f"{ROLLBACK_FAILURES - check.challenger_bad} more bad answers")
    floor = f" and at least {' and '.join(short)}" if short else ""
    return f"A rollback has {100 * share:.0f} % of its evidence{floor and f', and needs{floor[4:]}'}."
