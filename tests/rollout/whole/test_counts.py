"""What servers count arrives once, however often and in whatever order they say it."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, select

from shipway import rollout
from shipway.database import Database, schema
from shipway.rollout import counts
from shipway.terms import FORMAT, Cell, CountsReport

NOW = 1_800_000_000.0


def cell(n, arm="challenger", **changes):
    fields = {
        "project": "default", "endpoint": "churn", "rollout": "churn-1", "restart": 0, "propensity": 5000, "arm": arm,
        "version": 2 if arm == "challenger" else 1, "outcome": "ok", "n": n, "latency_us": (0, n),
    }  # fmt: skip
    return Cell(**(fields | changes))


def push(database, *cells, incarnation="a", now=NOW, server="one", **fields):
    with database.transaction() as tx:
        rollout.record_counts(tx, CountsReport(FORMAT, server, {incarnation: cells}, **fields), now)


def total(database, arm="challenger", rollout_id="churn-1", outcome="ok"):
    with database.read() as tx:
        return sum(t.n for t in counts.tallies(tx, rollout_id, 0) if (t.arm, t.outcome) == (arm, outcome))


def answered(database):
    with database.read() as tx:
        e = schema.endpoint_count
        found = tx.execute(select(e.c.minute, e.c.version, e.c.outcome, e.c.n, e.c.latency_us).order_by(e.c.minute))
        return [tuple(row) for row in found]


@pytest.fixture
def running(house, policy_text):
    house.start(policy_text(shadow=True))
    return house.database


def test_the_same_totals_twice_are_counted_once(running):
    for _ in range(3):
        push(running, cell(10))
    assert total(running) == 10


def test_only_the_difference_to_the_totals_before_is_added(running):
    for n in (10, 25, 25, 40):
        push(running, cell(n))
    assert total(running) == 40
    with running.read() as tx:
        assert counts.tallies(tx, "churn-1", 0)[0].latency_us == (0, 40)


def test_a_new_incarnation_starts_from_nothing(running):
    push(running, cell(10))
    push(running, cell(4), incarnation="b")
    push(running, cell(12))
    assert total(running) == 16


def test_two_servers_with_the_same_incarnation_name_are_two(running):
    push(running, cell(10))
    push(running, cell(10), server="two")
    assert total(running) == 20


def test_totals_that_went_down_take_nothing_away_and_add_nothing_when_they_are_back(running):
    for n in (10, 3, 10, 11):
        push(running, cell(n))
    assert total(running) == 11


def test_a_cell_left_out_of_one_report_is_not_counted_again(running):
    push(running, cell(10), cell(7, arm="champion"))
    push(running, cell(7, arm="champion"))
    push(running, cell(10), cell(7, arm="champion"))
    assert (total(running), total(running, "champion")) == (10, 7)


def test_a_finished_incarnation_reported_again_adds_nothing(running):
    for _ in range(2):
        push(running, cell(10), finished=("a",))
    assert total(running) == 10


def test_a_finished_incarnation_that_its_server_forgot_is_forgotten_after_a_day(running):
    push(running, cell(10), finished=("a",))
    push(running, cell(1), incarnation="b", now=NOW + 90_000)
    with running.read() as tx:
        assert tx.execute(select(schema.counts_seen.c.incarnation)).scalars().all() == ["b"]
    assert total(running) == 11


def test_counts_of_another_rollout_do_not_touch_this_one(running):
    push(running, cell(10), cell(99, rollout="no-such-rollout"), cell(99, restart=1))
    assert total(running) == 10


def test_counts_of_a_rollout_that_nobody_started_are_not_there_when_it_starts(house, policy_text):
    push(house.database, cell(99, outcome="error"))
    assert house.start(policy_text()) == "churn-1"
    assert total(house.database, outcome="error") == 0


def test_counts_that_name_this_rollout_at_another_endpoint_are_not_its_own(running):
    push(running, cell(99, endpoint="prices"), cell(99, project="eu"))
    assert total(running) == 0


def test_an_endpoint_counts_its_answers_per_minute_without_the_shadow(running):
    push(running, cell(10), cell(5, arm="champion"), cell(100, propensity=0))
    push(running, cell(12), cell(5, arm="champion"), now=NOW + 60)
    minute = int(NOW // 60)
    assert sorted(answered(running)) == [
        (minute, 1, "ok", 5, "[0,5]"),
        (minute, 2, "ok", 10, "[0,10]"),
        (minute + 1, 2, "ok", 2, "[0,2]"),
    ]


def test_an_endpoint_without_rollout_counts_too(house):
    push(house.database, cell(10, arm="champion", rollout="", propensity=0))
    assert answered(house.database) == [(int(NOW // 60), 1, "ok", 10, "[0,10]")]
    with house.database.read() as tx:
        assert counts.latency_before(tx, "default", "churn", 1, NOW - 60) == (0, 10)
        assert counts.latency_before(tx, "default", "churn", 1, NOW + 60) == ()


def test_a_report_is_a_heartbeat_with_the_servers_epoch_and_health(running):
    push(running, epoch=7, health={"workers": 2})
    with running.read() as tx:
        row = tx.execute(select(schema.server)).one()
    assert (row.name, row.seen_at, row.epoch, msgspec.json.decode(row.health)) == ("one", NOW, 7, {"workers": 2})


def test_a_failure_is_a_failure_and_collateral_is_neither(running):
    for outcome in ("error", "timeout", "invalid", "crash", "collateral"):
        push(running, cell(2, outcome=outcome, latency_us=()), incarnation=outcome)
    push(running, cell(30), cell(50, arm="champion"), incarnation="ok")
    with running.read() as tx:
        found = counts.tallies(tx, "churn-1", 0)
    (segment,) = counts.failures(found).segments
    assert (segment.challenger_bad, segment.challenger_good, segment.champion_good) == (8, 30, 50)
    (assigned,) = counts.assigned(found)
    assert (assigned.challenger, assigned.champion) == (40, 50)


def test_a_shadows_failure_is_a_discordant_pair(running):
    push(running, cell(90, propensity=0), cell(3, propensity=0, outcome="crash", latency_us=()))
    with running.read() as tx:
        found = counts.tallies(tx, "churn-1", 0)
    assert counts.failures(found).pairs == counts.Pairs(worse=3, same=90)
    assert counts.shadowed(found) == 93
    assert counts.assigned(found) == ()


def test_an_answer_in_the_first_slow_bin_is_slow_and_a_failure_is_slower_than_any(running):
    push(running, cell(10, latency_us=(4, 3, 3)), cell(2, outcome="timeout", latency_us=()))
    with running.read() as tx:
        (segment,) = counts.slow(counts.tallies(tx, "churn-1", 0), 1).segments
    assert (segment.challenger_bad, segment.challenger_good) == (8, 4)


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    opened = Database.open(f"sqlite:///{tmp_path_factory.mktemp('counts') / 'shipway.db'}")
    opened.migrate()
    yield opened
    opened.close()


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 50)), max_size=8))
@settings(max_examples=25, deadline=None)
def test_any_order_of_reports_adds_up_to_the_largest_total_of_each_incarnation(bare, reports):
    with bare.transaction() as tx:
        for table in (schema.counts_seen, schema.endpoint_count):
            tx.execute(delete(table))
    largest: dict[str, int] = {}
    for incarnation, n in reports:
        push(bare, cell(n), incarnation=incarnation)
        largest[incarnation] = max(n, largest.get(incarnation, 0))
    assert sum(row[3] for row in answered(bare)) == sum(largest.values())
