"""Jobs as rows: what is to be trained, what is being trained, and what became of it."""

import hashlib
from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, insert, select, update

from shipway import ledger
from shipway.database.schema import job as table
from shipway.endpoint import SqlEndpoints
from shipway.errors import Conflict, Missing, Rejected
from shipway.retrain.decide import OPEN, JobState
from shipway.retrain.policy import DEFAULT_TOML, Policy, parse_policy

KIND = "retrain"
ACTOR = "retrain"


class Body(Struct, frozen=True):
    """What is kept of a job beside its columns."""

    why: str
    sentence: str
    """Where it stands, in words."""
    by: str
    by_hand: bool = False
    signal: str = ""
    """Id of the signal that asked for it."""
    since: float | None = None
    """Rows from then on are trained on; None for all."""
    folder: str = ""
    """Of the running or last attempt: data, log, output, result."""
    attempts: int = 0
    pid: int = 0
    rows: int = 0
    """Labelled rows it was trained on."""
    parent: int = 0
    """Version that was champion when it started."""
    version: int = 0
    """Version it made."""
    digest: str = ""
    verdict: str = ""
    looked_at: float = 0.0
    """When labelled rows were last counted."""


class Job(Struct, frozen=True):
    """One training."""

    id: str
    project: str
    endpoint: str
    state: JobState
    body: Body
    created_at: float
    started_at: float | None = None
    ended_at: float | None = None


def policy_of(policies: dict[str, str]) -> Policy:
    """Return an endpoint's policy for retraining."""
    return parse_policy(policies.get("retrain", "") or DEFAULT_TOML)


def request(tx: Connection, *, project: str, endpoint: str, actor: str, why: str, now: float) -> str:
    """Queue a training by hand, on all labelled rows; return the job's id.

    Raises:
        Missing: no such endpoint.
        Rejected: its policy does not say how to train.
        Conflict: a job of this endpoint is open already.
    """
    row = SqlEndpoints(tx).get(project, endpoint)
    if not policy_of(row.policies).can_train:
        raise Rejected(
            f"{endpoint} has no command to train with",
            fix="write a retrain.toml with a `command` or an `entry` and deploy with `--policy retrain=retrain.toml`",
        )
    if open_jobs := [job for job in jobs(tx, project, endpoint) if job.state in OPEN]:
        there = open_jobs[0]
        fix = f"`shipway retrain approve {there.id}`" if there.state == "proposed" else "wait until it ends"
        raise Conflict(f"job {there.id} of {endpoint} is {there.state} already", fix=fix)
    body = Body(why=why or f"asked for by {actor}", sentence="queued", by=actor, by_hand=True)
    return create(tx, project, endpoint, "queued", body, now)


def approve(tx: Connection, job_id: str, *, actor: str, now: float) -> None:
    """Let a proposed training run.

    Raises:
        Missing: no such job.
        Conflict: it is not proposed.
    """
    job = get(tx, job_id)
    if job.state != "proposed":
        raise Conflict(f"job {job_id} is {job.state}, not proposed", fix="look at it: `shipway retrain status`")
    change(tx, job, "queued", now, by=actor, sentence=f"approved by {actor}")


def create(tx: Connection, project: str, endpoint: str, state: JobState, body: Body, now: float) -> str:
    """Write a new job and its ledger entry; return its id."""
    key = hashlib.sha256(f"{project}|{endpoint}|{body.signal}|{now!r}".encode()).hexdigest()[:12]
    text = msgspec.json.encode(body).decode()
    tx.execute(
        insert(table).values(
            id=key, project=project, kind=KIND, subject=endpoint, state=state, body=text, created_at=now
        )
    )
    _note(tx, Job(key, project, endpoint, state, body, now), now, body.by)
    return key


def jobs(tx: Connection, project: str, endpoint: str) -> list[Job]:
    """List the jobs of an endpoint, newest first."""
    wanted = select(table).where(table.c.project == project, table.c.subject == endpoint, table.c.kind == KIND)
    return [_job(row) for row in tx.execute(wanted.order_by(table.c.created_at.desc(), table.c.id)).mappings()]


def in_states(tx: Connection, *states: JobState) -> list[Job]:
    """List all jobs in some states, oldest first."""
    wanted = select(table).where(table.c.kind == KIND, table.c.state.in_(states)).order_by(table.c.created_at)
    return [_job(row) for row in tx.execute(wanted).mappings()]


def get(tx: Connection, job_id: str) -> Job:
    """Return a job.

    Raises:
        Missing: there is none of this id.
    """
    row = tx.execute(select(table).where(table.c.id == job_id)).mappings().first()
    if row is None:
        raise Missing(f"there is no job {job_id[:40]!r}", fix="`shipway retrain status` lists them")
    return _job(row)


def change(tx: Connection, job: Job, state: JobState, now: float, *, by: str = ACTOR, **body: Any) -> Job:  # noqa: ANN401 - fields of Body
    """Write a job's new state and body, and a ledger entry where the state is new."""
    changed = msgspec.structs.replace(job, state=state, body=msgspec.structs.replace(job.body, **body))
    values: dict[str, Any] = {"state": state, "body": msgspec.json.encode(changed.body).decode()}
    if state != job.state:
        _note(tx, changed, now, by)
        if state == "running":
            values["started_at"] = now
        elif state in {"done", "failed"}:
            values["ended_at"] = now
    tx.execute(update(table).where(table.c.id == job.id).values(**values))
    return changed


def _note(tx: Connection, job: Job, now: float, by: str) -> None:
    told = job.body
    payload = {
        "job": job.id, "state": job.state, "why": told.why, "signal": told.signal, "sentence": told.sentence,
        "rows": told.rows, "parent": told.parent, "version": told.version, "verdict": told.verdict,
    }  # fmt: skip
    ledger.append(
        tx, project=job.project, actor=by, kind=f"retrain.{job.state}", subject=f"endpoint:{job.endpoint}",
        payload=payload, now=now,
    )  # fmt: skip


def _job(row: Any) -> Job:  # noqa: ANN401 - a row of the table
    body = msgspec.json.decode(row["body"], type=Body)
    return Job(
        row["id"], row["project"], row["subject"], row["state"], body, row["created_at"], row["started_at"],
        row["ended_at"],
    )  # fmt: skip
