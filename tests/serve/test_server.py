"""A real server under load: stopped, killed, replaced, swapped, shadowed."""

import json
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from serve_load import Load
from serve_scenes import Server, call, challenger, champion, route, until

from shipway.capture.record import SHADOW


def test_sigterm_drains_without_a_failed_request_and_captures_every_answer(home, start):
    home.publish(route(champion(home.bundle())))
    server = start(workers=2).wait()

    with Load(server.port) as load:
        time.sleep(0.7)
        status = server.stop()

    assert status == 0
    assert load.failures == []
    assert len(load.answered) > 100
    records = home.records()
    assert {r.event_id for r in records} == load.ids()
    assert len(records) == len(load.answered)


def test_killed_worker_is_replaced_and_takes_only_what_it_held(home, start):
    home.publish(route(champion(home.bundle())))
    server = start(workers=2).wait()

    with Load(server.port, callers=6) as load:
        time.sleep(0.3)
        victim = server.health()["pids"][0]
        before = len(load.answered)
        os.kill(victim, signal.SIGKILL)
        until(lambda: victim not in server.health()["pids"], "the loss to be seen")
        until(lambda: server.health()["workers"] == 2, "a new worker")
        until(lambda: len(load.answered) > before + 100, "more answers")

    assert len(load.failures) <= 6
    assert {how for how, _ in load.failures} <= {"lost"}
    assert server.admin("/readyz") == (200, {"ready": True, "epoch": 1})
    counted = sum(cell["n"] for cell in server.cells())
    server.stop()
    recorded = {r.event_id for r in home.records()}
    assert load.ids() <= recorded
    assert len(load.answered) <= counted <= len(load.answered) + 6


def test_only_worker_is_replaced_while_callers_wait(home, start):
    home.publish(route(champion(home.bundle())))
    server = start().wait()

    os.kill(server.health()["pids"][0], signal.SIGKILL)
    status, _, _ = server.ask()

    assert status == 200


def test_hundred_tables_under_load_fail_no_request_and_each_answer_names_its_variant(home, start):
    good, better = home.bundle(), home.bundle(weight=2.0)
    home.publish(route(champion(good)))
    server = start().wait()

    with Load(server.port) as load:
        for weight in (500, 5_000, 10_000, 0) * 5:
            home.publish(route(champion(good), challenger(better, weight=weight), rollout="r1"))
            time.sleep(0.05)
        home.publish(route(champion(better, version=2)))
        server.wait()

    assert load.failures == []
    assert {variant for _, variant in load.answered} == {"champion", "challenger"}
    server.stop()
    by_id = {r.event_id: r for r in home.records()}
    assert {event: by_id[event].served for event, _ in load.answered} == dict(load.answered)
    assert all(r.propensity in (0, 500, 5_000, 10_000) for r in by_id.values())


def test_hangup_replaces_every_worker_without_a_failed_request(home, start):
    home.publish(route(champion(home.bundle())))
    server = start(workers=2).wait()
    old = set(server.health()["pids"])

    with Load(server.port) as load:
        os.kill(server.process.pid, signal.SIGHUP)
        until(lambda: not old & set(server.health()["pids"]), "a new generation")
        until(lambda: server.health()["workers"] == 2, "both workers")
        time.sleep(0.5)

    assert load.failures == []


def test_shadow_answers_nobody_and_pairs_with_every_request_it_samples(home, start):
    good, other = home.bundle(), home.bundle(weight=2.0)
    shadow = challenger(other, weight=0, mode="shadow", shadow_share=10_000)
    home.publish(route(champion(good), shadow, rollout="r1"))
    server = start().wait()
    until(lambda: server.health()["shadow"].get("lag_s") is not None, "the shadow")

    told = [server.ask(x=float(i))[1] for i in range(1, 30)]
    until(lambda: sum(c["n"] for c in server.cells() if c["arm"] == "challenger") == 29, "the shadow's answers")

    assert {t["shipway-variant"] for t in told} == {"champion"}
    server.stop()
    records = home.records()
    primary = {r.event_id: r for r in records if not r.flags & SHADOW}
    pairs = {r.pair: r for r in records if r.flags & SHADOW}
    assert set(pairs) == set(primary) == {t["shipway-event-id"] for t in told}
    assert {(r.version, r.variant, r.rollout, r.status) for r in pairs.values()} == {(2, "challenger", "r1", 200)}
    assert all(pairs[e].inputs["x"].tolist() == primary[e].inputs["x"].tolist() for e in primary)


