"""Whoever has the ledger recomputes every decision, and finds the one that was edited."""

import sqlite3
from contextlib import closing

import msgspec
import pytest

from shipway import ledger, rollout
from shipway.database import Database
from shipway.errors import Missing


@pytest.fixture
def ended(house, policy_text):
    """A rollout that advanced and then was rolled back: two decisions in the ledger."""
    name = house.start(policy_text())
    house.answers(100)
    house.answers(400, failed=0.01, challenger_failed=0.2)
    assert house.trial(name).state == "rolled_back"
    return house, name


def tampered(tmp_path, change):
    """Copy the database, drop what guards the ledger, edit the last decision there, and verify the copy."""
    copy = tmp_path / "copy.db"
    with closing(sqlite3.connect(tmp_path / "shipway.db")) as ours, closing(sqlite3.connect(copy)) as theirs:
        ours.backup(theirs)
        triggers = theirs.execute("select name from sqlite_master where type = 'trigger' and name like 'ledger%'")
        for (trigger,) in triggers.fetchall():
            theirs.execute(f"drop trigger {trigger}")
        seq, payload = theirs.execute(
            "select seq, payload from ledger where kind = 'rollout.decided' order by seq desc limit 1"
        ).fetchone()
        body = msgspec.json.decode(payload)
        change(body)
        theirs.execute("update ledger set payload = ? where seq = ?", (msgspec.json.encode(body).decode(), seq))
        theirs.commit()
    database = Database.open(f"sqlite:///{copy}")
    try:
        with database.read() as tx:
            return seq, rollout.verify(tx), ledger.verify(tx)
    finally:
        database.close()


def test_every_decision_of_an_untouched_ledger_recomputes(ended):
    house, name = ended
    for report in (house.verify(), house.verify(name)):
        assert (report.ok, report.decisions, report.mismatches) == (True, 2, ())
        assert report.sentence == "all 2 decisions recompute from their counts"


def test_before_the_first_decision_there_is_nothing_to_recompute(house, policy_text):
    name = house.start(policy_text())
    report = house.verify(name)
    assert (report.ok, report.decisions) == (True, 0)
    assert report.sentence == "no decision has been taken from evidence yet"


def test_a_rollout_that_is_not_there_cannot_be_verified(house):
    with pytest.raises(Missing, match="no rollout 'churn-9'"):
        house.verify("churn-9")


def test_an_edited_count_is_found_in_the_decision_that_used_it(ended, tmp_path):
    _, name = ended

    def fewer_failures(body):
        body["evidence"]["guardrails"]["errors"]["segments"][1]["challenger_bad"] = 3

    seq, report, chain = tampered(tmp_path, fewer_failures)
    assert not report.ok
    assert len(report.mismatches) == 1
    assert report.mismatches[0].startswith(f"entry {seq} (rollout:{name}): action was recorded as rollback")
    assert "1 of 2 decisions do not recompute" in report.sentence
    assert not chain.ok


@pytest.mark.usefixtures("ended")
@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("rule", "pass", "rule was recorded as pass and recomputes as harm:errors"),
        ("action", "promote", "action was recorded as promote and recomputes as rollback"),
        ("units", 7, "units was recorded as 7 and recomputes as 500"),
    ],
)
def test_an_edited_decision_is_found_too(tmp_path, field, value, said):
    _, report, _ = tampered(tmp_path, lambda body: body["decision"].update({field: value}))
    assert said in report.sentence


@pytest.mark.usefixtures("ended")
def test_a_decision_without_its_evidence_cannot_be_recomputed(tmp_path):
    _, report, _ = tampered(tmp_path, lambda body: body.pop("evidence"))
    assert "cannot be recomputed" in report.sentence


def test_the_ledger_refuses_the_edit_to_begin_with(ended):
    house, _ = ended
    with (
        pytest.raises(Exception, match="the ledger is append-only"),
        house.database.transaction() as tx,
    ):
        tx.exec_driver_sql("update ledger set payload = '{}'")
    assert house.verify().ok
