"""Read what pages show, as plain values: endpoints, rollouts, versions, alarms and the record of decisions.

One open read transaction per page, so that everything on a page is from the same moment. Where a room
has a function for a question, it is asked there; the rest is rows of the tables.
"""

from importlib import metadata
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, func, or_, select

from shipway.console.figures import words
from shipway.console.traffic import traffic
from shipway.console.views import Alarm, Endpoint, Frame, Rollout, Version
from shipway.database import schema
from shipway.endpoint import EndpointRow, SqlEndpoints
from shipway.errors import Missing
from shipway.ledger import Entry
from shipway.monitor.policy import DEFAULT_TOML, parse_policy
from shipway.registry import SqlRegistry, VersionRow
from shipway.retrain import jobs as training
from shipway.rollout.decide import Decision
from shipway.terms import Signal


def frame(tx: Connection, project: str, who: str, now: float) -> Frame:
    """Read what stands around every page."""
    ringing = sum(alarm.rings(now) for alarm in alarms(tx, project))
    return Frame(who, project, ringing, metadata.version("shipway"), "One machine, SQLite")


def _alarm(row: Row[Any]) -> Alarm:
    signal = msgspec.json.decode(row.body, type=Signal)
    return Alarm(signal, row.acknowledged_at, row.acknowledged_by or "", row.muted_until, row.closed_at)


def alarms(
    tx: Connection, project: str, endpoint: str = "", *, past: bool = False, limit: int = 100
) -> tuple[Alarm, ...]:
    """Read alarms, newest first: the open ones, or with `past` the closed ones."""
    table = schema.signal
    wanted = (table.c.project == project) & (table.c.closed_at.is_not(None) if past else table.c.closed_at.is_(None))
    if endpoint:
        wanted &= table.c.endpoint == endpoint
    rows = tx.execute(select(table).where(wanted).order_by(table.c.raised_at.desc()).limit(limit)).all()
    return tuple(_alarm(row) for row in rows)


def alarm(tx: Connection, project: str, id: str) -> Alarm:  # noqa: A002 - the word of the table
    """Read one alarm.

    Raises:
        Missing: there is none of this id.
    """
    table = schema.signal
    row = tx.execute(select(table).where((table.c.project == project) & (table.c.id == id))).first()
    if row is None:
        raise Missing(f"no alarm has the id {id[:60]}", fix="the alerts page lists them")
    return _alarm(row)


def _rollout(row: Row[Any]) -> Rollout:
    fields = {name: getattr(row, name) for name in Rollout.__dataclass_fields__ if name not in ("latest", "history")}
    latest = msgspec.json.decode(row.latest, type=Decision) if row.latest != "{}" else None
    return Rollout(**fields, latest=latest, history=msgspec.json.decode(row.history))


def rollout(tx: Connection, project: str, id: str) -> Rollout:  # noqa: A002 - the word of the table
    """Read one rollout.

    Raises:
        Missing: there is none of this id.
    """
    table = schema.rollout
    row = tx.execute(select(table).where((table.c.project == project) & (table.c.id == id))).first()
    if row is None:
        raise Missing(f"no rollout has the id {id[:60]}", fix="an endpoint's page links its rollout")
    return _rollout(row)


def rollouts(tx: Connection, project: str, endpoint: str, limit: int = 10) -> tuple[Rollout, ...]:
    """Read the rollouts of an endpoint, newest first."""
    table = schema.rollout
    mine = (table.c.project == project) & (table.c.endpoint == endpoint)
    return tuple(
        _rollout(row) for row in tx.execute(select(table).where(mine).order_by(table.c.started_at.desc()).limit(limit))
    )


def endpoints(tx: Connection, project: str, now: float) -> list[Endpoint]:
    """Read every endpoint of a project, by name."""
    return [_endpoint(tx, row, now) for row in sorted(SqlEndpoints(tx).all(project), key=lambda row: row.name)]


def endpoint(tx: Connection, project: str, name: str, now: float) -> Endpoint:
    """Read one endpoint.

    Raises:
        Missing: there is none of this name.
    """
    return _endpoint(tx, SqlEndpoints(tx).get(project, name), now)


def _endpoint(tx: Connection, row: EndpointRow, now: float) -> Endpoint:
    champion = SqlRegistry(tx).version(row.project, row.model, row.champion)
    state = schema.monitor_state
    mine = (state.c.project == row.project) & (state.c.endpoint == row.name) & (state.c.digest == champion.digest)
    summary = tx.execute(select(state.c.summary).where(mine)).scalar()
    return Endpoint(
        name=row.name,
        model=row.model,
        champion=row.champion,
        previous=row.previous,
        variants=row.variants,
        settings=row.settings,
        manifest=champion.manifest,
        created_at=row.created_at,
        rollout=rollout(tx, row.project, row.rollout) if row.rollout else None,
        alarms=alarms(tx, row.project, row.name),
        traffic=traffic(tx, row.project, row.name, now, opened=row.created_at),
        jobs=tuple(training.jobs(tx, row.project, row.name)[:10]),
        trains=training.policy_of(row.policies).can_train,
        monitor=msgspec.json.decode(summary) if summary else {},
        watch=parse_policy(row.policies.get("monitor", "") or DEFAULT_TOML),
    )


def version(tx: Connection, project: str, model: str, number: int) -> Version:
    """Read one version.

    Raises:
        Missing: there is none of this name and number.
    """
    return _version(tx, SqlRegistry(tx).version(project, model, number))


