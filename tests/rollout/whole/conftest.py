"""A real database with one endpoint, and a server that counts for it."""

import hashlib

import msgspec
import pytest

from shipway import ledger, rollout
from shipway.database import Database
from shipway.endpoint import EndpointSettings, SqlEndpoints
from shipway.endpoint.routes import latest
from shipway.registry import SqlRegistry
from shipway.rollout import rows
from shipway.terms import FORMAT, Cell, Column, CountsReport, Manifest, RuntimeSpec, Signature, Task

NOW = 1_800_000_000.0
HEAD = """
[rollout]
min_units = 100
{rules}
[[guardrail]]
name = "errors"
outcome = "failure"
margin = 0.02
"""
CANARY = """
[[step]]
kind = "canary"
share = 0.1
until = "hold"
hold_units = 100
[[step]]
kind = "canary"
share = 0.5
until = "pass"
[[step]]
kind = "promote"
"""
SHADOW = """
[[step]]
kind = "shadow"
until = "pass"
max_units = 5000
"""


def policy_text(*, rules="", shadow=False, steps=CANARY):
    """One guardrail on failures, 10 %, 50 %, promote; a shadow before it if asked for."""
    return HEAD.format(rules=rules) + (SHADOW if shadow else "") + steps


def manifest(seed, model="churn", classes=("no", "yes")):
    return Manifest(
        format=FORMAT,
        model=model,
        task=Task.BINARY,
        signature=Signature((Column("age", "FP64"),), (Column("label", "BYTES"),), classes),
        runtime=RuntimeSpec("onnx", "model/model.onnx", inline=True),
        files=(),
        environment={},
        provenance={"seed": seed},
        parity={},
    )


class Server:
    """What a server would push: totals per cell, growing, from one incarnation."""

    def __init__(self, database, name="one"):
        self.database = database
        self.name = name
        self.incarnation = f"{name}-a"
        self.totals = {}
        self.health = {}

    def report(self, now, epoch=1):
        cells = tuple(
            Cell("default", "churn", *key[:2], propensity=key[2], arm=key[3], version=key[4], outcome=key[5], n=n,
                 latency_us=(0,) * 20 + (n,) if key[5] == "ok" else ())
            for key, n in self.totals.items()
        )  # fmt: skip
        report = CountsReport(FORMAT, self.name, {self.incarnation: cells}, epoch=epoch, health=self.health)
        with self.database.transaction() as tx:
            rollout.record_counts(tx, report, now)

    def add(self, route, arm, outcome, n):
        version = next(v for v in route.variants if v.name == arm)
        share = 0 if version.mode == "shadow" else next((v.weight for v in route.variants if v.name == "challenger"), 0)
        key = (route.rollout, route.restart, share, arm, version.version, outcome)
        self.totals[key] = self.totals.get(key, 0) + n


class House:
    """An endpoint `churn` with versions 1, 2 and 3 of a model; 1 is the champion."""

    def __init__(self, url):
        self.database = Database.open(url)
        self.database.migrate()
        self.server = Server(self.database)
        self.now = NOW
        with self.database.transaction() as tx:
            for seed in (1, 2, 3):
                self.register(tx, manifest(seed))
        self.deploy(1)

    def register(self, tx, made):
        digest = "sha256:" + hashlib.sha256(msgspec.json.encode(made)).hexdigest()
        return SqlRegistry(tx).add_version("default", made, digest, by="ann", now=self.now)

    def deploy(self, version, *, policies=None, **settings):
        with self.database.transaction() as tx:
            rollout.deploy(
                tx,
                project="default",
                endpoint="churn",
                version_row=SqlRegistry(tx).version("default", "churn", version),
                settings=EndpointSettings(**({"auto_promote": True, "require_gate": False} | settings)),
                policies=policies or {},
                actor="ann",
                now=self.now,
            )

    def start(self, text, *, challenger=2, model="churn"):
        with self.database.transaction() as tx:
            return rollout.start(
                tx,
                project="default",
                endpoint="churn",
                challenger=SqlRegistry(tx).version("default", model, challenger),
                policy_text=text,
                actor="ann",
                now=self.now,
            )

    def act(self, verb, *args, **options):
        """Let a person steer: pause, resume, approve, promote, rollback."""
        with self.database.transaction() as tx:
            return getattr(rollout, verb)(tx, *args, actor="ann", now=self.now, **options)

    def step(self, lake=None, fence=None):
        self.now += 1.0
        return rollout.step(self.database, lake, self.now, fence)

    def answers(self, n, *, failed=0.0, challenger_failed=0.0):
        """Let callers ask `n` times, split as the route says, then look."""
        route = self.route()
        share = next((v.weight for v in route.variants if v.name == "challenger"), 0) / 10_000
        ours = round(n * share)
        self._count(route, "challenger", ours, challenger_failed)
        self._count(route, "champion", n - ours, failed)
        self.server.report(self.now)
        return self.step()

    def shadows(self, n, *, failed=0):
        """Let the shadow score `n` captured requests, then look."""
        route = self.route()
        self.server.add(route, "challenger", "ok", n - failed)
        self.server.add(route, "challenger", "error", failed)
        self.server.report(self.now)
        return self.step()

    def _count(self, route, arm, n, failed):
        if n:
            bad = round(n * failed)
            self.server.add(route, arm, "error", bad)
            self.server.add(route, arm, "ok", n - bad)

    def trial(self, rollout_id):
        with self.database.read() as tx:
            return rows.trial(tx, rollout_id)

    def route(self):
        """Return what servers are told of the endpoint."""
        with self.database.read() as tx:
            return latest(tx).endpoints[0]

    def shares(self):
        return {v.name: (v.version, v.weight) for v in self.route().variants}

    def endpoint(self):
        with self.database.read() as tx:
            return SqlEndpoints(tx).get("default", "churn")

    def champion(self):
        with self.database.read() as tx:
            return SqlRegistry(tx).alias("default", "churn", "champion").version

    def entries(self, kind=None):
        with self.database.read() as tx:
            return ledger.entries(tx, kind=kind)

    def verify(self, rollout_id=None):
        with self.database.read() as tx:
            return rollout.verify(tx, rollout_id)


@pytest.fixture
def house(tmp_path):
    made = House(f"sqlite:///{tmp_path / 'shipway.db'}")
    yield made
    made.database.close()


@pytest.fixture(scope="session", name="policy_text")
def policy_text_fixture():
    return policy_text


@pytest.fixture(scope="session", name="manifest")
def manifest_fixture():
    return manifest
