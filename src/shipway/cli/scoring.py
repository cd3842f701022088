"""The `score` command: stream a file through a bundle in this process (see `shipway.batch`)."""

from pathlib import Path
from typing import Annotated

import typer

from shipway import batch
from shipway.cli.frame import PLATFORM, Answer, Session, command, group
from shipway.cli.subject import find, needs_files

app = group("Score files.")


@command(app, "score", options=PLATFORM)
def score(  # noqa: PLR0913 - each is an option of the command
    session: Session,
    *,
    model: Annotated[
        str, typer.Argument(metavar="BUNDLE", help="Bundle folder, or REF whose files are on this machine.")
    ],
    data: Annotated[Path, typer.Argument(help="Rows: .csv, .parquet or .jsonl.")],
    out: Annotated[Path, typer.Argument(help="File to write: .csv, .parquet or .jsonl.")],
    keep: Annotated[
        str | None, typer.Option("--keep", help="Columns to copy beside the answers, as a,b,c; '' for none.")
    ] = None,
    rejected: Annotated[
        Path | None, typer.Option("--rejected", help="Where to list bad rows; by default OUT.rejected.csv.")
    ] = None,
    most_rejected: Annotated[
        int | None, typer.Option("--most-rejected", min=0, help="Write nothing if more rows than this are bad.")
    ] = None,
) -> Answer:
    """Score a file with a bundle, here and without a server, in constant memory.

    A row that cannot be scored is listed with its number and the reason, and the others go on; the exit
    status is 1 only if none could be scored. The file of answers appears whole or not at all.
    """
    columns = None if keep is None else [name for name in keep.split(",") if name]
    with session.progress("scoring") as tell:
        report = batch.score(
            needs_files(find(session, model)), data, out,
            columns=columns, rejected=rejected, most_rejected=most_rejected, progress=tell,
        )  # fmt: skip
    return Answer(report, _said(report), 1 if report.all_bad else 0)


def _said(report: batch.ScoreReport) -> str:
    where = f"into {report.out}" if report.out else "and nothing was written"
    lines = [f"{report.scored:,} rows scored by {report.model} ({report.digest[:19]}...) {where}"]
    if report.rejected:
        lines.append(f"{report.rejected:,} rows could not be scored; {report.rejected_file} lists them")
        lines += [f"  {n:,}: {reason}" for reason, n in list(report.reasons.items())[:3]]
    return "\n".join(lines)
