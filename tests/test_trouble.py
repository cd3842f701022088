"""Everything a user can do wrong and every plug that can be pulled, on a whole platform of real processes."""

import collections
import contextlib
import http.client
import io
import json
import os
import pickle
import resource
import signal
import socket
import sqlite3
import sys
import threading
import time
from pathlib import Path

import pytest
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from shipway.cli import main

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="processes are found and limited in the way of Linux"),
]

COLUMNS = 6
HURRY = {"COMMIT_EVERY_S": "1", "SEAL_AFTER_S": "0.5", "COLLECT_EVERY_S": "0.3", "TICK_S": "0.3"}


class System(os.PathLike):
    """Pickles to a call of os.system."""

    def __fspath__(self):
        return ""

    def __reduce__(self):
        return os.system, ("touch made-by-a-pickle",)


class Told:
    """What a command said and how it ended."""

    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err

    def __repr__(self):
        return f"exit {self.code}\n{self.out}\n{self.err}"


def shipway(*words):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([str(word) for word in words])
    return Told(code, out.getvalue(), err.getvalue())


def until(reached, what, seconds=25.0):
    limit = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < limit, f"waited {seconds:g} s for {what}"
        time.sleep(0.1)


class Place:
    """A running platform, the folder a user works in, and the ports it listens on."""

    def __init__(self, folder, ports):
        self.folder, self.home = folder, folder / "home"
        self.control, self.server, self.admin = ports

    def call(self, port, method, path, body=None, token=""):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        try:
            connection.request(method, path, body, {"authorization": f"Bearer {token}"} if token else {})
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    def ask(self, body):
        return self.call(self.server, "POST", "/v2/models/cells/infer", body)

    def events(self):
        token = json.loads((self.home / "context.json").read_text())["token"]
        return self.call(self.control, "GET", "/v1/events?endpoint=cells&limit=10000", token=token)[1]["events"]

    def pid(self, part):
        """Process id of one process of the platform, by its command line below `up`."""
        parents, commands = {}, {}
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
                commands[int(stat.parent.name)] = (stat.parent / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        below, grown = {int((self.home / "up.lock").read_text())}, set()
        while below != grown:  # process numbers start again at the bottom some day, so a child may have the lower one
            grown = set(below)
            below |= {pid for pid, parent in parents.items() if parent in grown}
        found = [pid for pid in sorted(below) if f" {part} " in commands.get(pid, "")]
        return found[0] if found else 0


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """`shipway up --detach` in a folder where a model was trained, packed and deployed as cells:1."""
    folder = tmp_path_factory.mktemp("trouble")
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("SHIPWAY_HOME", str(folder / "home"))
        for name, value in HURRY.items():
            patch.setenv(f"SHIPWAY_{name}", value)
        for name, port in zip(("CONTROL", "SERVER", "ADMIN"), ports, strict=True):
            patch.setenv(f"SHIPWAY_{name}_PORT", str(port))
        write_files(folder)
        begun = shipway("up", "--detach")
        assert begun.code == 0, begun
        made = Place(folder, ports)
        try:
            packed = shipway("pack", "good.pkl", "--data", "train.csv", "--name", "cells", "--target", "truth")
            assert packed.code == 0, packed
            shipped = shipway("deploy", "./cells", "--endpoint", "cells")
            assert shipped.code == 0, shipped
            yield made
        finally:
            assert shipway("down").code == 0


def write_files(folder):
    """Write what a user may have lying about, good and bad."""
    cells = load_breast_cancer(as_frame=True)
    inputs = cells.data.iloc[:, :COLUMNS].rename(columns=lambda name: name.replace(" ", "_"))
    table = inputs.assign(truth=cells.target.map({0: "malignant", 1: "benign"}))
    table[:400].to_csv(folder / "train.csv", index=False)
    table[400:410].drop(columns="mean_area").to_csv(folder / "missing.csv", index=False)
    table[400:410].assign(mean_area="large").to_csv(folder / "words.csv", index=False)
    (folder / "empty.csv").write_bytes(b"")
    (folder / "header.csv").write_text(",".join(table.columns) + "\n")
    (folder / "rubbish.csv").write_bytes(bytes(range(256)) * 20)
    (folder / "row.json").write_text(inputs.iloc[[500]].to_json(orient="records")[1:-1])
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(inputs[:400], table["truth"][:400])
    whole = pickle.dumps(model)
    (folder / "good.pkl").write_bytes(whole)
    (folder / "half.pkl").write_bytes(whole[: len(whole) // 2])
    (folder / "dict.pkl").write_bytes(pickle.dumps({"a": 1}))
    (folder / "evil.pkl").write_bytes(pickle.dumps(System()))
    (folder / "text.pkl").write_text("this is no pickle\n")
    (folder / "text.onnx").write_text("this is no graph\n")
    (folder / "unknown.toml").write_text("nonsense = 1\n")


PACK = ("--name", "cells", "--target", "truth", "--out", "made")
EVENT = "0192f000000070008000000000000000"
MISTAKES = {
    "wrong target": ("pack good.pkl --data train.csv --name cells --target trust", 2, "'trust'"),
    "empty file": ("pack good.pkl --data empty.csv " + " ".join(PACK), 2, "is empty"),
    "no rows": ("pack good.pkl --data header.csv " + " ".join(PACK), 2, "no rows"),
    "rubbish": ("pack good.pkl --data rubbish.csv " + " ".join(PACK), 2, "rubbish.csv"),
    "a column less": ("pack good.pkl --data missing.csv " + " ".join(PACK), 2, "mean_area"),
    "another type": ("pack good.pkl --data words.csv " + " ".join(PACK), 2, "fails on rows of the data"),
    "half a pickle": ("pack half.pkl --data train.csv " + " ".join(PACK), 2, "half.pkl cannot be read"),
    "a pickle of something": ("pack dict.pkl --data train.csv " + " ".join(PACK), 2, "dict"),
    "a pickle that runs": ("pack evil.pkl --data train.csv " + " ".join(PACK), 2, "posix.system"),
    "text as pickle": ("pack text.pkl --data train.csv " + " ".join(PACK), 2, "not a pickle"),
    "text as graph": ("pack text.onnx --data train.csv " + " ".join(PACK), 2, "cannot be read as ONNX"),
    "bad model name": ("pack good.pkl --data train.csv --target truth --name ../x", 2, "'../x' cannot name"),
    "bad endpoint name": ("deploy cells:1 --endpoint ../x", 2, "'../x' cannot name"),
    "unknown version": ("deploy cells:99 --endpoint cells", 2, "no version 99"),
    "unknown alias": ("deploy cells@nobody --endpoint cells", 2, "no alias nobody"),
    "unknown model": ("deploy nothing --endpoint cells", 2, "no model is called nothing"),
    "unknown endpoint": ("predict nowhere --file missing.csv", 2, "'nowhere'"),
    "unknown rollout": ("rollout status nothing", 2, "'nothing'"),
    "unknown policy key": ("deploy cells:1 --endpoint cells --policy rollout=unknown.toml", 2, "nonsense"),
    "unknown setting": ("deploy cells:1 --endpoint cells --set nonsense=1", 2, "'nonsense'"),
    "no earlier champion": ("rollback cells", 1, "no champion before cells:1"),
    "champion on trial": ("rollout start cells cells:1", 2, "champion of cells already"),
    "rows with words": ("predict cells --file words.csv", 2, "'mean_area' of row 0 must be a number"),
    "rows without a column": ("predict cells --file missing.csv", 2, "mean_area"),
    "wrong token": ("list --token nonsense", 2, "this token opens nothing"),
    "label of a malformed id": ("label cells --event nonsense --value benign", 2, "'nonsense' is not an event id"),
    "label from the future": (f"label cells --event ff{EVENT[2:]} --value benign", 2, "in the future"),
    "label for nothing": (f"label nowhere --event {EVENT} --value benign", 2, "no endpoint is called nowhere"),
    "up twice": ("up --detach", 1, "already running"),
    "two servers of one name": ("serve", 3, "cannot be used"),
    "no control plane": ("list --url http://127.0.0.1:9", 3, "nothing listens"),
}


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize(("words", "code", "said"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_ends_in_one_sentence_with_its_fix(words, code, said):
    told = shipway(*words.split())

    sentence, fix, *more = told.err.splitlines()
    assert told.code == code, told
    assert said in sentence
    assert fix.startswith("  fix: ")
    assert not more
    assert not Path("made-by-a-pickle").exists()


def bodies(place):
    row = (place.folder / "row.json").read_text()
    area = json.loads(row)["mean_area"]
    yield "NaN", row.replace(str(area), "NaN")
    yield "Infinity", row.replace(str(area), "Infinity")
    yield "beyond a double", row.replace(str(area), "1e999")
    yield "twice", row.replace("{", '{"mean_area": 1, ', 1)
    yield "extra", row.replace("{", '{"extra": 1, ', 1)
    yield "null", row.replace(str(area), "null")
    yield "text", row.replace(str(area), '"1"')
    yield "deep", "[" * 100_000 + "]" * 100_000
    yield "20 MB", ",".join([row] * (20_000_000 // len(row)))


def test_a_body_that_cannot_be_is_refused_in_a_sentence_and_the_next_one_is_answered(place):
    for name, row in bodies(place):
        status, said = place.ask(f'{{"rows": [{row}]}}')

        assert status in (400, 413, 422), (name, status)
        assert said["error"], name
        assert said["fix"], name
    assert place.ask(f'{{"rows": [{(place.folder / "row.json").read_text()}]}}')[0] == 200


def test_an_unknown_event_and_an_impossible_answer_are_told_and_kept(place):
    told = shipway("label", "cells", "--event", EVENT, "--value", "perhaps")

    assert told.code == 0
    assert "1 label taken" in told.out
    assert f"no event {EVENT} was captured" in told.out
    assert "benign, malignant: 'perhaps'" in told.out
    assert place.call(place.control, "GET", "/v1/health")[1]["ok"]


def test_a_stored_bundle_that_was_changed_is_found_not_run_and_mended_by_the_next_push(place):
    (stored,) = place.home.glob("bundles/*/model/model.onnx")
    content = bytearray(stored.read_bytes())
    content[len(content) // 2] ^= 1
    stored.write_bytes(content)

    refused = shipway("deploy", "cells:1", "--endpoint", "other")
    seen = shipway("doctor")
    os.kill(place.pid("worker"), signal.SIGKILL)
    until(lambda: place.ask("{}")[0] != 422, "a worker that has to load it again")
    status, unable = place.ask(f'{{"rows": [{(place.folder / "row.json").read_text()}]}}')
    mended = shipway("deploy", "./cells", "--endpoint", "cells")

    assert refused.code == 1, refused
    assert "model/model.onnx was changed" in refused.err
    assert seen.code == 3, seen
    assert "model/model.onnx was changed" in seen.out
    assert (status, "model/model.onnx was changed" in unable["error"]) == (503, True)
    assert mended.code == 0, mended
    until(lambda: place.ask(f'{{"rows": [{(place.folder / "row.json").read_text()}]}}')[0] == 200, "an answer")


def test_a_full_disk_stops_what_must_be_written_says_so_and_passes(place):
    control = place.pid("control")
    before = resource.prlimit(control, resource.RLIMIT_FSIZE)

    resource.prlimit(control, resource.RLIMIT_FSIZE, (0, before[1]))
    refused = shipway("label", "cells", "--key", "order-7", "--value", "benign")
    answered = place.ask(f'{{"rows": [{(place.folder / "row.json").read_text()}]}}')[0]
    resource.prlimit(control, resource.RLIMIT_FSIZE, before)

    assert refused.code == 3, refused
    assert "is full or failing; nothing was written" in refused.err
    assert answered == 200
    until(lambda: shipway("label", "cells", "--key", "order-7", "--value", "benign").code == 0, "room")
    until(lambda: place.call(place.control, "GET", "/v1/health")[1]["ok"], "every step of the control plane")


def test_a_platform_that_rested_over_night_raises_no_alarm_in_the_morning(place):
    assert shipway("down").code == 0
    with contextlib.closing(sqlite3.connect(place.home / "shipway.db")) as database:
        database.execute("update server set seen_at = seen_at - 36000")
        database.commit()

    begun = shipway("up", "--detach")

    assert begun.code == 0, begun
    until(lambda: "server local reported" in shipway("doctor").out, "the server's report")
    until(lambda: place.call(place.control, "GET", "/v1/health")[1]["ok"], "every step of the control plane")
    assert "does not report" not in (place.home / "logs" / "control.log").read_text()


class Callers:
    """A few callers with connections of their own, who note what was answered and what failed."""

    def __init__(self, place, count=3):
        self.body = f'{{"rows": [{(place.folder / "row.json").read_text()}]}}'
        self.port, self.count = place.server, count
        self.answered, self.failed, self.done = [], [], threading.Event()
        self.threads = [threading.Thread(target=self.run, daemon=True) for _ in range(count)]

    def run(self):
        connection = None
        while not self.done.wait(0.02):
            try:
                connection = connection or http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
                connection.request("POST", "/v2/models/cells/infer", self.body)
                answer = connection.getresponse()
                said = json.loads(answer.read())
            except (OSError, http.client.HTTPException) as exc:
                self.failed.append(repr(exc))
                connection.close()
                connection = None
            else:
                (self.answered.append(said["event_id"]) if answer.status == 200 else self.failed.append(said["error"]))
        if connection is not None:
            connection.close()

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.done.set()
        for thread in self.threads:
            thread.join()


def test_a_kill_of_any_process_loses_nothing_that_was_answered_and_the_platform_heals(place):
    tolls = {}
    with Callers(place) as callers:
        for part in ("control", "collect", "worker", "supervise"):
            until(lambda part=part: place.pid(part), part)
            before, answered, killed = len(callers.failed), len(callers.answered), place.pid(part)
            os.kill(killed, signal.SIGKILL)
            until(lambda part=part, killed=killed: place.pid(part) not in (0, killed), f"another {part}")
            until(lambda answered=answered: len(callers.answered) > answered + 50, "answers")
            tolls[part] = len(callers.failed) - before
        until(lambda: place.pid("worker"), "a worker")

    assert tolls["control"] == tolls["collect"] == 0, callers.failed
    assert tolls["worker"] <= callers.count, callers.failed
    wanted = set(callers.answered)
    until(lambda: wanted <= {event["event_id"] for event in place.events()}, "every answer in the lake")
    assert set(collections.Counter(event["event_id"] for event in place.events()).values()) == {1}
    healed = shipway("doctor")
    assert healed.code <= 1, healed
