"""The `score` command: stream a file through a bundle in this process.

Rows are read, scored and written batch by batch, so memory does not grow with the file. Columns come
as the signature names them; what the file has beside those is copied along.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self

import pyarrow as pa
import typer
from numpy.typing import NDArray
from pyarrow import compute, csv, parquet

from shipway import bundle
from shipway.cli.frame import PLATFORM, Answer, Session, command, group
from shipway.cli.subject import find, needs_files
from shipway.errors import Missing, Rejected
from shipway.pack.tables import cells
from shipway.terms import Column, Signature

app = group("Score files.")


@command(app, "score", options=PLATFORM)
def score(
    session: Session,
    *,
    model: Annotated[
        str, typer.Argument(metavar="BUNDLE", help="Bundle folder, or REF whose files are on this machine.")
    ],
    data: Annotated[Path, typer.Argument(help="Rows: .csv or .parquet.")],
    out: Annotated[Path, typer.Argument(help="File to write: .csv or .parquet.")],
) -> Answer:
    """Score a CSV or Parquet file with a bundle, here and without a server, in constant memory."""
    audited = bundle.audit(bundle.read(needs_files(find(session, model))))
    signature = audited.manifest.signature
    runtime = bundle.open(audited, bundle.DEFAULT)
    fresh = out.with_name(f".{out.name}.part")
    rows = 0
    try:
        with _Output(fresh, out.suffix) as sink, session.progress("scoring") as tell:
            for batch, share in _batches(data, signature):
                columns = bundle.check(signature, {c.name: to_numpy(batch, c) for c in signature.inputs})
                sink.write(_with_outputs(batch, signature, runtime.predict(columns)))
                rows += batch.num_rows
                tell(f"scored {rows:,} rows", share)
        fresh.replace(out)
    finally:
        runtime.close()
        fresh.unlink(missing_ok=True)
    value = {"rows": rows, "out": out, "digest": audited.digest, "model": audited.manifest.model}
    return Answer(value, f"{rows:,} rows scored by {audited.manifest.model} ({audited.digest[:19]}...) into {out}")


def _batches(path: Path, signature: Signature) -> Iterator[tuple[pa.RecordBatch, float]]:
    """Yield batches of a file and how much of it has been read."""
    if path.suffix.lower() not in (".csv", ".parquet"):
        raise Rejected(f"{path.name} is neither .csv nor .parquet", fix="save the rows as one of these")
    if not path.is_file():
        raise Missing(f"{path} is not there", fix="check the path")
    if path.stat().st_size == 0:
        raise Rejected(f"{path} is empty", fix="give a file with a header and rows")
    try:
        yield from _parquet(path, signature) if path.suffix.lower() == ".parquet" else _csv(path, signature)
    except pa.ArrowInvalid as exc:
        raise Rejected(
            f"{path.name} cannot be read: {str(exc).splitlines()[0][:200]}",
            fix="correct the file; the columns must have the types of the signature",
        ) from exc


def _csv(path: Path, signature: Signature) -> Iterator[tuple[pa.RecordBatch, float]]:
    # Read as text and converted column by column, as packing does: types must not depend on the first block.
    types = {column.name: pa.string() for column in signature.inputs}
    size = path.stat().st_size
    with path.open("rb") as raw:
        header = raw.readline(2**16).decode("utf-8", "replace")
        raw.seek(0)
        with csv.open_csv(
            raw,
            parse_options=csv.ParseOptions(delimiter=max(",;\t|", key=header.count), newlines_in_values=True),
            convert_options=csv.ConvertOptions(column_types=types, strings_can_be_null=False),
        ) as reader:
            _lacking(path, signature, reader.schema.names)
            for batch in reader:
                yield batch, raw.tell() / size


def _parquet(path: Path, signature: Signature) -> Iterator[tuple[pa.RecordBatch, float]]:
    with parquet.ParquetFile(path) as file:
        _lacking(path, signature, file.schema_arrow.names)
        total, seen = max(file.metadata.num_rows, 1), 0
        for batch in file.iter_batches(batch_size=16_384):
            seen += batch.num_rows
            yield batch, seen / total


def _lacking(path: Path, signature: Signature, names: list[str]) -> None:
    lacking = [column.name for column in signature.inputs if column.name not in names]
    if lacking:
        raise Rejected(
            f"{path.name} lacks the column{'s' if len(lacking) > 1 else ''} {', '.join(lacking[:10])}",
            fix="add them, or score with another model",
        )


def to_numpy(batch: pa.RecordBatch, column: Column) -> NDArray[Any]:
    """Return a column of a batch in the form that runtimes take; an empty text is a missing cell.

    Raises:
        Rejected: a cell is missing where the signature allows none, or of another type.
    """
    found = batch.column(column.name)
    if pa.types.is_dictionary(found.type):
        found = found.cast(found.type.value_type)
    if pa.types.is_string(found.type):
        found = compute.if_else(compute.equal(found, ""), pa.scalar(None, pa.string()), found)
    return cells(pa.chunked_array([found]), column)


def _with_outputs(batch: pa.RecordBatch, signature: Signature, outputs: dict[str, NDArray[Any]]) -> pa.RecordBatch:
    fields = {name: batch.column(name) for name in batch.schema.names}
    for name, values in outputs.items():
        if name == "probability" and signature.classes:
            fields |= {
                f"output.probability.{label}": pa.array(values[:, k]) for k, label in enumerate(signature.classes)
            }
        else:
            fields[f"output.{name}"] = pa.array(list(values) if values.ndim > 1 else values)
    return pa.RecordBatch.from_pydict(fields)


@dataclass
class _Output:
    """A CSV or Parquet file that takes its schema from the first batch."""

    path: Path
    suffix: str
    writer: Any = None

    def __post_init__(self) -> None:
        if self.suffix.lower() not in (".csv", ".parquet"):
            raise Rejected(f"the file to write ends in {self.suffix or 'nothing'!r}", fix="end it in .csv or .parquet")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.writer is not None:
            self.writer.close()

    def write(self, batch: pa.RecordBatch) -> None:
        """Append a batch."""
        if self.writer is None:
            make = csv.CSVWriter if self.suffix.lower() == ".csv" else parquet.ParquetWriter
            self.writer = make(self.path, batch.schema)
        self.writer.write_batch(batch)
