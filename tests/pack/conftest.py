"""A mixed table with missing cells, and a way to pack a model fitted on it."""

import warnings

import numpy as np
import pandas as pd
import pytest
from threadpoolctl import threadpool_limits

from shipway import pack
from shipway.pack.choosing import choose
from shipway.pack.subject import understand

RESULTS = ("left", "third", "score", "target")


def people(rows=400, seed=1):
    """Text with missing cells and rare levels, whole and fractional numbers, one column of numbers that are levels."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({
        "job": rng.choice(["Cook", "Nurse", "Pilot", "smith", None], rows, p=[0.4, 0.3, 0.2, 0.05, 0.05]),
        "town": rng.choice([f"town {i}" for i in range(9)] + ["nan"], rows),
        "age": rng.integers(18, 90, rows),
        "hours": rng.choice([0, 6, 12, 18], rows),
        "income": np.where(rng.random(rows) < 0.05, np.nan, rng.lognormal(3, 1, rows)),
    })  # fmt: skip
    score = frame.age / 20 + (frame.job == "Cook") * 2 + (frame.hours > 6) + rng.normal(0, 1, rows)
    frame["left"] = np.where(score > score.median(), "yes", "no")
    frame["third"] = pd.cut(score, 3, labels=["low", "mid", "top"]).astype(str)
    frame["score"] = score
    return frame


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Small models train faster on one thread than on cores that others use too."""
    with threadpool_limits(1):
        yield


@pytest.fixture(scope="session")
def frame():
    return people()


@pytest.fixture
def packing(tmp_path):
    """Fit a model on the inputs of a frame and pack it."""

    def fit_and_pack(model, frame, target, **options):
        inputs = frame.drop(columns=[c for c in RESULTS if c in frame])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.fit(inputs, frame[target])
        data = inputs.assign(**{target: frame[target]})
        return pack.pack(model, name="m", data=data, target=target, out=tmp_path / "out", now=0.0, **options)

    return fit_and_pack


@pytest.fixture
def choosing():
    """Fit a model on the inputs of a frame and choose its conversion, without writing a bundle."""

    def fit_and_choose(model, frame, target, **options):
        inputs = frame.drop(columns=[c for c in RESULTS if c in frame])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.fit(inputs, frame[target])
        won = choose(understand(model, inputs.assign(**{target: frame[target]}), target, **options))
        won.runtime.close()
        return won

    return fit_and_choose
