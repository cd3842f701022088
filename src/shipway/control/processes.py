"""Start and watch the processes of one machine: control plane, collector, server.

`Processes` starts them as children, starts a dead one again, and stops them in the order that loses
nothing: the server first (it drains), then the collector, then the control plane. Should this parent be
killed, the kernel tells the children to stop (Linux; elsewhere they are left and `doctor` finds them).
"""

import ctypes
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from time import monotonic, sleep
from typing import IO, Self

from shipway import settings as settings_file
from shipway.client import Client
from shipway.control.lock import hold, holder
from shipway.control.setup import control_url, server_token, server_token_file, write_private
from shipway.errors import ShipwayError, Unavailable
from shipway.serve.sockets import bind_all
from shipway.settings import FIELDS, PREFIX, Settings

log = logging.getLogger("shipway.up")

ORDER = ("control", "collect", "serve")
_PR_SET_PDEATHSIG = 1

_background: list["subprocess.Popen[bytes]"] = []
"""Platforms that were detached from here: kept, because a dropped Popen complains that its process still runs."""


def _die_with_parent() -> None:
    """Ask the kernel for a SIGTERM when the parent goes; runs in the child, before exec."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def server_command(settings: Settings, *, name: str = "local") -> list[str]:
    """The command line of this installation's server. Its token stands in a file, not in the list of processes."""
    if settings.token:
        write_private(server_token_file(settings), settings.token + "\n")
    server_token(settings)
    options = {
        "home": settings.home, "name": name, "host": settings.server_host, "port": settings.server_port,
        "admin-port": settings.admin_port, "workers": settings.workers,
        "control-url": settings.url or control_url(settings), "token-file": server_token_file(settings),
        "segment-bytes": settings.segment_bytes, "seal-after": settings.seal_after_s, "durability": settings.durability,
        "counts-every": settings.counts_every_s, "challenger-grace": settings.challenger_grace_s,
    }  # fmt: skip
    told = [part for option, value in options.items() for part in (f"--{option}", str(value))]
    return [sys.executable, "-m", "shipway.wiring.server", "supervise", *told]


def child_environment(settings: Settings) -> dict[str, str]:
    """The environment in which a child process loads the same settings."""
    told = {
        PREFIX + name.upper(): str(getattr(settings, name)) for name in FIELDS if settings.origins[name] != "default"
    }
    return {**settings_file.environment(), **told}


def free(host: str, port: int, flag: str) -> None:
    """Raise Unavailable if a port is in use already; port 0 is always free."""
    if port == 0:
        return
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as failure:
            raise Unavailable(
                f"port {port} on {host} cannot be used: {failure.strerror}",
                fix=f"stop what uses it, or choose another with {flag}",
            ) from failure


def free_ports(settings: Settings) -> None:
    """Raise Unavailable if a port that `shipway up` needs is in use already."""
    free(settings.control_host, settings.control_port, "--control-port (SHIPWAY_CONTROL_PORT)")
    free(settings.server_host, settings.server_port, "--server-port (SHIPWAY_SERVER_PORT)")
    free("127.0.0.1", settings.admin_port, "--admin-port (SHIPWAY_ADMIN_PORT)")


def last_words(log_file: Path) -> tuple[str, str]:
    """Return the sentence and the fix with which a process ended; the fix is "" where it gave none."""
    try:
        lines = log_file.read_text(errors="replace").strip().splitlines()
    except OSError:
        return "it said nothing", ""
    if len(lines) > 1 and lines[-1].startswith("  fix: "):
        return lines[-2], lines[-1].removeprefix("  fix: ")
    return " | ".join(lines[-2:])[-400:] or "it said nothing", ""


