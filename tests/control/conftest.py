"""A whole platform of real processes, and callers, for tests that pull plugs."""

import json
import threading

import pytest

from shipway import pack
from shipway.client import Client
from shipway.control import Processes
from shipway.demo import demo_settings, models
from shipway.demo.data import load, records, to_arrow
from shipway.demo.traffic import Rows, Traffic
from shipway.errors import ShipwayError
from shipway.wiring.platform import clock

ENDPOINT = "tried"


class Running:
    """A started platform with one endpoint, and what tests need of it."""

    def __init__(self, settings, processes, told):
        context = json.loads(settings.context_file.read_text())
        self.settings, self.processes, self.told = settings, processes, told
        self.client = Client(context["url"], context["token"], server=context["server"])
        self.data = load(None, target=None, time=None)
        self.labelled = threading.Event()

    def pack(self, folder, model, name):
        return pack.pack(
            model,
            name=ENDPOINT,
            data=to_arrow(self.data.train),
            holdout=to_arrow(self.data.holdout),
            target=self.data.target,
            task=self.data.task,
            out=folder / name,
            now=clock(),
        )

    def ship(self, packed):
        version = self.client.register(ENDPOINT, self.client.upload(packed.folder))
        assert self.client.gate(ENDPOINT, version)["verdict"] == "pass"
        return version

    def traffic(self, rate=200.0):
        stream = self.data.stream
        rows = Rows.of(records(stream[self.data.features]), stream[self.data.target].tolist())
        return Traffic(
            self.settings.server_host,
            self.settings.server_port,
            ENDPOINT,
            rows,
            rate=rate,
            send_labels=lambda labels: self.client.label(ENDPOINT, labels),
        )

    def captured(self):
        """Event ids of the requests that are in the lake."""
        return {event["event_id"] for event in self.client.events(ENDPOINT, limit=10_000)}


@pytest.fixture
def platform(tmp_path):
    told = []
    with Processes(demo_settings(tmp_path / "home"), tell=told.append) as processes:
        processes.start()
        running = Running(processes.settings, processes, told)
        model, _ = models.first(running.data)
        version = running.ship(running.pack(tmp_path, model, "first"))
        running.client.deploy(ENDPOINT, f"{ENDPOINT}:{version}", settings={"auto_promote": True})
        row = records(running.data.stream.head(1)[running.data.features])
        traffic = running.traffic()
        traffic.wait(lambda: answers(running, row), 20)
        with running.client:
            yield running


def answers(running, row):
    try:
        running.client.predict(ENDPOINT, row)
    except ShipwayError:
        return False
    return True
