"""Iceberg tables: make, find, extend, append exactly once, list files.

PyIceberg repairs a lost race by repeating the append, which doubles rows; its retries are off. What a commit
brings in is named in a property of that commit, so whoever comes next can tell what is in.

Not here: what is in a table (see `shape`), and keeping it small (see `upkeep`).
"""

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec
import pyarrow as pa
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import CommitFailedException, NoSuchTableError, TableAlreadyExistsError
from pyiceberg.table import Table
from sqlalchemy.exc import IntegrityError, OperationalError

from shipway.errors import Conflict, Unavailable

CAPTURES, LABELS = "captures", "labels"
COMMITTED = "shipway.committed"
"""Property: JSON of what the last append brought in."""
NAMES = "shipway.columns"
"""Property: JSON map from columns to the names people gave."""

PROPERTIES = {
    "write.metadata.delete-after-commit.enabled": "true",
    "write.metadata.previous-versions-max": "10",
    "commit.manifest-merge.enabled": "true",
    "commit.manifest.min-count-to-merge": "20",
    "commit.retry.num-retries": "0",
    "write.parquet.compression-codec": "zstd",
    # File statistics outlive erased rows, so only what files are pruned by has bounds.
    "write.metadata.metrics.default": "counts",
    "write.metadata.metrics.column.at": "full",
    "format": "1",
}


class DataFile(NamedTuple):
    """One Parquet file of a snapshot."""

    path: str
    rows: int
    size: int
    low_us: int
    """Earliest `at` in it, Unix microseconds."""
    high_us: int


def open_catalog(url: str, warehouse: Path) -> SqlCatalog:
    """Open the catalog at `url`, an SQLAlchemy URL, making its tables if they are not there.

    Raises:
        Unavailable: it cannot be opened.
    """
    sqlite = url.startswith("sqlite")
    waiting = url if not sqlite or "?" in url else f"{url}?timeout=30"
    try:
        catalog = SqlCatalog("lake", uri=waiting, warehouse=f"file://{warehouse.absolute()}")
        if sqlite:
            with catalog.engine.connect() as connection:
                connection.exec_driver_sql("pragma journal_mode = wal")
    except OperationalError as exc:
        raise Unavailable(
            f"the lake catalog cannot be opened: {exc.orig}", fix="check that its folder exists and may be written"
        ) from exc
    return catalog


def find(catalog: SqlCatalog, kind: str, project: str, endpoint: str) -> Table | None:
    """Return the table of an endpoint, or None if nothing was committed yet."""
    try:
        return catalog.load_table((project, kind, endpoint))
    except NoSuchTableError:
        return None


def ensure(catalog: SqlCatalog, kind: str, project: str, endpoint: str, schema: pa.Schema) -> Table:
    """Return the table of an endpoint; make it with these columns if it is not there."""
    found = find(catalog, kind, project, endpoint)
    if found is not None:
        return found
    with contextlib.suppress(IntegrityError):  # another process made it in this moment
        catalog.create_namespace_if_not_exists((project, kind))
    root = catalog.properties["warehouse"]
    try:
        return catalog.create_table(
            (project, kind, endpoint),
            schema=schema,
            location=f"{root}/{project}/{endpoint}/{kind}",
            properties=PROPERTIES,
        )
    except TableAlreadyExistsError:
        return catalog.load_table((project, kind, endpoint))


def committed(table: Table) -> list[str]:
    """Return the ids that the last append brought in."""
    return msgspec.json.decode(table.properties.get(COMMITTED, "[]"), type=list[str])


def names(table: Table) -> dict[str, str]:
    """Return the map from columns to the names people gave."""
    return msgspec.json.decode(table.properties.get(NAMES, "{}"), type=dict[str, str])


def append(table: Table, rows: pa.Table, ids: list[str], new_names: Mapping[str, str]) -> None:
    """Append rows in one commit that also says which ids it brought in; extend the columns first where needed.

    Raises:
        Conflict: another process committed since `table` was loaded; nothing was appended.
        Unavailable: the catalog did not answer; load the table and read `committed` to learn what happened.
    """
    properties = {COMMITTED: msgspec.json.encode(ids).decode()}
    if new_names:
        properties[NAMES] = msgspec.json.encode({**names(table), **new_names}).decode()
    try:
        with table.transaction() as tx:
            if new_names:
                with tx.update_schema() as change:
                    change.union_by_name(rows.schema)
            tx.append(_complete(rows, tx.table_metadata.schema().as_arrow()))
            tx.set_properties(properties)
    except CommitFailedException as exc:
        raise Conflict(
            f"another process committed to {'.'.join(table.name())} first",
            fix="load the table again and look what is committed",
        ) from exc
    except OperationalError as exc:
        raise Unavailable(f"the lake catalog did not answer: {exc.orig}", fix="try again in a moment") from exc


def _complete(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """Order the columns like the table; those that these rows lack are null."""
    columns = [
        rows[field.name] if field.name in rows.column_names else pa.nulls(rows.num_rows, field.type) for field in schema
    ]
    return pa.table(columns, names=schema.names)


def files(table: Table) -> list[DataFile]:
    """List the data files of the newest snapshot."""
    place = table.schema().find_field("at").field_id
    found = []
    for task in table.scan().plan_files():
        file = task.file
        low, high = (file.lower_bounds or {}).get(place), (file.upper_bounds or {}).get(place)
        found.append(
            DataFile(
                file.file_path.removeprefix("file://"), file.record_count, file.file_size_in_bytes,
                int.from_bytes(low, "little", signed=True) if low else 0,
                int.from_bytes(high, "little", signed=True) if high else 1 << 62,
            )
        )  # fmt: skip
    return found
