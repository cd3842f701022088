"""Read a user's table, and see it as the columns that runtimes take.

A cell is missing where the file says nothing: an empty cell of a CSV, a null of Parquet or JSON. In
columns of numbers the usual spellings of "no number" (NA, NaN, null, ...) count as missing too; in text
they are text. Types are inferred from the whole file, not from its first rows. Dates stay text, as they do in
`pandas.read_csv`, because that is what models were trained on.
"""

import difflib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet as pq
from numpy.typing import NDArray

from shipway.errors import Missing, Rejected
from shipway.terms import Column

Columns = dict[str, NDArray[Any]]
NO_NUMBER = ["", "NA", "N/A", "n/a", "NaN", "nan", "-nan", "null", "NULL", "None", "#N/A", "<NA>"]
"""Texts that mean "no number" in a column of numbers."""
SUFFIXES = {
    ".csv": "csv", ".tsv": "csv", ".txt": "csv", ".parquet": "parquet", ".pq": "parquet",
    ".jsonl": "json", ".ndjson": "json", ".json": "json",
}  # fmt: skip
"""Suffix of a file -> what it is read as."""


def read_table(path: Path | str) -> pa.Table:
    """Read a CSV, Parquet or JSON Lines file, chosen by its suffix.

    Raises:
        Missing: there is no such file.
        Rejected: it is empty, of another kind, or cannot be read as what its suffix says.
    """
    path = Path(path)
    if path.is_dir():
        raise Rejected(f"{path} is a folder", fix="give a file that ends in .csv, .parquet or .jsonl")
    if not path.is_file():
        raise Missing(f"there is no file {path}", fix=_similar_file(path))
    if path.stat().st_size == 0:
        raise Rejected(f"{path} is empty (0 bytes)", fix="give a file with a header and at least one row")
    kind = SUFFIXES.get(path.suffix.lower())
    if kind is None:
        raise Rejected(
            f"{path} is no kind of table known here", fix="give a file that ends in .csv, .parquet or .jsonl"
        )
    try:
        table = {"csv": _read_csv, "parquet": _read_parquet, "json": _read_json}[kind](path)
    except (pa.ArrowException, UnicodeDecodeError, OSError) as exc:
        reason = _reason(exc)
        raise Rejected(f"{path} cannot be read as {kind.upper()}: {reason}", fix=_fix(kind, reason)) from exc
    return sound(table, str(path))


def sound(table: pa.Table, source: str) -> pa.Table:
    """Give the table back, with dictionaries decoded, if it has rows and distinct, named columns.

    Raises:
        Rejected: it has not.
    """
    names = table.column_names
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise Rejected(
            f"{source} has {names.count(repeated[0])} columns called {repeated[0]!r}",
            fix="give each column its own name",
        )
    if any(not name.strip() for name in names):
        place = next(i for i, name in enumerate(names) if not name.strip()) + 1
        raise Rejected(
            f"column {place} of {source} has no name", fix="write a name for each column into the first line"
        )
    if table.num_rows == 0 or not names:
        raise Rejected(f"{source} has a header but no rows", fix="give a file with at least one row of data")
    decoded = [
        column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column for column in table
    ]
    return pa.table(dict(zip(names, decoded, strict=True)))


def need_column(names: Sequence[str], wanted: str, what: str) -> None:
    """Insist on a column.

    Raises:
        Rejected: it is not there; the message suggests names that look like it.
    """
    if wanted in names:
        return
    close = difflib.get_close_matches(wanted, names, 3, 0.5)
    close += [name for name in names if name.lower() == wanted.lower() and name not in close]
    fix = f"did you mean {' or '.join(map(repr, close))}?" if close else f"its columns are {', '.join(names[:30])}"
    raise Rejected(f"the data have no column {wanted!r} for {what}", fix=fix)


