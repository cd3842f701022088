"""Write a file of rows that appears under its name whole or not at all.

Rows go to a hidden file beside the target; `publish` completes it, brings it to the disk and renames it. A kill
before that leaves the target as it was, and the hidden file is used again by whoever writes there next. A lock
on it keeps two writers of one target apart.
"""

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Protocol, Self

import orjson
import pyarrow as pa
from pyarrow import csv, parquet

from shipway.errors import Conflict, Missing, Rejected
from shipway.pack.tables import SUFFIXES

GROUP_ROWS = 65_536
GROUP_BYTES = 32 << 20
"""A row group of Parquet is written when it has so many rows or bytes."""
AT_ONCE = 1_024
"""Rows that are turned into JSON at a time."""


class _Form(Protocol):
    """Writes batches of one schema to a stream."""

    def write(self, batch: pa.RecordBatch) -> None: ...

    def close(self) -> None: ...


class _Parquet:
    def __init__(self, stream: BinaryIO, schema: pa.Schema) -> None:
        # Scores are all different: a dictionary of them costs more than it saves.
        scores = [f.name for f in schema if pa.types.is_floating(f.type) and f.name.startswith("output.")]
        with_dictionary = [name for name in schema.names if name not in scores]
        self._writer = parquet.ParquetWriter(stream, schema, use_dictionary=with_dictionary or False)
        self._schema = schema
        self._waiting: list[pa.RecordBatch] = []

    def write(self, batch: pa.RecordBatch) -> None:
        self._waiting.append(batch)
        if sum(b.num_rows for b in self._waiting) >= GROUP_ROWS or sum(b.nbytes for b in self._waiting) >= GROUP_BYTES:
            self._flush()

    def close(self) -> None:
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        if self._waiting:
            self._writer.write_table(pa.Table.from_batches(self._waiting, self._schema))
            self._waiting = []


class _Csv:
    def __init__(self, stream: BinaryIO, schema: pa.Schema) -> None:
        nested = [f.name for f in schema if pa.types.is_nested(f.type)]
        if nested:
            raise Rejected(
                f"column {nested[0]!r} holds lists, which a CSV cannot",
                fix="write .parquet or .jsonl, or leave the column out",
            )
        self._writer = csv.CSVWriter(stream, schema)

    def write(self, batch: pa.RecordBatch) -> None:
        self._writer.write_batch(batch)

    def close(self) -> None:
        self._writer.close()


class _Json:
    def __init__(self, stream: BinaryIO, schema: pa.Schema) -> None:  # noqa: ARG002 - one form of three
        self._stream = stream

    def write(self, batch: pa.RecordBatch) -> None:
        for start in range(0, batch.num_rows, AT_ONCE):  # rows as dicts take many times the room of columns
            rows = batch.slice(start, AT_ONCE).to_pylist()
            self._stream.write(b"".join([orjson.dumps(r, default=str, option=orjson.OPT_APPEND_NEWLINE) for r in rows]))

    def close(self) -> None: ...


_FORMS: dict[str, Callable[[BinaryIO, pa.Schema], _Form]] = {"csv": _Csv, "parquet": _Parquet, "json": _Json}


def form_of(path: Path) -> str:
    """Return what a file to write will be: csv, parquet or json.

    Raises:
        Rejected: its suffix is none of those.
    """
    form = SUFFIXES.get(path.suffix.lower())
    if form is None:
        raise Rejected(
            f"the file to write ends in {path.suffix or 'nothing'!r}", fix="end it in .csv, .parquet or .jsonl"
        )
    return form


class Output:
    """A file on its way; a context manager. Without `publish` it leaves nothing behind."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._form = _FORMS[form_of(path)]
        if not path.parent.is_dir():
            raise Missing(f"there is no folder {path.parent} to write {path.name} to", fix="make it first")
        self._hidden = path.with_name(f".{path.name}.part")
        self._stream = _alone(self._hidden, path)
        self._writer: _Form | None = None
        self._published = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._published:
            if self._writer is not None:
                with suppress(pa.ArrowException, OSError, ValueError):  # a full disk is told by whoever failed first
                    self._writer.close()
            self._hidden.unlink(missing_ok=True)
        with suppress(OSError):
            self._stream.close()

    @property
    def has_rows(self) -> bool:
        """True once something was written."""
        return self._writer is not None

    def write(self, batch: pa.RecordBatch) -> None:
        """Append rows; the first ones give the schema."""
        if self._writer is None:
            self._writer = self._form(self._stream, batch.schema)
        self._writer.write(batch)

    def publish(self) -> None:
        """Complete the file, bring it to the disk and give it its name."""
        if self._writer is not None:
            self._writer.close()
        self._stream.flush()
        os.fsync(self._stream.fileno())
        if sys.platform == "win32":
            self._stream.close()  # Windows renames no open file
        self._hidden.replace(self.path)
        self._published = True
        if sys.platform != "win32":
            folder = os.open(self.path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)


def _alone(hidden: Path, target: Path) -> Any:  # noqa: ANN401 - a writable binary stream
    """Open the hidden file empty, as its only writer."""
    while True:
        stream = os.fdopen(os.open(hidden, os.O_RDWR | os.O_CREAT, 0o666), "r+b")
        if sys.platform == "win32":
            break
        import fcntl  # noqa: PLC0415 - absent on Windows

        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            stream.close()
            raise Conflict(
                f"another process is writing {target.name}", fix="let it finish, or write elsewhere"
            ) from None
        # Whoever held the lock may have renamed or removed the file meanwhile; then it is no longer ours to empty.
        if hidden.exists() and os.path.samestat(hidden.stat(), os.fstat(stream.fileno())):
            break
        stream.close()
    stream.truncate(0)
    return stream
