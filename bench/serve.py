"""What an answer costs the server: shipway, a constant on the same transport, and FastAPI written by hand.

    python bench/serve.py [--json]

All three run at once and are called in turn, block by block, by a client process with kept connections and ever
different rows. The figure is CPU per request of the server's processes, from /proc, least of the blocks; routing,
capture, counts and event ids are on. Linux only.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import orjson
import subject

from shipway.bundle import BundleStore
from shipway.terms import EndpointRoute, RouteTable, Variant

HERE = Path(__file__).parent
CONNECTIONS = 32
ROUNDS = 4
BODIES = 400
INFER = "/v2/models/subject/infer"
REQUESTS = {("hello", 1): 20_000, ("shipway", 1): 20_000, ("fastapi", 1): 4_000}
REQUESTS_64 = {("shipway", 64): 4_000, ("fastapi", 64): 1_500}
TICK = os.sysconf("SC_CLK_TCK")


@dataclass
class Server:
    """One server under test."""

    path: str
    port: int
    pids: list[int]
    process: "subprocess.Popen[bytes]"
    cpu_us: dict[int, float] = field(default_factory=dict)
    p50_ms: dict[int, float] = field(default_factory=dict)
    p99_ms: dict[int, float] = field(default_factory=dict)

    def cpu_s(self) -> float:
        """CPU seconds of its processes so far."""
        stats = [Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split() for pid in self.pids]
        return sum(int(stat[11]) + int(stat[12]) for stat in stats) / TICK

    def rss_mb(self) -> float:
        """Resident memory of the process that answers."""
        status = Path(f"/proc/{self.pids[-1]}/status").read_text()
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")) / 1024

    def block(self, rows: int, requests: int, bodies: Path) -> None:
        """Call it, and keep what was least."""
        before = self.cpu_s()
        command = [
            sys.executable,
            HERE / "caller.py",
            str(self.port),
            self.path,
            str(requests),
            str(CONNECTIONS),
            bodies,
        ]
        told = orjson.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        if told["failures"]:
            raise SystemExit(f"{told['failures']} requests to {self.path} failed: {told['first'][:300]}")
        for kept, value in (
            (self.cpu_us, 1e6 * (self.cpu_s() - before) / requests),
            (self.p50_ms, told["p50_ms"]),
            (self.p99_ms, told["p99_ms"]),
        ):
            kept[rows] = min(kept.get(rows, value), value)


def _home(folder: Path) -> Path:
    """Make an installation's folder with one bundle, served by one endpoint."""
    home = folder / "home"
    (home / "routes").mkdir(parents=True)
    digest = BundleStore(home / "bundles").add(subject.bundle(subject.model(), folder / "bundle"))
    route = EndpointRoute("default", "subject", (Variant("champion", "subject", 1, digest, weight=10_000),))
    (home / "routes" / "routes.json").write_bytes(msgspec.json.encode(RouteTable(1, 1, 0.0, "", (route,))))
    return home


def _shipway(home: Path, body: bytes) -> tuple[Server, float]:
    """Start a real server and return it with the seconds until its first answer."""
    address = home / "servers" / "bench" / "address.json"
    address.parent.mkdir(parents=True)
    command = ["supervise", "--home", home, "--name", "bench", "--port", "0", "--admin-port", "0", "--workers", "1"]
    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "shipway.wiring.server", *command], stderr=subprocess.DEVNULL)
    while not address.exists():
        time.sleep(0.005)
    told = orjson.loads(address.read_bytes())
    request = urllib.request.Request(f"http://127.0.0.1:{told['port']}{INFER}", body)
    while True:
        try:
            urllib.request.urlopen(request, timeout=5).read()  # noqa: S310 - our own server
            break
        except OSError:
            time.sleep(0.005)
    first_s = time.perf_counter() - began
    time.sleep(0.5)  # the supervisor hears from its worker four times a second
    with urllib.request.urlopen(f"http://127.0.0.1:{told['admin_port']}/counts") as answer:
        pids = orjson.loads(answer.read())["health"]["pids"]
    return Server(INFER, told["port"], [process.pid, *pids], process), first_s


