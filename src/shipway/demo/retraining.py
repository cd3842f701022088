"""The user's retraining command of the story: what a team would write for its own model.

The platform calls it with captured and labelled rows, and it leaves a packed bundle behind:
`python -m shipway.demo.retraining --data labelled.parquet --target TARGET --name MODEL --out FOLDER --task TASK`.
Rows that were drawn more than once are kept on one side of the split, so the holdout stays unseen.
"""

import argparse
import time
from pathlib import Path

import pandas as pd

from shipway import pack
from shipway.demo.data import to_arrow
from shipway.demo.models import fit
from shipway.terms import Task

NEWEST = 4000
"""Rows to train on: the newest, because what was true before the change may not be true now."""


def split(rows: pd.DataFrame, target: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Cut rows in two, 70 to 30, so that equal rows are never on both sides."""
    rows = rows.drop_duplicates()
    side = pd.util.hash_pandas_object(rows.drop(columns=[target]).astype(str), index=False) % 10 < 7
    return rows[side], rows[~side]


def main() -> None:
    """Train on the newest labelled rows and pack the model."""
    parser = argparse.ArgumentParser()
    for option in ("--data", "--target", "--name", "--out", "--task"):
        parser.add_argument(option, required=True)
    given = parser.parse_args()
    rows = pd.read_parquet(given.data).tail(NEWEST)
    for column in rows.columns:
        if not pd.api.types.is_numeric_dtype(rows[column]):
            rows[column] = rows[column].astype("object").where(rows[column].notna(), None)
    train, holdout = split(rows, given.target)
    task = Task(given.task)
    model = fit(train, given.target, task)
    packed = pack.pack(
        model,
        name=given.name,
        data=to_arrow(train),
        holdout=to_arrow(holdout),
        target=given.target,
        task=task,
        out=Path(given.out),
        now=time.time(),  # noqa: TID251 - this is the user's side, not the platform's
    )
    print(f"trained on {len(train):,} rows, held out {len(holdout):,}: {packed.digest}")


if __name__ == "__main__":
    main()
