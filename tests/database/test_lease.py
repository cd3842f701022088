"""One holder at a time, and a fence that only grows."""

import signal
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from shipway.database import lease, schema
from shipway.errors import Conflict

HOLDER = """
import sys
from sqlalchemy import insert
from shipway.database import Database, lease, schema
database = Database.open(sys.argv[1])
with database.transaction() as tx:
    fence = lease.acquire(tx, "clockwork", "old", 100.0)
print(fence, flush=True)
sys.stdin.readline()
from shipway.errors import Conflict
try:
    with database.transaction() as tx:
        tx.execute(insert(schema.project).values(name="late", created_at=0.0))
        lease.require(tx, "clockwork", fence, 101.0)  # as it read the clock before it was paused
except Conflict as exc:
    print(exc, flush=True)
    sys.exit(1)
"""


def test_a_paused_holder_that_wakes_up_late_cannot_write(database):
    command = [sys.executable, "-c", HOLDER, f"sqlite:///{database.path}"]
    old = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert old.stdout.readline() == "1\n"
    old.send_signal(signal.SIGSTOP)
    with database.transaction() as tx:
        assert lease.acquire(tx, "clockwork", "new", 116.0) == 2

    old.send_signal(signal.SIGCONT)
    said, _ = old.communicate("go\n", timeout=30)

    assert old.returncode == 1
    assert "passed from fence 1 to 2, held by new; nothing was written" in said
    with database.read() as tx:
        assert tx.execute(select(func.count()).select_from(schema.project)).scalar_one() == 0


def test_a_holder_keeps_its_fence_while_it_renews_in_time(database):
    with database.transaction() as tx:
        fences = [lease.acquire(tx, "clockwork", "a", now) for now in (0.0, 5.0, 19.9)]

    assert fences == [1, 1, 1]


def test_another_gets_nothing_before_the_end_and_a_higher_fence_after_it(database):
    with database.transaction() as tx:
        lease.acquire(tx, "clockwork", "a", 0.0)

        assert lease.acquire(tx, "clockwork", "b", 14.9) is None
        assert lease.acquire(tx, "clockwork", "b", 15.0) == 2
        assert lease.acquire(tx, "clockwork", "a", 15.1) is None


def test_a_released_lease_is_free_at_once_and_only_its_holder_can_release_it(database):
    with database.transaction() as tx:
        fence = lease.acquire(tx, "clockwork", "a", 0.0)
        lease.release(tx, "clockwork", "b", fence)
        assert lease.acquire(tx, "clockwork", "b", 1.0) is None

        lease.release(tx, "clockwork", "a", fence)

        assert lease.acquire(tx, "clockwork", "b", 1.0) == 2


def test_leases_of_other_names_are_independent(database):
    with database.transaction() as tx:
        assert [lease.acquire(tx, n, h, 0.0) for n, h in (("x", "a"), ("y", "b"))] == [1, 1]


def test_requiring_a_lease_that_ran_out_fails_although_nobody_took_it(database):
    with database.transaction() as tx:
        fence = lease.acquire(tx, "clockwork", "a", 0.0)
        lease.require(tx, "clockwork", fence, 14.0)

        with pytest.raises(Conflict, match="has run out"):
            lease.require(tx, "clockwork", fence, 15.0)
        with pytest.raises(Conflict, match="has run out"):
            lease.require(tx, "never", 1, 0.0)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(asks=st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 20)), min_size=1, max_size=20))
def test_no_two_holders_ever_have_the_same_fence_or_overlap(database, asks):
    with database.transaction() as tx:
        tx.execute(schema.lease.delete())
        now, held, owner = 0.0, {}, None
        for holder, wait in asks:
            now += wait
            fence = lease.acquire(tx, "law", holder, now)
            if fence is None:
                assert owner[1] != holder
                assert owner[2] > now
                continue
            assert held.setdefault(fence, holder) == holder
            assert fence == max(held)
            owner = (fence, holder, now + lease.TTL_S)
