"""One pass over retraining: propose or queue what signals ask for, start what is queued, take in what ended.

A training is a process of its own with a folder of its own. Whether it lives is seen from the lock it holds
there, and what it made from the result it leaves, so a control plane that was killed finds everything again.
"""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec
import pyarrow.parquet as pq
from sqlalchemy import Connection

from shipway import bundle
from shipway.bundle import BundleStore
from shipway.database import Database, lease
from shipway.endpoint import EndpointRow, SqlEndpoints
from shipway.errors import ShipwayError
from shipway.registry import SqlRegistry
from shipway.retrain import child, jobs
from shipway.retrain.decide import Past, after_loss, wanted
from shipway.retrain.jobs import ACTOR, Body, Job, policy_of
from shipway.retrain.policy import Policy, seconds
from shipway.terms import Signal, Verdict

LEASE = "clockwork"

Spawn = Callable[[Path], int]
"""Starts the training in a folder; returns its process id."""

_started: list["subprocess.Popen[bytes]"] = []
"""Children of this process, polled so that none stays a zombie."""


class Trainings(Protocol):
    """What retraining asks of the lake."""

    def training(self, project: str, endpoint: str, *, since: float | None = None, target: str = "target") -> Any:  # noqa: ANN401 - a pyarrow table
        """Return labelled rows: the inputs by name, and the truth as column `target`."""
        ...


def start_process(folder: Path) -> int:
    """Start the training in `folder` and return its process id."""
    process = child.start(folder)
    _started.append(process)
    return process.pid


def step(  # noqa: PLR0913 - the platform's parts, what asks, and when
    database: Database,
    lake: Trainings | None,
    bundles: BundleStore,
    signals: Sequence[Signal],
    now: float,
    fence: int | None = None,
    *,
    spawn: Spawn = start_process,
    folder: Path | None = None,
) -> list[str]:
    """Take retraining one step further and return the ids of jobs that changed.

    Args:
        database: metadata.
        lake: where labelled rows are; None starts nothing.
        bundles: where new bundles go.
        signals: open signals of all endpoints.
        now: Unix seconds.
        fence: of the clockwork's lease; a holder that lost it writes nothing.
        spawn: starts a process.
        folder: where jobs have their folders; `jobs` beside the database if None.

    Raises:
        ShipwayError: the first failure, after all jobs had their turn.
    """
    _started[:] = [process for process in _started if process.poll() is None]
    place = folder if folder is not None else database.path.parent / "jobs"
    changed = _propose(database, signals, now, fence)
    with database.read() as tx:
        waiting = jobs.in_states(tx, "queued", "running")
    failed: list[ShipwayError] = []
    for job in waiting:
        try:
            if job.state == "running":
                moved = _look(database, bundles, job, now, fence)
            else:
                moved = lake is not None and _start(database, lake, bundles, job, (now, fence, spawn, place))
            changed += [job.id] if moved else []
        except ShipwayError as exc:
            failed.append(exc)
    if failed:
        raise failed[0]
    return changed


def _propose(database: Database, signals: Sequence[Signal], now: float, fence: int | None) -> list[str]:
    made = []
    for key in dict.fromkeys((s.project, s.endpoint) for s in signals):
        mine = [s for s in signals if (s.project, s.endpoint) == key]
        with database.read() as tx:
            row = SqlEndpoints(tx).find(*key)
            chosen = _choose(row, mine, jobs.jobs(tx, *key), now) if row is not None else None
        if row is None or chosen is None:
            continue
        automatic = row.settings.auto_retrain
        policy = policy_of(row.policies)
        body = Body(
            why=f"{chosen.kind}: {chosen.sentence}",
            sentence="queued" if automatic else f"waits for approval: {chosen.sentence}",
            by=ACTOR,
            signal=chosen.id,
            since=chosen.since if policy.rows == "changed" else None,
        )
        with database.transaction() as tx:
            _require(tx, fence, now)
            made.append(jobs.create(tx, *key, "queued" if automatic else "proposed", body, now))
    return made


def _choose(row: EndpointRow, signals: Sequence[Signal], past: Sequence[Job], now: float) -> Signal | None:
    before = [Past(job.state, job.created_at, job.ended_at, job.body.by_hand) for job in past]
    return wanted(signals, policy_of(row.policies), before, in_trial=bool(row.rollout), now=now)


