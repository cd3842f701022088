"""Scenes for the tests of the data plane: a home folder, route tables, a real server, one call."""

import http.client
import json
import os
import signal
import subprocess
import sys
import time

import msgspec
from serve_models import add_bundle

from shipway.capture.segment import read_segment
from shipway.capture.spool import recover
from shipway.terms import EndpointRoute, RouteTable, Variant


class Home:
    """An installation's folder, with what a server needs in it."""

    def __init__(self, folder):
        self.folder = folder
        self.epoch = 0
        (folder / "routes").mkdir(parents=True)

    def bundle(self, manner="good", **options):
        return add_bundle(self.folder, manner, **options)

    def publish(self, *routes, tokens=None):
        self.epoch += 1
        table = RouteTable(1, self.epoch, 0.0, "", tuple(routes), tokens or {})
        new = self.folder / "routes" / "routes.new"
        new.write_bytes(msgspec.json.encode(table))
        new.rename(self.folder / "routes" / "routes.json")
        return self.epoch

    def records(self, name="s"):
        """All captures of a server, shadows included; call when it has stopped."""
        spool = self.folder / "servers" / name / "spool"
        recover(spool)
        return [record for path in sorted(spool.glob("*.sealed")) for record in read_segment(path)]


def champion(digest, version=1, **options):
    return Variant("champion", "toy", version, digest, **{"weight": 10_000, **options})


def challenger(digest, version=2, weight=5_000, **options):
    return Variant("challenger", "toy", version, digest, weight=weight, **options)


def route(*variants, rollout="", name="toy", **options):
    rest = 10_000 - sum(v.weight for v in variants if v.name == "challenger")
    fitted = tuple(msgspec.structs.replace(v, weight=rest) if v.name == "champion" else v for v in variants)
    return EndpointRoute("default", name, fitted, rollout=rollout, **options)


class Server:
    """A supervisor with its children, as a user starts it."""

    def __init__(self, home, *, workers=1, name="s", options=()):
        self.home = home
        self.name = name
        folder = home.folder / "servers" / name
        folder.mkdir(parents=True, exist_ok=True)
        self.address_file = folder / "address.json"
        self.address_file.unlink(missing_ok=True)
        self.log = (folder / "log.txt").open("ab+")
        self.process = subprocess.Popen(
            [
                sys.executable, "-m", "shipway.wiring.server", "supervise", "--home", str(home.folder), "--name", name,
                "--port", "0", "--admin-port", "0", "--workers", str(workers), "--drain-idle", "0.2", *options,
            ],
            stderr=self.log,
            start_new_session=True,
        )  # fmt: skip
        until(self.address_file.exists, "the server's address", alive=self.process)
        address = json.loads(self.address_file.read_bytes())
        self.port, self.admin_port = address["port"], address["admin_port"]

    def wait(self, epoch=None):
        """Wait until every worker applied the newest table."""
        epoch = self.home.epoch if epoch is None else epoch
        until(lambda: self.admin("/readyz")[1].get("epoch", -1) >= epoch, f"epoch {epoch}", alive=self.process)
        until(lambda: self.admin("/readyz")[0] == 200, "every worker", alive=self.process)
        return self

    def admin(self, path, method="GET"):
        status, _, body = call(self.admin_port, method, path)
        return status, json.loads(body)

    def health(self):
        return self.admin("/counts")[1]["health"]

    def cells(self):
        return [c for cells in self.admin("/counts")[1]["incarnations"].values() for c in cells]

    def ask(self, x=1.0, y=2.0, headers=None, endpoint="toy"):
        body = json.dumps({"rows": [{"x": x, "y": y}]})
        status, told, body = call(self.port, "POST", f"/v2/models/{endpoint}/infer", body, headers)
        return status, told, json.loads(body)

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
        status = self.process.wait(20)
        self.log.close()
        return status

    def kill(self):
        """Leave nothing behind, whatever the test did."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        self.process.wait(5)

    def text(self):
        return self.address_file.with_name("log.txt").read_text()


def call(port, method, path, body=None, headers=None, timeout=10):
    """One request on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def until(condition, what, *, seconds=20.0, alive=None):
    """Wait for a condition; fail with its name."""
    limit = time.monotonic() + seconds
    while True:
        try:
            if condition():
                return
        except (OSError, http.client.HTTPException, ValueError):
            pass
        assert alive is None or alive.poll() is None, f"the process ended with {alive.returncode}, waiting for {what}"
        assert time.monotonic() < limit, f"waited {seconds:.0f} s for {what}"
        time.sleep(0.02)
