"""The control-plane process: REST API and console on one port, the clockwork and the publisher beside them."""

import fcntl
import logging
import os
import signal
import socket
import threading
from typing import IO

import uvicorn

from shipway import console
from shipway.api import create_app
from shipway.control.clockwork import Clockwork, Publisher
from shipway.control.setup import prepare
from shipway.errors import Conflict, Unavailable
from shipway.settings import Settings
from shipway.wiring.platform import open_platform

log = logging.getLogger("shipway.control")


def lock_home(settings: Settings) -> IO[str]:
    """Hold this installation's home for one control plane; the lock ends with the process.

    Raises:
        Conflict: another control plane of the same home is running.
    """
    settings.home.mkdir(parents=True, exist_ok=True)
    held = (settings.home / "control.lock").open("a+")
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        held.seek(0)
        other = held.read().strip() or "unknown"
        held.close()
        raise Conflict(
            f"a control plane of {settings.home} is already running (process {other})",
            fix="use it, stop it, or give another --home",
        ) from None
    held.truncate(0)
    held.write(str(os.getpid()))
    held.flush()
    return held


def listen(host: str, port: int) -> socket.socket:
    """Bind a listening socket.

    Raises:
        Unavailable: the port is in use or may not be used.
    """
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except OSError as failure:
        bound.close()
        raise Unavailable(
            f"port {port} on {host} cannot be used: {failure.strerror}",
            fix=f"stop what uses it, or choose another with --control-port (SHIPWAY_CONTROL_PORT={port + 10})",
        ) from failure
    bound.listen(512)
    return bound


def run(settings: Settings) -> None:
    """Run the control plane until SIGTERM or SIGINT.

    Raises:
        Conflict: another control plane of this home is running.
        Unavailable: the port is in use, or the home or database cannot be opened.
    """
    held = lock_home(settings)
    bound = listen(settings.control_host, settings.control_port)
    platform = open_platform(settings)
    prepare(platform)
    # The home's lock proves that an earlier holder on this machine is dead, so the same name may take the lease over at once.
    clockwork = Clockwork(platform, holder=f"{socket.gethostname()}:{settings.home}")
    publisher = Publisher(platform)
    app = create_app(platform)
    app.state.clockwork = clockwork
    console.mount(app, platform)
    server = uvicorn.Server(
        uvicorn.Config(app, log_level="warning", access_log=False, timeout_keep_alive=75, lifespan="off", timeout_graceful_shutdown=5)
    )
    threads = [threading.Thread(target=work.run, name=name, daemon=True) for name, work in (("clockwork", clockwork), ("publisher", publisher))]

    def stop(_number: int, _frame: object) -> None:
        clockwork.stop.set()
        publisher.stop.set()
        server.should_exit = True

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    for thread in threads:
        thread.start()
    log.info("control plane ready on http://%s:%d", settings.control_host, settings.control_port)
    server.run(sockets=[bound])
    stop(0, None)
    for thread in threads:
        thread.join(timeout=10)
    platform.close()
    held.close()
