"""Collect: turn sealed spool segments into Parquet files and inbox rows.

Everything is named by the segment it comes from, so doing it twice is doing it once; a segment leaves the
spool only when its rows were acknowledged. A kill between any two steps therefore repeats work and
loses or doubles nothing.
"""

import os
from collections.abc import Callable, Iterable
from functools import lru_cache
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
from msgspec import Struct

from shipway.bundle import BundleStore, audit, read
from shipway.capture.segment import Raw, Scanner
from shipway.capture.spool import SEALED
from shipway.errors import Rejected, ShipwayError
from shipway.lake.decoding import Batch, Known, batches, profiles, table
from shipway.lake.inbox import InboxRow, encode_deltas
from shipway.stats.profile import Reference

PROFILE = "reference/profile.json"


class CollectReport(Struct, frozen=True):
    """What one pass over the spools did."""

    segments: int = 0
    rows: int = 0
    """Rows of the lake, one per model row."""
    damaged: tuple[str, ...] = ()
    """Sealed segments that could not be read to their end: set aside as `.damaged` after the rest was taken, or as
    `.foreign` where nothing could be taken."""
    lag_s: float = 0.0
    """Age of the oldest record that was taken."""
    without_reference: tuple[str, ...] = ()
    """Digests whose bundle is not here or whose rows do not fit it, so they are in no profile."""


def collect(
    spool_folders: Iterable[Path],
    *,
    incoming: Path,
    bundles: BundleStore,
    send: Callable[[InboxRow], object],
    now: float,
    bucket_s: int,
) -> CollectReport:
    """Take every sealed segment there is now, once.

    Args:
        spool_folders: where servers write segments.
        incoming: folder for the Parquet files, which the committer reads.
        bundles: where signatures and references of answered versions are found.
        send: hands a row to the inbox; when it returns, the row is safe. What it raises ends the pass.
        now: Unix seconds.
        bucket_s: length of the stretches that profiles are counted by, seconds.
    """
    references = _References(bundles)
    segments = rows = 0
    damaged: list[str] = []
    oldest = now
    for path in sorted(p for folder in spool_folders for p in folder.glob(f"[!.]*{SEALED}")):
        try:
            made, whole = _take(path, incoming, references, bucket_s)
        except (Rejected, ValueError, TypeError, KeyError):
            # Not one of ours, or nonsense behind right sums: kept for people to look at, out of the others' way.
            path.rename(path.with_suffix(".foreign"))
            damaged.append(path.name)
            continue
        for row in made:
            send(row)
            rows += row.rows
            oldest = min(oldest, row.first_at)
        if whole:
            path.unlink()
        else:
            damaged.append(path.name)
            path.rename(path.with_suffix(".damaged"))
        segments += 1
    return CollectReport(segments, rows, tuple(damaged), now - oldest, tuple(sorted(references.missing)))


def _take(path: Path, incoming: Path, references: "_References", bucket_s: int) -> tuple[list[InboxRow], bool]:
    """Write the Parquet files of one segment; return its inbox rows and whether all of it could be read."""
    data = path.read_bytes()
    scanner = Scanner()
    by_endpoint: dict[tuple[str, str], list[Raw]] = {}
    for raw in scanner.feed(data):
        context = raw.prepared.context
        by_endpoint.setdefault((context.project, context.endpoint), []).append(raw)
    made = [
        _put_down(f"{path.stem}/{project}/{endpoint}", found, incoming, references, bucket_s)
        for (project, endpoint), found in by_endpoint.items()
    ]
    return made, scanner.end == len(data)


def _put_down(segment: str, raws: list[Raw], incoming: Path, references: "_References", bucket_s: int) -> InboxRow:
    made = list(batches(raws))
    stem, project, endpoint = segment.split("/")
    path = incoming / project / endpoint / f"{stem}.parquet"
    rows = _write(path, made)
    times = [raw.at_ns / 1e9 for raw in raws]
    deltas, unfit = profiles(made, references.find, bucket_s)
    references.missing |= unfit
    return InboxRow(segment, project, endpoint, str(path), rows, min(times), max(times), encode_deltas(deltas))


def _write(path: Path, made: list[Batch]) -> int:
    """Write the rows of one segment, whole or not at all; return how many."""
    path.parent.mkdir(parents=True, exist_ok=True)
    joined = join([table(batch) for batch in made])
    hidden = path.with_name(f".{path.name}")
    with hidden.open("wb") as file:
        pq.write_table(joined, file, compression="zstd")
        file.flush()
        os.fsync(file.fileno())
    hidden.rename(path)
    _sync_folder(path.parent)
    return int(joined.num_rows)


def _sync_folder(folder: Path) -> None:
    held = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(held)
    finally:
        os.close(held)


def join(tables: list[pa.Table]) -> pa.Table:
    """Put tables with different columns together; a column that comes with two types becomes two.

    The second carries the type in its name behind a NUL, which no column of a signature has.
    """
    kinds: dict[str, pa.DataType] = {}
    fitted = []
    for one in tables:
        names = [
            field.name if kinds.setdefault(field.name, field.type) == field.type else f"{field.name}\0{field.type}"
            for field in one.schema
        ]
        fitted.append(one.rename_columns(names))
    return pa.concat_tables(fitted, promote_options="default")


class _References:
    """Signatures and references of bundles, and which are not here."""

    def __init__(self, bundles: BundleStore) -> None:
        self.missing: set[str] = set()
        self._bundles = bundles

    def find(self, digest: str) -> Known | None:
        try:
            return _known(self._bundles.path(digest), digest)
        except (ShipwayError, msgspec.DecodeError):
            self.missing.add(digest)
            return None


@lru_cache(maxsize=64)
def _known(folder: Path, digest: str) -> Known:
    bundle = audit(read(folder), digest)
    return Known(bundle.manifest.signature, msgspec.json.decode(bundle.content(PROFILE), type=Reference))
