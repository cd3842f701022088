import os
import signal
import socket
import time

import pytest

from shipway.control import Processes, detach, down, serve
from shipway.control.lock import hold, holder
from shipway.control.processes import last_words
from shipway.demo import demo_settings, models
from shipway.errors import Conflict, Unavailable


def kill(running, part):
    os.kill(running.processes.children[part].pid, signal.SIGKILL)


def settle(traffic, seconds=1.0):
    traffic.wait(lambda: False, seconds)


def wait_until(reached, timeout_s=25):
    until = time.monotonic() + timeout_s
    while time.monotonic() < until:
        if reached():
            return True
        time.sleep(0.2)
    return False


@pytest.mark.slow
def test_a_killed_control_plane_fails_no_request_and_a_rollout_goes_on_after_it(platform, tmp_path):
    better = models.fit(platform.data.train, platform.data.target, platform.data.task)
    version = platform.ship(platform.pack(tmp_path, better, "better"))

    with platform.traffic(rate=400.0) as traffic:
        rollout = platform.client.start_rollout("tried", f"tried:{version}")
        settle(traffic)
        kill(platform, "control")
        settle(traffic)

        def promoted():
            try:
                return platform.client.rollout(rollout)["state"] == "promoted"
            except Unavailable:
                return False

        assert traffic.wait(promoted, 60), platform.client.explain_rollout(rollout)
    assert traffic.tally.failed == 0, traffic.tally.trouble
    assert platform.client.verify_rollout(rollout)["ok"]
    assert platform.client.verify_ledger()["ok"]
    assert any("control process was killed by signal 9" in sentence for sentence in platform.told)


@pytest.mark.slow
def test_a_killed_collector_loses_no_answered_request_and_repeats_none(platform):
    with platform.traffic() as traffic:
        for _ in range(3):
            settle(traffic, 0.7)
            kill(platform, "collect")
        settle(traffic)
    answered = sum(traffic.tally.versions.values())

    def complete():
        return len(platform.client.events("tried", limit=10_000)) >= answered

    assert wait_until(complete), f"{len(platform.captured())} of {answered} are in the lake"
    rows = [event["event_id"] for event in platform.client.events("tried", limit=10_000)]
    assert len(rows) == len(set(rows))
    assert traffic.tally.failed == 0


@pytest.mark.slow
def test_a_killed_server_fails_no_request_and_every_answer_it_gave_is_kept(platform):
    with platform.traffic() as traffic:
        settle(traffic)
        kill(platform, "serve")
        settle(traffic, 4.0)
        before = sum(traffic.tally.versions.values())
        assert traffic.wait(lambda: sum(traffic.tally.versions.values()) > before + 50, 20)
    answered = sum(traffic.tally.versions.values())

    assert traffic.tally.failed == 0, traffic.tally.trouble
    assert wait_until(lambda: len(platform.captured()) >= answered)


def test_a_port_in_use_is_named_with_the_option_that_changes_it(tmp_path):
    settings = demo_settings(tmp_path)
    with Processes(settings) as first, socket.socket() as taken:
        taken.bind((settings.control_host, settings.control_port))
        taken.listen()
        with pytest.raises(Unavailable, match=str(settings.control_port)) as refused:
            first.start()

    assert "--control-port" in refused.value.fix


def test_two_platforms_cannot_share_a_home(tmp_path):
    lock = tmp_path / "up.lock"
    with hold(lock, "the platform"):
        assert holder(lock) == os.getpid()
        with pytest.raises(Conflict, match=str(os.getpid())), hold(lock, "the platform"):
            pass

    assert holder(lock) == 0


@pytest.mark.slow
def test_a_platform_in_the_background_answers_until_it_is_taken_down(tmp_path):
    settings = demo_settings(tmp_path / "home")
    pid = detach(settings)

    with pytest.raises(Conflict, match="already running"):
        detach(settings)
    assert down(settings) == pid
    assert down(settings) == 0


def test_a_port_in_use_is_the_same_sentence_in_the_background_and_in_front(tmp_path):
    settings = demo_settings(tmp_path)
    with socket.create_server((settings.server_host, settings.server_port)):
        with pytest.raises(Unavailable, match=f"^port {settings.server_port}") as behind:
            detach(settings)
        with pytest.raises(Unavailable, match=f"^port {settings.server_port}") as alone:
            serve(settings)

    assert "--server-port (SHIPWAY_SERVER_PORT)" in behind.value.fix
    assert "--port (SHIPWAY_SERVER_PORT)" in alone.value.fix


@pytest.mark.parametrize(
    ("log", "words", "fix"),
    [
        ("12:00 INFO up\nthe disk is full\n  fix: free space\n", "the disk is full", "free space"),
        ("one\ntwo\nthree\n", "two | three", ""),
        ("", "it said nothing", ""),
        (None, "it said nothing", ""),
    ],
)
def test_the_last_words_of_a_process_are_its_sentence_and_its_fix(tmp_path, log, words, fix):
    if log is not None:
        (tmp_path / "part.log").write_text(log)

    assert last_words(tmp_path / "part.log") == (words, fix)