def test_shadow_that_raises_is_a_failure_of_that_request_alone(home, start):
    shadow = challenger(home.bundle("raises"), weight=0, mode="shadow", shadow_share=10_000)
    home.publish(route(champion(home.bundle()), shadow, rollout="r1"))
    server = start().wait()
    until(lambda: server.health()["shadow"].get("lag_s") is not None, "the shadow")

    for x in (1.0, 500.0, 2.0):
        assert server.ask(x=x)[0] == 200
    until(lambda: sum(c["n"] for c in server.cells() if c["arm"] == "challenger") == 3, "the shadow's answers")

    counts = {c["outcome"]: c["n"] for c in server.cells() if c["arm"] == "challenger"}
    assert counts == {"ok": 2, "error": 1}
    server.stop()
    statuses = {float(r.inputs["x"][0]): r.status for r in home.records() if r.flags & SHADOW}
    assert statuses == {1.0: 200, 500.0: 500, 2.0: 200}


def test_worker_that_hangs_in_an_inline_challenger_is_killed_and_the_fuse_opens(home, start):
    hanging = home.bundle("hangs", inline=True)  # a bundle that lied about itself
    home.publish(route(champion(home.bundle()), challenger(hanging, weight=10_000), rollout="r1"))
    server = start().wait()

    def provoke():
        with pytest.raises((OSError, AssertionError)):
            assert server.ask(x=1e15)[0] != 200

    caller = threading.Thread(target=provoke)
    caller.start()
    caller.join(15)
    until(lambda: server.health()["restarts"] == 1, "the loss to be seen")
    until(lambda: server.health()["workers"] == 1, "a new worker")

    assert server.ask(x=1e15)[1]["shipway-variant"] == "champion"


def test_challengers_get_nothing_while_the_control_plane_is_silent_and_their_share_when_it_is_back(home, start):
    home.publish(route(champion(home.bundle()), challenger(home.bundle(weight=2.0), weight=10_000), rollout="r1"))
    control = Control()
    options = ("--control-url", f"http://127.0.0.1:{control.port}", "--token", "t0", "--challenger-grace", "0.3")
    server = start(options=options).wait()
    try:
        assert server.ask()[1]["shipway-variant"] == "challenger"
        control.answering = False
        until(lambda: server.ask()[1]["shipway-variant"] == "champion", "the champion alone")
        control.answering = True
        until(lambda: server.ask()[1]["shipway-variant"] == "challenger", "the challenger again")
        total = sum(c["n"] for c in server.cells())
        until(lambda: control.total() == total, "all counts")
        server.stop()
    finally:
        control.close()

    assert control.tokens == {"Bearer t0"}
    lost = [r for r in home.records() if r.propensity == 0]
    assert lost
    assert {r.served for r in lost} == {"champion"}


