"""Keep tables small: join small files, forget old snapshots, sweep files that no snapshot knows.

PyIceberg's expiry edits metadata and deletes no file, and it has no compaction; both are done here. None of it
changes a row or the property that says what was committed.
"""

from pathlib import Path

import duckdb
import pyarrow as pa
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.io.pyarrow import _dataframe_to_data_files
from pyiceberg.table import Table

SMALL_BYTES = 8 << 20
SMALL_FILES = 64
"""Small files are joined when there are this many."""

KEEP_SNAPSHOTS, SPARE_SNAPSHOTS = 100, 50
"""Newest snapshots that stay, and how many more there may be before the rest is forgotten."""

SWEEP_AGE_S = 3600.0
"""A younger file may belong to a commit that is under way."""


def compact(table: Table, connection: duckdb.DuckDBPyConnection, small_files: int = SMALL_FILES) -> int:
    """Rewrite small files as one, in one commit, if there are at least `small_files`; return how many were joined.

    Loses politely to a commit that came first.
    """
    small = [task.file for task in table.scan().plan_files() if task.file.file_size_in_bytes < SMALL_BYTES]
    if len(small) < small_files:
        return 0
    cursor = connection.cursor()
    try:
        paths = [file.file_path.removeprefix("file://") for file in small]
        read = cursor.sql("from read_parquet($paths, union_by_name = true)", params={"paths": paths}).to_arrow_table()
    finally:
        cursor.close()
    schema = table.schema().as_arrow()
    columns = [
        read[field.name].cast(field.type) if field.name in read.column_names else pa.nulls(read.num_rows, field.type)
        for field in schema
    ]
    rows = pa.table(columns, schema=schema).sort_by("at")
    try:
        with table.transaction() as tx, tx.update_snapshot({"shipway.op": "compact"}).overwrite() as change:
            for file in small:
                change.delete_data_file(file)
            for made in _dataframe_to_data_files(table_metadata=tx.table_metadata, df=rows, io=table.io):
                change.append_data_file(made)
    except CommitFailedException:
        return 0
    return len(small)


def expire(table: Table, keep: int = KEEP_SNAPSHOTS, spare: int = SPARE_SNAPSHOTS) -> int:
    """Forget all but the `keep` newest snapshots once there are `spare` more; tagged ones stay. Return how many."""
    snapshots = sorted(table.metadata.snapshots, key=lambda snapshot: snapshot.timestamp_ms)
    if len(snapshots) < keep + spare:
        return 0
    cited = {ref.snapshot_id for ref in table.metadata.refs.values()}
    old = [s.snapshot_id for s in snapshots[:-keep] if s.snapshot_id not in cited]
    try:
        table.maintenance.expire_snapshots().by_ids(old).commit()
    except CommitFailedException:
        return 0
    return len(old)


def sweep(table: Table, now: float, older_than_s: float = SWEEP_AGE_S) -> int:
    """Delete files in the table's folder that no kept snapshot reaches and that are old; return how many."""
    kept = _reachable(table)
    gone = 0
    for path in Path(table.location().removeprefix("file://")).rglob("*"):
        if path.is_file() and str(path) not in kept and now - path.stat().st_mtime > older_than_s:
            path.unlink()
            gone += 1
    return gone


def _reachable(table: Table) -> set[str]:
    """Name every file that the table's metadata, its logged predecessors or a kept snapshot refer to."""
    found = {table.metadata_location, *(entry.metadata_file for entry in table.metadata.metadata_log)}
    manifests = {}
    for snapshot in table.metadata.snapshots:
        found.add(snapshot.manifest_list)
        for manifest in snapshot.manifests(table.io):
            manifests[manifest.manifest_path] = manifest
    for path, manifest in manifests.items():
        found.add(path)
        found.update(entry.data_file.file_path for entry in manifest.fetch_manifest_entry(table.io))
    return {path.removeprefix("file://") for path in found}