def cells(column: pa.ChunkedArray, spec: Column) -> NDArray[Any]:
    """Turn one column of a table into the numpy array of its signature column.

    Raises:
        Rejected: it holds another type.
    """
    kind = column.type
    if spec.shape:
        stacked = np.array(column.to_pylist(), dtype=np.float64 if spec.datatype == "FP64" else np.float32)
        return stacked.reshape(-1, *spec.shape)
    try:
        if spec.datatype == "BYTES":
            made = np.empty(len(column), object)
            made[:] = (column if is_text(kind) else column.cast(pa.string())).to_pylist()
            return made
        if spec.datatype == "BOOL":
            return np.asarray(column.cast(pa.bool_()).to_numpy(), np.bool_)
        if is_text(kind):
            column = pc.if_else(pc.is_in(column, value_set=pa.array(NO_NUMBER)), pa.scalar(None, kind), column)
        if spec.datatype in ("FP64", "FP32"):
            numbers = np.asarray(column.cast(pa.float64(), safe=False).to_numpy(), np.float64)
            return numbers if spec.datatype == "FP64" else numbers.astype(np.float32)
        return np.asarray(column.cast(pa.int64()).to_numpy(), np.int32 if spec.datatype == "INT32" else np.int64)
    except (pa.ArrowException, ValueError) as exc:
        raise Rejected(
            f"column {spec.name!r} holds {kind} and cannot be read as {spec.datatype}: {str(exc)[:200]}",
            fix="give the column the same type in all files",
        ) from exc


def is_text(kind: pa.DataType) -> bool:
    """Say whether this is a type of text."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _read_csv(path: Path) -> pa.Table:
    delimiter = _delimiter(path)
    table = _csv(path, delimiter, {})
    temporal = {f.name: pa.string() for f in table.schema if pa.types.is_temporal(f.type)}
    if temporal and len(set(table.column_names)) == len(table.column_names):
        table = _csv(path, delimiter, temporal)
    coded = [f.name for f in table.schema if pa.types.is_binary(f.type)]
    if coded:
        raise Rejected(f"column {coded[0]!r} of {path} is not UTF-8 text", fix="save the file as UTF-8")
    blank_is_missing = [
        pc.if_else(pc.equal(column, ""), pa.scalar(None, column.type), column) if is_text(column.type) else column
        for column in table
    ]
    return pa.Table.from_arrays(blank_is_missing, names=table.column_names)


def _csv(path: Path, delimiter: str, types: dict[str, pa.DataType]) -> pa.Table:
    # One block: pyarrow infers types from the first block only, and fails where a later row disagrees.
    block = min(max(path.stat().st_size + 1, 1 << 20), (1 << 31) - 1)
    return pa.csv.read_csv(
        path,
        read_options=pa.csv.ReadOptions(block_size=block, use_threads=False),
        parse_options=pa.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
        convert_options=pa.csv.ConvertOptions(null_values=NO_NUMBER, strings_can_be_null=False, column_types=types),
    )


def _delimiter(path: Path) -> str:
    with path.open(encoding="utf-8", errors="replace") as stream:
        header = stream.readline(1 << 16)
    counts = {mark: header.count(mark) for mark in (",", ";", "\t", "|")}
    return max(counts, key=counts.__getitem__) if any(counts.values()) else ","


def _read_parquet(path: Path) -> pa.Table:
    return pq.ParquetFile(path).read()


def _read_json(path: Path) -> pa.Table:
    block = min(max(path.stat().st_size + 1, 1 << 20), (1 << 31) - 1)
    return pa.json.read_json(path, read_options=pa.json.ReadOptions(block_size=block, use_threads=False))


def _reason(exc: Exception) -> str:
    """Return what a reader complains of, without the row it quotes: that is data, and may be binary rubbish."""
    first = (str(exc).strip().splitlines() or ["no reason given"])[0]
    told = re.sub(r"^(CSV parse error: Row #\d+: Expected \d+ columns, got \d+):.*", r"\1", first)
    return "".join(c if c.isprintable() else "?" for c in told)[:300]


def _fix(kind: str, reason: str) -> str:
    if "UTF8" in reason or "utf-8" in reason:
        return "save the file as UTF-8"
    if kind == "json":
        return "write one JSON object per line"
    return "open the file and look at the line that is named, or save it again"


def _similar_file(path: Path) -> str:
    names = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
    close = difflib.get_close_matches(path.name, names, 1, 0.5)
    return f"did you mean {path.parent / close[0]}?" if close else "check the path; it is read from the current folder"
