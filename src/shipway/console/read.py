"""Read what pages show, as plain values: endpoints, rollouts, versions, alarms and the record of decisions.

One open read transaction per page, so that everything on a page is from the same moment. Where a room
has a function for a question, it is asked there; the rest is rows of the tables.
"""

from dataclasses import dataclass, field
from importlib import metadata
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, func, select

from shipway.console.traffic import Traffic, traffic
from shipway.database import schema
from shipway.errors import Missing
from shipway.terms import Manifest, Signal, Variant


@dataclass(frozen=True)
class Frame:
    """What stands around every page."""

    who: str
    project: str
    alarms: int
    """Open alarms that nobody has acknowledged."""
    release: str
    place: str


@dataclass(frozen=True)
class Alarm:
    """A signal and what people did about it."""

    signal: Signal
    acknowledged_at: float | None
    acknowledged_by: str
    muted_until: float | None
    closed_at: float | None

    def rings(self, now: float) -> bool:
        """Whether it is open and asks for someone."""
        muted = self.muted_until is not None and self.muted_until > now
        return self.closed_at is None and self.acknowledged_at is None and not muted


@dataclass(frozen=True)
class Rollout:
    """A rollout as its row says, and how its newest decision and its past look."""

    id: str
    endpoint: str
    model: str
    champion: int
    challenger: int
    state: str
    step: int
    restart: int
    started_at: float
    step_started_at: float
    ended_at: float | None
    policy: str
    policy_digest: str
    latest: dict[str, Any]
    history: list[dict[str, Any]]

    @property
    def open(self) -> bool:
        """Whether it still may move traffic."""
        return self.ended_at is None


@dataclass(frozen=True)
class Endpoint:
    """An endpoint with everything that home and its own page say about it."""

    name: str
    model: str
    champion: int
    previous: int | None
    variants: tuple[Variant, ...]
    settings: dict[str, Any]
    description: str
    created_at: float
    rollout: Rollout | None
    alarms: tuple[Alarm, ...]
    traffic: Traffic | None
    monitor: dict[str, Any] = field(default_factory=dict)
    """The summary that the monitor wrote for pages, {} before its first window."""

    def variant(self, named: str) -> Variant | None:
        """The variant of this name, or None."""
        return next((v for v in self.variants if v.name == named), None)


@dataclass(frozen=True)
class Version:
    """A version in the registry."""

    model: str
    number: int
    digest: str
    manifest: Manifest
    created_at: float
    created_by: str
    verdict: str
    """Of the newest gate evidence, or ""."""
    aliases: tuple[str, ...]
    serves: tuple[tuple[str, str, int], ...]
    """(endpoint, variant, weight in basis points)."""


def frame(tx: Connection, project: str, who: str) -> Frame:
    """Read what stands around every page."""
    table = schema.signal
    open_ones = (table.c.project == project) & table.c.closed_at.is_(None) & table.c.acknowledged_at.is_(None)
    alarms = tx.execute(select(func.count()).select_from(table).where(open_ones)).scalar_one()
    return Frame(who, project, alarms, metadata.version("shipway"), "One machine, SQLite")


def _alarm(row: Row[Any]) -> Alarm:
    signal = msgspec.json.decode(row.body, type=Signal)
    return Alarm(signal, row.acknowledged_at, row.acknowledged_by or "", row.muted_until, row.closed_at)


def alarms(tx: Connection, project: str, endpoint: str = "", *, past: bool = False, limit: int = 100) -> tuple[Alarm, ...]:
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
    return Rollout(**fields, latest=msgspec.json.decode(row.latest), history=msgspec.json.decode(row.history))


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
    return tuple(_rollout(row) for row in tx.execute(select(table).where(mine).order_by(table.c.started_at.desc()).limit(limit)))


def endpoints(tx: Connection, project: str, now: float) -> list[Endpoint]:
    """Read every endpoint of a project, by name."""
    table = schema.endpoint
    rows = tx.execute(select(table).where(table.c.project == project).order_by(table.c.name)).all()
    return [_endpoint(tx, row, now) for row in rows]


def endpoint(tx: Connection, project: str, name: str, now: float) -> Endpoint:
    """Read one endpoint.

    Raises:
        Missing: there is none of this name.
    """
    table = schema.endpoint
    row = tx.execute(select(table).where((table.c.project == project) & (table.c.name == name))).first()
    if row is None:
        raise Missing(f"no endpoint is called {name[:60]}", fix="the first page lists the endpoints there are")
    return _endpoint(tx, row, now)


