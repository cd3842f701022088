"""Whatever a challenger does, the caller gets the champion's answer, and the arm gets the blame."""

import json
import os
import signal
import threading
from pathlib import Path

import pytest
from serve_scenes import call, challenger, champion, route, until

from shipway.capture.record import FALLBACK


def only_challenged(digest, manner_digest, **options):
    """A route whose challenger is assigned every request."""
    return route(champion(digest), challenger(manner_digest, weight=10_000, **options), rollout="r1")


def outcomes(server):
    found = {}
    for cell in server.cells():
        key = (cell["arm"], cell["outcome"])
        found[key] = found.get(key, 0) + cell["n"]
    return found


@pytest.mark.parametrize("isolated", [False, True])
@pytest.mark.parametrize(("manner", "x", "outcome"), [("raises", 500.0, "error"), ("nan", -1.0, "invalid")])
def test_champion_answers_for_a_challenger_that_raises_or_answers_nonsense(home, start, manner, x, outcome, isolated):
    home.publish(only_challenged(home.bundle(), home.bundle(manner), isolated=isolated))
    server = start().wait()

    well, ill = server.ask(x=1.0), server.ask(x=x)

    assert (well[0], well[1]["shipway-variant"]) == (200, "challenger")
    assert (ill[0], ill[1]["shipway-variant"], ill[1]["shipway-version"]) == (200, "champion", "toy:1")
    assert outcomes(server) == {("challenger", "ok"): 1, ("challenger", outcome): 1}
    assert server.stop() == 0
    first, second = home.records()
    assert (first.variant, first.served, first.flags, first.propensity) == ("challenger", "challenger", 0, 10_000)
    assert (second.variant, second.served, second.flags) == ("challenger", "champion", FALLBACK)
    assert second.event_id == ill[1]["shipway-event-id"] == ill[2]["event_id"]


def test_champion_answers_within_the_deadline_for_a_challenger_that_hangs(home, start):
    home.publish(only_challenged(home.bundle(), home.bundle("hangs", inline=False), timeout_ms=200))
    server = start().wait()

    hung = server.ask(x=1e15, headers={"shipway-deadline-ms": "1000"})

    assert (hung[0], hung[1]["shipway-variant"]) == (200, "champion")
    until(lambda: server.ask(x=1.0)[1]["shipway-variant"] == "challenger", "the spare to take over")
    found = outcomes(server)
    assert found["challenger", "timeout"] == 1
    assert server.stop() == 0
    assert max(r.latency_us for r in home.records()) < 1_000_000


def test_champion_answers_for_a_runner_that_dies(home, start):
    home.publish(only_challenged(home.bundle(), home.bundle("hangs", inline=False), timeout_ms=5000))
    server = start().wait()
    worker = server.health()["pids"][0]

    answers = []
    caller = threading.Thread(
        target=lambda: answers.append(server.ask(x=1e15, headers={"shipway-deadline-ms": "9000"}))
    )
    caller.start()
    until(lambda: busy_child(worker) is not None, "the runner to be at work")
    os.kill(busy_child(worker), signal.SIGKILL)
    caller.join(10)

    assert (answers[0][0], answers[0][1]["shipway-variant"]) == (200, "champion")
    assert outcomes(server)["challenger", "crash"] == 1


def busy_child(pid):
    """The oldest child of a worker, which is its active runner, if it is computing."""
    oldest = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0]
    state = Path(f"/proc/{oldest}/stat").read_text().rpartition(")")[2].split()[0]
    return int(oldest) if state == "R" else None


def test_five_failures_in_a_row_open_the_fuse_until_the_next_table(home, start):
    good, bad = home.bundle(), home.bundle("raises")
    home.publish(only_challenged(good, bad))
    server = start().wait()

    for _ in range(8):
        assert server.ask(x=500.0)[0] == 200

    assert outcomes(server) == {("challenger", "error"): 5, ("champion", "ok"): 3}
    until(lambda: "toy:2" in server.health()["fuses"], "the fuse in the report")
    home.publish(only_challenged(good, bad))
    server.wait()
    assert server.ask(x=1.0)[1]["shipway-variant"] == "challenger"
    assert server.stop() == 0
    assert [r.propensity for r in home.records()] == [10_000] * 5 + [0] * 3 + [10_000]


def test_deadline_too_short_for_a_challenger_makes_the_request_no_part_of_the_test(home, start):
    home.publish(only_challenged(home.bundle(), home.bundle()))
    server = start().wait()

    status, headers, _ = server.ask(headers={"shipway-deadline-ms": "10"})

    assert (status, headers["shipway-variant"]) == (200, "champion")
    assert server.stop() == 0
    assert [r.propensity for r in home.records()] == [0]


def test_sticky_unit_keeps_its_arm_and_a_request_without_it_is_no_part_of_the_test(home, start):
    home.publish(
        route(champion(home.bundle()), challenger(home.bundle(weight=2.0)), rollout="r1", sticky="header:customer")
    )
    server = start().wait()

    arms = {
        unit: {server.ask(headers={"Customer": unit})[1]["shipway-variant"] for _ in range(5)}
        for unit in ("a", "b", "c", "d", "e", "f", "g", "h")
    }
    server.ask()

    assert all(len(seen) == 1 for seen in arms.values())
    assert len(set.union(*arms.values())) == 2
    server.stop()
    records = home.records()
    assert records[-1].propensity == 0
    assert {r.propensity for r in records[:-1]} == {5000}


def test_champion_that_cannot_answer_gives_a_sentence_and_a_capture(home, start):
    home.publish(route(champion(home.bundle("nan"))))
    server = start().wait()

    status, _, body = server.ask(x=-1.0)

    assert status == 500
    assert "not finite" in body["error"]
    assert body["fix"]
    server.stop()
    assert [(r.status, r.outputs) for r in home.records()] == [(500, {})]


def test_bundle_that_was_changed_is_not_served_and_says_why(home, start):
    digest = home.bundle()
    model = home.folder / "bundles" / digest.removeprefix("sha256:") / "model" / "model.onnx"
    model.chmod(0o644)
    model.write_bytes(model.read_bytes()[:-1] + b"!")
    home.publish(route(champion(digest)))
    server = start().wait()

    status, _, body = server.ask()

    assert status == 503
    assert "not what was packed" in body["error"]


def test_challenger_that_cannot_be_loaded_leaves_the_champion_alone(home, start):
    missing = "sha256:" + "0" * 64
    home.publish(only_challenged(home.bundle(), missing))
    server = start().wait()

    status, headers, _ = server.ask()

    assert (status, headers["shipway-variant"]) == (200, "champion")
    assert "default/toy" in server.health()["problems"]


def test_large_batch_is_answered_in_the_order_it_came(home, start):
    home.publish(route(champion(home.bundle())))
    server = start().wait()
    rows = [{"x": i / 5000 - 1, "y": 0.0} for i in range(9000)]

    status, _, body = call(server.port, "POST", "/v2/models/toy/infer", json.dumps({"rows": rows}))

    probabilities = [row["probability"]["yes"] for row in json.loads(body)["rows"]]
    assert status == 200
    assert len(probabilities) == 9000
    assert probabilities == sorted(probabilities)
