"""Metrics agree with scikit-learn; their intervals shrink, cover, and pair."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from shipway.errors import Rejected
from shipway.stats import metrics
from shipway.terms import Task


def classifier(rows, classes, seed):
    rng = np.random.default_rng(seed)
    probability = rng.dirichlet(np.ones(len(classes)), rows).round(2)
    probability /= probability.sum(axis=1, keepdims=True)
    names = np.array(classes, dtype=object)
    truth = names[rng.integers(0, len(classes), rows)]
    truth[: len(classes)] = names
    return truth, {"label": names[probability.argmax(axis=1)], "probability": probability}


@settings(max_examples=30, deadline=None)
@given(st.integers(4, 200), st.integers(0, 10_000))
def test_binary_metrics_are_those_of_scikit_learn(rows, seed):
    truth, said = classifier(rows, ["no", "yes"], seed)

    found = {k: v[0] for k, v in metrics.replicate(Task.BINARY, ["no", "yes"], truth, said, replicates=0).items()}

    score = said["probability"][:, 1]
    assert found["accuracy"] == pytest.approx(reference.accuracy_score(truth, said["label"]))
    assert found["balanced_accuracy"] == pytest.approx(reference.balanced_accuracy_score(truth, said["label"]))
    assert found["log_loss"] == pytest.approx(reference.log_loss(truth, said["probability"], labels=["no", "yes"]))
    assert found["brier"] == pytest.approx(np.mean((score - (truth == "yes")) ** 2))
    assert found["auc"] == pytest.approx(reference.roc_auc_score(truth == "yes", score))


@settings(max_examples=20, deadline=None)
@given(st.integers(10, 200), st.integers(0, 10_000))
def test_multiclass_metrics_are_those_of_scikit_learn(rows, seed):
    classes = ["a", "b", "c"]
    truth, said = classifier(rows, classes, seed)

    found = {k: v[0] for k, v in metrics.replicate(Task.MULTICLASS, classes, truth, said, replicates=0).items()}

    assert found["macro_f1"] == pytest.approx(reference.f1_score(truth, said["label"], average="macro"))
    assert found["log_loss"] == pytest.approx(reference.log_loss(truth, said["probability"], labels=classes))
    assert "auc" not in found


@settings(max_examples=30, deadline=None)
@given(st.integers(3, 200), st.integers(0, 10_000))
def test_regression_metrics_are_those_of_scikit_learn(rows, seed):
    rng = np.random.default_rng(seed)
    truth, said = rng.normal(5, 2, rows), rng.normal(5, 2, rows)

    found = metrics.replicate(Task.REGRESSION, (), truth, {"prediction": said}, replicates=0)

    assert found["rmse"][0] == pytest.approx(reference.root_mean_squared_error(truth, said))
    assert found["mae"][0] == pytest.approx(reference.mean_absolute_error(truth, said))
    assert found["r2"][0] == pytest.approx(reference.r2_score(truth, said))


def test_a_metric_that_the_rows_cannot_show_is_absent():
    said = {"label": np.array(["no", "no"], object), "probability": np.array([[0.9, 0.1], [0.8, 0.2]])}

    one_class = metrics.measure(Task.BINARY, ["no", "yes"], np.array(["no", "no"], object), said)
    constant = metrics.measure(
        Task.REGRESSION, (), np.array([3.0, 3.0, 3.0]), {"prediction": np.array([3.0, 3.1, 2.9])}
    )

    assert "auc" not in one_class
    assert "r2" not in constant


def test_an_answer_outside_the_classes_is_wrong_even_where_the_truth_is_unknown_too():
    said = {"label": np.array(["?", "yes"], object), "probability": np.array([[0.5, 0.5], [0.1, 0.9]])}

    found = metrics.measure(Task.BINARY, ["no", "yes"], np.array(["maybe", "yes"], object), said)

    assert found["accuracy"].value == 0.5


def test_the_same_seed_gives_the_same_interval_and_more_rows_a_narrower_one():
    few, many = (classifier(n, ["no", "yes"], 1) for n in (100, 5000))

    once, again = (metrics.measure(Task.BINARY, ["no", "yes"], *few, seed=7)["auc"] for _ in range(2))
    wide = metrics.measure(Task.BINARY, ["no", "yes"], *many, seed=7)["auc"]

    assert once == again
    assert wide.high - wide.low < (once.high - once.low) / 3


def test_replicates_of_two_models_pair_so_that_equal_models_differ_by_exactly_nothing():
    truth, said = classifier(500, ["no", "yes"], 2)

    ours, theirs = (metrics.replicate(Task.BINARY, ["no", "yes"], truth, dict(said), replicates=100) for _ in range(2))

    assert all(np.array_equal(ours[k], theirs[k], equal_nan=True) for k in ours)


def test_the_bootstrap_interval_of_an_accuracy_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(4)
    covered = 0
    for i in range(60):
        truth = np.array(["a"] * 200, object)
        right = rng.random(200) < 0.8
        said = {"label": np.where(right, "a", "b").astype(object), "probability": np.full((200, 2), 0.5)}
        found = metrics.measure(Task.BINARY, ["a", "b"], truth, said, replicates=200, confidence=0.9, seed=i)[
            "accuracy"
        ]
        covered += found.low <= 0.8 <= found.high

    assert covered >= 46  # 54 expected


def test_no_rows_and_a_task_without_metrics_are_refused():
    with pytest.raises(Rejected, match="no rows"):
        metrics.measure(Task.REGRESSION, (), np.array([]), {"prediction": np.array([])})
    with pytest.raises(Rejected, match="other"):
        metrics.measure(Task.OTHER, (), np.array([1.0]), {"prediction": np.array([1.0])})
