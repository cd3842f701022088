"""Collect the evidence of a rollout: counts from the database, labelled answers from the lake.

What is compared with the champion's past (its p95 latency, its p90 error) is frozen once per test, before the
challenger is measured against it, and the ledger keeps the frozen values.
"""

from math import ceil, log2
from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, func, select

from shipway import ledger
from shipway.database import schema
from shipway.registry import SqlRegistry
from shipway.rollout import counts
from shipway.rollout.evidence import Assigned, Counts, Evidence
from shipway.rollout.outcomes import Loss, Outcomes, freeze, judged_pairs, judged_segments
from shipway.rollout.policy import Guardrail, Policy, seconds
from shipway.rollout.rows import Trial
from shipway.terms import Task

BASELINE_S = 86_400.0
"""The champion's past that freezes its latency."""
BASELINE_ANSWERS = 200
"""Answers that freeze a latency."""


class Known(Struct, frozen=True):
    """What one reading of the database knows about a rollout."""

    tallies: list[counts.Tally]
    frozen: dict[str, dict[str, Any]]
    """Guardrail -> what was frozen for it in this test."""
    latency: tuple[int, ...]
    """The champion's latency bins of the last day."""
    fuses: tuple[str, ...]
    task: Task
    auto_promote: bool


def read(tx: Connection, row: Trial, policy: Policy, *, auto_promote: bool, now: float) -> Known:
    """Read everything that the database knows about a rollout."""
    frozen = {
        entry.payload["guardrail"]: entry.payload
        for entry in ledger.entries(tx, subject=row.subject, kind="rollout.frozen")
        if entry.payload["restart"] == row.restart
    }
    timed = any(g.outcome == "slower_than" and g.name not in frozen for g in policy.guardrail)
    latency: tuple[int, ...] = ()
    if timed:
        latency = counts.latency_before(tx, row.project, row.endpoint, row.champion, now - BASELINE_S)
    return Known(
        tallies=counts.tallies(tx, row.id, row.restart),
        frozen=frozen,
        latency=latency,
        fuses=_fuses(tx, row),
        task=SqlRegistry(tx).version(row.project, row.model, row.challenger).manifest.task,
        auto_promote=auto_promote,
    )


def _fuses(tx: Connection, row: Trial) -> tuple[str, ...]:
    """Read which servers have cut the challenger off since this step reached them.

    A server closes its fuses with each newer route table, so what it said of an older one is another story.
    """
    mine, s = f"{row.model}:{row.challenger}", schema.server
    said = [
        (server.name, server.epoch, why)
        for server in tx.execute(select(s.c.name, s.c.epoch, s.c.health).order_by(s.c.name))
        if (why := msgspec.json.decode(server.health).get("fuses", {}).get(mine, ""))
    ]
    if not said:
        return ()
    began = _first_epoch(tx, row)
    return tuple(
        f"server {name} stopped asking {mine} after {' '.join(why.split())[:200]}"
        for name, epoch, why in said
        if began is not None and epoch >= began
    )


def _first_epoch(tx: Connection, row: Trial) -> int | None:
    """Return the number of the route table with which the step reached servers."""
    r = schema.route
    ours = r.c.body.contains(f'"rollout":{msgspec.json.encode(row.id).decode()}', autoescape=True)
    found: int | None = tx.execute(
        select(func.min(r.c.epoch)).where(r.c.issued_at >= row.step_started_at, ours)
    ).scalar()
    return found


def frozen_now(row: Trial, policy: Policy, known: Known, lake: Outcomes | None) -> list[dict[str, Any]]:
    """Freeze what can be frozen by now and is not yet; each is a payload for the ledger.

    A latency is frozen while the challenger has not answered yet, so that no answer judges itself.
    """
    canary = bool(counts.assigned(known.tallies))
    made = []
    for rule in policy.guardrail:
        if rule.name in known.frozen:
            continue
        if rule.outcome == "slower_than" and not canary and sum(known.latency) >= BASELINE_ANSWERS:
            made.append({"guardrail": rule.name, "restart": row.restart, "first_slow_bin": _first_slow(known, rule)})
        if rule.outcome == "loss" and known.task is Task.REGRESSION and lake is not None:
            table = lake.outcomes(row.project, row.endpoint, since=row.started_at - BASELINE_S)
            loss = freeze(table, row.champion, row.id)
            if loss is not None:
                made.append(
                    {
                        "guardrail": rule.name,
                        "restart": row.restart,
                        "error_above": loss.above,
                        "after_event": loss.after_event,
                    }
                )
    return made


