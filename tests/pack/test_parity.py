import math

import numpy as np
import pytest
from sklearn.tree import DecisionTreeClassifier

from shipway.pack.original import original
from shipway.pack.parity import DOUBLE, UNSEEN, Trial, accepted, compare, head, trial
from shipway.terms import Column, Task

ROWS = {"x": np.linspace(0, 1, 100)}


def answers(second, label=None):
    p = np.stack([1 - np.asarray(second), second], axis=1)
    labels = np.where(p[:, 1] > 0.5, "b", "a") if label is None else label
    return {"label": np.asarray(labels, object), "probability": p}


def asked(second):
    return Trial(ROWS, answers(second), 90, 10)


def aside(second):
    """A runtime that looks its answer up by the row."""
    table = dict(zip(ROWS["x"].tolist(), second, strict=True))
    return lambda columns: answers(np.array([table[x] for x in columns["x"].tolist()]))


def test_equal_answers_hold():
    second = np.linspace(0, 1, 100)

    found = compare(Task.BINARY, asked(second), aside(second), DOUBLE)

    assert found.holds
    assert "equal on 90 rows and 10 edge rows" in found.sentence()


def test_one_probability_a_little_off_does_not_hold():
    second = np.linspace(0, 1, 100)
    other = second.copy()
    other[42] += 1e-8

    found = compare(Task.BINARY, asked(second), aside(other), DOUBLE)

    assert not found.holds
    assert found.above_tolerance == 1
    assert found.labels_changed == 0


def test_a_changed_label_does_not_hold_even_within_tolerance():
    second = np.full(100, 0.7)

    found = compare(
        Task.BINARY, asked(second), lambda c: answers(np.full(len(c["x"]), 0.7), ["a"] * len(c["x"])), DOUBLE
    )

    assert not found.holds
    assert found.labels_changed == 100


def test_a_label_that_the_original_itself_could_not_decide_is_a_tie():
    second = np.full(100, 0.5)

    found = compare(
        Task.BINARY, asked(second), lambda c: answers(np.full(len(c["x"]), 0.5), ["b"] * len(c["x"])), DOUBLE
    )

    assert found.holds
    assert found.ties == 100


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
def test_an_answer_that_is_no_number_does_not_hold(wrong):
    second = np.linspace(0, 1, 100)
    other = second.copy()
    other[7] = wrong

    assert not compare(Task.BINARY, asked(second), aside(other), DOUBLE).holds


def test_a_runtime_whose_batches_differ_from_single_rows_does_not_hold():
    second = np.linspace(0, 1, 100)
    whole = aside(second)

    found = compare(
        Task.BINARY,
        asked(second),
        lambda c: whole(c) if len(c["x"]) != 64 else answers(whole(c)["probability"][:, 1] + 1e-6),
        DOUBLE,
    )

    assert not found.holds
    assert "batches differ" in found.sentence()


def test_a_regressor_is_judged_by_the_spread_of_its_answers():
    values = np.linspace(0, 1e6, 100)
    there = Trial(ROWS, {"prediction": values}, 100, 0)
    table = dict(zip(ROWS["x"].tolist(), values + 1e-4, strict=True))

    found = compare(Task.REGRESSION, there, lambda c: {"prediction": np.array([table[x] for x in c["x"]])}, DOUBLE)

    assert found.holds
    assert found.largest_difference == pytest.approx(1e-10)


def fitted():
    x = np.arange(100.0)[:, None]
    tree = DecisionTreeClassifier(max_depth=2).fit(x, (x[:, 0] % 50) > 20)
    return original(tree, ["x"], target=None, labels=[], task=None).with_specs([Column("x", "FP64", integral=True)])


def test_edge_rows_stand_on_both_sides_of_every_threshold():
    chosen = trial(fitted(), {"x": np.arange(100.0)}, {"x": [20.5]}, {("x", "missing")}).columns["x"][100:]

    assert {20.5, np.nextafter(20.5, 0), np.nextafter(20.5, 99), 2.0**24 + 1} <= set(chosen.tolist())
    assert not np.isnan(chosen).any()


def test_cells_that_the_original_refuses_are_found_out():
    class Strict:
        specs = ()

        def answer(self, columns):
            if np.isnan(columns["a"]).any() or UNSEEN in columns["t"].tolist():
                raise ValueError
            return {"prediction": np.zeros(len(columns["a"]))}

    rows = {"a": np.ones(3), "b": np.ones(3), "t": np.array(["x", "y", "z"], object)}

    taken = accepted(Strict(), rows, [("a", np.nan), ("b", np.nan), ("t", None), ("t", UNSEEN)])

    assert taken == [False, True, True, False]


def test_a_sample_is_spread_over_all_rows():
    taken = head({"x": np.arange(1000)}, 11)["x"].tolist()

    assert taken[0] == 0
    assert taken[-1] == 999
    assert len(taken) == 11
