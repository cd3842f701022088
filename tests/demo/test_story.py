import json
import subprocess
import sys

import pytest

from shipway.demo import STEPS


def tell(*arguments):
    done = subprocess.run(
        [sys.executable, "-m", "shipway", "demo", "--json", *arguments], capture_output=True, text=True, timeout=240
    )
    return done, json.loads(done.stdout)


def check(done, result):
    assert done.returncode == 0, done.stderr[-6000:]
    assert [step["name"] for step in result["steps"]] == list(STEPS)
    assert all(step["ok"] for step in result["steps"])
    assert result["failed"] == 0
    assert result["requests"] > 5000
    assert len(result["drift"]["columns"]) >= 2
    assert result["callers_answered_by_worse"] == 0
    assert result["ledger"]["verified"]


@pytest.mark.slow
def test_the_story_holds_on_the_data_that_scikit_learn_ships():
    check(*tell())


@pytest.mark.slow
def test_the_story_holds_on_mixed_columns_with_missing_cells(test_data):
    check(*tell("--data", str(test_data / "adult.csv"), "--target", "income"))


@pytest.mark.slow
def test_the_story_holds_on_a_stream_in_order_that_drifts_by_itself(test_data):
    check(*tell("--data", str(test_data / "elec2.csv"), "--target", "class", "--time", "step"))


def test_a_wrong_target_is_one_sentence_with_a_fix(tmp_path):
    (tmp_path / "x.csv").write_text("a,income\n1,2\n")

    done = subprocess.run(
        [sys.executable, "-m", "shipway", "demo", "--data", str(tmp_path / "x.csv"), "--target", "incme"],
        capture_output=True,
        text=True,
    )

    assert done.returncode == 2
    assert "no column 'incme'; did you mean 'income'?" in done.stderr
    assert "fix:" in done.stderr
    assert "Traceback" not in done.stderr
