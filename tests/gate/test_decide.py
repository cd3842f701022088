"""A verdict is pass or fail only where the whole interval says so."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipway import gate
from shipway.gate import Evaluation
from shipway.terms import Task, Verdict


def model(name="new", rows=500, task=Task.BINARY, **metrics):
    """An evaluation whose replicates are spread evenly from low to high: metric=(low, high)."""
    drawn = {k: np.concatenate([[(low + high) / 2], np.linspace(low, high, 201)]) for k, (low, high) in metrics.items()}
    return Evaluation(name, task, 2, rows, drawn)


def asked(check):
    return gate.parse_policy(f"[[check]]\n{check}")


@pytest.mark.parametrize(
    ("interval", "verdict"),
    [((0.91, 0.95), Verdict.PASS), ((0.8, 0.95), Verdict.UNDECIDED), ((0.8, 0.85), Verdict.FAIL)],
)
def test_a_threshold_decides_only_when_the_whole_interval_is_on_one_side(interval, verdict):
    policy = asked("kind = 'threshold'\nmetric = 'accuracy'\nat_least = 0.9")

    judgement = gate.judge(model(accuracy=interval), None, policy)

    assert judgement.verdict is verdict
    assert "accuracy" in judgement.sentence


@pytest.mark.parametrize(
    ("interval", "verdict"), [((0.1, 0.2), Verdict.PASS), ((0.2, 0.4), Verdict.UNDECIDED), ((0.4, 0.5), Verdict.FAIL)]
)
def test_a_ceiling_works_the_other_way_round(interval, verdict):
    policy = asked("kind = 'threshold'\nmetric = 'log_loss'\nat_most = 0.3")

    assert gate.judge(model(log_loss=interval), None, policy).verdict is verdict


def test_a_champion_may_be_better_by_the_margin_and_no_more():
    policy = asked("kind = 'champion'\nmetric = 'rmse'\nmargin = 0.1")
    new = model(rmse=(1.0, 1.0))

    verdicts = [gate.judge(new, model("old", rmse=(old, old)), policy).verdict for old in (1.5, 0.95, 0.5)]

    assert verdicts == [Verdict.PASS, Verdict.PASS, Verdict.FAIL]


def test_without_a_champion_there_is_nothing_to_be_worse_than():
    judgement = gate.judge(model(accuracy=(0.5, 0.6)), None, asked("kind = 'champion'\nmargin = 0.0"))

    assert judgement.verdict is Verdict.PASS
    assert "no champion" in judgement.sentence


def test_a_champion_that_could_not_be_measured_leaves_it_undecided():
    policy = asked("kind = 'champion'\nmargin = 0.0")

    judgement = gate.judge(model(accuracy=(0.9, 0.9)), None, policy, obstacle="the champion needs column 'c'")

    assert judgement.verdict is Verdict.UNDECIDED
    assert "column 'c'" in judgement.sentence


def test_a_metric_that_the_rows_cannot_show_never_passes():
    policy = asked("kind = 'baseline'\nmetric = 'auc'")

    assert gate.judge(model(accuracy=(0.9, 0.9)), None, policy).verdict is Verdict.UNDECIDED


def test_too_few_rows_are_undecided_and_not_a_failure():
    assert gate.judge(model(rows=10), None, asked("kind = 'rows'\nat_least = 50")).verdict is Verdict.UNDECIDED


@settings(deadline=None)
@given(st.lists(st.sampled_from(["pass", "fail", "undecided"]), min_size=1, max_size=5))
def test_one_failure_fails_and_one_doubt_withholds_the_pass(wanted):
    interval = {"pass": (0.8, 0.9), "undecided": (0.4, 0.9), "fail": (0.1, 0.2)}
    names = ["accuracy", "auc", "balanced_accuracy", "r2", "macro_f1"]
    checks = [f"[[check]]\nkind='threshold'\nmetric='{n}'\nat_least=0.5" for n, _ in zip(names, wanted, strict=False)]
    measured = model(**{n: interval[w] for n, w in zip(names, wanted, strict=False)})

    verdict = gate.judge(measured, None, gate.parse_policy("\n".join(checks))).verdict

    assert verdict == ("fail" if "fail" in wanted else "undecided" if "undecided" in wanted else "pass")
