"""Whoever drops the triggers and edits the ledger is found."""

import pytest

from shipway import ledger


@pytest.fixture
def tx(database):
    with database.transaction() as opened:
        for n in range(1, 6):
            ledger.append(
                opened, project="default", actor="ann", kind="alias.moved", subject=f"model:churn:{n}",
                payload={"to": n}, now=1000.0 + n,
            )  # fmt: skip
        for (trigger,) in opened.exec_driver_sql("select name from sqlite_master where type = 'trigger'").all():
            opened.exec_driver_sql(f"drop trigger {trigger}")
        yield opened


def test_an_untouched_ledger_verifies(tx):
    found = ledger.verify(tx)

    assert (found.ok, found.entries, found.head, found.first_bad) == (True, 5, ledger.head(tx), None)
    assert found.sentence == "all 5 entries are as they were written"


@pytest.mark.parametrize(
    "edit",
    [
        "project = 'other'",
        "at = 999.0",
        "at = 'noon'",
        "actor = 'eve'",
        "kind = 'x'",
        "subject = 'x'",
        """payload = '{"to": 4}'""",
        "payload = 'not json'",
        "payload = '[]'",
        f"""payload = '{{"to": {"9" * 400}}}'""",
        f"""payload = '{"[" * 100_000}'""",
        "hash = 'sha256:00'",
        "previous = 'sha256:00'",
    ],
)
def test_an_edit_of_any_field_is_found_at_its_entry(tx, edit):
    tx.exec_driver_sql(f"update ledger set {edit} where seq = 3")

    found = ledger.verify(tx)

    assert not found.ok
    assert found.first_bad == 3
    assert "entry 3" in found.sentence


def test_a_deleted_entry_is_found(tx):
    tx.exec_driver_sql("delete from ledger where seq = 2")

    found = ledger.verify(tx)

    assert (found.ok, found.first_bad) == (False, 2)
    assert found.sentence == "entry 2 is missing: the next one there has number 3"


def test_a_deleted_beginning_is_found(tx):
    tx.exec_driver_sql("delete from ledger where seq = 1")

    assert ledger.verify(tx).first_bad == 1


def test_swapped_entries_are_found(tx):
    for old, new in ((2, 99), (3, 2), (99, 3)):
        tx.exec_driver_sql("update ledger set seq = ? where seq = ?", (new, old))

    assert ledger.verify(tx).first_bad == 2


def test_a_cut_off_end_is_found_by_whoever_kept_a_head(tx):
    head = ledger.head(tx)
    tx.exec_driver_sql("delete from ledger where seq > 3")

    assert ledger.verify(tx).ok  # from the rows alone it cannot be seen
    found = ledger.verify(tx, head)

    assert (found.ok, found.first_bad, found.entries) == (False, 4, 3)
    assert "cut off" in found.sentence


def test_a_chain_written_anew_is_found_by_whoever_kept_a_head(tx):
    head = ledger.head(tx)
    tx.exec_driver_sql("delete from ledger")
    for n in range(7):
        ledger.append(
            tx, project="default", actor="eve", kind="alias.moved", subject="model:churn:1", payload={}, now=1000.0 + n
        )

    assert not ledger.verify(tx, head).ok


def test_a_head_from_an_earlier_day_still_verifies_after_more_entries(tx):
    third = ledger.entries(tx)[2].hash

    assert ledger.verify(tx, third).ok
    assert ledger.verify(tx, ledger.GENESIS).ok


def test_a_clock_that_went_back_is_said_and_breaks_nothing(tx):
    for at in (500.0, 499.0):
        ledger.append(
            tx, project="default", actor="ann", kind="alias.moved", subject="model:churn:6", payload={}, now=at
        )

    found = ledger.verify(tx)

    assert found.ok
    assert found.warnings == ("entry 6 is dated 505 s before the one it follows",)
    assert "the clock went back" in found.sentence


def test_an_empty_ledger_verifies_unless_a_head_was_kept(database):
    with database.read() as tx:
        assert ledger.verify(tx).sentence == "the ledger has no entries yet"
        assert not ledger.verify(tx, "sha256:" + "1" * 64).ok
