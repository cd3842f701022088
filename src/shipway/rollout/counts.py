"""Take in what servers have counted, and give it back as the evidence of a rollout.

Servers push totals per worker incarnation, again and again; what is added is the difference to the totals
seen before, so that a report that comes twice, late or after a restart of this process adds nothing twice.
"""

from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, delete, select
from sqlalchemy.dialects.sqlite import insert

from shipway.database import schema
from shipway.rollout.evidence import Assigned, Counts
from shipway.stats.evalue import Segment
from shipway.stats.paired import Pairs
from shipway.terms import BASIS, FAILURES, Cell, CountsReport

FORGET_S = 86_400.0
"""A finished incarnation that its server reports no more is forgotten after this."""

Key = tuple[str, str, str, int, int, str, int, str]


class Tally(Struct, frozen=True):
    """The sum of one arm's outcomes of one kind at one propensity."""

    propensity: int
    arm: str
    outcome: str
    n: int
    latency_us: tuple[int, ...] = ()


def record_counts(tx: Connection, report: CountsReport, now: float) -> None:
    """Add what is new in a report to the counts of rollouts and endpoints, and note the server's heartbeat."""
    s = schema.counts_seen
    rows = tx.execute(select(s.c.incarnation, s.c.cells).where(s.c.server == report.server)).all()
    seen = {row.incarnation: msgspec.json.decode(row.cells, type=tuple[Cell, ...]) for row in rows}
    added: dict[Key, tuple[int, tuple[int, ...]]] = {}
    for incarnation, cells in report.incarnations.items():
        before = seen.get(incarnation, ())
        if cells == before and incarnation not in report.finished:
            continue
        _differences(before, cells, added)
        _remember(tx, report, incarnation, _larger(before, cells), now)
    _add_rollout(tx, added)
    _add_endpoint(tx, added, int(now // 60))
    gone = (s.c.server == report.server) & (s.c.finished == 1) & (s.c.seen_at < now - FORGET_S)
    tx.execute(delete(s).where(gone, s.c.incarnation.not_in(list(report.incarnations))))
    beat = {"seen_at": now, "epoch": report.epoch, "health": msgspec.json.encode(report.health).decode()}
    _upsert(tx, schema.server, {"name": report.server}, beat)


def _key(cell: Cell) -> Key:
    return (
        cell.project,
        cell.endpoint,
        cell.rollout,
        cell.restart,
        cell.propensity,
        cell.arm,
        cell.version,
        cell.outcome,
    )


def _differences(
    before: tuple[Cell, ...], cells: tuple[Cell, ...], added: dict[Key, tuple[int, tuple[int, ...]]]
) -> None:
    old = {_key(c): c for c in before}
    for cell in cells:
        key = _key(cell)
        past = old.get(key)
        n = max(0, cell.n - (past.n if past else 0))
        bins = _less(cell.latency_us, past.latency_us if past else ())
        if n or any(bins):
            so_far = added.get(key, (0, ()))
            added[key] = (so_far[0] + n, _plus(so_far[1], bins))


def _larger(before: tuple[Cell, ...], cells: tuple[Cell, ...]) -> tuple[Cell, ...]:
    """Keep the larger of two totals per cell, so that a report out of order cannot make counts come twice."""
    kept = {_key(c): c for c in before}
    for cell in cells:
        past = kept.get(_key(cell))
        if past is None or cell.n >= past.n:
            kept[_key(cell)] = cell
    return tuple(kept.values())


def _plus(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
    longer, shorter = (a, b) if len(a) >= len(b) else (b, a)
    return tuple(x + (shorter[i] if i < len(shorter) else 0) for i, x in enumerate(longer))


def _less(new: tuple[int, ...], old: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(max(0, x - (old[i] if i < len(old) else 0)) for i, x in enumerate(new))


def _remember(tx: Connection, report: CountsReport, incarnation: str, cells: tuple[Cell, ...], now: float) -> None:
    values = {
        "cells": msgspec.json.encode(cells).decode(),
        "seen_at": now,
        "finished": int(incarnation in report.finished),
    }
    _upsert(tx, schema.counts_seen, {"server": report.server, "incarnation": incarnation}, values)


def _upsert(tx: Connection, table: Any, keys: dict[str, Any], values: dict[str, Any]) -> None:  # noqa: ANN401  -- a table
    statement = insert(table).values(**keys, **values)
    tx.execute(statement.on_conflict_do_update(index_elements=list(keys), set_=values))


def _add(tx: Connection, table: Any, keys: dict[str, Any], n: int, bins: tuple[int, ...]) -> None:  # noqa: ANN401  -- a table
    mine = [table.c[k] == v for k, v in keys.items()]
    row = tx.execute(select(table.c.n, table.c.latency_us).where(*mine)).first()
    if row is not None:
        n += row.n
        bins = _plus(tuple(msgspec.json.decode(row.latency_us)), bins)
    _upsert(tx, table, keys, {"n": n, "latency_us": msgspec.json.encode(bins).decode()})


def _add_rollout(tx: Connection, added: dict[Key, tuple[int, tuple[int, ...]]]) -> None:
    """Add to rollouts that exist at that endpoint; what is said of others must not wait for one of that name."""
    r = schema.rollout
    named = {key[2] for key in added if key[2]}
    there = {tuple(row) for row in tx.execute(select(r.c.project, r.c.endpoint, r.c.id).where(r.c.id.in_(named)))}
    sums: dict[tuple[str, int, int, str, str], tuple[int, tuple[int, ...]]] = {}
    for (project, endpoint, rollout, restart, propensity, arm, _, outcome), (n, bins) in added.items():
        if (project, endpoint, rollout) in there:
            key = (rollout, restart, propensity, arm, outcome)
            past = sums.get(key, (0, ()))
            sums[key] = (past[0] + n, _plus(past[1], bins))
    names = ("rollout", "restart", "propensity", "arm", "outcome")
    for values, (n, bins) in sums.items():
        _add(tx, schema.rollout_count, dict(zip(names, values, strict=True)), n, bins)


def _add_endpoint(tx: Connection, added: dict[Key, tuple[int, tuple[int, ...]]], minute: int) -> None:
    sums: dict[tuple[str, str, int, int, str], tuple[int, tuple[int, ...]]] = {}
    for (project, endpoint, _, _, propensity, arm, version, outcome), (n, bins) in added.items():
        if arm == "challenger" and propensity == 0:
            continue  # a shadow answers nobody
        key = (project, endpoint, minute, version, outcome)
        past = sums.get(key, (0, ()))
        sums[key] = (past[0] + n, _plus(past[1], bins))
    names = ("project", "endpoint", "minute", "version", "outcome")
    for values, (n, bins) in sums.items():
        _add(tx, schema.endpoint_count, dict(zip(names, values, strict=True)), n, bins)


def tallies(tx: Connection, rollout_id: str, restart: int) -> list[Tally]:
    """Read what servers have counted for one test."""
    c = schema.rollout_count
    rows = tx.execute(select(c).where(c.c.rollout == rollout_id, c.c.restart == restart).order_by(c.c.propensity))
    return [
        Tally(r.propensity, r.arm, r.outcome, r.n, tuple(msgspec.json.decode(r.latency_us)))
        for r in rows
        if 0 <= r.propensity < BASIS
    ]


def assigned(found: list[Tally]) -> tuple[Assigned, ...]:
    """Sum requests per propensity and arm, whatever became of them."""
    sums: dict[int, dict[str, int]] = {}
    for t in found:
        if t.propensity:
            arms = sums.setdefault(t.propensity, {"champion": 0, "challenger": 0})
            arms[t.arm] += t.n
    return tuple(Assigned(p, a["challenger"], a["champion"]) for p, a in sorted(sums.items()))


def shadowed(found: list[Tally]) -> int:
    """Count the requests that the shadow has scored."""
    return sum(t.n for t in found if _shadow(t) and t.outcome != "collateral")


def _shadow(tally: Tally) -> bool:
    return tally.propensity == 0 and tally.arm == "challenger"


def failures(found: list[Tally]) -> Counts:
    """Count failures: pairs from the shadow, arms from the canary.

    A shadow scores what the champion has answered, so its failure is a discordant pair and its success an
    equal one. What failed for a neighbour's sake (`collateral`) says nothing about either.
    """
    worse = sum(t.n for t in found if _shadow(t) and t.outcome in FAILURES)
    same = sum(t.n for t in found if _shadow(t) and t.outcome == "ok")
    return Counts(Pairs(worse=worse, same=same), _segments(found, lambda t: t.n if t.outcome in FAILURES else 0))


def slow(found: list[Tally], first_slow: int) -> Counts:
    """Count answers whose latency lies in bin `first_slow` or above; no answer is slower than any."""

    def bad(t: Tally) -> int:
        return t.n if t.outcome in FAILURES else min(t.n, sum(t.latency_us[first_slow:]))

    return Counts(segments=_segments(found, bad))


def _segments(found: list[Tally], bad: Any) -> tuple[Segment, ...]:  # noqa: ANN401  -- a function of a tally
    sums: dict[int, dict[str, list[int]]] = {}
    for t in found:
        if t.propensity and (t.outcome == "ok" or t.outcome in FAILURES):
            arm = sums.setdefault(t.propensity, {"champion": [0, 0], "challenger": [0, 0]})[t.arm]
            failed = bad(t)
            arm[0] += failed
            arm[1] += t.n - failed
    return tuple(Segment(p / BASIS, *arms["challenger"], *arms["champion"]) for p, arms in sorted(sums.items()))


def latency_before(tx: Connection, project: str, endpoint: str, version: int, since: float) -> tuple[int, ...]:
    """Sum the latency bins of a version's answers since a time."""
    c = schema.endpoint_count
    mine = (c.c.project == project) & (c.c.endpoint == endpoint) & (c.c.version == version)
    rows = tx.execute(select(c.c.latency_us).where(mine, c.c.outcome == "ok", c.c.minute >= int(since // 60)))
    total: tuple[int, ...] = ()
    for (text,) in rows:
        total = _plus(total, tuple(msgspec.json.decode(text)))
    return total