def _endpoint(tx: Connection, row: Row[Any], now: float) -> Endpoint:
    champion = _version_row(tx, row.project, row.model, row.champion)
    manifest = msgspec.json.decode(champion.manifest, type=Manifest) if champion is not None else None
    summary = {}
    if champion is not None:
        state = schema.monitor_state
        mine = (state.c.project == row.project) & (state.c.endpoint == row.name) & (state.c.digest == champion.digest)
        text = tx.execute(select(state.c.summary).where(mine)).scalar()
        summary = msgspec.json.decode(text) if text else {}
    return Endpoint(
        name=row.name,
        model=row.model,
        champion=row.champion,
        previous=row.previous,
        variants=msgspec.json.decode(row.variants, type=tuple[Variant, ...]),
        settings=msgspec.json.decode(row.settings),
        description=manifest.description if manifest is not None else "",
        created_at=row.created_at,
        rollout=rollout(tx, row.project, row.rollout) if row.rollout else None,
        alarms=alarms(tx, row.project, row.name),
        traffic=traffic(tx, row.project, row.name, now),
        monitor=summary,
    )


def _version_row(tx: Connection, project: str, model: str, number: int) -> Row[Any] | None:
    table = schema.version
    return tx.execute(select(table).where((table.c.project == project) & (table.c.model == model) & (table.c.version == number))).first()


def version(tx: Connection, project: str, model: str, number: int) -> Version:
    """Read one version.

    Raises:
        Missing: there is none of this name and number.
    """
    row = _version_row(tx, project, model, number)
    if row is None:
        raise Missing(f"{model[:60]} has no version {number}", fix="the models page lists the versions there are")
    return _version(tx, row, _serving(tx, project))


def versions(tx: Connection, project: str) -> list[Version]:
    """Read every version of every model of a project, models by name, newest version first."""
    table = schema.version
    serving = _serving(tx, project)
    rows = tx.execute(select(table).where(table.c.project == project).order_by(table.c.model, table.c.version.desc())).all()
    return [_version(tx, row, serving) for row in rows]


def _serving(tx: Connection, project: str) -> list[tuple[str, Variant]]:
    table = schema.endpoint
    rows = tx.execute(select(table.c.name, table.c.variants).where(table.c.project == project).order_by(table.c.name)).all()
    return [(row.name, variant) for row in rows for variant in msgspec.json.decode(row.variants, type=tuple[Variant, ...])]


def _version(tx: Connection, row: Row[Any], serving: list[tuple[str, Variant]]) -> Version:
    alias, proof = schema.alias, schema.evidence
    mine = (alias.c.project == row.project) & (alias.c.model == row.model) & (alias.c.version == row.version)
    gate = (proof.c.project == row.project) & (proof.c.digest == row.digest) & (proof.c.kind == "gate")
    verdict = tx.execute(select(proof.c.verdict).where(gate).order_by(proof.c.created_at.desc())).scalar()
    return Version(
        model=row.model,
        number=row.version,
        digest=row.digest,
        manifest=msgspec.json.decode(row.manifest, type=Manifest),
        created_at=row.created_at,
        created_by=row.created_by,
        verdict=verdict or "",
        aliases=tuple(tx.execute(select(alias.c.alias).where(mine).order_by(alias.c.alias)).scalars()),
        serves=tuple((name, v.name, v.weight) for name, v in serving if v.digest == row.digest),
    )


def evidence(tx: Connection, project: str, digest: str) -> list[dict[str, Any]]:
    """Read what was attached to a digest, newest first, statements decoded."""
    table = schema.evidence
    rows = tx.execute(select(table).where((table.c.project == project) & (table.c.digest == digest)).order_by(table.c.created_at.desc())).all()
    return [
        {"id": row.id, "kind": row.kind, "verdict": row.verdict or "", "statement": msgspec.json.decode(row.statement), "created_at": row.created_at} for row in rows
    ]


def health(tx: Connection) -> list[tuple[str, float, int, dict[str, Any]]]:
    """Read the servers' heartbeats: name, last seen, epoch of their route table, health."""
    rows = tx.execute(select(schema.server).order_by(schema.server.c.name)).all()
    return [(row.name, row.seen_at, row.epoch, msgspec.json.decode(row.health)) for row in rows]


def epoch(tx: Connection) -> int:
    """Number of the newest route table, 0 before the first."""
    return tx.execute(select(func.max(schema.route.c.epoch))).scalar_one() or 0
