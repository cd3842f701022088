"""The control-plane process: REST API and console on one port, the clockwork and the publisher beside them."""

import logging
import signal
import socket
import threading

import uvicorn

from shipway import console
from shipway.api import create_app
from shipway.control.clockwork import Clockwork, Publisher
from shipway.control.lock import hold
from shipway.control.setup import prepare
from shipway.errors import Unavailable
from shipway.settings import Settings
from shipway.wiring.platform import open_platform

log = logging.getLogger("shipway.control")


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
            fix="stop what uses it, or choose another with --port (SHIPWAY_CONTROL_PORT)",
        ) from failure
    bound.listen(512)
    return bound


def run(settings: Settings) -> None:
    """Run the control plane until SIGTERM or SIGINT.

    Raises:
        Conflict: another control plane of this home is running.
        Unavailable: the port is in use, or the home or database cannot be opened.
    """
    with hold(settings.home / "control.lock", f"a control plane of {settings.home}"):
        _run(settings, listen(settings.control_host, settings.control_port))


def _run(settings: Settings, bound: socket.socket) -> None:
    platform = open_platform(settings)
    prepare(platform)
    # The home's lock proves that an earlier holder is dead, so the same name may take its lease over at once.
    clockwork = Clockwork(platform, holder=f"{socket.gethostname()}:{settings.home}")
    publisher = Publisher(platform)
    app = create_app(platform)
    app.state.clockwork = clockwork
    console.mount(app, platform)
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            timeout_keep_alive=75,
            lifespan="off",
            timeout_graceful_shutdown=5,
        )
    )
    threads = [
        threading.Thread(target=work.run, name=name, daemon=True)
        for name, work in (("clockwork", clockwork), ("publisher", publisher))
    ]

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
