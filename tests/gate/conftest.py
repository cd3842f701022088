"""Real bundles of three models on one small data set, packed once."""

import numpy as np
import pyarrow as pa
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression

from shipway import pack

NOW = 1_800_000_000.0


def make_rows(seed, rows=1500):
    """Two numbers, a class that depends on them, and a number that does."""
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=rows), rng.normal(size=rows)
    label = np.where(a + 0.5 * b + rng.normal(0, 0.6, rows) > 0, "yes", "no")
    return pa.table({"a": a, "b": b, "answer": label, "amount": 3 * a + b + rng.normal(0, 1, rows)})


def fitted(model, table, target):
    return model.fit(table.select(["a", "b"]).to_pandas(), table[target].to_pandas())


def packed(out, model, train, holdout, target):
    keep = ["a", "b", target]
    made = pack.pack(
        model, name="demo", data=train.select(keep), holdout=holdout.select(keep), target=target, out=out, now=NOW
    )
    return made.folder


@pytest.fixture(scope="session")
def holdout():
    return make_rows(2)


@pytest.fixture(scope="session")
def bundles(tmp_path_factory, holdout):
    """One each: good, as good, learnt the opposite, learnt noise, with classes 0 and 1, a regressor."""
    folder, train = tmp_path_factory.mktemp("bundles"), make_rows(1)
    rng = np.random.default_rng(3)
    labels = np.array(train["answer"].to_pylist())
    flipped = train.set_column(2, "answer", pa.array(np.where(labels == "yes", "no", "yes")))
    noise = train.set_column(2, "answer", pa.array(rng.permutation(labels)))
    coded = train.set_column(2, "answer", pa.array((labels == "yes").astype(int)))
    models = {
        "good": (fitted(LogisticRegression(), train, "answer"), "answer"),
        "same": (fitted(LogisticRegression(C=0.5), train, "answer"), "answer"),
        "bad": (fitted(LogisticRegression(), flipped, "answer"), "answer"),
        "guess": (fitted(LogisticRegression(), noise, "answer"), "answer"),
        "coded": (fitted(LogisticRegression(), coded, "answer"), "answer"),
        "amount": (fitted(LinearRegression(), train, "amount"), "amount"),
    }
    made = {}
    for name, (model, target) in models.items():
        held = holdout
        if name == "coded":
            held = holdout.set_column(2, "answer", pa.array([int(v == "yes") for v in holdout["answer"].to_pylist()]))
        made[name] = packed(folder / name, model, coded if name == "coded" else train, held, target)
    return made