def versions(tx: Connection, project: str) -> list[Version]:
    """Read every version of every model of a project: models by name, newest version first."""
    registry = SqlRegistry(tx)
    rows = [row for model in registry.models(project) for row in registry.versions(project, model.name)]
    return [_version(tx, row) for row in sorted(rows, key=lambda row: (row.model, -row.version))]


def _version(tx: Connection, row: VersionRow) -> Version:
    registry = SqlRegistry(tx)
    gates = registry.evidence(row.digest, "gate", project=row.project)
    serving = [(e.name, v) for e in SqlEndpoints(tx).all(row.project) for v in e.variants]
    job = _training(tx, row)
    return Version(
        model=row.model,
        number=row.version,
        digest=row.digest,
        manifest=row.manifest,
        created_at=row.created_at,
        created_by=row.created_by,
        verdict=str(gates[0].verdict or "") if gates else "",
        judged_at=gates[0].created_at if gates else None,
        metrics=(gates[0].statement.get("predicate", {}).get("metrics") if gates else None) or row.manifest.metrics,
        aliases=tuple(
            alias.alias for alias in registry.aliases(row.project, row.model) if alias.version == row.version
        ),
        serves=tuple((name, v.name, v.weight) for name, v in serving if v.digest == row.digest),
        ready=tuple(
            e.name
            for e in SqlEndpoints(tx).all(row.project)
            if (e.model, e.previous) == (row.model, row.version) and row.digest not in {v.digest for v in e.variants}
        ),
        trained_by=job,
    )


def _training(tx: Connection, row: VersionRow) -> training.Job | None:
    """Find the training that made a version, if it was one of ours."""
    mine = [e.name for e in SqlEndpoints(tx).all(row.project) if e.model == row.model]
    made = [job for name in mine for job in training.jobs(tx, row.project, name) if job.body.digest == row.digest]
    return made[0] if made else None


def health(tx: Connection) -> list[tuple[str, float, int, dict[str, Any]]]:
    """Read the servers' heartbeats: name, last seen, epoch of their route table, health."""
    rows = tx.execute(select(schema.server).order_by(schema.server.c.name)).all()
    return [(row.name, row.seen_at, row.epoch, msgspec.json.decode(row.health)) for row in rows]


def epoch(tx: Connection) -> int:
    """Number of the newest route table, 0 before the first."""
    return tx.execute(select(func.max(schema.route.c.epoch))).scalar_one() or 0


def rows(tx: Connection, project: str) -> list[EndpointRow]:
    """Read the endpoints of a project as they are kept, without their traffic."""
    return sorted(SqlEndpoints(tx).all(project), key=lambda row: row.name)


def channels(row: EndpointRow) -> list[str]:
    """List where the alarms of an endpoint are sent, by its settings and its monitoring policy."""
    policy = parse_policy(row.policies.get("monitor", "") or DEFAULT_TOML)
    told = [f"webhook {hook}" for hook in row.settings.webhooks]
    return told + [
        "the log" if a.kind == "log" else f"webhook {a.url} ({words(list(a.signals))})" for a in policy.alert
    ]


def versions_at(tx: Connection, project: str, endpoint: Endpoint) -> list[tuple[Version, str]]:
    """Read the versions that an endpoint has now: champion, challenger, and the one before, each with its part."""
    parts = [(v.version, v.name) for v in endpoint.variants]
    if endpoint.previous is not None and endpoint.previous not in {number for number, _ in parts}:
        parts.append((endpoint.previous, "before"))
    return [(version(tx, project, endpoint.model, number), part) for number, part in parts]


def parent(tx: Connection, project: str, version: Version) -> Version | None:
    """Read the version that this one was made from, if it is registered."""
    digest = str(version.manifest.provenance.get("parent") or "")
    table = schema.version
    row = tx.execute(
        select(table.c.model, table.c.version).where((table.c.project == project) & (table.c.digest == digest))
    ).first()
    return _version(tx, SqlRegistry(tx).version(project, row.model, row.version)) if row is not None else None


def children(tx: Connection, project: str, version: Version) -> list[Version]:
    """Read the versions of the same model that were made from this one."""
    registry = SqlRegistry(tx)
    made = [
        row
        for row in registry.versions(project, version.model)
        if row.manifest.provenance.get("parent") == version.digest
    ]
    return [_version(tx, row) for row in made]


def newest(  # noqa: PLR0913 - filters, all optional
    tx: Connection,
    project: str,
    *,
    subject: str = "",
    kind: str = "",
    find: str = "",
    before: int | None = None,
    limit: int = 100,
) -> list[Entry]:
    """Read entries of the ledger, newest first.

    Args:
        tx: an open transaction.
        project: whose entries.
        subject: what they are about, e.g. `endpoint:churn`, or "".
        kind: the first part of their kind, e.g. `rollout`, or "".
        find: text that subject, actor, kind, payload or hash must hold, or "".
        before: only entries with a smaller number.
        limit: at most so many.
    """
    table = schema.ledger
    wanted = select(table).where(table.c.project == project)
    if subject:
        wanted = wanted.where(table.c.subject == subject)
    if kind:
        wanted = wanted.where(table.c.kind.startswith(f"{kind}.", autoescape=True))
    if find:
        wanted = wanted.where(
            or_(
                *(
                    column.contains(find, autoescape=True)
                    for column in (table.c.subject, table.c.actor, table.c.kind, table.c.payload, table.c.hash)
                )
            )
        )
    if before is not None:
        wanted = wanted.where(table.c.seq < before)
    found = tx.execute(wanted.order_by(table.c.seq.desc()).limit(limit)).mappings()
    return [Entry(**{**row, "payload": msgspec.json.decode(row["payload"])}) for row in found]
