"""The collector process: move sealed captures from the servers' spools into the lake's inbox.

It needs the control plane only to hand over a row per segment; while that is away the spool grows and
nothing is lost, because a segment leaves the spool only after its row was acknowledged.
"""

import logging
import signal
import threading
from pathlib import Path

from shipway import lake
from shipway.bundle import BundleStore
from shipway.capture import recover
from shipway.client import Client
from shipway.control.setup import control_url, server_token
from shipway.errors import ShipwayError, Unavailable
from shipway.settings import Settings
from shipway.wiring.platform import clock

log = logging.getLogger("shipway.collector")


def spools(settings: Settings) -> list[Path]:
    """Spool folders of all servers on this machine."""
    return sorted(path for path in settings.servers.glob("*/spool") if path.is_dir())


def collect(settings: Settings) -> None:
    """Collect until SIGTERM or SIGINT.

    Raises:
        Unavailable: no token for the control plane.
    """
    client = Client(settings.url or control_url(settings), settings.token or server_token(settings))
    bundles = BundleStore(settings.bundles)
    settings.incoming.mkdir(parents=True, exist_ok=True)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    trouble = ""
    while not stop.is_set():
        try:
            folders = spools(settings)
            for folder in folders:
                recover(folder)
            report = lake.collect(
                folders,
                incoming=settings.incoming,
                bundles=bundles,
                send=client.send_inbox,
                now=clock(),
                bucket_s=settings.profile_bucket_s,
            )
            for segment in report.damaged:
                log.error("segment %s could not be read to its end; what could be read was taken", segment)
            trouble = ""
        except Unavailable as failure:
            if trouble != str(failure):
                log.warning("captures wait in the spool: %s", failure)
            trouble = str(failure)
        except (ShipwayError, OSError) as failure:
            if trouble != str(failure):
                log.error("collecting failed: %s", failure)  # noqa: TRY400 - one line is what the reader needs; the segment stays
            trouble = str(failure)
        stop.wait(settings.collect_every_s)
