"""What the monitor reads from and writes to the metadata database, within the caller's transaction."""

from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, delete, func, insert, select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from shipway.database import schema
from shipway.monitor.decide import Opened, State
from shipway.monitor.silence import Facts
from shipway.stats import profile
from shipway.stats.profile import Profile
from shipway.terms import Signal

CHAMPION = "champion"
STATISTICAL = ("drift", "quality", "performance")
FORGOTTEN_S = 86400.0
"""A server that has not reported for a day was taken away on purpose."""


class Kept(Struct, frozen=True):
    """A version's monitor as it is kept."""

    state: State
    policy_digest: str


class OpenSignal(Struct, frozen=True):
    """A signal that is not closed."""

    signal: Signal
    muted_until: float | None = None

    @property
    def opened(self) -> Opened:
        """As the deciding functions know it."""
        return Opened(self.signal.since, self.signal.columns or tuple(self.signal.details.get("silent", ())))


def kept(tx: Connection, project: str, endpoint: str, digest: str) -> Kept | None:
    """Read the state of one version's monitor; None if there is none, or one of a format we do not read."""
    table = schema.monitor_state
    wanted = select(table.c.state, table.c.policy_digest).where(table.c.digest == digest)
    row = tx.execute(wanted.where(*_mine(table, project, endpoint))).first()
    if row is None:
        return None
    try:
        return Kept(msgspec.msgpack.decode(row.state, type=State), row.policy_digest)
    except msgspec.DecodeError:
        return None


def others(tx: Connection, project: str, endpoint: str, digest: str) -> float | None:
    """Return the end of the last window that a monitor of another version took in; None if there was none."""
    table = schema.monitor_state
    last: float | None = tx.execute(
        select(func.max(table.c.window)).where(*_mine(table, project, endpoint), table.c.digest != digest)
    ).scalar()
    return last


def save(tx: Connection, project: str, endpoint: str, digest: str, kept: Kept, summary: dict[str, Any]) -> None:
    """Write the state of one version's monitor and drop those of other versions."""
    table = schema.monitor_state
    tx.execute(delete(table).where(*_mine(table, project, endpoint), table.c.digest != digest))
    values = {
        "policy_digest": kept.policy_digest,
        "window": kept.state.window,
        "state": msgspec.msgpack.encode(kept.state),
        "summary": msgspec.json.encode(summary).decode(),
    }
    row = upsert(table).values(project=project, endpoint=endpoint, digest=digest, **values)
    keys = [table.c.project, table.c.endpoint, table.c.digest]
    tx.execute(row.on_conflict_do_update(index_elements=keys, set_=values))


def buckets(
    tx: Connection, project: str, endpoint: str, digest: str, start: float, end: float
) -> list[tuple[float, Profile]]:
    """Read the champion's profile buckets that begin in [start, end), oldest first."""
    table = schema.profile
    rows = tx.execute(
        select(table.c.bucket, table.c.counts)
        .where(*_champion(project, endpoint, digest), table.c.bucket >= start, table.c.bucket < end)
        .order_by(table.c.bucket)
    )
    return [(float(row.bucket), profile.decode(row.counts)) for row in rows]


def first_bucket(tx: Connection, project: str, endpoint: str, digest: str, after: float) -> float | None:
    """Return the start of the first profile bucket of a champion from `after` on."""
    table = schema.profile
    first: int | None = tx.execute(
        select(func.min(table.c.bucket)).where(*_champion(project, endpoint, digest), table.c.bucket >= after)
    ).scalar()
    return None if first is None else float(first)


