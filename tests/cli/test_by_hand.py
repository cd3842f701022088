"""The quick start as a user types it, with real processes: from a pickle to answers, labels, a trial and back."""

import json
import socket
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture
def up(shipway, monkeypatch):
    """A platform of its own on free ports, started in the background and stopped again."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
    for part, one in zip(("CONTROL", "SERVER", "ADMIN"), held, strict=True):
        monkeypatch.setenv(f"SHIPWAY_{part}_PORT", str(one.getsockname()[1]))
        one.close()
    words = [sys.executable, "-m", "shipway", "up", "--detach", "--json"]
    started = subprocess.run(words, capture_output=True, text=True, timeout=120)
    try:
        assert started.returncode == 0, started.stdout + started.stderr
        yield json.loads(started.stdout)
    finally:
        shipway("down")


def test_a_model_answers_is_labelled_tried_and_taken_back(shipway, up, packed, tmp_path):
    deployed = shipway("deploy", packed / "good", "--endpoint", "churn")
    one = shipway("predict", "churn", "--row", '{"tenure": 3, "fee": 70.5, "plan": "monthly"}', "--json")
    many = shipway("predict", "churn", "--file", packed / "holdout.csv", "--limit", 5, "--key", "batch-1")
    bad = shipway("predict", "churn", "--row", '{"tenure": "many", "fee": 70.5, "plan": "monthly"}')
    nowhere = shipway("predict", "chrun", "--row", "{}")
    label = shipway("label", "churn", "--event", one.json["event_id"], "--value", "yes")
    again = shipway("up", "--detach")
    second = shipway("deploy", packed / "good", "--endpoint", "other", "--wait", "10")
    doctor = shipway("doctor", "--json")
    stopped = shipway("down")

    assert deployed.code == 0, deployed.out + deployed.err
    assert "curl -d" in deployed.out
    assert one.json["rows"][0]["label"] == "yes"
    assert (one.json["model"], one.json["version"]) == ("churn", 1)
    assert many.code == 0
    assert len(many.out.splitlines()) == 6
    assert bad.code == 2
    assert "tenure" in bad.err
    assert nowhere.code == 2
    assert label.code == 0
    assert again.code == 1
    assert "already running" in again.err
    assert second.code == 0
    assert doctor.json["state"] in ("ok", "warn")
    assert stopped.out == "Shipway is down\n"
    assert shipway("down").out == "Shipway was not running here\n"
    assert (tmp_path / "home" / "context.json").stat().st_mode & 0o777 == 0o600
    assert up["console"].startswith("http://127.0.0.1:")