def _first_slow(known: Known, rule: Guardrail) -> int:
    """Return the first latency bin that counts as slow: above the quantile's bin and not below `at_least`."""
    wanted, so_far, quantile_bin = (rule.quantile or 1.0) * sum(known.latency), 0, 0
    for quantile_bin, n in enumerate(known.latency):  # noqa: B007  -- the bin where the loop ends is what is sought
        so_far += n
        if so_far >= wanted:
            break
    floor_us = 1e6 * seconds(rule.at_least)
    return max(quantile_bin + 1, ceil(4 * log2(floor_us)) if floor_us > 1 else 0)


def evidence(row: Trial, policy: Policy, known: Known, lake: Outcomes | None, now: float) -> Evidence:
    """Put together all that a decision may look at."""
    found: dict[str, Counts] = {}
    labelled: tuple[Assigned, ...] = ()
    obstacles: dict[str, str] = {}
    for rule in policy.guardrail:
        if rule.outcome == "failure":
            found[rule.name] = counts.failures(known.tallies)
        elif rule.outcome == "slower_than":
            found[rule.name], obstacle = _slow(rule, known)
            obstacles |= {rule.name: obstacle} if obstacle else {}
        else:
            found[rule.name], labelled, obstacle = _quality(row, rule, known, lake)
            obstacles |= {rule.name: obstacle} if obstacle else {}
    seen = Evidence(
        step=row.step,
        state=row.state,
        started_at=row.started_at,
        step_started_at=row.step_started_at,
        guardrails=found,
        shadowed=counts.shadowed(known.tallies),
        assigned=counts.assigned(known.tallies),
        labelled=labelled,
        fuses=known.fuses,
        obstacles=obstacles,
        auto_promote=known.auto_promote,
    )
    before = row.latest
    if before is None:
        return msgspec.structs.replace(seen, last_unit_at=row.step_started_at)
    return msgspec.structs.replace(
        seen,
        units_before=before.units if before.action == "advance" else before.units_before,
        last_unit_at=now if seen.units > before.units else max(before.last_unit_at, row.step_started_at),
    )


def _slow(rule: Guardrail, known: Known) -> tuple[Counts, str]:
    if rule.name in known.frozen:
        return counts.slow(known.tallies, known.frozen[rule.name]["first_slow_bin"]), ""
    quantile, answers = 100 * (rule.quantile or 0.0), sum(known.latency)
    wanting = f"the champion has given {answers} of the {BASELINE_ANSWERS} answers that freeze its p{quantile:g}"
    return Counts(), f"{rule.name}: {wanting}"


def _quality(
    row: Trial, rule: Guardrail, known: Known, lake: Outcomes | None
) -> tuple[Counts, tuple[Assigned, ...], str]:
    loss = Loss(known.task)
    if known.task is Task.REGRESSION:
        if rule.name not in known.frozen:
            return Counts(), (), f"{rule.name}: 100 labelled answers of the champion freeze its p90 error"
        frozen = known.frozen[rule.name]
        loss = Loss(known.task, frozen["error_above"], frozen["after_event"])
    if lake is None:
        return Counts(), (), f"{rule.name}: there is no lake to read labels from"
    pairs = judged_pairs(lake.pairs(row.project, row.endpoint, rollout=row.id, restart=row.restart), loss)
    segments: tuple[Any, ...] = ()
    labelled: tuple[Assigned, ...] = ()
    if counts.assigned(known.tallies):
        table = lake.outcomes(row.project, row.endpoint, rollout=row.id)
        segments, labelled = judged_segments(table, loss, row.restart)
    return Counts(pairs, segments), labelled, ""
