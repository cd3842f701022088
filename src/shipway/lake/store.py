"""The lake: commit what waits, and answer questions about captures and labels.

One process commits (it holds the clockwork's lease; a second one could only lose a race, never double a row);
any number of processes ask. Questions are about what was committed.
"""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import duckdb
import pyarrow as pa
from msgspec import Struct
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.table import Table
from sqlalchemy import select

from shipway.capture.ids import id_time, normal_id
from shipway.database import Database, schema
from shipway.errors import Conflict, Rejected
from shipway.lake import commit, inbox, query, upkeep
from shipway.lake.shape import ANSWERS, CAPTURE
from shipway.lake.tables import CAPTURES, LABELS, DataFile, files, find, names, open_catalog

SWEEP_EVERY_S = 3600.0
SLACK_S = 60.0
"""An id's time and its capture's differ by less than this."""

_ATTEMPTS = 3


class CommitReport(Struct, frozen=True):
    """What one commit brought in."""

    segments: int = 0
    rows: int = 0
    labels: int = 0
    lost: tuple[str, ...] = ()
    """Segments whose Parquet file is gone although nobody committed it: their rows cannot be recovered."""


class UnknownLabels(Struct, frozen=True):
    """Labels of one endpoint whose event never arrived."""

    project: str
    endpoint: str
    labels: int
    events: int
    """Different event ids and keys among them."""
    oldest: float
    """When the first of them was received, Unix seconds."""