def _rival(path: str, *arguments: str | Path) -> Server:
    command = [sys.executable, HERE / "rivals.py", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None  # noqa: S101 - it was asked for
    return Server(path, int(process.stdout.readline()), [process.pid], process)


def _bodies(folder: Path, rows: int) -> Path:
    table = subject.rows(rows * BODIES, seed=5).to_dict("records")
    path = folder / f"bodies-{rows}"
    each = [orjson.dumps({"rows": table[start : start + rows]}) for start in range(0, len(table), rows)]
    path.write_bytes(b"\n".join(each))
    return path


def main(*, json: bool) -> dict[str, object]:
    """Measure and print."""
    servers: dict[str, Server] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        home, bodies = _home(folder), {rows: _bodies(folder, rows) for rows in (1, 64)}
        try:
            servers["shipway"], first_s = _shipway(home, bodies[1].read_bytes().splitlines()[0])
            servers["hello"] = _rival("/", "hello")
            servers["fastapi"] = _rival("/predict", "fastapi", folder / "bundle")
            for who, server in servers.items():
                server.block(1, 500, bodies[1])  # warm
                server.cpu_us.clear()
                assert who in {"hello", "shipway", "fastapi"}  # noqa: S101
            for _ in range(ROUNDS):
                for (who, rows), requests in (REQUESTS | REQUESTS_64).items():
                    servers[who].block(rows, requests, bodies[rows])
            found = _found(servers, first_s)
        finally:
            for server in servers.values():
                server.process.send_signal(signal.SIGTERM)
            for server in servers.values():
                server.process.wait(20)
    print(orjson.dumps(found).decode() if json else _text(found))
    return found


def _found(servers: dict[str, Server], first_s: float) -> dict[str, object]:
    ours, theirs, floor = servers["shipway"], servers["fastapi"], servers["hello"].cpu_us[1]

    def side(rows: int) -> dict[str, float]:
        return {
            "cpu_us": round(ours.cpu_us[rows], 1),
            "cpu_us_fastapi": round(theirs.cpu_us[rows], 1),
            "ratio": round(theirs.cpu_us[rows] / ours.cpu_us[rows], 2),
            "p50_ms": round(ours.p50_ms[rows], 2),
            "p99_ms": round(ours.p99_ms[rows], 2),
            "p50_ms_fastapi": round(theirs.p50_ms[rows], 2),
            "p99_ms_fastapi": round(theirs.p99_ms[rows], 2),
        }

    return {
        "hello_us": round(floor, 1),
        "floor_ratio": round(ours.cpu_us[1] / floor, 2),
        "one_row_json": side(1),
        "rows64_json": side(64),
        "rss_mb": round(ours.rss_mb(), 1),
        "rss_mb_fastapi": round(theirs.rss_mb(), 1),
        "first_answer_s": round(first_s, 2),
    }


def _text(found: dict[str, object]) -> str:
    lines = [
        f"serve: {found['floor_ratio']} times a constant answer on the same transport ({found['hello_us']} us of CPU)",
        f"  worker and model {found['rss_mb']} MB; first answer {found['first_answer_s']} s after the start",
    ]
    for key, words in (("one_row_json", "one row"), ("rows64_json", "64 rows")):
        side = msgspec.convert(found[key], dict[str, float])
        lines.append(
            f"  {words}: {side['cpu_us']} us, FastAPI by hand {side['cpu_us_fastapi']} us, {side['ratio']} times as "
            f"much; p50 {side['p50_ms']} ms against {side['p50_ms_fastapi']}, p99 {side['p99_ms']} against "
            f"{side['p99_ms_fastapi']} ({CONNECTIONS} connections)"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main(json="--json" in sys.argv[1:])
