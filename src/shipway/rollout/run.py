"""Start rollouts, take them forward by what was counted, and let people steer them.

`step` is one pass of the clockwork: for each open rollout it reads counts, asks the lake, decides without
any transaction open, and writes everything in one; if the rollout moved meanwhile, the pass writes nothing
and the next one decides again.
"""

import hashlib

from sqlalchemy import Connection

from shipway.database import Database, lease
from shipway.endpoint import SqlEndpoints
from shipway.endpoint.rows import EndpointRow
from shipway.errors import Conflict, Rejected, ShipwayError
from shipway.registry import SqlRegistry, VersionRow
from shipway.rollout import gather, moves, rows
from shipway.rollout.decide import Decision, decide
from shipway.rollout.deployment import require_gate
from shipway.rollout.outcomes import Outcomes
from shipway.rollout.policy import DEFAULT_TOML, Policy, parse_policy
from shipway.rollout.rows import Trial

LEASE = "clockwork"


def start(  # noqa: PLR0913  -- who tries what where, by which rules
    tx: Connection,
    *,
    project: str,
    endpoint: str,
    challenger: VersionRow,
    policy_text: str | None,
    actor: str,
    now: float,
) -> str:
    """Put a version on trial at an endpoint.

    Args:
        tx: an open transaction.
        project: of the endpoint.
        endpoint: name.
        challenger: the version.
        policy_text: `rollout.toml`; None or "" for the endpoint's own, else the default.
        actor: who starts it.
        now: Unix seconds.

    Returns:
        The rollout's id.

    Raises:
        Conflict: a rollout is running there.
        Rejected: the version, the policy or the endpoint does not allow a trial.
        Missing: no such endpoint.
    """
    there = SqlEndpoints(tx).get(project, endpoint)
    text = policy_text or there.policies.get("rollout", "") or DEFAULT_TOML
    policy = parse_policy(text)
    if running := rows.open_trials(tx, project, endpoint):
        raise Conflict(
            f"rollout {running[0].id} of {running[0].model}:{running[0].challenger} runs on {endpoint}",
            fix=f"wait for it, or end it: `shipway rollout rollback {running[0].id}`",
        )
    _check_fits(tx, there, challenger, policy)
    if there.settings.require_gate:
        require_gate(tx, challenger)
    row = Trial(
        id=rows.new_id(tx, project, endpoint),
        project=project,
        endpoint=endpoint,
        model=there.model,
        champion=there.champion,
        challenger=challenger.version,
        policy=text,
        policy_digest="sha256:" + hashlib.sha256(text.encode()).hexdigest(),
        state="running",
        step=0,
        restart=0,
        started_at=now,
        step_started_at=now,
        ended_at=None,
        latest=None,
        history=(),
    )
    rows.add(tx, row)
    payload = {"policy": text, "policy_digest": row.policy_digest, "digest": challenger.digest}
    moves.record(tx, row, "rollout.started", payload, by=actor, now=now)
    _freeze_before_canary(tx, row, policy, now)
    alias = SqlRegistry(tx).alias(project, there.model, "challenger")
    if alias is None or alias.version != challenger.version:
        SqlRegistry(tx).move_alias(
            project, there.model, "challenger", challenger.version, seen=None, by=actor, why=row.id, now=now
        )
    moves.set_split(tx, row, policy.step[0], by=actor, why=f"rollout {row.id} starts", now=now)
    return row.id


def _check_fits(tx: Connection, there: EndpointRow, challenger: VersionRow, policy: Policy) -> None:
    if challenger.model != there.model:
        raise Rejected(
            f"{there.name} serves model {there.model}, and {challenger} is a version of another",
            fix=f"register it as a version of {there.model}, or deploy it to an endpoint of its own",
        )
    if challenger.version == there.champion:
        raise Rejected(f"{challenger} is the champion of {there.name} already", fix="name another version")
    champion = SqlRegistry(tx).version(challenger.project, there.model, there.champion).manifest
    ours = challenger.manifest
    if ours.task is not champion.task or ours.signature.classes != champion.signature.classes:
        raise Rejected(
            f"{challenger} answers another question than the champion: its task or classes differ",
            fix=f"deploy it: `shipway deploy {challenger} --endpoint NAME`",
        )
    if there.settings.sticky:
        raise Rejected(
            f"{there.name} keeps callers on one version by {there.settings.sticky}, and this release compares "
            "requests, which then are no independent units",
            fix='set `sticky` to "" for the time of the rollout',
        )
    needs_capture = policy.step[0].kind == "shadow" or any(g.outcome == "loss" for g in policy.guardrail)
    if needs_capture and not there.settings.capture:
        raise Rejected(
            f"{there.name} does not capture, so nothing can be shadowed or labelled",
            fix="set `capture` to true, or use a policy of canary steps and guardrails on failures",
        )


