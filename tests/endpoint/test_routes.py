"""A table gets a number when it says something new, and is handed out whole."""

# ruff: noqa: ARG001 - `churn` makes the endpoint that a test changes by name
# ruff: noqa: PT012 - the exception leaves a whole transaction, which is what is tested

import subprocess
import sys

import msgspec
import pytest
from sqlalchemy import insert

from shipway import ledger
from shipway.database import schema
from shipway.endpoint import EndpointSettings, SqlEndpoints, compose, latest, publish
from shipway.errors import Unavailable
from shipway.terms import FORMAT, RouteTable

NOW = 1000.0


def test_a_decision_makes_the_next_table_and_no_decision_makes_none(churn, endpoints, tx):
    first = compose(tx, NOW)
    again = compose(tx, NOW + 60)
    endpoints.set_champion("default", "churn", 2, by="ann", now=NOW)
    second = compose(tx, NOW + 61)

    assert (first.epoch, again, second.epoch) == (1, None, 2)
    assert second.endpoints[0].variants[0].version == 2
    assert second.ledger_head == ledger.head(tx)
    assert latest(tx) == second


def test_a_policy_is_no_business_of_servers(churn, endpoints, tx):
    compose(tx, NOW)
    endpoints.set_policies("default", "churn", {"gate": "x"}, by="ann", now=NOW)

    assert compose(tx, NOW) is None


def test_before_the_first_table_there_is_none(tx):
    assert latest(tx) is None


def test_a_decision_that_fails_leaves_no_table(database):
    with pytest.raises(ZeroDivisionError), database.transaction() as tx:
        SqlEndpoints(tx).create("default", "churn", "churn", 1, by="ann", now=NOW)
        compose(tx, NOW)
        1 / 0  # noqa: B018

    with database.read() as tx:
        assert latest(tx) is None


def token(tx, n, role, **changed):
    row = {
        "id": f"t{n}", "project": "default", "name": f"n{n}", "role": role, "sha256": str(n) * 64, "endpoints": "[]",
        "created_at": NOW,
    }  # fmt: skip
    tx.execute(insert(schema.token).values(row | changed))


def test_servers_learn_only_live_tokens_that_may_call_endpoints(endpoints, tx):
    endpoints.create("default", "churn", "churn", 1, settings=EndpointSettings(public=False), by="ann", now=NOW)
    token(tx, 1, "predict", endpoints='["churn"]', expires_at=NOW + 60)
    token(tx, 2, "admin")
    token(tx, 3, "server")
    token(tx, 4, "predict", revoked_at=NOW)
    token(tx, 5, "predict", expires_at=NOW - 1)
    token(tx, 6, "predict", project="other")

    tokens = compose(tx, NOW).tokens

    assert {k[0]: v.endpoints for k, v in tokens.items()} == {
        "1": ("default/churn",),
        "2": ("default/*",),
        "6": ("other/*",),
        "e": (),
    }
    assert tokens["1" * 64].expires_at == NOW + 60


def table(epoch, size=0):
    return RouteTable(FORMAT, epoch, NOW, "x" * size, ())


def test_a_published_table_reads_back_and_only_its_owner_may_read_it(tmp_path):
    publish(tmp_path / "routes", table(3))

    file = tmp_path / "routes" / "routes.json"
    assert msgspec.json.decode(file.read_bytes(), type=RouteTable) == table(3)
    assert file.stat().st_mode & 0o777 == 0o600
    assert [p.name for p in file.parent.iterdir()] == ["routes.json"]


READER = """
import sys
from pathlib import Path
import msgspec
from shipway.terms import RouteTable
print("ready", flush=True)
epoch, reads = 0, 0
while epoch < 60:
    found = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=RouteTable)
    assert found.epoch >= epoch
    epoch, reads = found.epoch, reads + 1
print(reads)
"""


def test_a_reader_never_sees_half_a_table(tmp_path):
    publish(tmp_path, table(1))
    command = [sys.executable, "-c", READER, str(tmp_path / "routes.json")]
    reader = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert reader.stdout.readline() == "ready\n"

    for epoch in range(2, 61):
        publish(tmp_path, table(epoch, size=epoch * 3_000))
    said, _ = reader.communicate(timeout=60)

    assert reader.returncode == 0
    assert int(said) >= 1


def test_a_folder_that_cannot_be_written_keeps_the_table_that_servers_have(tmp_path):
    (tmp_path / "routes").touch()

    with pytest.raises(Unavailable, match="cannot write route table 4"):
        publish(tmp_path / "routes", table(4))