def _start(
    database: Database, lake: Trainings, bundles: BundleStore, job: Job, how: tuple[float, int | None, Spawn, Path]
) -> bool:
    """Start a queued training if there are rows enough; say so otherwise."""
    now, fence, spawn, place = how
    if now - job.body.looked_at < min(60.0, max(1.0, (now - job.created_at) / 20)):
        return False
    with database.read() as tx:
        row = SqlEndpoints(tx).get(job.project, job.endpoint)
        champion = SqlRegistry(tx).version(row.project, row.model, row.champion)
    policy = policy_of(row.policies)
    target = policy.target or str(champion.manifest.provenance.get("target") or "target")
    rows = lake.training(job.project, job.endpoint, since=job.body.since, target=target)
    if rows.num_rows < policy.min_labelled_rows:
        said = f"waits for labels: {rows.num_rows:,} of {policy.min_labelled_rows:,} rows have one"
        with database.transaction() as tx:
            _require(tx, fence, now)
            jobs.change(tx, jobs.get(tx, job.id), "queued", now, sentence=said, looked_at=now)
        return False
    attempt = place / job.id / str(job.body.attempts + 1)
    shutil.rmtree(attempt, ignore_errors=True)
    attempt.mkdir(parents=True)
    pq.write_table(rows, attempt / "data.parquet")
    names = {
        "data": str(attempt / "data.parquet"),
        "target": target,
        "out": str(attempt / "out"),
        "champion": str(bundles.path(champion.digest)),
        "model": row.model,
        "task": str(champion.manifest.task),
        "python": sys.executable,
    }
    (attempt / child.JOB).write_bytes(
        msgspec.json.encode({
            "argv": _argv(policy, names),
            "environment": {f"SHIPWAY_{name.upper()}": value for name, value in names.items() if name != "python"},
            "timeout_s": seconds(policy.timeout),
            "bundles": str(bundles.folder.absolute()),
            "champion": champion.digest,
            "model": row.model,
            "gate": row.policies.get("gate", ""),
            "now": now,
        })
    )  # fmt: skip
    with database.transaction() as tx:
        _require(tx, fence, now)
        current = jobs.get(tx, job.id)
        if current.state != "queued":
            return False
        # Written before the process is there: a kill in between leaves a running job without a lock, which is found.
        current = jobs.change(
            tx, current, "running", now, sentence=f"training on {rows.num_rows:,} labelled rows", folder=str(attempt),
            attempts=job.body.attempts + 1, rows=rows.num_rows, parent=row.champion,
        )  # fmt: skip
    pid = spawn(attempt)
    with database.transaction() as tx:
        jobs.change(tx, jobs.get(tx, job.id), "running", now, pid=pid)
    return True


def _argv(policy: Policy, names: dict[str, str]) -> list[str]:
    if policy.command:
        return [_filled(argument, names) for argument in policy.command]
    module, _, function = policy.entry.partition(":")
    given = {name: value for name, value in names.items() if name != "python"}
    return [names["python"], "-c", f"from {module} import {function} as run; run(**{given!r})"]


def _filled(argument: str, names: dict[str, str]) -> str:
    return re.sub(r"\{(\w+)\}", lambda found: names.get(found[1], found[0]), argument)


def _look(database: Database, bundles: BundleStore, job: Job, now: float, fence: int | None) -> bool:
    """See what became of a running training."""
    folder = Path(job.body.folder)
    if (folder / child.RESULT).exists():
        result = msgspec.json.decode((folder / child.RESULT).read_bytes(), type=dict[str, Any])
        with database.transaction() as tx:
            _require(tx, fence, now)
            current = jobs.get(tx, job.id)
            if current.state == "running" and result.get("lost"):
                _lose(tx, current, str(result["sentence"]), now)
            elif current.state == "running":
                _finish(tx, bundles, current, result, now)
        return True
    if child.is_alive(folder):
        return False
    with database.transaction() as tx:
        _require(tx, fence, now)
        current = jobs.get(tx, job.id)
        if current.state != "running":
            return False
        _lose(tx, current, "its process vanished", now)
    return True


def _lose(tx: Connection, job: Job, how: str, now: float) -> None:
    """Start a training again that ended for no reason of its own, as often as the policy allows."""
    policy = policy_of(SqlEndpoints(tx).get(job.project, job.endpoint).policies)
    state = after_loss(job.body.attempts, policy)
    said = f"{how} in attempt {job.body.attempts} of {policy.attempts}"
    jobs.change(tx, job, state, now, sentence=f"{said}{_last_words(Path(job.body.folder))}", looked_at=0.0)


def _finish(tx: Connection, bundles: BundleStore, job: Job, result: dict[str, Any], now: float) -> None:
    if not result["ok"]:
        said = f"{result['sentence']}{_last_words(Path(job.body.folder))}"
        jobs.change(tx, job, "failed", now, sentence=said)
        return
    registry, row = SqlRegistry(tx), SqlEndpoints(tx).get(job.project, job.endpoint)
    digest, verdict = str(result["digest"]), Verdict(result["verdict"])
    manifest = bundle.read(bundles.path(digest)).manifest
    version = registry.add_version(job.project, manifest, digest, by=ACTOR, now=now)
    registry.attach(job.project, digest, "gate", result["statement"], verdict, now, by=ACTOR)
    named = f"{row.model}:{version}"
    if verdict is not Verdict.PASS:
        said = f"{named} was trained on {job.body.rows:,} rows but did not pass its gate: {result['sentence']}"
        jobs.change(tx, job, "failed", now, sentence=said, version=version, digest=digest, verdict=str(verdict))
        return
    registry.move_alias(
        job.project, row.model, "challenger", version, seen=None, by=ACTOR, why=job.body.why[:500], now=now
    )
    said = f"{named} was trained on {job.body.rows:,} rows, passed its gate and became the challenger"
    jobs.change(tx, job, "done", now, sentence=said, version=version, digest=digest, verdict=str(verdict))


def _last_words(folder: Path) -> str:
    try:
        lines = (folder / child.LOG).read_text(errors="replace").strip().splitlines()
    except OSError:
        return ""
    told = " / ".join(line.strip() for line in lines[-3:] if line.strip())
    return f"; it said last: {told[-600:]}" if told else f"; it said nothing, its log is {folder / child.LOG}"


def _require(tx: Connection, fence: int | None, now: float) -> None:
    if fence is not None:
        lease.require(tx, LEASE, fence, now)
