"""Make a decision real: state, split, alias, ledger entry, route table and messages, in the caller's transaction."""

from typing import Any

import msgspec
from sqlalchemy import Connection

from shipway import ledger
from shipway.database import outbox
from shipway.endpoint import SqlEndpoints
from shipway.endpoint.routes import compose
from shipway.registry import SqlRegistry
from shipway.rollout import counts, rows
from shipway.rollout.evidence import Decision, Evidence
from shipway.rollout.policy import Policy, Step, parse_policy
from shipway.rollout.rows import Trial
from shipway.terms import BASIS, FAILURES, Variant

SYSTEM = "rollout"
"""Who acts when evidence does."""

ADMITTED = 1000
"""Answers without a failure after which a challenger may run inside the worker."""


def split(tx: Connection, row: Trial, step: Step) -> tuple[Variant, ...]:
    """Return the variants of a step: the champion, and the challenger as a shadow or with its share."""
    endpoints = SqlEndpoints(tx)
    answers = step.weight if step.kind == "canary" else 0
    champion = endpoints.variant(row.project, row.model, row.champion, weight=BASIS - answers)
    if step.kind == "shadow":
        challenger = endpoints.variant(
            row.project,
            row.model,
            row.challenger,
            name="challenger",
            weight=0,
            mode="shadow",
            shadow_share=step.weight,
        )
    else:
        challenger = endpoints.variant(
            row.project,
            row.model,
            row.challenger,
            name="challenger",
            weight=answers,
            isolated=None if _admitted(tx, row) else True,
        )
    return (champion, challenger)


def _admitted(tx: Connection, row: Trial) -> bool:
    answered = [t for t in counts.tallies(tx, row.id, row.restart) if t.arm == "challenger" and t.propensity]
    failed = any(t.n for t in answered if t.outcome in FAILURES)
    return not failed and sum(t.n for t in answered if t.outcome == "ok") >= ADMITTED


def set_split(tx: Connection, row: Trial, step: Step, *, by: str, why: str, now: float) -> None:
    """Tell servers the split of a step, if they do not obey it yet."""
    endpoints = SqlEndpoints(tx)
    wanted = split(tx, row, step)
    there = endpoints.get(row.project, row.endpoint)
    if (there.variants, there.rollout, there.restart) != (wanted, row.id, row.restart):
        endpoints.set_split(row.project, row.endpoint, wanted, row.id, row.restart, by=by, now=now, why=why)
    compose(tx, now)


def apply(tx: Connection, row: Trial, decision: Decision, evidence: Evidence, now: float) -> None:
    """Carry out a decision made from evidence, and record what it was made from."""
    policy = parse_policy(row.policy)
    news = decision.action != "hold" or _newly_distrusted(row, decision)
    rows.note(tx, row, decision)
    if news:
        payload = {"evidence": evidence, "decision": decision, "policy_digest": row.policy_digest}
        record(tx, row, "rollout.decided", payload, by=SYSTEM, now=now)
    match decision.action:
        case "advance":
            rows.change(tx, row.id, step=row.step + 1, step_started_at=now)
            set_split(tx, row, policy.step[row.step + 1], by=SYSTEM, why=decision.sentence, now=now)
        case "promote":
            promoted(tx, row, by=SYSTEM, why=decision.sentence, now=now)
        case "rollback":
            rolled_back(tx, row, by=SYSTEM, why=decision.sentence, now=now)
        case "wait_approval":
            rows.change(tx, row.id, state="waiting")
            tell(tx, row, decision.sentence, now)
        case "hold" if row.state == "running" and policy.step[row.step].kind == "canary":
            set_split(tx, row, policy.step[row.step], by=SYSTEM, why="admitted to the worker", now=now)
        case "hold":
            pass


def _newly_distrusted(row: Trial, decision: Decision) -> bool:
    """Whether the counts stopped being believed, or were given up undecided, with this decision."""
    return decision.rule in ("sample_ratio", "timeout") and (row.latest is None or row.latest.rule != decision.rule)


def promoted(tx: Connection, row: Trial, *, by: str, why: str, now: float) -> None:
    """Make the challenger the champion for all traffic; the old champion stays remembered for a rollback."""
    registry = SqlRegistry(tx)
    registry.move_alias(row.project, row.model, "champion", row.challenger, seen=None, by=by, why=why, now=now)
    SqlEndpoints(tx).set_champion(row.project, row.endpoint, row.challenger, by=by, now=now, why=why)
    rows.change(tx, row.id, state="promoted", ended_at=now)
    compose(tx, now)
    tell(tx, row, why, now)


def rolled_back(tx: Connection, row: Trial, *, by: str, why: str, now: float) -> None:
    """Return all traffic to the champion."""
    endpoints = SqlEndpoints(tx)
    there = endpoints.get(row.project, row.endpoint)
    if there.rollout == row.id:
        champion = endpoints.variant(row.project, there.model, there.champion)
        endpoints.set_split(row.project, row.endpoint, (champion,), by=by, now=now, why=why)
    rows.change(tx, row.id, state="rolled_back", ended_at=now)
    compose(tx, now)
    tell(tx, row, why, now)


def record(tx: Connection, row: Trial, kind: str, payload: dict[str, Any], *, by: str, now: float) -> None:
    """Append to the ledger what happened to a rollout."""
    body = {
        "rollout": row.id,
        "endpoint": row.endpoint,
        "model": row.model,
        "champion": row.champion,
        "challenger": row.challenger,
        "restart": row.restart,
        **msgspec.to_builtins(payload),
    }
    ledger.append(tx, project=row.project, actor=by, kind=kind, subject=row.subject, payload=body, now=now)


def tell(tx: Connection, row: Trial, sentence: str, now: float) -> None:
    """Put a message about a decision into the outbox for each webhook of the endpoint."""
    for url in SqlEndpoints(tx).get(row.project, row.endpoint).settings.webhooks:
        body = {
            "kind": "rollout",
            "rollout": row.id,
            "endpoint": row.endpoint,
            "model": row.model,
            "challenger": row.challenger,
            "sentence": sentence,
            "at": now,
        }
        outbox.post(tx, project=row.project, kind="webhook", target=url, body=body, now=now)


def unfinished(policy: Policy, row: Trial) -> Step:
    """Return the step that a rollout is in."""
    return policy.step[min(row.step, len(policy.step) - 1)]