class Control:
    """The one route of a control plane that servers push to."""

    def __init__(self):
        self.answering = True
        self.last = {}
        self.tokens = set()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                report = json.loads(self.rfile.read(int(self.headers["content-length"])))
                outer.tokens.add(self.headers["authorization"])
                if outer.answering:
                    outer.last.update(report["incarnations"])
                self.send_response(200 if outer.answering else 503)
                self.send_header("content-length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_):
                pass

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    def total(self):
        return sum(cell["n"] for cells in list(self.last.values()) for cell in cells)

    def close(self):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def test_server_without_a_table_lives_and_takes_the_first_one(home, start):
    server = start().wait(0)
    assert server.ask()[0] == 404

    home.publish(route(champion(home.bundle())))
    server.wait()

    assert server.ask()[0] == 200


def test_rollback_does_not_wait_for_a_challenger_that_is_slow_to_load(home, start):
    good = home.bundle()
    home.publish(route(champion(good)))
    server = start().wait()
    forever = home.bundle("hangs", inline=False, examples=[{"x": 1e15, "y": 0.0}])
    home.publish(route(champion(good), challenger(forever), rollout="r1"))
    time.sleep(0.3)

    epoch = home.publish(route(champion(good)))

    until(lambda: server.ask()[1]["shipway-epoch"] == str(epoch), "the rollback", seconds=1.5)


def test_worker_that_starts_does_not_wait_long_for_a_challenger_that_never_loads(home, start):
    forever = home.bundle("hangs", inline=False, examples=[{"x": 1e15, "y": 0.0}])
    home.publish(route(champion(home.bundle()), challenger(forever), rollout="r1"))

    server = start()

    until(lambda: server.ask()[1]["shipway-variant"] == "champion", "an answer", seconds=12)


def test_port_in_use_is_said_in_one_sentence(home):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        ended = subprocess.run(
            [sys.executable, "-m", "shipway.wiring.server", "supervise", "--home", str(home.folder), "--port", port],
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )

    assert ended.returncode == 3
    assert f"port {port}" in ended.stderr
    assert "fix:" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_admin_shows_metrics_and_drains(home, start):
    home.publish(route(champion(home.bundle())))
    server = start().wait()
    server.ask()

    status, headers, body = call(server.admin_port, "GET", "/metrics")
    assert status == 200
    assert headers["content-type"].startswith("text/plain")
    assert 'shipway_requests_total{project="default",endpoint="toy",arm="champion"' in body.decode()
    assert "shipway_latency_seconds_count" in body.decode()
    assert server.admin("/healthz") == (200, {"alive": True})
    assert call(server.admin_port, "GET", "/drain")[0] == 405
    assert call(server.admin_port, "POST", "/drain")[0] == 202
    assert server.process.wait(10) == 0


def test_server_ends_when_its_supervisor_is_killed(home, start):
    home.publish(route(champion(home.bundle())))
    server = start().wait()
    worker = server.health()["pids"][0]

    server.process.kill()
    server.process.wait(5)

    until(lambda: not Path(f"/proc/{worker}").exists(), "the worker to leave")


def test_second_start_hands_over_the_counts_of_a_killed_server(home, start):
    home.publish(route(champion(home.bundle())))
    first = start().wait()
    first.ask()
    first.kill()

    second = Server(home, name="s").wait()
    try:
        report = second.admin("/counts")[1]
    finally:
        second.kill()
        second.log.close()

    assert len(report["finished"]) == 1
    assert sum(c["n"] for c in report["incarnations"][report["finished"][0]]) == 1


def test_a_second_server_of_one_name_is_refused_and_the_first_answers_on(home, start):
    home.publish(route(champion(home.bundle())))
    first = start().wait()

    second = subprocess.run(
        [
            sys.executable, "-m", "shipway.wiring.server", "supervise", "--home", str(home.folder), "--name", "s",
            "--port", "0", "--admin-port", "0",
        ],
        capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip

    assert second.returncode == 1
    assert f"a server called s is already running here (process {first.process.pid})" in second.stderr
    assert "--name" in second.stderr
    assert first.ask()[0] == 200


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux changes the limits of another process")
def test_worker_that_starts_without_room_on_the_disk_answers_and_counts_again_once_there_is(home, start):
    home.publish(route(champion(home.bundle())))
    server = start().wait()
    limits = resource.RLIMIT_FSIZE, (1 << 20, resource.RLIM_INFINITY)  # less than a file of counts needs
    resource.prlimit(server.process.pid, *limits)

    os.kill(server.health()["pids"][0], signal.SIGKILL)
    server.wait()

    assert [server.ask()[0] for _ in range(3)] == [200] * 3
    resource.prlimit(server.health()["pids"][0], resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
    until(lambda: server.ask()[0] == 200 and any(cell.get("n") for cell in server.cells()), "counts on the disk")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux changes the limits of another process")
def test_capture_that_stops_and_goes_on_says_so_once(home, start):
    home.publish(route(champion(home.bundle())))
    server = start(options=("--seal-after", "60")).wait()
    worker = server.health()["pids"][0]

    resource.prlimit(worker, resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))  # room for the log alone
    until(lambda: server.ask()[0] == 200 and server.text().count("capture stopped") == 1, "the word")
    assert server.health()["capture_stopped"] or server.health()["capture_dropped"]
    time.sleep(2.5)  # the spool tries again meanwhile; that nothing fails without a request proves nothing
    assert "capture goes on" not in server.text()
    assert server.ask()[0] == 200
    resource.prlimit(worker, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)

    until(lambda: server.ask()[0] == 200 and "capture goes on" in server.text(), "the end of it")
    assert server.text().count("capture stopped") == 1
