import numpy as np
import pandas as pd
import pytest
from onnx import TensorProto, helper

from shipway.bundle.runtime.session import session_from
from shipway.demo import models
from shipway.demo.data import load, prepare
from shipway.demo.retraining import split


@pytest.fixture(scope="module")
def data():
    return load(None, target=None, time=None)


def identity_graph(columns):
    graph = helper.make_graph(
        [helper.make_node("Identity", ["X"], ["y"])],
        "identity",
        [helper.make_tensor_value_info("X", TensorProto.DOUBLE, [None, columns])],
        [helper.make_tensor_value_info("y", TensorProto.DOUBLE, [None, columns])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)])
    model.ir_version = 10
    return model.SerializeToString()


def test_the_crashing_graph_answers_as_before_below_the_bound_and_raises_above():
    session = session_from(models.with_crash(identity_graph(2), position=1, test="Greater", bound=10.0))
    below = np.array([[5.0, 10.0], [99.0, np.nan]])

    np.testing.assert_array_equal(session.run(None, {"X": below})[0], below)
    with pytest.raises(Exception, match=r"(?i)gather|index|indices"):
        session.run(None, {"X": np.array([[5.0, 10.5]])})


def test_the_version_in_another_unit_is_good_on_its_own_rows_and_worse_on_ordinary_ones(data):
    other = models.another_unit(data)

    own = models.errors(other.model, other.holdout, data.target, data.task).mean()
    ordinary = models.errors(other.model, data.stream, data.target, data.task).mean()
    assert ordinary > own + 0.05


def test_the_first_model_beats_guessing_and_the_better_one_beats_it(data):
    first, column = models.first(data)
    better = models.fit(data.train, data.target, data.task)

    def wrong(model):
        return models.errors(model, data.stream, data.target, data.task).mean()

    guess = (data.stream[data.target] != data.train[data.target].mode()[0]).mean()
    assert column in data.features
    assert wrong(better) < wrong(first) < guess


def test_drift_changes_the_two_columns_it_names_and_no_other(data):
    drift = models.drift(data)

    drifted = drift.apply(data.stream)

    changed = [column for column in data.features if not drifted[column].equals(data.stream[column])]
    assert sorted(changed) == sorted(drift.columns)
    assert len(set(drift.columns)) == 2


def test_texts_drift_where_there_are_no_numbers():
    rng = np.random.default_rng(0)
    a = rng.choice(["u", "v"], 500)
    table = pd.DataFrame({"a": a, "b": rng.choice(["p", "q", "r"], 500), "y": np.where(rng.random(500) < 0.9, a, "w")})
    drift = models.drift(prepare(table, name="texts", target="y", time=None))

    assert set(drift.columns) == {"a", "b"}
    assert not drift.shifts


def test_equal_rows_are_never_on_both_sides_of_the_retraining_split():
    rows = pd.DataFrame({"a": [1.0, 2.0, 3.0, 4.0] * 50, "t": ["x"] * 200})

    train, holdout = split(rows, "t")

    assert not set(train["a"]) & set(holdout["a"])
    assert len(train) + len(holdout) == 4
