"""Signals, what monitors know, and retraining."""

from typing import Annotated, Any
from uuid import uuid4

import msgspec
from fastapi import APIRouter, Depends, Query, Response
from msgspec import Struct
from sqlalchemy import Connection, select, update

from shipway import ledger, monitor, retrain
from shipway.api.call import Admin, Call, answer, body
from shipway.api.endpoints import Reason
from shipway.database.schema import job as jobs
from shipway.database.schema import signal as signals
from shipway.endpoint import SqlEndpoints
from shipway.errors import Missing, Rejected
from shipway.monitor.alerts import explain, try_alerts
from shipway.monitor.policy import default_policy, parse_policy
from shipway.terms import Signal, name

router = APIRouter(tags=["signals"])

MAX_MUTE_S = 90 * 86_400


class Mute(Struct, forbid_unknown_fields=True):
    """Until when no alert is sent."""

    until: float
    """Unix seconds."""


@router.get("/v1/signals")
def list_signals(
    call: Admin,
    endpoint: str | None = None,
    closed: Annotated[bool, Query(description="Closed ones too.")] = False,  # noqa: FBT002 - a query parameter
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Response:
    """List signals, newest first; open ones, or with `closed` all of them."""
    wanted = select(signals).where(signals.c.project == call.project).order_by(signals.c.raised_at.desc()).limit(limit)
    if endpoint is not None:
        wanted = wanted.where(signals.c.endpoint == name(endpoint, "endpoint"))
    if not closed:
        wanted = wanted.where(signals.c.closed_at.is_(None))
    with call.platform.database.read() as tx:
        rows = [_rendered(row) for row in tx.execute(wanted).mappings()]
    return answer({"signals": rows})


def _rendered(row: Any) -> dict[str, Any]:  # noqa: ANN401 - a row of the table
    acts = {key: row[key] for key in ("acknowledged_at", "acknowledged_by", "muted_until", "closed_at")}
    return {**msgspec.json.decode(row["body"]), **acts}


def _signal(tx: Connection, call: Call, signal_id: str) -> dict[str, Any]:
    row = (
        tx.execute(select(signals).where(signals.c.project == call.project, signals.c.id == signal_id))
        .mappings()
        .first()
    )
    if row is None:
        raise Missing(
            f"there is no signal {signal_id[:40]!r}", fix="`shipway monitor status ENDPOINT` lists the open ones"
        )
    return _rendered(row)


@router.get("/v1/signals/{signal_id}/explain")
def explain_signal(call: Admin, signal_id: str) -> Response:
    """Explain a signal: what changed, since when, how sure, what to do."""
    with call.platform.database.read() as tx:
        found = _signal(tx, call, signal_id)
    return answer({**found, "text": explain(msgspec.convert(found, Signal, strict=False))})


@router.post("/v1/signals/{signal_id}/ack")
def acknowledge_signal(call: Admin, signal_id: str) -> Response:
    """Say that someone has seen a signal."""
    return _acted(call, signal_id, "signal.acknowledged", acknowledged_at=call.now, acknowledged_by=call.actor)


@router.post("/v1/signals/{signal_id}/mute")
def mute_signal(call: Admin, signal_id: str, mute: Annotated[Mute, Depends(body(Mute))]) -> Response:
    """Send no alerts for a signal for a while; the signal itself stays."""
    if not call.now < mute.until <= call.now + MAX_MUTE_S:
        raise Rejected("a mute ends in the future and within 90 days", fix="give `until` in Unix seconds")
    return _acted(call, signal_id, "signal.muted", muted_until=mute.until)


def _acted(call: Call, signal_id: str, kind: str, **values: object) -> Response:
    with call.platform.database.transaction() as tx:
        _signal(tx, call, signal_id)
        tx.execute(update(signals).where(signals.c.project == call.project, signals.c.id == signal_id).values(**values))
        ledger.append(
            tx,
            project=call.project,
            actor=call.actor,
            kind=kind,
            subject=f"signal:{signal_id}",
            payload=values,
            now=call.now,
        )
        return answer(_signal(tx, call, signal_id))


@router.get("/v1/monitor/{endpoint}")
def show_monitor(call: Admin, endpoint: str) -> Response:
    """Show what the monitor knows about an endpoint."""
    with call.platform.database.read() as tx:
        SqlEndpoints(tx).get(call.project, name(endpoint, "endpoint"))
        return answer(monitor.status(tx, call.project, endpoint))


@router.get("/v1/jobs")
def list_jobs(call: Admin, endpoint: str | None = None, limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> Response:
    """List retraining jobs, newest first."""
    wanted = (
        select(jobs).where(jobs.c.project == call.project).order_by(jobs.c.created_at.desc(), jobs.c.id).limit(limit)
    )
    if endpoint is not None:
        wanted = wanted.where(jobs.c.subject == name(endpoint, "endpoint"))
    with call.platform.database.read() as tx:
        if endpoint is not None:
            SqlEndpoints(tx).get(call.project, endpoint)
        rows = [_job(row) for row in tx.execute(wanted).mappings()]
    return answer({"jobs": rows})


def _job(row: Any) -> dict[str, Any]:  # noqa: ANN401 - a row of the table
    columns = {key: row[key] for key in ("id", "kind", "subject", "state", "created_at", "started_at", "ended_at")}
    return {**msgspec.json.decode(row["body"]), **columns}


@router.post("/v1/endpoints/{endpoint}/retrain")
def retrain_endpoint(call: Admin, endpoint: str, reason: Annotated[Reason, Depends(body(Reason))]) -> Response:
    """Retrain now, by the endpoint's retrain policy; the output becomes a challenger."""
    with call.platform.database.transaction() as tx:
        row = SqlEndpoints(tx).get(call.project, name(endpoint, "endpoint"))
        started = retrain.request(
            tx, project=call.project, endpoint=row.name, actor=call.actor, why=reason.why, now=call.now
        )
    return answer({"id": started}, 201)


@router.post("/v1/jobs/{job_id}/approve")
def approve_job(call: Admin, job_id: str) -> Response:
    """Let a proposed retraining run."""
    with call.platform.database.transaction() as tx:
        known = tx.execute(select(jobs.c.id).where(jobs.c.project == call.project, jobs.c.id == job_id)).first()
        if known is None:
            raise Missing(f"there is no job {job_id[:40]!r}", fix="`shipway retrain status` lists them")
        retrain.approve(tx, job_id, actor=call.actor, now=call.now)
        row = tx.execute(select(jobs).where(jobs.c.id == job_id)).mappings().one()
        return answer(_job(row))


@router.post("/v1/endpoints/{endpoint}/alert-test")
def check_alerts(call: Admin, endpoint: str) -> Response:
    """Send a test alert through every channel of an endpoint and answer what became of each."""
    with call.platform.database.read() as tx:
        row = SqlEndpoints(tx).get(call.project, name(endpoint, "endpoint"))
    text = row.policies.get("monitor")
    policy = parse_policy(text) if text else default_policy()
    test = Signal(
        id=uuid4().hex, project=call.project, endpoint=endpoint, kind="silence", since=call.now, raised_at=call.now,
        sentence=f"This is a test of the alerts of {endpoint}; nothing is wrong", log_e=0.0, bar=0.0,
    )  # fmt: skip
    return answer({"channels": try_alerts(policy, row.settings.webhooks, test)})