def _freeze_before_canary(tx: Connection, row: Trial, policy: Policy, now: float) -> None:
    """A rollout that begins with a canary freezes latencies from the past, or is refused."""
    timed = [g for g in policy.guardrail if g.outcome == "slower_than"]
    if policy.step[0].kind != "canary" or not timed:
        return
    known = gather.read(tx, row, policy, auto_promote=False, now=now)
    frozen = gather.frozen_now(row, policy, known, None)
    for payload in frozen:
        moves.record(tx, row, "rollout.frozen", payload, by=moves.SYSTEM, now=now)
    if len(frozen) < len(timed):
        raise Rejected(
            f"the champion of {row.endpoint} has given {sum(known.latency)} of the {gather.BASELINE_ANSWERS} answers "
            f"that freeze the latency for guardrail {timed[0].name!r}",
            fix="begin with a shadow step, wait for more traffic, or remove that guardrail",
        )


def step(database: Database, lake: Outcomes | None, now: float, fence: int | None = None) -> list[Decision]:
    """Take every open rollout one look further, and start those that endpoints ask for.

    Args:
        database: metadata.
        lake: where labelled answers are; None decides without labels.
        now: Unix seconds.
        fence: of the clockwork's lease; a holder that lost it writes nothing.

    Returns:
        The decisions of this pass, those that hold included.

    Raises:
        ShipwayError: the first failure, after all rollouts had their turn.
    """
    decisions: list[Decision] = []
    failed: list[ShipwayError] = []
    with database.read() as tx:
        waiting = rows.open_trials(tx)
        wanted = _asked_for(tx)
    for row in waiting:
        try:
            if (decision := _look(database, lake, row, now, fence)) is not None:
                decisions.append(decision)
        except ShipwayError as exc:
            failed.append(exc)
    for project, endpoint, version in wanted:
        try:
            _start_automatically(database, project, endpoint, version, now, fence)
        except ShipwayError as exc:
            failed.append(exc)
    if failed:
        raise failed[0]
    return decisions


def _look(database: Database, lake: Outcomes | None, row: Trial, now: float, fence: int | None) -> Decision | None:
    policy = parse_policy(row.policy)
    with database.read() as tx:
        there = SqlEndpoints(tx).get(row.project, row.endpoint)
        known = gather.read(tx, row, policy, auto_promote=there.settings.auto_promote, now=now)
    if (there.model, there.champion) != (row.model, row.champion):
        with database.transaction() as tx:
            _require(tx, fence, now)
            _superseded(tx, row, there, policy, now)
        return None
    frozen = gather.frozen_now(row, policy, known, lake)
    if frozen:
        with database.transaction() as tx:
            _require(tx, fence, now)
            for payload in frozen:
                moves.record(tx, row, "rollout.frozen", payload, by=moves.SYSTEM, now=now)
        return None  # the next look sees it
    evidence = gather.evidence(row, policy, known, lake, now)
    decision = decide(policy, evidence, now)
    if not _is_news(row, decision):
        return decision
    with database.transaction() as tx:
        _require(tx, fence, now)
        current = rows.trial(tx, row.id)
        if (current.state, current.step, current.restart) != (row.state, row.step, row.restart):
            return None  # someone steered meanwhile: look again, decide again
        moves.apply(tx, current, decision, evidence, now)
    return decision


def _is_news(row: Trial, decision: Decision) -> bool:
    before = row.latest
    return (
        before is None
        or decision.action != "hold"
        or (before.action, before.sentence, before.units, before.checks)
        != (decision.action, decision.sentence, decision.units, decision.checks)
    )


def _require(tx: Connection, fence: int | None, now: float) -> None:
    if fence is not None:
        lease.require(tx, LEASE, fence, now)


def _superseded(tx: Connection, row: Trial, there: EndpointRow, policy: Policy, now: float) -> None:
    """A new champion makes all counts of this test meaningless: begin again, or end if there is nothing to compare."""
    if there.model != row.model or there.champion == row.challenger:
        rows.change(tx, row.id, state="superseded", ended_at=now)
        why = f"{there.model}:{there.champion} was deployed meanwhile"
        moves.record(tx, row, "rollout.superseded", {"why": why}, by=moves.SYSTEM, now=now)
        return
    rows.change(
        tx,
        row.id,
        champion=there.champion,
        restart=row.restart + 1,
        step=0,
        state="running",
        step_started_at=now,
        latest="{}",
    )
    again = rows.trial(tx, row.id)
    why = f"the champion is {there.model}:{there.champion} now, so the test begins again"
    moves.record(tx, again, "rollout.restarted", {"why": why}, by=moves.SYSTEM, now=now)
    moves.set_split(tx, again, policy.step[0], by=moves.SYSTEM, why=why, now=now)


