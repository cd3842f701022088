"""What all benchmarks measure on: rows of fourteen mixed columns, a boosted tree over them, and its bundle.

Rows are drawn with a fixed seed, so a figure needs no download. CPU time is the figure everywhere: on a shared
machine noise only adds to it, so the least of several rounds is the best estimate, and rounds of rivals alternate.
"""

import contextlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OrdinalEncoder
from threadpoolctl import threadpool_limits

from shipway import pack

NUMBERS = ("age", "weight", "years", "gain", "loss", "hours")
TEXTS = {"work": 8, "school": 16, "status": 7, "job": 14, "role": 6, "origin": 5, "sex": 2, "country": 41}
"""Text column -> number of its levels."""


def rows(n: int, seed: int = 1) -> pd.DataFrame:
    """Draw rows."""
    rng = np.random.default_rng(seed)
    columns: dict[str, Any] = {name: rng.gamma(4, 10, n).round(1) for name in NUMBERS}
    for name, levels in TEXTS.items():
        columns[name] = np.array([f"{name}-{k}" for k in range(levels)], object)[rng.integers(0, levels, n)]
    return pd.DataFrame(columns)


def model() -> Pipeline:
    """Train the model: 60 boosted trees."""
    table = rows(8_000)
    signal = table["age"] + table["hours"] - 3 * table["role"].str[-1].astype(int)
    truth = np.where(signal + np.random.default_rng(2).normal(0, 15, len(table)) > 75, "over", "under")
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    columns = ColumnTransformer([("t", encoder, list(TEXTS)), ("n", "passthrough", list(NUMBERS))])
    boosted = HistGradientBoostingClassifier(max_iter=60, max_depth=4, random_state=1)
    with threadpool_limits(1):
        return Pipeline([("columns", columns), ("model", boosted)]).fit(table, truth)


def bundle(trained: Pipeline, folder: Path) -> Path:
    """Pack the model."""
    table = rows(1_000, seed=3)
    with threadpool_limits(1), contextlib.redirect_stdout(io.StringIO()):
        table["truth"] = trained.predict(table)
        data = pa.Table.from_pandas(table, preserve_index=False)
        pack.pack(trained, name="subject", data=data, target="truth", out=folder, now=0.0)
    return folder


def least(rounds: int, rivals: dict[str, Callable[[], float]]) -> dict[str, float]:
    """Run each rival once per round, in turn, and return the least of what each measured."""
    measured = {name: [rival()] for name, rival in rivals.items()}
    for _ in range(rounds - 1):
        for name, rival in rivals.items():
            measured[name].append(rival())
    return {name: min(values) for name, values in measured.items()}
