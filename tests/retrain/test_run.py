"""Retraining: from a signal to a challenger, with every way it can go wrong told and nothing started twice."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from shipway import retrain
from shipway.database import lease
from shipway.endpoint import SqlEndpoints
from shipway.errors import Conflict, Missing, Rejected
from shipway.registry import SqlRegistry

NOW = 1_800_000_000.0


def copying(champion, old, new):
    """Return a command that "trains" the champion again, with a word changed in its manifest."""
    code = (
        "import os, pathlib, shutil; out = os.environ['SHIPWAY_OUT'] + '/b';"
        f"shutil.copytree({str(champion)!r}, out); file = pathlib.Path(out, 'manifest.json');"
        f"file.write_text(file.read_text().replace({old!r}, {new!r}))"
    )
    return ["{python}", "-c", code]


SLEEP = ["{python}", "-c", "import time; time.sleep(60)"]


def test_a_signal_becomes_a_gated_challenger_where_retraining_is_automatic(house):
    house.endpoint(rows="changed")

    (job_id,) = house.step(NOW, [house.signal(since=NOW - 60)])[:1]
    job = house.finish()

    assert (job.id, job.state) == (job_id, "done")
    assert job.body.sentence == "churn:2 was trained on 500 rows, passed its gate and became the challenger"
    assert (job.body.version, job.body.parent, job.body.verdict) == (2, 1, "pass")
    assert house.challenger() == 2
    assert house.lake.asked == [NOW - 60]
    with house.database.read() as tx:
        (evidence,) = SqlRegistry(tx).evidence(job.body.digest, "gate")
    assert evidence.verdict == "pass"
    assert [k for k in house.kinds() if k.startswith("retrain.")] == [
        "retrain.queued",
        "retrain.running",
        "retrain.done",
    ]


def test_a_python_function_can_train_too(house, champion, monkeypatch):
    code = f"import shutil\ndef train(*, out, model, **_):\n    shutil.copytree({str(champion)!r}, out + '/' + model)\n"
    (house.root / "by_function.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", str(house.root))
    house.endpoint(entry="by_function:train")

    house.step(NOW, [house.signal()])

    assert house.finish().state == "done"


def test_by_default_a_job_is_only_proposed_and_runs_once_approved(house):
    house.endpoint(SLEEP, auto=False)
    (job_id,) = house.step(NOW, [house.signal()])

    for later in range(1, 5):
        assert house.step(NOW + later, [house.signal()]) == []
    assert house.jobs()[0].state == "proposed"
    with house.database.transaction() as tx:
        retrain.approve(tx, job_id, actor="ann", now=NOW + 10)
    house.step(NOW + 11)

    assert house.jobs()[0].state == "running"
    stop(house)


def test_by_hand_all_labelled_rows_are_taken(house):
    house.endpoint(SLEEP)
    with house.database.transaction() as tx:
        job_id = retrain.request(tx, project="default", endpoint="churn", actor="ann", why="new season", now=NOW)
    with house.database.transaction() as tx, pytest.raises(Conflict, match="queued already"):
        retrain.request(tx, project="default", endpoint="churn", actor="bob", why="", now=NOW)

    assert house.step(NOW + 1) == [job_id]
    assert house.lake.asked == [None]
    stop(house)


def test_training_waits_for_labelled_rows_and_says_how_many(house):
    house.endpoint(SLEEP, min_labelled_rows=800)
    house.step(NOW, [house.signal()])

    house.step(NOW + 2)

    (job,) = house.jobs()
    assert (job.state, job.body.sentence) == ("queued", "waits for labels: 500 of 800 rows have one")
    house.lake.rows = 900
    house.step(NOW + 60)
    assert house.jobs()[0].body.rows == 900
    stop(house)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["{python}", "-c", "print('no luck'); raise SystemExit(3)"], "ended with status 3; it said last: no luck"),
        (["{python}", "-c", "pass"], "left no bundle in its output folder"),
        (["/no/such/program"], "could not be started"),
        (["{python}", "-c", "import os; os.kill(os.getpid(), 6)"], "was ended by signal 6"),
    ],
)
def test_a_training_that_fails_says_why_with_its_last_words(house, command, said):
    house.endpoint(command)
    house.step(NOW, [house.signal()])

    job = house.finish()

    assert job.state == "failed"
    assert said in job.body.sentence
    assert house.challenger() is None


def test_a_training_whose_command_was_killed_from_outside_is_started_once_more(house):
    house.endpoint(["{python}", "-c", "import os; os.kill(os.getpid(), 9)"])
    house.step(NOW, [house.signal()])

    job = house.finish()

    assert job.state == "failed"
    assert "signal 9 in attempt 2 of 2" in job.body.sentence


def test_a_training_that_takes_too_long_is_ended(house):
    house.endpoint(SLEEP, timeout="0.3s")
    house.step(NOW, [house.signal()])

    assert "was ended after" in house.finish().body.sentence


def test_the_champions_own_bundle_keeps_its_number(house, champion):
    house.endpoint(copying(champion, "", ""))
    house.step(NOW, [house.signal()])

    job = house.finish()

    assert (job.state, job.body.version) == ("done", 1)


def test_a_bundle_of_another_model_is_not_taken_in(house, champion):
    house.endpoint(copying(champion, '"model":"churn"', '"model":"sales"'))
    house.step(NOW, [house.signal()])

    job = house.finish()

    assert job.state == "failed"
    assert "bundle of model 'sales'" in job.body.sentence


def test_a_version_that_does_not_pass_its_gate_never_becomes_the_challenger(house, champion):
    house.endpoint(copying(champion, '"description":""', '"description":"again"'))
    strict = '[[check]]\nkind = "threshold"\nmetric = "accuracy"\nat_least = 0.999'
    with house.database.transaction() as tx:
        policies = SqlEndpoints(tx).get("default", "churn").policies
        SqlEndpoints(tx).set_policies("default", "churn", policies | {"gate": strict}, by="ann", now=NOW)
    house.step(NOW, [house.signal()])

    job = house.finish()

    assert job.state == "failed"
    assert job.body.version == 2
    assert "did not pass its gate" in job.body.sentence
    assert house.challenger() is None


def test_a_killed_control_plane_finds_its_training_again(house):
    """The parent forgets everything; the child has gone on in its own session."""
    house.endpoint(["{python}", "-c", "import time; time.sleep(0.6); raise SystemExit(4)"])
    code = (
        "import os, sys; from pathlib import Path; from shipway.retrain import child;"
        "child.start(Path(sys.argv[1])); os._exit(0)"
    )

    def by_another_process(folder):
        subprocess.run([sys.executable, "-c", code, str(folder)], check=True)
        return 0

    house.step(NOW, [house.signal()], spawn=by_another_process)
    assert house.step(NOW + 1000) == []

    assert "ended with status 4" in house.finish(NOW + 2000).body.sentence


def test_a_training_whose_process_vanished_is_started_once_more_and_then_fails(house):
    house.endpoint(SLEEP)
    started = []

    def vanishes(folder):
        started.append(folder)
        return 1

    house.step(NOW, [house.signal()], spawn=vanishes)
    house.step(NOW + 20, spawn=vanishes)
    assert house.jobs()[0].state == "queued"
    house.step(NOW + 21, spawn=vanishes)
    house.step(NOW + 60, spawn=vanishes)

    job = house.jobs()[0]
    assert job.state == "failed"
    assert "vanished in attempt 2 of 2" in job.body.sentence
    assert len({str(f) for f in started}) == 2


def test_a_signal_is_answered_once_within_the_cooldown(house):
    house.endpoint(["{python}", "-c", "raise SystemExit(1)"], cooldown="1h")
    house.step(NOW, [house.signal()])
    house.finish()

    assert house.step(NOW + 1800, [house.signal()]) == []
    assert len(house.step(NOW + 8000, [house.signal()])) >= 1
    stop(house)


def test_an_endpoint_without_a_policy_is_never_retrained(house):
    with house.database.transaction() as tx:
        SqlEndpoints(tx).create("default", "churn", "churn", 1, by="ann", now=NOW)

    assert house.step(NOW, [house.signal()]) == []
    with house.database.transaction() as tx, pytest.raises(Rejected, match="no command to train with"):
        retrain.request(tx, project="default", endpoint="churn", actor="ann", why="", now=NOW)


def test_a_holder_that_lost_the_lease_starts_nothing(house):
    house.endpoint(SLEEP)
    with house.database.transaction() as tx:
        old = lease.acquire(tx, "clockwork", "a", NOW, ttl_s=1.0)
        lease.acquire(tx, "clockwork", "b", NOW + 2, ttl_s=1000.0)

    with pytest.raises(Conflict):
        house.step(NOW + 3, [house.signal()], fence=old)

    assert house.jobs() == []


def test_an_unknown_job_cannot_be_approved(house):
    with house.database.transaction() as tx, pytest.raises(Missing, match="no job"):
        retrain.approve(tx, "nope", actor="ann", now=NOW)


def stop(house):
    """End the processes that this test started, by their ids."""
    for job in house.jobs():
        if job.state == "running" and job.body.pid > 1:
            for child in children(job.body.pid):
                os.kill(child, signal.SIGTERM)
            house.finish()


def children(pid, within_s=10.0):
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        if found:
            return [int(child) for child in found]
        time.sleep(0.02)
    return []
