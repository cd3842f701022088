import hashlib
import itertools
import os
from pathlib import Path

import msgspec
import numpy as np
import pytest
import rfc8785
from onnx import TensorProto, helper

from shipway.bundle import BundleStore
from shipway.capture import Context, Ids, Recorder, Spool, prepare
from shipway.capture.record import NO_PAIR, SHADOW
from shipway.database import Database
from shipway.lake import Lake, add_labels, collect, receive
from shipway.stats import profile
from shipway.terms import FORMAT, Column, File, Manifest, RuntimeSpec, Signature, Task

SIGNATURE = Signature(
    (Column("hours-per-week", "FP64", nullable=True), Column("Age", "INT64"), Column("age", "BYTES", nullable=True)),
    (Column("label", "BYTES"), Column("probability", "FP64", (2,))),
    ("no", "yes"),
)
NOW = 1_800_000_000.0

collect_ignore = ["kill_at_each_step.py"]
"""A script of `test_kills.py`."""


def make_bundle(folder, signature=SIGNATURE):
    """Write the smallest bundle that an audit approves."""
    value = helper.make_tensor_value_info("x", TensorProto.DOUBLE, [None])
    answer = helper.make_tensor_value_info("y", TensorProto.DOUBLE, [None])
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", [value], [answer])
    reference = profile.make_reference(
        signature, {"hours-per-week": np.arange(50.0), "Age": np.arange(50), "output.score": np.linspace(0, 1, 50)}
    )
    contents = {
        "model/model.onnx": helper.make_model(graph).SerializeToString(),
        "reference/profile.json": msgspec.json.encode(reference),
    }
    files = []
    for path, data in contents.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
        files.append(File(path, hashlib.sha256(data).hexdigest(), len(data), "application/octet-stream"))
    manifest = Manifest(
        FORMAT, "income", Task.BINARY, signature, RuntimeSpec("onnx", "model/model.onnx"), tuple(files), {}, {}, {}
    )
    (folder / "manifest.json").write_bytes(rfc8785.dumps(msgspec.to_builtins(manifest)))


def asked(rows, hours=30.0):
    """Inputs of a request."""
    ages = np.array([None, *["old"] * (rows - 1)], object)
    return {"hours-per-week": np.full(rows, hours), "Age": np.arange(rows), "age": ages}


def said(rows, first="yes", other="no"):
    """Outputs for a request."""
    score = np.linspace(0.1, 0.9, rows)
    label = np.where(np.arange(rows) % 2 == 0, first, other).astype(object)
    return {"label": label, "probability": np.column_stack([1 - score, score])}


class House:
    """One server's spool, a database, a lake and what moves captures between them."""

    def __init__(self, root: Path, life: str = "w"):
        self.root = root
        self.life = life
        self.database = Database.open(f"sqlite:///{root}/shipway.db")
        fresh = not (root / "bundle").exists()
        if fresh:
            self.database.migrate()
        self.lake = Lake.open(f"sqlite:///{root}/lake.db", root / "lake")
        self.bundles = BundleStore(root / "bundles")
        if fresh:
            make_bundle(root / "bundle")
            self.bundles.add(root / "bundle")
        [self.digest] = self.bundles.digests()
        self.numbers = itertools.count()
        self.now = NOW
        self.ids = Ids(os.urandom, lambda: int(self.now * 1e9))

    @property
    def spool(self):
        return self.root / "spool"

    def context(self, **changes):
        return prepare(
            Context(
                **{
                    "project": "default",
                    "endpoint": "income",
                    "epoch": 3,
                    "variant": "champion",
                    "served": "champion",
                    "model": "income",
                    "version": 1,
                    "digest": self.digest,
                    "inputs": SIGNATURE.inputs,
                    "outputs": SIGNATURE.outputs,
                    "rollout": "r1",
                    "restart": 0,
                    "propensity": 500,
                    **changes,
                }
            )
        )

    def write(self, rows=3, count=1, *, context=None, inputs=None, outputs=None, pair="", **more):
        """Capture `count` requests of `rows` rows in one sealed segment; return their event ids."""
        spool = Spool(self.spool, f"{self.life}{next(self.numbers)}")
        recorder = Recorder(spool)
        events = []
        for i in range(count):
            event = self.ids.new()
            recorder.add(
                context or self.context(),
                event=event,
                at_ns=int(self.now * 1e9) + i * 1000,
                rows=rows,
                inputs=asked(rows) if inputs is None else inputs,
                outputs=said(rows) if outputs is None else outputs,
                pair=bytes.fromhex(pair) if pair else NO_PAIR,
                **{"unit": (1 << 64) - 1, "latency_us": 120, **more},
            )
            events.append(event.hex())
        assert recorder.flush()
        spool.close()
        return events

    def shadow(self, pair, **more):
        """Capture the challenger's answer to an earlier event."""
        context = self.context(variant="challenger", served="challenger", version=2)
        return self.write(context=context, flags=SHADOW, pair=pair, **more)

    def label(self, *labels, at=None):
        with self.database.transaction() as tx:
            add_labels(tx, "default", "income", labels, self.now if at is None else at)

    def send(self, row):
        with self.database.transaction() as tx:
            receive(tx, row, self.now)

    def collect(self, **changes):
        given = {
            "incoming": self.root / "incoming",
            "bundles": self.bundles,
            "send": self.send,
            "now": self.now,
            "bucket_s": 60,
        }
        return collect([self.spool], **{**given, **changes})

    def carry(self):
        """Bring everything from the spool into the lake."""
        self.collect()
        self.lake.commit(self.database, self.now)
        self.lake.commit_labels(self.database, self.now)

    def close(self):
        self.lake.close()
        self.database.close()


@pytest.fixture(scope="session")
def row():
    """Inputs and outputs of requests of a given number of rows."""
    return asked, said


@pytest.fixture
def house(tmp_path):
    made = House(tmp_path)
    yield made
    made.close()