@dataclass
class Processes:
    """The three processes of one machine, as children of this one. Use as a context manager."""

    settings: Settings
    tell: Callable[[str], None] = log.warning
    """Called with a sentence when a child died and was started again."""
    children: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    outputs: dict[str, IO[bytes]] = field(default_factory=dict)
    sockets: list[socket.socket] = field(default_factory=list)
    """Where callers connect: one listening socket per worker, held open for as long as this process lives."""
    stopping: threading.Event = field(default_factory=threading.Event)
    watcher: threading.Thread | None = None
    restarts: int = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _command(self, part: str) -> list[str]:
        if part == "serve":
            held = ",".join(str(sock.fileno()) for sock in self.sockets)
            return [*server_command(self.settings), "--listen", held]
        return [sys.executable, "-m", "shipway", part]

    def _start(self, part: str) -> None:
        if part not in self.outputs:
            self.settings.logs.mkdir(parents=True, exist_ok=True)
            self.outputs[part] = (self.settings.logs / f"{part}.log").open("ab")
        self.children[part] = subprocess.Popen(  # noqa: S603 - our own interpreter and modules
            self._command(part),
            stdin=subprocess.DEVNULL,
            stdout=self.outputs[part],
            stderr=self.outputs[part],
            env=child_environment(self.settings),
            pass_fds=[sock.fileno() for sock in self.sockets] if part == "serve" else [],
            preexec_fn=_die_with_parent,  # noqa: PLW1509 - one prctl call, before any thread of the child exists
        )

    def wait_for(self, what: str, ready: Callable[[], bool], part: str, timeout_s: float = 30.0) -> None:
        """Wait until `ready` says so.

        Raises:
            Unavailable: the process ended, or the time ran out; with its last words.
        """
        until = monotonic() + timeout_s
        while not ready():
            child = self.children[part]
            log_file = self.settings.logs / f"{part}.log"
            if child.poll() is not None and not self.watcher:
                words, fix = last_words(log_file)
                raise Unavailable(
                    f"{what} ended with status {child.returncode} before it was ready: {words}",
                    fix=fix or f"see {log_file}",
                )
            if monotonic() > until:
                words, fix = last_words(log_file)
                raise Unavailable(
                    f"{what} was not ready after {timeout_s:.0f} seconds: {words}", fix=fix or f"see {log_file}"
                )
            sleep(0.05)

    def start(self) -> None:
        """Start all three, each when what it needs is there, and watch them from then on.

        Raises:
            Unavailable: a port is in use, or a process did not become ready.
        """
        settings = self.settings
        free_ports(settings)
        # Held here, so that callers wait in the queue while a killed server is started again, and none is refused.
        self.sockets = bind_all(settings.server_host, settings.server_port, settings.workers)
        self._start("control")
        self.wait_for("the control plane", self.control_answers, "control")
        self._start("collect")
        self._start("serve")
        self.wait_for("the server", self.server_answers, "serve")
        self.watcher = threading.Thread(target=self._watch, name="watch", daemon=True)
        self.watcher.start()

    def control_answers(self) -> bool:
        """Whether the control plane answers and has made its tokens."""
        try:
            with Client(control_url(self.settings), "nobody") as client:
                client.health()
            server_token(self.settings)
        except ShipwayError:
            return False
        return True

    def server_answers(self) -> bool:
        """Whether a worker of the server answers."""
        line = HTTPConnection(self.settings.server_host, self.settings.server_port, timeout=2)
        try:
            line.request("GET", "/v2/health/live")
            return line.getresponse().status == 200
        except (OSError, HTTPException):
            return False
        finally:
            line.close()

    def _watch(self) -> None:
        pause = dict.fromkeys(ORDER, 0.1)
        since = dict.fromkeys(ORDER, monotonic())
        while not self.stopping.wait(0.05):
            for part, child in list(self.children.items()):
                status = child.poll()
                if status is None or self.stopping.is_set():
                    continue
                how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
                self.tell(f"the {part} process {how}; it is started again")
                pause[part] = 0.1 if monotonic() - since[part] > 10 else min(5.0, pause[part] * 2)
                self.stopping.wait(pause[part])
                if not self.stopping.is_set():
                    since[part] = monotonic()
                    self.restarts += 1
                    self._start(part)

    def close(self) -> None:
        """Stop all three, the server first, and wait for them."""
        self.stopping.set()
        if self.watcher is not None:
            self.watcher.join(timeout=6)
        for sock in self.sockets:
            sock.close()
        for part in reversed(ORDER):
            child = self.children.get(part)
            if child is None or child.poll() is not None:
                continue
            child.terminate()
            try:
                child.wait(timeout=20)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        for output in self.outputs.values():
            output.close()


def serve(settings: Settings, *, name: str = "local") -> int:
    """Run this installation's server in the foreground; returns its exit status.

    Raises:
        Unavailable: its port is in use, or no control plane has run here and no token was given.
    """
    free(settings.server_host, settings.server_port, "--port (SHIPWAY_SERVER_PORT)")
    free("127.0.0.1", settings.admin_port, "--admin-port (SHIPWAY_ADMIN_PORT)")
    child = subprocess.Popen(server_command(settings, name=name), env=child_environment(settings))  # noqa: S603 - our own interpreter
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: child.terminate())
    return child.wait()


def up(settings: Settings, *, announce: Callable[["Processes"], None] | None = None) -> int:
    """Run the whole platform on this machine until SIGTERM or SIGINT.

    Args:
        settings: where it lives and listens.
        announce: called once everything answers, to tell the user where.

    Raises:
        Conflict: it is running already.
        Unavailable: a port is in use, or a process did not become ready.
    """
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with hold(settings.home / "up.lock", f"the platform in {settings.home}"), Processes(settings) as processes:
        processes.start()
        if announce is not None:
            announce(processes)
        stop.wait()
    return 0


def detach(settings: Settings, *, timeout_s: float = 60.0) -> int:
    """Start `shipway up` in the background and return its process id once everything answers.

    Raises:
        Conflict: it is running already.
        Unavailable: it ended, or did not become ready; with its last words.
    """
    settings.logs.mkdir(parents=True, exist_ok=True)
    with hold(settings.home / "up.lock", f"the platform in {settings.home}"):
        free_ports(settings)
    log_file = settings.logs / "up.log"
    with log_file.open("ab") as output:
        child = subprocess.Popen(
            [sys.executable, "-m", "shipway", "up"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=child_environment(settings),
            start_new_session=True,
        )
    _background.append(child)
    probe = Processes(settings)
    until = monotonic() + timeout_s
    while not (probe.control_answers() and probe.server_answers()):
        if child.poll() is not None or monotonic() > until:
            child.terminate()
            words, fix = last_words(log_file)
            raise Unavailable(
                f"the platform did not start: {words}",
                fix=fix or f"see {log_file}, or run `shipway up` in the foreground",
            )
        sleep(0.1)
    return child.pid


def down(settings: Settings, *, timeout_s: float = 40.0) -> int:
    """Stop the platform of this home, if it runs, and return the process id that it had (0: it was not running).

    Raises:
        Unavailable: it did not end in time.
    """
    path = settings.home / "up.lock"
    pid = holder(path)
    if not pid:
        return 0
    os.kill(pid, signal.SIGTERM)
    until = monotonic() + timeout_s
    while holder(path):
        if monotonic() > until:
            raise Unavailable(
                f"process {pid} has not ended after {timeout_s:.0f} seconds",
                fix=f"see {settings.logs}/up.log, or kill {pid}",
            )
        sleep(0.05)
    return pid
