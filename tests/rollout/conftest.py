"""An endpoint with a champion and a challenger in a real database, and a lake that answers from a list."""

import itertools
from dataclasses import dataclass, field

import msgspec
import pyarrow as pa
import pytest

from shipway import ledger
from shipway.database import Database
from shipway.endpoint import SqlEndpoints, latest
from shipway.endpoint.rows import EndpointSettings
from shipway.registry import SqlRegistry
from shipway.rollout import counts, deployment, rows, run
from shipway.terms import (
    FORMAT,
    Cell,
    Column,
    CountsReport,
    Manifest,
    RuntimeSpec,
    Signature,
    Task,
    Verdict,
)

NOW = 1_800_000_000.0

POLICY = """
[[guardrail]]
name = "errors"
outcome = "failure"
margin = 0.02

[[step]]
kind = "shadow"
until = "pass"

[[step]]
kind = "canary"
share = 0.2
until = "hold"
hold_units = 100

[[step]]
kind = "canary"
share = 0.5
until = "pass"

[[step]]
kind = "promote"
"""

WITH_QUALITY = POLICY + '\n[[guardrail]]\nname = "quality"\noutcome = "loss"\nmargin = 0.05\n'

EMPTY_PAIRS = {
    "event_id": pa.string(),
    "row": pa.int32(),
    "champion_label": pa.string(),
    "champion_prediction": pa.float64(),
    "challenger_label": pa.string(),
    "challenger_prediction": pa.float64(),
    "challenger_status": pa.int32(),
    "truth": pa.string(),
}
EMPTY_OUTCOMES = {
    "event_id": pa.string(),
    "row": pa.int32(),
    "variant": pa.string(),
    "version": pa.int32(),
    "rollout": pa.string(),
    "restart": pa.int32(),
    "propensity": pa.int32(),
    "status": pa.int32(),
    "flags": pa.int32(),
    "label": pa.string(),
    "prediction": pa.float64(),
    "truth": pa.string(),
}


def table(fields, found):
    return pa.table({k: pa.array([row[k] for row in found], kind) for k, kind in fields.items()})


@dataclass
class ListLake:
    """The lake as lists: a second implementation of `rollout.outcomes.Outcomes`."""

    answered: list = field(default_factory=list)
    paired: list = field(default_factory=list)
    numbers: itertools.count = field(default_factory=itertools.count)

    def outcomes(self, _project, _endpoint, *, since=None, rollout=None):  # noqa: ARG002
        return table(EMPTY_OUTCOMES, [row for row in self.answered if rollout in (None, row["rollout"])])

    def pairs(self, _project, _endpoint, *, rollout, restart):
        mine = [row for row in self.paired if (row["rollout"], row["restart"]) == (rollout, restart)]
        return table(EMPTY_PAIRS, mine)

    def pair(self, rollout, truth, ours, theirs, *, n=1, **more):
        """Add `n` pairs in which the champion said `ours` and the challenger `theirs`."""
        for _ in range(n):
            row = {
                "event_id": f"{next(self.numbers):032x}",
                "row": 0,
                "champion_label": ours,
                "champion_prediction": None,
                "challenger_label": theirs,
                "challenger_prediction": None,
                "challenger_status": 200,
                "truth": truth,
                "rollout": rollout,
                "restart": 0,
            }
            self.paired.append(row | more)

    def answer(self, rollout, truth, said, *, n=1, **more):
        """Add `n` answers of the champion, at 50 % unless told otherwise."""
        for _ in range(n):
            row = {
                "event_id": f"{next(self.numbers):032x}",
                "row": 0,
                "variant": "champion",
                "version": 1,
                "rollout": rollout,
                "restart": 0,
                "propensity": 5000,
                "status": 200,
                "flags": 0,
                "label": said,
                "prediction": None,
                "truth": truth,
            }
            self.answered.append(row | more)


def make_manifest(n, *, task=Task.BINARY, inline=True):
    outputs = (Column("label", "BYTES"), Column("probability", "FP64", (2,)))
    classes = ("no", "yes")
    if task is Task.REGRESSION:
        outputs, classes = (Column("prediction", "FP64"),), ()
    signature = Signature((Column("a", "FP64"),), outputs, classes)
    runtime = RuntimeSpec("onnx", "model/model.onnx", inline=inline)
    return Manifest(FORMAT, "churn", task, signature, runtime, (), {}, {"n": n}, {})


