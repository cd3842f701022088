"""The admin listener of a server: metrics, health, counts, drain. On loopback by default."""

from typing import Protocol

import msgspec
import orjson

from shipway.serve.metrics import text
from shipway.serve.transport.exchange import Exchange
from shipway.terms import Cell, CountsReport


class Watched(Protocol):
    """What the listener asks its supervisor for."""

    def report(self) -> CountsReport:
        """Return all counts as they are now."""
        ...

    def total(self) -> list[Cell]:
        """Return counts added up over incarnations."""
        ...

    def gauges(self) -> dict[str, float]:
        """Return what else is measured."""
        ...

    def alive(self) -> bool:
        """Return whether anything answers requests."""
        ...

    def in_step(self) -> tuple[bool, int]:
        """Return whether every worker applied the newest table, and the epoch that all have applied."""
        ...

    def stop(self) -> None:
        """Begin to drain the whole server."""
        ...


class Admin:
    """The function of one exchange that the admin's `HttpServer` calls."""

    def __init__(self, watched: Watched) -> None:
        self._watched = watched

    def __call__(self, exchange: Exchange) -> None:
        """Answer one request."""
        watched = self._watched
        path = exchange.path.partition(b"?")[0]
        if path == b"/drain":
            if exchange.method != b"POST":
                exchange.refuse(405, "this path answers POST", "use POST", b"allow: POST\r\n")
                return
            exchange.answer(202, b'{"draining":true}')
            watched.stop()
        elif exchange.method not in (b"GET", b"HEAD"):
            exchange.refuse(405, "this path answers GET", "use GET", b"allow: GET\r\n")
        elif path == b"/metrics":
            exchange.answer(200, text(watched.total(), watched.gauges()), media_type=b"text/plain; version=0.0.4")
        elif path == b"/counts":
            exchange.answer(200, msgspec.json.encode(watched.report()))
        elif path == b"/healthz":
            alive = watched.alive()
            exchange.answer(200 if alive else 503, orjson.dumps({"alive": alive}))
        elif path == b"/readyz":
            ready, epoch = watched.in_step()
            exchange.answer(200 if ready else 503, orjson.dumps({"ready": ready, "epoch": epoch}))
        else:
            exchange.refuse(404, "nothing is here", "try /metrics, /healthz, /readyz, /counts or POST /drain")
