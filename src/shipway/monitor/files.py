"""Read tables for comparison one column at a time, so that memory holds one column and not the table."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from msgspec import Struct
from numpy.typing import NDArray

from shipway.errors import Missing, Rejected
from shipway.stats import profile
from shipway.stats.profile import Cells, ColumnReference, Reference

PROFILE_FILE = "reference/profile.json"
BINS = 64
"""Finer than what bundles carry, because both tables are at hand."""


class Rows(Struct, frozen=True):
    """A table whose columns can be fetched by name."""

    rows: int
    names: tuple[str, ...]
    fetch: Callable[[str], Any]
    """Name -> pyarrow chunked array."""
    source: str


def open_rows(data: object) -> Rows:
    """Open a pyarrow table, or a Parquet, CSV or JSON Lines file.

    Raises:
        Missing: there is no such file.
        Rejected: it cannot be read as a table, or is empty.
    """
    if isinstance(data, pa.Table):
        return _of_table(data, "the table")
    if not isinstance(data, str | Path):
        raise Rejected(f"a {type(data).__name__} cannot be compared", fix="give a pyarrow table or a path")
    path = Path(data)
    if path.suffix.lower() in {".parquet", ".pq"} and path.is_file():
        return _of_parquet(path)
    from shipway.pack.tables import read_table  # noqa: PLC0415 - pack brings converters that Parquet files do not need

    return _of_table(read_table(path), str(path))


def open_reference(data: object) -> Reference | None:
    """Read the reference of a bundle folder or a `profile.json`; None if it is neither."""
    if isinstance(data, Reference):
        return data
    if not isinstance(data, str | Path):
        return None
    path = Path(data)
    file = path / PROFILE_FILE if path.is_dir() else path
    if path.is_dir() and not file.is_file():
        raise Missing(f"{path} is a folder without {PROFILE_FILE}", fix="give a bundle folder or a file of rows")
    if file.suffix != ".json" or not file.is_file():
        return None
    try:
        return msgspec.json.decode(file.read_bytes(), type=Reference)
    except msgspec.DecodeError:
        return None  # a table in JSON


def kind(column: Any) -> str:  # noqa: ANN401 - a pyarrow array
    """Say how a column is profiled: number, level, or other for what has no profile (dates, lists, bytes)."""
    held = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if pa.types.is_integer(held) or pa.types.is_floating(held) or pa.types.is_decimal(held):
        return "number"
    if (
        pa.types.is_boolean(held)
        or pa.types.is_string(held)
        or pa.types.is_large_string(held)
        or pa.types.is_null(held)
    ):
        return "level"
    return "level" if pa.types.is_string_view(held) else "other"


def make(name: str, column: Any) -> ColumnReference:  # noqa: ANN401 - a pyarrow array
    """Make the reference of one column."""
    if kind(column) == "number":
        return profile.column_reference(name, numbers(column), bins=BINS)
    return profile.level_reference(name, levels(column))


def count(reference: ColumnReference, column: Any) -> Cells | None:  # noqa: ANN401 - a pyarrow array
    """Count one column on a reference's cells; None if its values are of another kind."""
    if reference.kind != "number":
        return profile.level_cells(reference, levels(column))
    if kind(column) == "number":
        return profile.column_cells(reference, numbers(column))
    try:
        return profile.column_cells(reference, numbers(pc.cast(column, pa.float64())))
    except pa.ArrowInvalid:
        return None


def numbers(column: Any) -> NDArray[np.float64]:  # noqa: ANN401 - a pyarrow array
    """Return a column as numbers, NaN for missing."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if not pa.types.is_floating(column.type):
        column = pc.cast(column, pa.float64(), safe=False)
    return np.asarray(column.to_numpy(), np.float64)


def levels(column: Any) -> Mapping[Any, int]:  # noqa: ANN401 - a pyarrow array
    """Count how often each value occurs."""
    if kind(column) == "number":
        column = pc.cast(column, pa.string())
    counted = pc.value_counts(column.combine_chunks() if pa.types.is_dictionary(column.type) else column)
    return dict(zip(counted.field(0).to_pylist(), counted.field(1).to_pylist(), strict=True))


def _of_table(table: pa.Table, source: str) -> Rows:
    if not table.num_rows:
        raise Rejected(f"{source} has no rows", fix="give at least one row; a hundred say more")
    return Rows(table.num_rows, tuple(table.column_names), table.column, source)


def _of_parquet(path: Path) -> Rows:
    try:
        file = pq.ParquetFile(path, pre_buffer=False)
    except (pa.ArrowException, OSError) as exc:
        raise Rejected(f"{path} cannot be read as Parquet: {exc}", fix="write it again, or give another file") from exc
    if not file.metadata.num_rows:
        raise Rejected(f"{path} has no rows", fix="give at least one row; a hundred say more")

    def fetch(name: str) -> Any:  # noqa: ANN401 - a pyarrow array
        return file.read(columns=[name], use_threads=False).column(0)

    return Rows(file.metadata.num_rows, tuple(file.schema_arrow.names), fetch, str(path))
