"""Rollouts: plan, start, follow, steer, verify."""

from collections.abc import Callable
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Depends, Query, Response
from msgspec import Struct
from sqlalchemy import Connection, select

from shipway.api.call import Admin, Call, answer, body
from shipway.api.endpoints import Reason, sound_version
from shipway.database.schema import endpoint_count
from shipway.database.schema import rollout as table
from shipway.endpoint import SqlEndpoints
from shipway.errors import Missing
from shipway.registry import SqlRegistry
from shipway.rollout import default_policy, parse_policy
from shipway.rollout.forecast import plan
from shipway.rollout.records import verify
from shipway.rollout.run import approve, pause, promote, resume, rollback, start
from shipway.rollout.texts import explain, status
from shipway.terms import FAILURES, name, ref

router = APIRouter(tags=["rollouts"])

Action = Literal["approve", "promote", "rollback", "pause", "resume"]
ACTIONS: dict[str, Callable[..., Any]] = {
    "approve": approve,
    "promote": promote,
    "rollback": rollback,
    "pause": pause,
    "resume": resume,
}


class Trial(Struct, forbid_unknown_fields=True):
    """Which version goes on trial, and by which rules."""

    ref: str
    policy: str | None = None
    """Text of a rollout.toml; the endpoint's own, or the default, where null."""


@router.post("/v1/endpoints/{endpoint}/rollouts")
def start_rollout(call: Admin, endpoint: str, trial: Annotated[Trial, Depends(body(Trial))]) -> Response:
    """Put a version on trial: shadow first, then a growing share, then everyone, each by evidence."""
    challenger = sound_version(call, trial.ref)
    with call.platform.database.transaction() as tx:
        row = SqlEndpoints(tx).get(call.project, name(endpoint, "endpoint"))
        policy = trial.policy if trial.policy is not None else row.policies.get("rollout")
        started = start(
            tx,
            project=call.project,
            endpoint=endpoint,
            challenger=challenger,
            policy_text=policy,
            actor=call.actor,
            now=call.now,
        )
    return answer({"id": started}, 201)


@router.post("/v1/endpoints/{endpoint}/rollouts/plan")
def plan_rollout(call: Admin, endpoint: str, trial: Annotated[Trial, Depends(body(Trial))]) -> Response:
    """Say how long a rollout would take at the rates of the last hour, without starting it."""
    with call.platform.database.read() as tx:
        row = SqlEndpoints(tx).get(call.project, name(endpoint, "endpoint"))
        challenger = SqlRegistry(tx).resolve(call.project, ref(trial.ref))
        per_second, failing = _last_hour(tx, call, endpoint)
    text = trial.policy if trial.policy is not None else row.policies.get("rollout")
    expected = plan(parse_policy(text) if text else default_policy(), rate=failing, per_second=per_second)
    asked = {"endpoint": endpoint, "champion": row.champion, "challenger": challenger.version}
    seen = {"requests_per_second": per_second, "failure_rate": failing}
    return answer({**msgspec.to_builtins(expected), **asked, **seen})


def _last_hour(tx: Connection, call: Call, endpoint: str) -> tuple[float | None, float]:
    """Return requests per second and the share of them that failed; None where there were none."""
    c = endpoint_count.c
    minute = int(call.now // 60)
    rows = tx.execute(
        select(c.minute, c.outcome, c.n).where(
            c.project == call.project, c.endpoint == endpoint, c.minute >= minute - 60
        )
    ).all()
    total = sum(n for _, _, n in rows)
    if not total:
        return None, 0.0
    failed = sum(n for _, outcome, n in rows if outcome in FAILURES)
    return total / (60 * (minute - min(at for at, _, _ in rows) + 1)), failed / total


@router.get("/v1/rollouts")
def list_rollouts(
    call: Admin, endpoint: str | None = None, limit: Annotated[int, Query(ge=1, le=1000)] = 100
) -> Response:
    """List rollouts, newest first."""
    wanted = select(table.c.id).where(table.c.project == call.project)
    if endpoint is not None:
        wanted = wanted.where(table.c.endpoint == name(endpoint, "endpoint"))
    with call.platform.database.read() as tx:
        found = tx.execute(wanted.order_by(table.c.started_at.desc(), table.c.id.desc()).limit(limit)).scalars().all()
        return answer({"rollouts": [status(tx, rollout_id) for rollout_id in found]})


@router.get("/v1/rollouts/{rollout_id}")
def show_rollout(call: Admin, rollout_id: str) -> Response:
    """Show where a rollout stands."""
    with call.platform.database.read() as tx:
        _own(tx, call, rollout_id)
        return answer(status(tx, rollout_id))


@router.get("/v1/rollouts/{rollout_id}/explain")
def explain_rollout(call: Admin, rollout_id: str) -> Response:
    """Explain why a rollout stands where it stands: every figure against its bar."""
    with call.platform.database.read() as tx:
        _own(tx, call, rollout_id)
        return answer(explain(tx, rollout_id))


@router.get("/v1/rollouts/{rollout_id}/verify")
def verify_rollout(call: Admin, rollout_id: str) -> Response:
    """Recompute every decision of a rollout from the counts in the ledger."""
    with call.platform.database.read() as tx:
        _own(tx, call, rollout_id)
        return answer(verify(tx, rollout_id))


@router.post("/v1/rollouts/{rollout_id}/{action}")
def steer_rollout(
    call: Admin, rollout_id: str, action: Action, reason: Annotated[Reason, Depends(body(Reason))]
) -> Response:
    """Approve, promote, roll back, pause or resume; the ledger keeps who and why."""
    with call.platform.database.transaction() as tx:
        _own(tx, call, rollout_id)
        ACTIONS[action](tx, rollout_id, actor=call.actor, now=call.now, why=reason.why)
        return answer(status(tx, rollout_id))


def _own(tx: Connection, call: Call, rollout_id: str) -> None:
    """Refuse a rollout of another project as if it were not there."""
    project = tx.execute(select(table.c.project).where(table.c.id == rollout_id)).scalar()
    if project != call.project:
        raise Missing(f"there is no rollout {rollout_id[:40]!r}", fix="`shipway rollout status` lists them")
