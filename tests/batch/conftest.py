"""One packed model with columns of numbers and text, rows for it, and a runtime with known bad manners."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from shipway import pack
from shipway.errors import Rejected
from shipway.terms import FORMAT, Column, Manifest, RuntimeSpec, Signature, Task


def make_rows(n, seed=1):
    rng = np.random.default_rng(seed)
    return pd.DataFrame({
        "id": np.arange(n),
        "age": rng.normal(40, 10, n).round(1),
        "plan": rng.choice(["basic", "plus", 'total, with "extras"'], n),
        "fee": rng.exponential(30, n).round(2),
    })  # fmt: skip


@pytest.fixture(scope="session")
def rows():
    return make_rows


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """A bundle of a linear classifier; no cell may be missing and a level never seen is refused."""
    table = make_rows(300)
    table["left"] = np.where(table["age"] + table["fee"] / 2 + 5 * (table["plan"] == "plus") > 55, "yes", "no")
    columns = ColumnTransformer([("n", StandardScaler(), ["age", "fee"]), ("c", OneHotEncoder(), ["plan"])])
    model = make_pipeline(columns, LogisticRegression()).fit(table[["age", "plan", "fee"]], table["left"])
    out = tmp_path_factory.mktemp("bundle") / "churn"
    pack.pack(model, name="churn", data=pa.Table.from_pandas(table.drop(columns="id")), target="left", out=out, now=1e9)
    return out


class Tens:
    """A runtime that answers ten times `x`, NaN for 13, and refuses 7 or crashes on 8 whoever stands beside it."""

    signature = Signature((Column("x", "INT64"),), (Column("prediction", "FP64"),))
    manifest = Manifest(FORMAT, "tens", Task.REGRESSION, signature, RuntimeSpec("none", ""), (), {}, {}, {})
    digest = "sha256:" + "0" * 64

    def predict(self, columns):
        x = columns["x"]
        if (x == 7).any():
            raise Rejected("the model has never seen 7", fix="send another")
        if (x == 8).any():
            raise ValueError("index out of range")
        return {"prediction": np.where(x == 13, np.nan, 10.0 * x)}

    def close(self):
        raise AssertionError("a runtime that was lent is not closed")


@pytest.fixture
def tens():
    return Tens()