def facts(  # noqa: PLR0913 - where to look, and what is known already
    tx: Connection,
    project: str,
    endpoint: str,
    digest: str,
    *,
    state: State | None,
    is_captured: bool,
    now: float,
) -> Facts:
    """Read what was last heard of an endpoint and of the servers."""
    p, c, s = schema.profile, schema.endpoint_count, schema.server
    captured = _ends(tx, p.c.bucket, _champion(project, endpoint, digest))
    answered = _ends(tx, c.c.minute, _mine(c, project, endpoint))
    servers = tx.execute(select(s.c.name, s.c.seen_at, s.c.health).where(s.c.seen_at > now - FORGOTTEN_S)).all()
    health = {row.name: _health(row.health) for row in servers}
    return Facts(
        name=endpoint,
        captured_first=captured[0],
        captured_last=captured[1],
        answered_first=None if answered[0] is None else answered[0] * 60.0,
        answered_last=None if answered[1] is None else answered[1] * 60.0,
        labelled_last=state.labelled_at if state is not None else None,
        unknown_labels=state.unknown_new if state is not None else 0,
        is_captured=is_captured,
        servers={row.name: row.seen_at for row in servers if not health[row.name].get("stopped")},
        dropped={name: _dropped(known, f"{project}/{endpoint}/") for name, known in health.items()},
    )


def open_signals(tx: Connection, project: str, endpoint: str) -> dict[str, OpenSignal]:
    """Read the signals of an endpoint that are not closed, by kind."""
    table = schema.signal
    rows = tx.execute(
        select(table.c.body, table.c.muted_until)
        .where(*_mine(table, project, endpoint), table.c.closed_at.is_(None))
        .order_by(table.c.raised_at)
    )
    found = [OpenSignal(msgspec.json.decode(row.body, type=Signal), row.muted_until) for row in rows]
    return {o.signal.kind: o for o in found}


def muted(tx: Connection, project: str, endpoint: str, now: float) -> set[str]:
    """Return the kinds of signals of an endpoint whose alerts rest, closed signals included."""
    table = schema.signal
    return set(
        tx.execute(select(table.c.kind).where(*_mine(table, project, endpoint), table.c.muted_until > now)).scalars()
    )


def insert_signal(tx: Connection, signal: Signal) -> None:
    """Write a new signal."""
    tx.execute(
        insert(schema.signal).values(
            id=signal.id, project=signal.project, endpoint=signal.endpoint, kind=signal.kind,
            body=msgspec.json.encode(signal).decode(), raised_at=signal.raised_at,
        )
    )  # fmt: skip


def change_signal(tx: Connection, signal: Signal, *, closed_at: float | None = None) -> None:
    """Write what a signal says now."""
    table = schema.signal
    body = msgspec.json.encode(signal).decode()
    tx.execute(update(table).where(table.c.id == signal.id).values(body=body, closed_at=closed_at))


def summary(tx: Connection, project: str, endpoint: str, digest: str = "") -> dict[str, Any]:
    """Read what pages show of an endpoint's monitor, or of the one of a version; {} before its first window."""
    table = schema.monitor_state
    wanted = select(table.c.summary).where(*_mine(table, project, endpoint)).order_by(table.c.window.desc()).limit(1)
    text = tx.execute(wanted.where(table.c.digest == digest) if digest else wanted).scalar()
    return msgspec.json.decode(text, type=dict[str, Any]) if text else {}


def _mine(table: Any, project: str, endpoint: str) -> Iterable[Any]:  # noqa: ANN401 - any table with these two columns
    return (table.c.project == project, table.c.endpoint == endpoint)


def _champion(project: str, endpoint: str, digest: str) -> Iterable[Any]:
    table = schema.profile
    return (*_mine(table, project, endpoint), table.c.digest == digest, table.c.variant == CHAMPION)


def _ends(tx: Connection, column: Any, where: Iterable[Any]) -> list[Any]:  # noqa: ANN401 - a column of any table
    """Return smallest and largest, asked for one by one because an index answers each at once."""
    return [tx.execute(select(end(column)).where(*where)).scalar() for end in (func.min, func.max)]


def _health(text: str) -> dict[str, Any]:
    known: dict[str, Any] = msgspec.json.decode(text or "{}", type=dict[str, Any])
    return known


def _dropped(health: dict[str, Any], mine: str) -> int:
    """Count what a server could not record of one endpoint: its health names them as `project/endpoint/variant`."""
    dropped = health.get("capture_dropped")
    if not isinstance(dropped, dict):
        return 0
    return sum(n for arm, n in dropped.items() if arm.startswith(mine) and isinstance(n, int))
