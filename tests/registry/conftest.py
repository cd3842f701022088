"""A migrated database, and manifests that differ by nothing but a seed."""

import hashlib

import msgspec
import pytest

from shipway.database import Database
from shipway.registry import SqlRegistry
from shipway.terms import FORMAT, Column, Manifest, RuntimeSpec, Signature, Task

NOW = 1000.0


@pytest.fixture
def database(tmp_path):
    opened = Database.open(f"sqlite:///{tmp_path / 'shipway.db'}")
    opened.migrate()
    yield opened
    opened.close()


@pytest.fixture
def tx(database):
    with database.transaction() as opened:
        yield opened


@pytest.fixture
def registry(tx):
    return SqlRegistry(tx)


def bundle(model="churn", seed=0):
    """Return a manifest and its digest."""
    manifest = Manifest(
        format=FORMAT,
        model=model,
        task=Task.BINARY,
        signature=Signature((Column("age", "FP64"),), (Column("label", "BYTES"),), ("no", "yes")),
        runtime=RuntimeSpec("onnx", "model/model.onnx", inline=True),
        files=(),
        environment={},
        provenance={"seed": seed},
        parity={},
    )
    return manifest, "sha256:" + hashlib.sha256(msgspec.json.encode(manifest)).hexdigest()


@pytest.fixture
def add(registry):
    """Register a version of a model and return its number."""

    def add(model="churn", seed=0, project="default"):
        manifest, digest = bundle(model, seed)
        return registry.add_version(project, manifest, digest, by="ann", now=NOW)

    return add


@pytest.fixture(name="bundle")
def bundle_fixture():
    return bundle