class World:
    """One endpoint `churn` whose champion is version 1; versions 2 and 3 have passed the gate, version 4 has not."""

    def __init__(self, root, *, task=Task.BINARY, inline=True, **settings):
        self.database = Database.open(f"sqlite:///{root}/shipway.db")
        self.database.migrate()
        self.lake = ListLake()
        self.now = NOW
        self.totals = {}
        self.incarnation = "w1"
        self.settings = EndpointSettings(**({"auto_promote": True} | settings))
        with self.database.transaction() as tx:
            registry = SqlRegistry(tx)
            for n in (1, 2, 3, 4):
                digest = f"sha256:{n:064x}"
                registry.add_version(
                    "default", make_manifest(n, task=task, inline=inline), digest, by="ann", now=NOW - 10
                )
                if n != 4:
                    registry.attach("default", digest, "gate", {"n": n}, Verdict.PASS, NOW - 9)
            self.deploy(1, tx)

    def close(self):
        self.database.close()

    def version(self, n, tx):
        return SqlRegistry(tx).version("default", "churn", n)

    def deploy(self, n, tx, **changes):
        given = {"settings": self.settings, "policies": {}, "actor": "ann", "now": self.now}
        return deployment.deploy(
            tx, project="default", endpoint="churn", version_row=self.version(n, tx), **(given | changes)
        )

    def start(self, n=2, policy=POLICY):
        with self.database.transaction() as tx:
            return run.start(
                tx,
                project="default",
                endpoint="churn",
                challenger=self.version(n, tx),
                policy_text=policy,
                actor="ann",
                now=self.now,
            )

    def count(self, rollout, outcome="ok", n=1, *, arm="challenger", propensity=0, restart=0, latency_us=()):  # noqa: PLR0913 - a cell
        """Let a server count `n` more outcomes and push its totals."""
        version = 2 if arm == "challenger" else 1
        key = ("default", "churn", rollout, restart, propensity, arm, version, outcome)
        before, bins = self.totals.get(key, (0, ()))
        longer = max(len(bins), len(latency_us))
        summed = tuple(
            (bins[i] if i < len(bins) else 0) + (latency_us[i] if i < len(latency_us) else 0) for i in range(longer)
        )
        self.totals[key] = (before + n, summed)
        self.push()

    def canary(self, rollout, propensity, *, challenger=(0, 0), champion=(0, 0), restart=0):
        """Count (bad, good) outcomes of both arms at one propensity."""
        for arm, (bad, good) in (("challenger", challenger), ("champion", champion)):
            for outcome, n in (("error", bad), ("ok", good)):
                if n:
                    self.count(rollout, outcome, n, arm=arm, propensity=propensity, restart=restart)

    def push(self, *, epoch=None, fuses=None):
        cells = tuple(Cell(*key, n=n, latency_us=bins) for key, (n, bins) in self.totals.items())
        report = CountsReport(
            FORMAT,
            "s1",
            {self.incarnation: cells},
            epoch=self.epoch() if epoch is None else epoch,
            health={"fuses": fuses or {}},
        )
        with self.database.transaction() as tx:
            counts.record_counts(tx, report, self.now)

    def step(self, *, after=1.0, lake=True):
        self.now += after
        return run.step(self.database, self.lake if lake else None, self.now)

    def do(self, verb, rollout, why="because"):
        with self.database.transaction() as tx:
            verb(tx, rollout, actor="ann", now=self.now, why=why)

    def row(self, rollout):
        with self.database.read() as tx:
            return rows.trial(tx, rollout)

    def endpoint(self):
        with self.database.read() as tx:
            return SqlEndpoints(tx).get("default", "churn")

    def route(self):
        with self.database.read() as tx:
            return latest(tx).endpoints[0]

    def epoch(self):
        with self.database.read() as tx:
            table = latest(tx)
        return 0 if table is None else table.epoch

    def alias(self, name="champion"):
        with self.database.read() as tx:
            return SqlRegistry(tx).alias("default", "churn", name)

    def entries(self, kind=None):
        with self.database.read() as tx:
            return ledger.entries(tx, kind=kind)

    def messages(self):
        with self.database.read() as tx:
            found = tx.exec_driver_sql("select target, body from outbox order by created_at").all()
        return [(target, msgspec.json.decode(body)) for target, body in found]


@pytest.fixture
def make_world(tmp_path):
    """Make a world of one's own; closed at the end."""
    made = []

    def make(**changes):
        folder = tmp_path / str(len(made))
        folder.mkdir()
        made.append(World(folder, **changes))
        return made[-1]

    yield make
    for world in made:
        world.close()


@pytest.fixture
def world(make_world):
    return make_world()


@pytest.fixture
def list_lake():
    return ListLake()


@pytest.fixture(scope="session")
def make_list_lake():
    return ListLake


@pytest.fixture
def policies():
    """Texts of two policies: `plain` watches errors, `quality` labelled answers too."""
    return {"plain": POLICY, "quality": WITH_QUALITY}
