import itertools

import numpy as np
import pytest

from shipway.capture import Context, Ids, Recorder, Spool, prepare
from shipway.terms import Cell, Column

NUMBERS = itertools.count(1)


def _ids():
    return Ids(lambda n: next(NUMBERS).to_bytes(n, "big"), lambda: 1_800_000_000_000_000_000)


def _context(**changes):
    given = {
        "project": "default",
        "endpoint": "churn",
        "epoch": 7,
        "variant": "champion",
        "served": "champion",
        "model": "churn",
        "version": 2,
        "digest": "sha256:" + "0" * 64,
        "inputs": (Column("age", "FP64"), Column("city", "BYTES")),
        "outputs": (Column("label", "BYTES"), Column("probability", "FP64", (2,))),
        "rollout": "r",
        "restart": 1,
        "propensity": 500,
    }
    return prepare(Context(**{**given, **changes}))


def _add(recorder, prepared=None, *, event=None, age=30.0, at_ns=1_800_000_000_000_000_000, **more):
    event = event or _ids().new()
    given = {
        "rows": 1,
        "inputs": {"age": np.array([age]), "city": np.array(["Wien"], object)},
        "outputs": {"label": np.array(["yes"], object), "probability": np.array([[0.25, 0.75]])},
    }
    recorder.add(prepared or _context(), event=event, at_ns=at_ns, **{**given, **more})
    return event.hex()


def _cell(outcome="ok", **changes):
    given = {
        "project": "default",
        "endpoint": "churn",
        "rollout": "r",
        "restart": 0,
        "propensity": 500,
        "arm": "challenger",
        "version": 3,
    }
    return Cell(**{**given, **changes}, outcome=outcome, n=0)


@pytest.fixture(scope="session")
def context():
    """Make a prepared context; keywords change it."""
    return _context


@pytest.fixture(scope="session")
def add():
    """Add a record to a recorder and return its event id; keywords change it."""
    return _add


@pytest.fixture(scope="session")
def cell():
    """Make a cell of an outcome; keywords change it."""
    return _cell


@pytest.fixture
def spool(tmp_path):
    made = Spool(tmp_path / "spool", "w1")
    yield made
    made.close()


@pytest.fixture
def recorder(spool):
    return Recorder(spool)
