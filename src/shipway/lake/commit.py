"""Bring inbox and labels into Iceberg, exactly once, and fold profiles.

The order is the proof. Load the table; settle what its property says is in (a kill may have come between the
commit and the database); only then read what waits; append it together with its ids; settle that. A second
committer that slept through this loses the compare-and-set of the metadata pointer and starts again.
"""

from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.table import Table
from sqlalchemy import Connection, Row, delete, insert, select, update

from shipway.bundle.runtime.answers import label as spelled
from shipway.database import Database
from shipway.database.schema import label_inbox, profile
from shipway.lake import inbox
from shipway.lake.collector import join
from shipway.lake.shape import CAPTURE, LABEL, fit
from shipway.lake.tables import CAPTURES, LABELS, append, committed, ensure, names
from shipway.stats import profile as profiling

ROWS, SEGMENTS, LABEL_ROWS = 100_000, 500, 50_000
"""Most rows, segments and labels of one commit."""


def captures(
    catalog: SqlCatalog, database: Database, project: str, endpoint: str, now: float
) -> tuple[int, int, Table]:
    """Commit what waits for one endpoint, up to one commit's worth; return segments, rows and the table."""
    table = ensure(catalog, CAPTURES, project, endpoint, CAPTURE)
    _settle(database, committed(table), now)
    with database.read() as tx:
        waiting = inbox.pending(tx, project, endpoint, SEGMENTS)
    chosen: list[Row[Any]] = []
    for row in waiting:
        if Path(row.path).is_file() and (not chosen or sum(r.rows for r in chosen) + row.rows <= ROWS):
            chosen.append(row)
    if not chosen:
        return 0, 0, table
    # Plain file objects: a folder called `a=b` is no partition.
    joined = join([pq.ParquetFile(row.path).read() for row in chosen])
    rows, new = fit(joined, table.schema().as_arrow(), names(table))
    ids = [row.segment for row in chosen]
    append(table, rows, ids, new)
    _settle(database, ids, now)
    return len(chosen), rows.num_rows, table


def lost(database: Database) -> list[str]:
    """Return the segments whose Parquet file is gone although it was never committed."""
    with database.read() as tx:
        waiting = [
            row for project, endpoint in inbox.endpoints(tx) for row in inbox.pending(tx, project, endpoint, SEGMENTS)
        ]
    return [row.segment for row in waiting if not Path(row.path).is_file()]


def _settle(database: Database, segments: list[str], now: float) -> None:
    if not segments:
        return
    with database.transaction() as tx:
        _fold(tx, inbox.settle(tx, segments, now))
        done = inbox.paths(tx, segments)
    for path in done:
        Path(path).unlink(missing_ok=True)


def sweep(database: Database, project: str, endpoint: str, now: float, older_than_s: float) -> int:
    """Delete old files that nobody waits for (a segment that came twice leaves one behind); return how many."""
    with database.read() as tx:
        waiting = inbox.waiting_paths(tx, project, endpoint)
        known = inbox.some_path(tx, project, endpoint)
    gone = 0
    for path in Path(known).parent.glob("*.parquet") if known else ():
        if str(path) not in waiting and now - path.stat().st_mtime > older_than_s:
            path.unlink(missing_ok=True)
            gone += 1
    return gone


def _fold(tx: Connection, rows: list[Row[Any]]) -> None:
    """Add the profile deltas of committed segments to the table `profile`."""
    sums: dict[tuple[str, str, str, str, int], profiling.Profile] = {}
    for row in rows:
        for digest, variant, bucket, counts in inbox.decode_deltas(row.profiles):
            place = (row.project, row.endpoint, digest, variant, bucket)
            delta = profiling.decode(counts)
            sums[place] = profiling.add(sums[place], delta) if place in sums else delta
    for place, delta in sums.items():
        _add_profile(tx, place, delta)


def _add_profile(tx: Connection, place: tuple[str, str, str, str, int], delta: profiling.Profile) -> None:
    key = dict(zip(("project", "endpoint", "digest", "variant", "bucket"), place, strict=True))
    here = [profile.c[column] == value for column, value in key.items()]
    before = tx.execute(select(profile.c.counts).where(*here)).scalar()
    if before is None:
        tx.execute(insert(profile).values(**key, rows=delta.rows, counts=profiling.encode(delta)))
        return
    total = profiling.add(profiling.decode(before), delta)
    tx.execute(update(profile).where(*here).values(rows=total.rows, counts=profiling.encode(total)))


def label_endpoints(tx: Connection) -> list[tuple[str, str]]:
    """List (project, endpoint) of all labels that were put down."""
    return [
        (project, endpoint)
        for project, endpoint in tx.execute(select(label_inbox.c.project, label_inbox.c.endpoint).distinct())
    ]


def labels(catalog: SqlCatalog, database: Database, project: str, endpoint: str) -> tuple[int, Table | None]:
    """Commit labels of one endpoint, up to one commit's worth; return how many, and the table if it was needed."""
    here = (label_inbox.c.project == project, label_inbox.c.endpoint == endpoint)
    table = ensure(catalog, LABELS, project, endpoint, LABEL)
    done = _ids(committed(table))
    _forget(database, done)
    with database.read() as tx:
        waiting = list(tx.execute(select(label_inbox).where(*here).order_by(label_inbox.c.id).limit(LABEL_ROWS)))
    waiting = [row for row in waiting if row.id not in done]
    if not waiting:
        return 0, None
    ids = [row.id for row in waiting]
    append(table, _label_rows(waiting), _ranges(ids), {})
    _forget(database, set(ids))
    return len(waiting), table


def _ranges(ids: list[int]) -> list[str]:
    """Write growing ids as stretches, so that the property stays short."""
    stretches: list[list[int]] = []
    for number in ids:
        if stretches and stretches[-1][1] == number - 1:
            stretches[-1][1] = number
        else:
            stretches.append([number, number])
    return [f"{first}-{last}" for first, last in stretches]


def _ids(ranges: list[str]) -> set[int]:
    found: set[int] = set()
    for stretch in ranges:
        first, _, last = stretch.partition("-")
        found.update(range(int(first), int(last) + 1))
    return found


def _forget(database: Database, ids: set[int]) -> None:
    """Remove committed labels, except the newest of all: SQLite gives the highest id again once it is free."""
    if not ids:
        return
    with database.read() as tx:
        present = list(tx.execute(select(label_inbox.c.id).order_by(label_inbox.c.id)).scalars())
    gone = [number for number in present[:-1] if number in ids]
    if not gone:
        return
    with database.transaction() as tx:
        for at in range(0, len(gone), 500):
            tx.execute(delete(label_inbox).where(label_inbox.c.id.in_(gone[at : at + 500])))


def _label_rows(rows: list[Row[Any]]) -> pa.Table:
    micros = [(int(row.at * 1e6), int(row.received_at * 1e6)) for row in rows]
    columns = {
        "event_id": [row.event or None for row in rows],
        "key": [row.key or None for row in rows],
        "row": [row.row for row in rows],
        "name": [row.name for row in rows],
        "value": [spelled(msgspec.json.decode(row.value)) for row in rows],
        "at": [at for at, _ in micros],
        "received_at": [received for _, received in micros],
        "seq": [row.id for row in rows],
    }
    return pa.table({name: pa.array(values).cast(LABEL.field(name).type) for name, values in columns.items()})
