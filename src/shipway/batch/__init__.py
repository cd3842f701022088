"""Stream a file of rows through a bundle in this process, in memory that does not grow with the file.

    score("churn_bundle", Path("rows.parquet"), Path("scored.parquet")) -> ScoreReport

Rows are read, scored and written block by block and in order, on two threads with a one-thread model each.
Parquet, CSV and JSON Lines go in and come out; which one is said by the suffix. A row that the model cannot
answer is set aside in a file of its own, with its number and the reason, and does not stop the others.

The output appears under its name whole or not at all: a kill at any moment leaves the old file or the new one.

Not here: rows that arrive one request at a time (see `shipway.serve`).
"""

from shipway.batch.report import ScoreReport
from shipway.batch.run import score

__all__ = ["ScoreReport", "score"]