def _asked_for(tx: Connection) -> list[tuple[str, str, int]]:
    """List endpoints whose alias `challenger` was moved to a version that has not been tried since."""
    registry = SqlRegistry(tx)
    found = []
    for there in SqlEndpoints(tx).all():
        if not (there.settings.auto_promote or there.settings.auto_retrain):
            continue
        moved = registry.alias_history(there.project, there.model, "challenger")
        if not moved or moved[0].version == there.champion:
            continue
        if rows.open_trials(tx, there.project, there.name):
            continue
        version, since = moved[0].version, moved[0].moved_at
        if not rows.tried_since(tx, there.project, there.name, version, since):
            found.append((there.project, there.name, version))
    return found


def _start_automatically(
    database: Database, project: str, endpoint: str, version: int, now: float, fence: int | None
) -> None:
    with database.transaction() as tx:
        _require(tx, fence, now)
        there = SqlEndpoints(tx).get(project, endpoint)
        challenger = SqlRegistry(tx).version(project, there.model, version)
        require_gate(tx, challenger)
        start(
            tx,
            project=project,
            endpoint=endpoint,
            challenger=challenger,
            policy_text=None,
            actor=moves.SYSTEM,
            now=now,
        )


def approve(tx: Connection, rollout_id: str, *, actor: str, now: float, why: str = "") -> None:
    """Let a rollout that waits for a person promote its challenger.

    Raises:
        Conflict: it does not wait.
    """
    row = _steered(tx, rollout_id, ("waiting",), "approve")
    _by_hand(tx, row, "rollout.approved", actor, now, why)
    moves.promoted(tx, row, by=actor, why=why or f"approved by {actor}", now=now)


def promote(tx: Connection, rollout_id: str, *, actor: str, now: float, why: str = "") -> None:
    """Promote the challenger now, on a person's word; the ledger keeps how much evidence there was.

    Raises:
        Conflict: the rollout has ended.
    """
    row = _steered(tx, rollout_id, rows.OPEN, "promote")
    _by_hand(tx, row, "rollout.promoted", actor, now, why)
    moves.promoted(tx, row, by=actor, why=why or f"promoted by {actor}", now=now)


def rollback(tx: Connection, rollout_id: str, *, actor: str, now: float, why: str = "") -> None:
    """Return all traffic to the champion and end the rollout.

    Raises:
        Conflict: the rollout has ended.
    """
    row = _steered(tx, rollout_id, rows.OPEN, "roll back")
    _by_hand(tx, row, "rollout.rolled_back", actor, now, why)
    moves.rolled_back(tx, row, by=actor, why=why or f"rolled back by {actor}", now=now)


def pause(tx: Connection, rollout_id: str, *, actor: str, now: float, why: str = "") -> None:
    """Keep a rollout in its step; its split stays, and a rollback by evidence stays armed.

    Raises:
        Conflict: it is not running.
    """
    row = _steered(tx, rollout_id, ("running",), "pause")
    _by_hand(tx, row, "rollout.paused", actor, now, why)
    rows.change(tx, row.id, state="paused")


def resume(tx: Connection, rollout_id: str, *, actor: str, now: float, why: str = "") -> None:
    """Let a paused rollout go on.

    Raises:
        Conflict: it is not paused.
    """
    row = _steered(tx, rollout_id, ("paused",), "resume")
    _by_hand(tx, row, "rollout.resumed", actor, now, why)
    rows.change(tx, row.id, state="running")


def _by_hand(tx: Connection, row: Trial, kind: str, actor: str, now: float, why: str) -> None:
    moves.record(tx, row, kind, {"why": why, "state": row.state, "latest": row.latest}, by=actor, now=now)


def _steered(tx: Connection, rollout_id: str, states: tuple[str, ...], verb: str) -> Trial:
    row = rows.trial(tx, rollout_id)
    if row.state in states:
        return row
    raise Conflict(
        f"cannot {verb} rollout {row.id}: it is {row.state.replace('_', ' ')}, not {' or '.join(states)}",
        fix=f"look at it: `shipway rollout status {row.id}`",
    )
