"""The card of a registered version, gathered from a real database."""

import pytest

from shipway import govern
from shipway.database import Database
from shipway.registry import SqlRegistry
from shipway.terms import File, Manifest, RuntimeSpec, Signature, Task, Verdict


@pytest.fixture
def database(tmp_path):
    opened = Database.open(f"sqlite:///{tmp_path}/shipway.db")
    opened.migrate()
    yield opened
    opened.close()


def test_card_of_a_version_holds_its_evidence_and_its_ledger_entries(database):
    manifest = Manifest(
        1,
        "churn",
        Task.OTHER,
        Signature((), ()),
        RuntimeSpec("onnx", "m.onnx"),
        (File("m.onnx", "a" * 64, 1, "x"),),
        {},
        {},
        {},
    )
    digest = "sha256:" + "1" * 64
    statement = {
        "predicateType": "urn:shipway:gate:v1",
        "predicate": {"verdict": "undecided", "sentence": "Too few rows."},
    }
    with database.transaction() as tx:
        registry = SqlRegistry(tx)
        registry.add_version("default", manifest, digest, by="mia", now=1.0)
        registry.attach("default", digest, "gate", statement, Verdict.UNDECIDED, 2.0)
        registry.move_alias("default", "churn", "champion", 1, seen=0, by="ines", why="first", now=3.0)

    with database.read() as tx:
        card = govern.card_of(tx, SqlRegistry(tx).version("default", "churn", 1))

    said = " ".join(claim.text for claim in card.claims)
    assert card.title == "churn version 1"
    assert "Too few rows." in said
    assert "Registered by mia." in said
    assert "The alias champion was pointed at it by ines: first." in said
