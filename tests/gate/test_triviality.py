"""A model that always says the same never beats a model that always says the same."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from shipway import gate, pack
from shipway.errors import Rejected
from shipway.gate import Evaluation
from shipway.stats.metrics import replicate
from shipway.terms import Task, Verdict

NOW = 1_800_000_000.0
BASELINE = gate.parse_policy("[[check]]\nkind = 'baseline'")


def always_the_first(truth, classes):
    rows = len(truth)
    probability = np.tile(np.eye(len(classes))[0], (rows, 1))
    task = Task.BINARY if len(classes) == 2 else Task.MULTICLASS
    drawn = replicate(task, classes, truth, {"label": np.full(rows, classes[0], object), "probability": probability})
    return Evaluation("flat", task, len(set(truth.tolist())), rows, drawn)


@pytest.mark.parametrize("classes", [["a", "b"], ["a", "b", "c"]])
def test_a_constant_answer_fails_the_baseline(classes):
    truth = np.array(classes * 40, object)

    assert gate.judge(always_the_first(truth, classes), None, BASELINE).verdict is Verdict.FAIL


def test_a_constant_answer_gains_nothing_from_classes_that_the_rows_lack():
    truth = np.array(["a", "b"] * 40, object)

    assert gate.judge(always_the_first(truth, ["a", "b", "c"]), None, BASELINE).verdict is Verdict.FAIL


@pytest.mark.parametrize("classes", [["a", "b"], ["a", "b", "c"]])
def test_rows_of_one_class_cannot_show_that_a_model_beats_guessing(classes):
    found = always_the_first(np.array(["a"] * 80, object), classes)

    assert gate.judge(found, None, BASELINE).verdict is Verdict.UNDECIDED


@pytest.mark.parametrize("rows", [1, 5, 19])
def test_a_handful_of_right_answers_is_never_a_pass(rows):
    policy = gate.parse_policy("[[check]]\nkind = 'threshold'\nmetric = 'accuracy'\nat_least = 0.9")

    judgement = gate.judge(always_the_first(np.array(["a"] * rows, object), ["a", "b"]), None, policy)

    assert judgement.verdict is Verdict.UNDECIDED
    assert f"{rows} rows are too few" in judgement.sentence


def test_a_seed_below_zero_is_refused_by_name():
    with pytest.raises(Rejected, match="seed"):
        gate.parse_policy("[gate]\nseed = -1\n[[check]]\nkind = 'baseline'")


def test_outcomes_that_are_not_a_number_count_as_unknown(bundles, holdout):
    amounts = holdout["amount"].to_pylist()
    some = holdout.set_column(3, "amount", pa.array([float("nan")] * 1000 + amounts[1000:], from_pandas=False))

    judgement, _ = gate.run(bundles["amount"], None, None, now=NOW, data=some, target="amount")

    assert judgement.rows == 500


def test_outcomes_that_are_text_are_refused_by_a_regressor(bundles, holdout):
    with pytest.raises(Rejected, match="not numbers"):
        gate.run(bundles["amount"], None, None, now=NOW, data=holdout, target="answer")


def test_a_model_on_text_and_numbers_is_told_from_one_that_reads_them_wrong(tmp_path):
    rng = np.random.default_rng(6)
    frame = pd.DataFrame({"age": rng.normal(40, 9, 600), "job": rng.choice(["cook", "nurse", "pilot"], 600)})
    truth = np.where(frame.age / 9 + 3 * (frame.job == "cook") + rng.normal(0, 0.5, 600) > 5.4, "yes", "no")
    folders = {}
    for name, learnt in {"right": truth, "wrong": np.where(truth == "yes", "no", "yes")}.items():
        columns = make_column_transformer((OneHotEncoder(), ["job"]), remainder="passthrough")
        model = make_pipeline(columns, LogisticRegression(max_iter=2000)).fit(frame, learnt)
        data = frame.assign(left=truth)
        folders[name] = pack.pack(model, name="m", data=data, target="left", out=tmp_path / name, now=NOW).folder

    better, _ = gate.run(folders["right"], folders["wrong"], None, now=NOW)
    broken, _ = gate.run(folders["wrong"], folders["right"], None, now=NOW)

    assert (better.verdict, broken.verdict) == (Verdict.PASS, Verdict.FAIL)
