"""An endpoint that is watched: database, bundle with a reference, and a lake that holds what a test puts in."""

import hashlib
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import onnx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import rfc8785
from onnx import TensorProto, helper
from sqlalchemy import insert

from shipway.bundle import BundleStore
from shipway.database import Database, schema
from shipway.endpoint import SqlEndpoints
from shipway.registry import SqlRegistry
from shipway.stats import profile
from shipway.terms import FORMAT, Column, File, Manifest, RuntimeSpec, Signature, Task

SIGNATURE = Signature(
    (Column("age", "FP64"), Column("income", "FP64"), Column("plan", "BYTES"), Column("note", "BYTES", nullable=True)),
    (Column("label", "BYTES"), Column("probability", "FP64", (2,))),
    ("no", "yes"),
)
START = 1_800_000_000.0
POLICY = """
[monitor]
window = "1h"
wait = "0s"
min_rows = 200
ignore_changes_below = 0.02

[[alert]]
kind = "webhook"
url = "http://receiver.example/hook"
"""


def rows(rng, n, *, age=0.0, income=0.0, plan=None, missing=0.0):
    """Draw rows; `age` and `income` shift those columns in standard deviations."""
    note = rng.choice(["x", "y"], n).astype(object)
    note[rng.random(n) < missing] = None
    score = rng.random(n)
    return {
        "age": 40 + 10 * (rng.normal(size=n) + age),
        "income": np.exp(rng.normal(size=n) + income),
        "plan": rng.choice(["basic", "plus", "pro"], n, p=plan or [0.6, 0.3, 0.1]).astype(object),
        "note": note,
        "output.label": np.where(score > 0.5, "yes", "no").astype(object),
        "output.score": score,
    }


def make_reference(seed=1, n=20_000, **changes):
    return profile.make_reference(SIGNATURE, rows(np.random.default_rng(seed), n, **changes))


def write_bundle(folder: Path, reference, *, wrong=0.1, description=""):
    """Write a bundle that an audit approves, with 1,000 reference rows of which a share is answered wrongly."""
    x = helper.make_tensor_value_info("x", TensorProto.DOUBLE, [None])
    y = helper.make_tensor_value_info("y", TensorProto.DOUBLE, [None])
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", [x], [y])
    table = pa.table(
        {"label": ["no"] * 1000, "__target__": ["yes"] * int(1000 * wrong) + ["no"] * int(1000 * (1 - wrong))}
    )
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    model = helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)])
    contents = {
        "model/model.onnx": model.SerializeToString(),
        "reference/profile.json": msgspec.json.encode(reference),
        "reference/rows.parquet": sink.getvalue().to_pybytes(),
    }
    files = []
    for path, data in sorted(contents.items()):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
        files.append(File(path, hashlib.sha256(data).hexdigest(), len(data), "application/octet-stream"))
    manifest = Manifest(
        FORMAT, "churn", Task.BINARY, SIGNATURE, RuntimeSpec("onnx", "model/model.onnx"), tuple(files), {}, {}, {},
        description=description,
    )  # fmt: skip
    (folder / "manifest.json").write_bytes(rfc8785.dumps(msgspec.to_builtins(manifest)))


class Strays(NamedTuple):
    labels: int


class Answers:
    """A lake in memory: labelled answers."""

    def __init__(self):
        self.strays = 0
        self.table = pa.table({
            "at": pa.array([], pa.float64()), "variant": pa.array([], pa.string()), "version": pa.array([], pa.int64()),
            "status": pa.array([], pa.int32()), "flags": pa.array([], pa.int32()), "label": pa.array([], pa.string()),
            "prediction": pa.array([], pa.float64()), "truth": pa.array([], pa.string()),
        })  # fmt: skip

    def outcomes(self, _project, _endpoint, *, since=None):
        assert since is not None
        return self.table

    def unknown_labels(self, _project, _endpoint, *, older_than):
        return Strays(self.strays if older_than else 0)

    def add(self, at, wrong, *, version=1, flags=0, variant="champion"):
        n = len(wrong)
        made = {
            "at": [at] * n, "variant": [variant] * n, "version": [version] * n, "status": [200] * n,
            "flags": [flags] * n, "label": ["no"] * n, "prediction": [None] * n,
            "truth": ["yes" if w else "no" for w in wrong],
        }  # fmt: skip
        self.table = pa.concat_tables([self.table, pa.table(made, schema=self.table.schema)])


class House:
    """One endpoint `churn` with version 1 as its champion."""

    def __init__(self, root: Path, policy: str):
        self.root = root
        self.database = Database.open(f"sqlite:///{root}/shipway.db")
        self.database.migrate()
        self.bundles = BundleStore(root / "bundles")
        self.lake = Answers()
        self.references = {}
        self.rng = np.random.default_rng(7)
        self.digests = [self.register(make_reference())]
        with self.database.transaction() as tx:
            SqlEndpoints(tx).create("default", "churn", "churn", 1, by="ann", now=START, policies={"monitor": policy})

    def register(self, reference, **changes):
        folder = self.root / f"bundle{len(self.references)}"
        write_bundle(folder, reference, description=str(len(self.references)), **changes)
        digest = self.bundles.add(folder)
        self.references[digest] = reference
        with self.database.transaction() as tx:
            manifest = msgspec.json.decode((folder / "manifest.json").read_bytes(), type=Manifest)
            SqlRegistry(tx).add_version("default", manifest, digest, by="ann", now=START)
        return digest

    def capture(self, hour, n=1000, *, digest=None, variant="champion", minute=0, **changes):
        """Count rows of one hour after the start, as collectors and the committer do."""
        digest = digest or self.digests[0]
        bucket = int(START + 3600 * hour + 60 * minute)
        counted = profile.count(self.references[digest], rows(self.rng, n, **changes))
        table = schema.profile
        key = (table.c.project == "default") & (table.c.digest == digest) & (table.c.bucket == bucket)
        with self.database.transaction() as tx:
            before = tx.execute(table.select().where(key, table.c.variant == variant)).first()
            total = counted if before is None else profile.add(counted, profile.decode(before.counts))
            tx.execute(table.delete().where(key, table.c.variant == variant))
            tx.execute(
                insert(table).values(
                    project="default", endpoint="churn", digest=digest, variant=variant, bucket=bucket,
                    rows=total.rows, counts=profile.encode(total),
                )
            )  # fmt: skip

    def signals(self, *, closed=False):
        with self.database.read() as tx:
            found = tx.execute(schema.signal.select().order_by(schema.signal.c.raised_at)).mappings().all()
        return [dict(row) | msgspec.json.decode(row["body"]) for row in found if closed or row["closed_at"] is None]

    def messages(self):
        with self.database.read() as tx:
            found = tx.execute(schema.outbox.select().order_by(schema.outbox.c.created_at)).mappings().all()
        return [msgspec.json.decode(row["body"]) for row in found]

    def close(self):
        self.database.close()


@pytest.fixture
def house(tmp_path):
    made = House(tmp_path, POLICY)
    yield made
    made.close()
