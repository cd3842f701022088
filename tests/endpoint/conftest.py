"""A migrated database with three registered versions of one model."""

import msgspec
import pytest
from sqlalchemy import insert

from shipway.database import Database, schema
from shipway.endpoint import SqlEndpoints
from shipway.terms import FORMAT, Manifest, RuntimeSpec, Signature, Task

NOW = 1000.0


def manifest(model, *, inline):
    return Manifest(
        format=FORMAT, model=model, task=Task.BINARY, signature=Signature((), ()),
        runtime=RuntimeSpec("onnx", "model/model.onnx", inline=inline), files=(), environment={}, provenance={},
        parity={},
    )  # fmt: skip


@pytest.fixture
def database(tmp_path):
    opened = Database.open(f"sqlite:///{tmp_path / 'shipway.db'}")
    opened.migrate()
    with opened.transaction() as tx:
        for model in ("churn", "fraud"):
            tx.execute(insert(schema.model).values(project="default", name=model, created_at=NOW))
            for n in (1, 2, 3):
                text = msgspec.json.encode(manifest(model, inline=n < 3)).decode()
                digest = f"sha256:{model.encode().hex():0>63}{n}"
                row = {"project": "default", "model": model, "version": n, "digest": digest, "manifest": text}
                tx.execute(insert(schema.version).values(row | {"created_at": NOW, "created_by": "ann"}))
    yield opened
    opened.close()


@pytest.fixture
def tx(database):
    with database.transaction() as opened:
        yield opened


@pytest.fixture
def endpoints(tx):
    return SqlEndpoints(tx)


@pytest.fixture
def churn(endpoints):
    return endpoints.create("default", "churn", "churn", 1, by="ann", now=NOW)
