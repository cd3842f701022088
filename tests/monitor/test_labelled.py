"""Labels: what counts as wrong, what counts at all, and each row once."""

import msgspec
import numpy as np
import pyarrow as pa
import pytest

from shipway.monitor import decide, labelled, parse_policy
from shipway.stats import profile
from shipway.terms import Signature, Task

POLICY = parse_policy('[monitor]\nwindow = "1h"\n[performance]\nbaseline_rows = 100')
REFERENCE = profile.make_reference(Signature((), ()), {"x": np.arange(10.0)})


def answers(truth, *, label=None, prediction=None, at=3600.0, **changes):
    n = len(truth)
    columns = {
        "at": [at] * n, "variant": ["champion"] * n, "version": [1] * n, "status": [200] * n, "flags": [0] * n,
        "label": pa.array(label if label is not None else [None] * n, pa.string()),
        "prediction": pa.array(prediction if prediction is not None else [None] * n, pa.float64()),
        "truth": pa.array(truth, pa.string()),
    }  # fmt: skip
    return pa.table(columns | changes)


def begin(baseline=None):
    return decide.begin("churn", REFERENCE, POLICY, 0.0, baseline)


def look(table, state, task=Task.BINARY):
    found = labelled.realised(table, state, POLICY, task, 1)
    return msgspec.structs.replace(state, baseline=found.baseline, counted=found.counted), found.losses


def test_without_a_promise_the_first_labelled_rows_make_the_baseline_and_are_not_held_against_it():
    table = answers(["yes"] * 20 + ["no"] * 80, label=["no"] * 100)

    state, losses = look(table.slice(0, 99), begin())
    assert (state.baseline, losses) == (None, None)
    state, losses = look(table, state)

    assert losses is None
    assert state.baseline.losses.bad == (20,)
    assert look(table, state)[1] is None


def test_only_rows_that_were_not_seen_before_are_weighed():
    state, _ = look(answers(["no"] * 100, label=["no"] * 100), begin())

    state, losses = look(answers(["no"] * 100 + ["yes"] * 7, label=["no"] * 107), state)
    _, again = look(answers(["no"] * 100 + ["yes"] * 7, label=["no"] * 107), state)

    assert (losses.rows, losses.bad) == (7, (7,))
    assert again is None


def test_a_regressor_is_held_against_the_errors_it_made_before():
    rng = np.random.default_rng(0)
    errors = rng.normal(size=200)
    state, _ = look(answers(["0.0"] * 200, prediction=errors), begin(), Task.REGRESSION)

    _, losses = look(answers(["0.0"] * 200 + ["1000"] * 3, prediction=[*errors, 1.0, 1.0, 1.0]), state, Task.REGRESSION)

    assert (losses.rows, losses.bad) == (3, (3, 3))
    assert losses.rate == pytest.approx(999)


@pytest.mark.parametrize(
    "changes", [{"version": [2]}, {"flags": [2]}, {"status": [500]}, {"variant": ["challenger"]}, {"truth": [None]}]
)
def test_what_is_not_the_champions_own_labelled_answer_does_not_count(changes):
    changes = dict(changes)
    truth = changes.pop("truth", ["yes"])
    state, _ = look(answers(["no"] * 100, label=["no"] * 100), begin())
    other = answers(truth, label=["no"], at=9000.0, **changes)

    assert look(pa.concat_tables([answers(["no"] * 100, label=["no"] * 100), other]), state)[1] is None


def test_a_label_written_as_a_number_is_the_class_of_that_number():
    state, _ = look(answers(["1"] * 100, label=["1"] * 100), begin())

    assert state.baseline.losses.bad == (0,)


def test_thousands_of_short_windows_are_remembered_in_few_stretches():
    policy = parse_policy('[monitor]\nwindow = "2s"')

    assert labelled.since(policy, 1e9) <= 1e9 - 7 * 86400
    assert 7 * 86400 / labelled._stretch(policy) == pytest.approx(500)
