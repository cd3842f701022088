"""The inbox: what collectors put down and the committer picks up.

A row names a Parquet file and carries the profile deltas of its rows. Its key is the segment it was made
from, so putting it down twice is putting it down once.
"""

from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, Row, delete, insert, select, update

from shipway.database.schema import inbox
from shipway.errors import Rejected
from shipway.stats import profile as profiling
from shipway.terms import digest, name

Deltas = list[tuple[str, str, int, bytes]]
"""Profile deltas: digest, variant, start of the bucket in Unix seconds, encoded profile."""

KEEP_S = 86400.0
"""How long a committed row stays, so that a segment that comes back late is still known."""


class InboxRow(Struct, frozen=True, forbid_unknown_fields=True):
    """One segment's rows of one endpoint, ready to be committed."""

    segment: str
    """Segment and endpoint they come from: `<incarnation>-<number>/<project>/<endpoint>`."""
    project: str
    endpoint: str
    path: str
    """Parquet file."""
    rows: int
    first_at: float
    last_at: float
    profiles: bytes
    """MessagePack of `Deltas`."""


def receive(tx: Connection, row: InboxRow, now: float) -> bool:
    """Put a row into the inbox; False if it was there already.

    Raises:
        Rejected: the names are not names, or the profiles are not what `encode_deltas` writes.
    """
    name(row.project, "project")
    name(row.endpoint, "endpoint")
    for model, _, _, counts in decode_deltas(row.profiles):
        digest(model)
        profiling.decode(counts)
    known = tx.execute(select(inbox.c.segment).where(inbox.c.segment == row.segment)).first()
    if known is not None:
        return False
    tx.execute(insert(inbox).values(**msgspec.structs.asdict(row), received_at=now))
    return True


def encode_deltas(deltas: Deltas) -> bytes:
    """Write profile deltas for an inbox row."""
    return msgspec.msgpack.encode(deltas)


def decode_deltas(data: bytes) -> Deltas:
    """Read profile deltas of an inbox row.

    Raises:
        Rejected: these bytes are something else.
    """
    if not data:
        return []
    try:
        return msgspec.msgpack.decode(data, type=Deltas)
    except msgspec.DecodeError as exc:
        raise Rejected(f"{len(data)} bytes are not profile deltas", fix="collect the segment again") from exc


def endpoints(tx: Connection) -> list[tuple[str, str]]:
    """List (project, endpoint) of everything that waits to be committed."""
    waiting = select(inbox.c.project, inbox.c.endpoint).where(inbox.c.committed_at.is_(None)).distinct()
    return [(project, endpoint) for project, endpoint in tx.execute(waiting)]


def pending(tx: Connection, project: str, endpoint: str, limit: int) -> list[Row[Any]]:
    """Return up to `limit` rows that wait to be committed, oldest first."""
    wanted = (
        select(inbox)
        .where(inbox.c.project == project, inbox.c.endpoint == endpoint, inbox.c.committed_at.is_(None))
        .order_by(inbox.c.received_at, inbox.c.segment)
        .limit(limit)
    )
    return list(tx.execute(wanted))


def settle(tx: Connection, segments: Iterable[str], now: float) -> list[Row[Any]]:
    """Mark committed segments and return those that were not marked before: their profiles are still to be folded."""
    wanted = select(inbox).where(inbox.c.segment.in_(list(segments)), inbox.c.committed_at.is_(None))
    rows = list(tx.execute(wanted))
    marked = update(inbox).where(inbox.c.segment.in_([row.segment for row in rows]))
    if rows:
        tx.execute(marked.values(committed_at=now, profiles=b""))
    tx.execute(delete(inbox).where(inbox.c.committed_at < now - KEEP_S))
    return rows


def paths(tx: Connection, segments: Iterable[str]) -> list[str]:
    """Return the files of segments, whether they are marked as committed or not."""
    return list(tx.execute(select(inbox.c.path).where(inbox.c.segment.in_(list(segments)))).scalars())


def waiting_paths(tx: Connection, project: str, endpoint: str) -> set[str]:
    """Return the files of one endpoint that wait to be committed."""
    here = (inbox.c.project == project, inbox.c.endpoint == endpoint, inbox.c.committed_at.is_(None))
    return set(tx.execute(select(inbox.c.path).where(*here)).scalars())


def some_path(tx: Connection, project: str, endpoint: str) -> str | None:
    """Return any file of one endpoint, committed or not."""
    here = (inbox.c.project == project, inbox.c.endpoint == endpoint)
    return tx.execute(select(inbox.c.path).where(*here).limit(1)).scalar()