class Lake:
    """Owns the Iceberg catalog and the query engine; usable from any thread."""

    def __init__(self, catalog: SqlCatalog) -> None:
        self._catalog = catalog
        self._lock = threading.Lock()
        self._swept: dict[str, float] = {}
        self._plans: dict[tuple[str, ...], tuple[str, list[DataFile]]] = {}
        self._engine = duckdb.connect(
            config={"autoinstall_known_extensions": False, "autoload_known_extensions": False, "threads": 2}
        )

    @classmethod
    def open(cls, catalog_url: str, warehouse: Path) -> Self:
        """Open the lake whose catalog is in the SQL database at `catalog_url` and whose files are in `warehouse`.

        Raises:
            Unavailable: the catalog cannot be opened.
        """
        return cls(open_catalog(catalog_url, warehouse))

    def close(self) -> None:
        """Close the query engine and the catalog."""
        self._engine.close()
        self._catalog.engine.dispose()

    def commit(self, database: Database, now: float) -> CommitReport:
        """Bring the inbox into the lake and fold its profiles; a kill at any point is made good by the next call.

        Raises:
            Conflict: other processes kept committing first.
            Unavailable: the catalog did not answer.
        """
        segments = rows = 0
        failures: list[Exception] = []
        with self._lock:
            with database.read() as tx:
                waiting = inbox.endpoints(tx)
            for project, endpoint in waiting:
                try:
                    taken = 1
                    while taken:
                        taken, added = self._commit_some(database, project, endpoint, now)
                        segments, rows = segments + taken, rows + added
                    if self._is_due(f"incoming/{project}/{endpoint}", now):
                        commit.sweep(database, project, endpoint, now, upkeep.SWEEP_AGE_S)
                except Exception as failure:  # noqa: BLE001 - one endpoint must not keep the others out; raised below
                    failures.append(failure)
            lost = commit.lost(database) if waiting else []
        if failures:
            raise failures[0]
        return CommitReport(segments, rows, lost=tuple(lost))

    def _commit_some(self, database: Database, project: str, endpoint: str, now: float) -> tuple[int, int]:
        for attempt in range(_ATTEMPTS):
            try:
                taken, rows, table = commit.captures(self._catalog, database, project, endpoint, now)
            except Conflict:
                if attempt == _ATTEMPTS - 1:
                    raise
            else:
                if taken:
                    self._keep_small(table, now)
                return taken, rows
        return 0, 0

    def commit_labels(self, database: Database, now: float) -> CommitReport:
        """Bring labels that were put down into the lake.

        Raises:
            Conflict: other processes kept committing first.
            Unavailable: the catalog did not answer.
        """
        total = 0
        with self._lock:
            with database.read() as tx:
                waiting = commit.label_endpoints(tx)
            for project, endpoint in waiting:
                taken = 1
                while taken:
                    taken, table = commit.labels(self._catalog, database, project, endpoint)
                    total += taken
                    if table is not None:
                        self._keep_small(table, now)
        return CommitReport(labels=total)

    def _keep_small(self, table: Table, now: float) -> None:
        upkeep.compact(table, self._engine)
        upkeep.expire(table)
        if self._is_due(table.location(), now):
            upkeep.sweep(table, now)

    def _is_due(self, place: str, now: float) -> bool:
        """Tell whether an hour has passed since the last sweep of a place; the first comes an hour after the start."""
        due = now - self._swept.setdefault(place, now) >= SWEEP_EVERY_S
        if due:
            self._swept[place] = now
        return due

    def sweep(
        self, database: Database, project: str, endpoint: str, now: float, older_than_s: float = upkeep.SWEEP_AGE_S
    ) -> int:
        """Delete what no kept snapshot and no waiting segment needs; return how many files. `commit` does it hourly."""
        with self._lock:
            found = [find(self._catalog, part, project, endpoint) for part in (CAPTURES, LABELS)]
            gone = sum(upkeep.sweep(table, now, older_than_s) for table in found if table is not None)
            return gone + commit.sweep(database, project, endpoint, now, older_than_s)

    def snapshot(self, project: str, endpoint: str) -> int | None:
        """Return the id of the newest snapshot of an endpoint's captures, to be noted beside a result."""
        table = find(self._catalog, CAPTURES, project, endpoint)
        current = table.current_snapshot() if table is not None else None
        return None if current is None else current.snapshot_id

    def pin(self, project: str, endpoint: str, snapshot: int, tag: str) -> None:
        """Keep a snapshot for ever, under a name: for results that cite it."""
        table = find(self._catalog, CAPTURES, project, endpoint)
        if table is not None:
            table.manage_snapshots().create_tag(snapshot, tag).commit()

    def events(
        self,
        project: str,
        endpoint: str,
        *,
        since: float | None = None,
        limit: int | None = None,
        columns: Sequence[str] | None = None,
    ) -> pa.Table:
        """Return captured rows, newest first, shadows included.

        Args:
            project: of the endpoint.
            endpoint: whose captures.
            since: Unix seconds; earlier rows are left out.
            limit: at most this many rows.
            columns: fixed columns, `in_NAME` and `out_NAME`; all of them if None. `at` is in Unix seconds.

        Raises:
            Rejected: there is no such column.
        """
        source = self._source(project, endpoint, since=since, newest=limit)
        asked = _selection(source, columns)
        return self._ask(
            source,
            f'select {asked} from captures where "at" >= to_timestamp($since) '  # noqa: S608 - quoted identifiers
            f'order by captures."at" desc, event_id desc, "row" limit $limit',
            {"since": since or 0.0, "limit": limit if limit is not None else 1 << 62},
        )

    def find(self, project: str, endpoint: str, event_id: str) -> pa.Table:
        """Return all rows of one event and of its shadows, with what turned out to be true.

        Raises:
            Rejected: this is not an event id.
        """
        event = normal_id(event_id)
        source = self._source(project, endpoint, since=id_time(event) - SLACK_S)
        return self._ask(
            source,
            "with captured as (select * from captures where event_id = $event or pair = $event), "  # noqa: S608 - ours
            f'{query.TRUTH} select {_selection(source, None)}, said as truth from labelled order by flags & 1, "row"',
            {"event": event},
        )

    def outcomes(
        self, project: str, endpoint: str, *, since: float | None = None, rollout: str | None = None
    ) -> pa.Table:
        """Return primary rows in order of time with what turned out to be true, null where that is not known yet.

        Columns: event_id, row, at (Unix seconds), variant (assigned), served (answered), version, rollout, restart,
        propensity, status, flags, label, score, prediction, truth (text, written like the classes).
        """
        source = self._source(project, endpoint, since=since)
        return self._ask(source, query.OUTCOMES, {"since": since or 0.0, "rollout": rollout})

    def pairs(self, project: str, endpoint: str, *, rollout: str, restart: int) -> pa.Table:
        """Return the champion's answers beside those of the shadow of one rollout, with the truth where known.

        Columns: event_id, row, at, champion_label, champion_score, champion_prediction, challenger_label,
        challenger_score, challenger_prediction, challenger_status, truth.
        """
        source = self._source(project, endpoint)
        return self._ask(source, query.PAIRS, {"rollout": rollout, "restart": restart})

    def training(self, project: str, endpoint: str, *, since: float | None = None, target: str = "target") -> pa.Table:
        """Return answered rows whose truth is known, as training data: the inputs by name, and the truth.

        Args:
            project: of the endpoint.
            endpoint: whose captures.
            since: Unix seconds; earlier rows are left out.
            target: name of the column that holds the truth: text for classifiers, a number for regression.

        Raises:
            Rejected: an input is called like `target`.
        """
        source = self._source(project, endpoint, since=since)
        inputs = {name: held for name, held in query.given(source).items() if name.startswith("in_")}
        if f"in_{target}" in inputs:
            raise Rejected(f"an input is called {target!r} too", fix="choose another name for the target")
        asked = ", ".join(f"{query.reading(source, held)} as {query.text(name[3:])}" for name, held in inputs.items())
        rows = self._ask(source, query.training(asked, query.text(target)), {"since": since or 0.0})
        numbers = rows["is_number"].to_pylist()
        rows = rows.drop_columns(["is_number"])
        if numbers and all(numbers):
            rows = rows.set_column(rows.num_columns - 1, target, rows[target].cast(pa.float64()))
        return rows

    def unknown_labels(self, project: str, endpoint: str, *, older_than: float) -> UnknownLabels:
        """Count committed labels that were received before `older_than` and whose event never arrived."""
        source = self._source(project, endpoint)
        found = self._ask(source, query.UNKNOWN, {"older_than": older_than}).to_pylist()[0]
        return UnknownLabels(project, endpoint, found["labels"], found["events"], found["oldest"])

    def _source(
        self, project: str, endpoint: str, *, since: float | None = None, newest: int | None = None
    ) -> query.Source:
        captures = find(self._catalog, CAPTURES, project, endpoint)
        labels = find(self._catalog, LABELS, project, endpoint)
        shape = CAPTURE if captures is None else captures.schema().as_arrow()
        shape = pa.schema([*shape, *(field for field in ANSWERS if field.name not in shape.names)])
        given = {} if captures is None else names(captures)
        columns = {name: given.get(name, name) for name in shape.names}
        here = self._files(CAPTURES, captures)
        if since is not None:
            here = [file for file in here if file.high_us >= since * 1e6]
        return query.Source(_holding_newest(here, newest), shape, columns, self._files(LABELS, labels))

    def _files(self, kind: str, table: Table | None) -> list[DataFile]:
        if table is None:
            return []
        place = (kind, *table.name())
        known = self._plans.get(place)
        if known is None or known[0] != table.metadata_location:
            known = self._plans[place] = (table.metadata_location, files(table))
        return known[1]

    def _ask(self, source: query.Source, question: str, params: dict[str, object]) -> pa.Table:
        return query.ask(self._engine, source, question, params)


