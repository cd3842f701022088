"""Read a file of rows block by block: Parquet, CSV, JSON Lines.

A block is an Arrow batch with the number of each of its rows in the file, counted from 0, and the rows that
could not even be read. Types never depend on the first block: a CSV is read as text and converted by the signature,
and the columns of JSON that the model takes have the signature's types.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import csv, parquet

from shipway.batch.cells import convertible, kind
from shipway.errors import Missing, Rejected
from shipway.pack.tables import SUFFIXES
from shipway.terms import Column, Signature

BLOCK_BYTES = 1 << 20
"""How much of a text file is read at a time. No line may be longer."""
BLOCK_ROWS = 16_384
BLOCK_CELLS = 1 << 20
"""A block of a wide table has fewer rows than `BLOCK_ROWS`, so that its cells fit in about 8 MB."""


@dataclass(frozen=True)
class Block:
    """Some rows of a file, in order."""

    batch: pa.RecordBatch
    numbers: NDArray[np.int64]
    """Place of each row in the file, from 0."""
    share: float
    """How much of the file has been read after this block, from 0 to 1."""
    unreadable: Sequence[tuple[int, str, str]] = ()
    """Rows that are not in `batch`: number, column or "", reason."""


@dataclass(frozen=True)
class Source:
    """A file of rows, opened and its columns checked.

    Attributes:
        names: its columns that will be read, in its order.
        is_text: True if its cells are text whose types the signature gives, as in a CSV.
        blocks: reads it.
    """

    names: tuple[str, ...]
    blocks: Callable[[], Iterator[Block]]
    is_text: bool = False


def open_source(path: Path, signature: Signature, keep: Sequence[str] | None) -> Source:
    """Open a file and check its columns, once for all rows.

    Args:
        path: the file; its suffix says what it is.
        signature: of the model; its inputs must be there.
        keep: other columns to read too; None for all.

    Raises:
        Missing: there is no such file.
        Rejected: it is empty, of another kind, lacks a column or has one of a type that can never fit.
    """
    what = SUFFIXES.get(path.suffix.lower())
    if what is None:
        raise Rejected(
            f"{path.name} is neither .csv, .parquet nor .jsonl", fix="save the rows as one of these, with its suffix"
        )
    if not path.is_file():
        raise Missing(f"{path} is not there", fix="check the path")
    if path.stat().st_size == 0:
        raise Rejected(f"{path} is empty", fix="give a file with a header and rows")
    opener = {"csv": _open_csv, "parquet": _open_parquet, "json": _open_json}[what]
    try:
        return opener(path, signature, keep)
    except (pa.ArrowException, OSError) as exc:
        raise unreadable(path, exc) from exc


def unreadable(path: Path, exc: Exception) -> Rejected:
    """Say that a file cannot be read any further."""
    reason = (str(exc).strip().splitlines() or ["no reason given"])[0]
    utf8 = "utf" in reason.lower()
    return Rejected(
        f"{path.name} cannot be read: {reason[:200]}",
        fix="save the file as UTF-8" if utf8 else "correct the file, or write it again",
    )


def _wanted(path: Path, signature: Signature, keep: Sequence[str] | None, names: Sequence[str]) -> tuple[str, ...]:
    """Return the names to read.

    Raises:
        Rejected: one is lacking or there twice.
    """
    inputs = [column.name for column in signature.inputs]
    lacking = [name for name in (*inputs, *(keep or ())) if name not in names]
    if lacking:
        raise Rejected(
            f"{path.name} lacks the column{'s' if len(lacking) > 1 else ''} {', '.join(dict.fromkeys(lacking[:10]))}",
            fix="add them, score with another model, or keep other columns",
        )
    wanted = tuple(names) if keep is None else tuple(n for n in names if n in inputs or n in keep)
    twice = next((name for name in wanted if names.count(name) > 1), None)
    if twice is not None:
        raise Rejected(
            f"{path.name} has {names.count(twice)} columns called {twice!r}", fix="give each column its own name"
        )
    return wanted


def _fitting(path: Path, signature: Signature, types: Mapping[str, pa.DataType]) -> None:
    for column in signature.inputs:
        if not convertible(types[column.name], column):
            shape = f" of shape {list(column.shape)}" if column.shape else ""
            raise Rejected(
                f"column {column.name!r} of {path.name} holds {types[column.name]}, and the model takes "
                f"{column.datatype}{shape}",
                fix="give the column the type that `shipway inspect` shows",
            )


# Parquet.


def _open_parquet(path: Path, signature: Signature, keep: Sequence[str] | None) -> Source:
    with parquet.ParquetFile(path) as file:
        schema, rows = file.schema_arrow, file.metadata.num_rows
        size = sum(file.metadata.row_group(i).total_byte_size for i in range(file.metadata.num_row_groups))
    names = _wanted(path, signature, keep, schema.names)
    _fitting(path, signature, {name: schema.field(name).type for name in names})
    widest = max(1, BLOCK_CELLS // max(len(names), 1), 1)
    at_once = max(1, min(BLOCK_ROWS, widest, BLOCK_CELLS * 8 * rows // max(size, 1) or 1))

    def blocks() -> Iterator[Block]:
        seen = 0
        # A buffer, because without one a row group's whole column chunk is read at a time.
        with parquet.ParquetFile(path, buffer_size=1 << 18, pre_buffer=False) as file:
            for batch in file.iter_batches(batch_size=at_once, columns=list(names), use_threads=False):
                numbers = np.arange(seen, seen + batch.num_rows)
                seen += batch.num_rows
                yield Block(batch, numbers, seen / max(rows, 1))
        if not seen:
            empty = {name: pa.array([], schema.field(name).type) for name in names}
            yield Block(pa.RecordBatch.from_pydict(empty), np.arange(0), 1.0)

    return Source(names, blocks)


# CSV.


@dataclass
class _Malformed:
    """Collects lines with too few or too many cells, which Arrow would otherwise fail on."""

    found: list[tuple[int, str, str]] = field(default_factory=list)

    def __call__(self, row: csv.InvalidRow) -> str:
        """Note a line; Arrow counts lines with cells from 1, the header among them."""
        reason = f"has {row.actual_columns} cells instead of {row.expected_columns}"
        self.found.append((row.number - 2, "", reason))
        return "skip"

    def take(self, until: int) -> list[tuple[int, str, str]]:
        """Give and forget the lines before a row number."""
        taken = [entry for entry in self.found if entry[0] < until]
        self.found = [entry for entry in self.found if entry[0] >= until]
        return taken


def _csv_reader(
    raw: BinaryIO, delimiter: str, names: Sequence[str], on_malformed: Callable[[Any], str]
) -> csv.CSVStreamingReader:
    return csv.open_csv(
        raw,
        read_options=csv.ReadOptions(block_size=BLOCK_BYTES, use_threads=False),
        parse_options=csv.ParseOptions(delimiter=delimiter, newlines_in_values=True, invalid_row_handler=on_malformed),
        convert_options=csv.ConvertOptions(
            include_columns=list(names), column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
        ),
    )


def _open_csv(path: Path, signature: Signature, keep: Sequence[str] | None) -> Source:
    with path.open("rb") as raw:
        header = raw.readline(1 << 16).decode("utf-8", "replace")
    counts = {mark: header.count(mark) for mark in (",", ";", "\t", "|")}
    delimiter = max(counts, key=counts.__getitem__)
    first = csv.read_csv(
        pa.BufferReader(header.rstrip("\r\n").encode() + b"\n"), parse_options=csv.ParseOptions(delimiter=delimiter)
    )
    names = _wanted(path, signature, keep, first.column_names)
    _fitting(path, signature, dict.fromkeys(names, pa.string()))
    return Source(names, lambda: _csv_blocks(path, delimiter, names), is_text=True)


def _csv_blocks(path: Path, delimiter: str, names: Sequence[str]) -> Iterator[Block]:
    size, seen, malformed = path.stat().st_size, 0, _Malformed()
    empty = pa.RecordBatch.from_pydict({name: pa.array([], pa.string()) for name in names})
    with path.open("rb") as raw, _csv_reader(raw, delimiter, names, malformed) as reader:
        for batch in reader:
            numbers = _numbered(seen, batch.num_rows, [entry[0] for entry in malformed.found])
            seen = int(numbers[-1]) + 1 if len(numbers) else seen
            yield Block(batch, numbers, min(raw.tell() / size, 1.0), malformed.take(seen))
    yield Block(empty, np.arange(0), 1.0, malformed.found)


def _numbered(first: int, rows: int, skipped: Sequence[int]) -> NDArray[np.int64]:
    """Number rows from `first` on, leaving out the numbers of lines that were skipped.

    >>> _numbered(4, 3, [5]).tolist()
    [4, 6, 7]
    """
    numbers = np.arange(first, first + rows + len(skipped))
    return numbers[~np.isin(numbers, skipped)][:rows]


# JSON Lines.


def _open_json(path: Path, signature: Signature, keep: Sequence[str] | None) -> Source:
    first = next(_json_lines(path), None)
    if first is None:
        raise Rejected(f"{path} has no line with a JSON object", fix="write one JSON object per line")
    rows = [row for row in map(_object, first[0]) if isinstance(row, dict)]
    if not rows:
        raise Rejected(f"no line of {path.name} is a JSON object", fix="write one JSON object per line")
    there = dict.fromkeys(name for row in rows for name in row)
    names = _wanted(path, signature, keep, list(there))
    types = {column.name: kind(column) for column in signature.inputs}
    types |= {name: _inferred([row.get(name) for row in rows]) for name in names if name not in types}
    takes = {column.name: column for column in signature.inputs}
    return Source(names, lambda: _json_blocks(path, {name: (types[name], takes.get(name)) for name in names}))


def _json_lines(path: Path) -> Iterator[tuple[list[bytes], float]]:
    """Yield the lines of a file that are not blank, some at a time, and how much of it has been read."""
    size = path.stat().st_size
    with path.open("rb") as raw:
        while lines := raw.readlines(BLOCK_BYTES):
            yield [line for line in lines if not line.isspace()], min(raw.tell() / size, 1.0)


def _object(line: bytes) -> Any:  # noqa: ANN401 - any JSON value
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        return None


def _inferred(values: list[Any]) -> pa.DataType:
    try:
        found = pa.array(values).type
    except pa.ArrowException:
        return pa.string()
    return pa.string() if pa.types.is_null(found) else found


def _json_blocks(path: Path, columns: Mapping[str, tuple[pa.DataType, Column | None]]) -> Iterator[Block]:
    seen = 0
    for lines, share in _json_lines(path):
        rows = [_object(line) for line in lines]
        places = [i for i, row in enumerate(rows) if isinstance(row, dict)]
        bad = {i: ("", "is not a JSON object") for i in range(len(rows)) if not isinstance(rows[i], dict)}
        arrays: dict[str, pa.Array] = {}
        for name, (wanted, column) in columns.items():
            arrays[name], odd = _column([rows[i].get(name) for i in places], wanted, is_input=column is not None)
            for at in odd:
                bad.setdefault(
                    places[at], (name, f"is not {wanted} as in the {'signature' if column else 'first rows'}")
                )
        good = np.array([i not in bad for i in places], np.bool_)
        batch = pa.RecordBatch.from_pydict(arrays)
        numbers = np.array(places, np.int64) + seen
        yield Block(
            batch if good.all() else batch.filter(pa.array(good)),
            numbers[good],
            share,
            [(seen + i, *reason) for i, reason in sorted(bad.items())],
        )
        seen += len(rows)


def _column(values: list[Any], wanted: pa.DataType, *, is_input: bool) -> tuple[pa.Array, list[int]]:
    """Make a column, with null for values of another type, and their places."""
    if not is_input and wanted == pa.string():
        texts = [v if v is None or isinstance(v, str) else orjson.dumps(v).decode() for v in values]
        return pa.array(texts, wanted), []
    if not is_input or wanted == pa.bool_() or bool not in set(map(type, values)):  # Arrow thinks that true is 1
        with suppress(pa.ArrowException, TypeError, ValueError, OverflowError):
            return pa.array(values, wanted), []
    if len(values) == 1:
        return pa.nulls(1, wanted), [0]
    half = len(values) // 2
    left, bad = _column(values[:half], wanted, is_input=is_input)
    right, worse = _column(values[half:], wanted, is_input=is_input)
    return pa.concat_arrays([left, right]), bad + [half + at for at in worse]
