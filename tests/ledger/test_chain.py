"""The ledger grows at its end and nowhere else."""

# ruff: noqa: PT012 - the exception leaves a whole transaction, which is what is tested

import hashlib
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shipway import ledger
from shipway.errors import Rejected

TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
COPIED = "seq, project, at, 'eve', kind, subject, payload, previous, hash || 'x'"
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=10,
)


def append(tx, **changed):
    entry = {"project": "default", "actor": "ann", "kind": "alias.moved", "subject": "model:churn:3", "payload": {}}
    return ledger.append(tx, **(entry | {"now": 1000.5} | changed))


def test_entries_are_numbered_and_linked_from_the_first_on(database):
    with database.transaction() as tx:
        assert ledger.head(tx) == ledger.GENESIS
        first, second = append(tx), append(tx)

        assert (first.seq, first.previous) == (1, ledger.GENESIS)
        assert (second.seq, second.previous) == (2, first.hash)
        assert ledger.head(tx) == second.hash
        assert ledger.entries(tx) == [first, second]


def test_anyone_can_recompute_a_hash_with_tools_of_their_own(database):
    with database.transaction() as tx:
        append(tx)
        entry = append(tx, payload={"b": [1, 2.5], "a": "text"})

    content = {
        "seq": 2, "project": "default", "at": 1000.5, "actor": "ann", "kind": "alias.moved",
        "subject": "model:churn:3", "payload": {"a": "text", "b": [1, 2.5]}, "previous": entry.previous,
    }  # fmt: skip
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
    assert entry.hash == "sha256:" + hashlib.sha256(canonical).hexdigest()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(payload=st.dictionaries(TEXT, JSON, max_size=4), subject=TEXT, now=st.floats(0, 4e9))
def test_whatever_can_be_appended_verifies_and_reads_back_the_same(database, payload, subject, now):
    with database.transaction() as tx:
        written = append(tx, payload=payload, subject=subject, now=now)

        assert ledger.entries(tx, after=written.seq - 1) == [written]
        assert written.payload == payload
        assert ledger.verify(tx).ok


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 2**53, object(), "\ud800"])
def test_what_has_no_canonical_form_is_rejected_and_nothing_is_appended(database, value):
    with database.transaction() as tx:
        with pytest.raises(Rejected, match=r"payload of a alias\.moved entry"):
            append(tx, payload={"x": value})

        assert ledger.entries(tx) == []


def test_entries_can_be_asked_for_by_project_subject_and_kind_and_in_pages(database):
    with database.transaction() as tx:
        for n in range(1, 7):
            append(tx, project=f"p{n % 2}", subject=f"s{n % 3}", kind="k" if n > 3 else "j")

        def found(**asked):
            return [e.seq for e in ledger.entries(tx, **asked)]

        assert found(project="p0") == [2, 4, 6]
        assert found(subject="s0") == [3, 6]
        assert found(kind="k", project="p1") == [5]
        assert found(after=2, limit=3) == [3, 4, 5]
        assert found(project="nobody") == []


@pytest.mark.parametrize(
    "statement",
    [
        "update ledger set actor = 'eve' where seq = 1",
        "delete from ledger where seq = 2",
        "delete from ledger",
        f"insert or replace into ledger select {COPIED} from ledger where seq = 2",
        f"insert into ledger select {COPIED.replace('seq', '9')} from ledger where seq = 2",
    ],
)
def test_the_database_refuses_to_change_or_delete_an_entry(database, statement):
    with database.transaction() as tx:
        entries = [append(tx), append(tx)]

    with pytest.raises(Exception, match="the ledger is append-only"), database.transaction() as tx:
        tx.exec_driver_sql(statement)

    with database.read() as tx:
        assert ledger.entries(tx) == entries


def test_a_decision_that_fails_leaves_no_entry(database):
    with pytest.raises(ZeroDivisionError), database.transaction() as tx:
        append(tx)
        1 / 0  # noqa: B018

    with database.read() as tx:
        assert ledger.verify(tx).entries == 0