def _holding_newest(here: list[DataFile], rows: int | None) -> list[DataFile]:
    """Return the files that hold the newest `rows` rows, whatever else they hold."""
    if rows is None:
        return here
    held, horizon = 0, 0
    for file in sorted(here, key=lambda file: -file.high_us):
        if held >= rows and file.high_us < horizon:
            break
        horizon = min(horizon or file.low_us, file.low_us) if held < rows else horizon
        held += file.rows
    return [file for file in here if file.high_us >= horizon] if held >= rows else here


def _selection(source: query.Source, wanted: Sequence[str] | None) -> str:
    """Write the select list for columns by the names people gave."""
    held = query.given(source)
    for name in wanted or ():
        if name not in held:
            raise Rejected(f"captures have no column {name!r}", fix=f"they have {', '.join(held)}")
    return ", ".join(
        f"{_instant(name) or query.reading(source, held[name])} as {query.text(name)}" for name in wanted or held
    )


def _instant(name: str) -> str:
    return 'epoch_us("at") / 1e6' if name == "at" else ""


def unknown_labels(database: Database, lake: Lake, older_than: float) -> list[UnknownLabels]:
    """Count, for each endpoint, committed labels received before `older_than` whose event never arrived.

    Empty where all have arrived. Captures that still wait in the inbox may hold the events, so an endpoint with
    any from before `older_than` is left out.
    """
    with database.read() as tx:
        waiting = set(inbox.endpoints(tx))
        known = [
            (project, name) for project, name in tx.execute(select(schema.endpoint.c.project, schema.endpoint.c.name))
        ]
    found = [lake.unknown_labels(*place, older_than=older_than) for place in known if place not in waiting]
    return [one for one in found if one.labels]
