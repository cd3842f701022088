"""One small packed model, and copies of it to damage."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from shipway import pack


@pytest.fixture(scope="session")
def packed(tmp_path_factory):
    """A logistic regression on one text column and two columns of numbers."""
    rng = np.random.default_rng(3)
    frame = pd.DataFrame({
        "job": rng.choice(["cook", "nurse", "pilot"], 200),
        "age": rng.integers(18, 80, 200),
        "income": rng.normal(100.0, 20.0, 200),
    })  # fmt: skip
    frame["left"] = np.where(frame.age + rng.normal(0, 9, 200) > 45, "yes", "no")
    encoder = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), ["job"]), (StandardScaler(), ["age", "income"])
    )
    model = make_pipeline(encoder, LogisticRegression()).fit(frame.drop(columns="left"), frame["left"])
    out = tmp_path_factory.mktemp("packed") / "churn"
    return pack.pack(model, name="churn", data=frame, target="left", out=out, now=1_700_000_000.0)


@pytest.fixture
def folder(packed, tmp_path) -> Path:
    """A copy of the bundle that a test may damage."""
    return Path(shutil.copytree(packed.folder, tmp_path / "copy"))
