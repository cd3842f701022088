"""A pass over the endpoints: every window once, every change told once, nothing lost to a restart."""

from types import SimpleNamespace

import msgspec
import numpy as np
import pytest
from sqlalchemy import update

from shipway import ledger, monitor
from shipway.database import lease, schema
from shipway.endpoint import SqlEndpoints
from shipway.errors import Conflict, Rejected
from shipway.serve import health as serve_health
from shipway.stats import profile
from shipway.terms import Signature

START = 1_800_000_000.0
HOUR = 3600.0


def at(hour):
    return START + HOUR * hour


def step(house, hour, **options):
    return monitor.step(house.database, house.lake, house.bundles, at(hour) + 1, **options)


def watch(house, hours, **changes):
    """Let hours of traffic pass, one monitoring pass after each."""
    told = []
    for hour in hours:
        house.capture(hour, **changes)
        told += step(house, hour + 1)
    return told


def summary(house):
    with house.database.read() as tx:
        return monitor.status(tx, "default", "churn")


def kinds(house):
    with house.database.read() as tx:
        return [e.kind for e in ledger.entries(tx) if e.kind.startswith("signal.")]


def test_thirty_ordinary_hours_raise_nothing(house):
    told = watch(house, range(30))

    assert told == []
    assert house.signals() == []
    known = summary(house)
    assert (known["windows"], known["rows"]) == (30, 30_000)
    assert "nothing changed" in known["sentence"]


def test_two_drifting_columns_raise_one_signal_that_names_them_first(house):
    watch(house, range(5))

    told = watch(house, range(5, 10), age=0.5, income=0.5)

    (signal,) = [s for s in told if s.kind == "drift"]
    assert set(signal.columns) == {"age", "income"}
    assert at(4) <= signal.since <= at(6)
    assert signal.log_e > signal.bar
    assert "median" in signal.sentence
    assert signal.actions[0] == "shipway retrain run churn"
    (kept,) = [s for s in house.signals() if s["kind"] == "drift"]
    assert kept["id"] == signal.id
    assert kinds(house).count("signal.raised") == len(house.signals())


def test_a_signal_reaches_webhook_and_ledger_in_the_transaction_that_raised_it(house):
    watch(house, range(2))
    watch(house, [2], age=1.0)

    (message,) = [m for m in house.messages() if m["kind"] == "drift"]

    assert message["event"] == "signal.raised"
    assert message["columns"] == ["age"]
    assert message["text"].startswith("Drift on churn")
    with house.database.read() as tx:
        assert ledger.verify(tx).ok


def test_a_column_that_joins_a_drift_updates_the_signal_and_is_told(house):
    watch(house, range(2))
    watch(house, range(2, 4), age=1.0)

    told = watch(house, range(4, 7), age=1.0, plan=[0.2, 0.3, 0.5])

    assert [set(s.columns) for s in told if s.kind == "drift"] == [{"age", "plan"}]
    assert len([s for s in house.signals() if s["kind"] == "drift"]) == 1
    assert [m["event"] for m in house.messages() if m["kind"] == "drift"] == ["signal.raised", "signal.updated"]


def test_a_drift_that_ends_closes_its_signal(house):
    watch(house, range(2))
    watch(house, range(2, 4), age=0.5)
    assert house.signals()

    watch(house, range(4, 30))

    assert house.signals() == []
    assert kinds(house)[-1] == "signal.closed"
    assert house.messages()[-1]["event"] == "signal.closed"


@pytest.mark.parametrize(("change", "word"), [({"missing": 0.1}, "missing in 10 %"), ({"age": 9.0}, "above")])
def test_missing_and_out_of_range_cells_raise_a_signal_of_quality_that_says_so(house, change, word):
    watch(house, range(2))

    told = watch(house, [2], **change)

    (signal,) = [s for s in told if s.kind == "quality"]
    assert word in signal.sentence


def test_nothing_is_counted_twice_and_nothing_is_skipped_over_a_restart(house):
    for hour in range(6):
        house.capture(hour)
    step(house, 3)
    step(house, 3)
    step(house, 6)

    assert summary(house)["rows"] == 6000


def test_rows_that_arrive_late_are_counted_with_the_next_window(house):
    watch(house, range(3))
    house.capture(1, 500, minute=30)
    house.capture(2, 70)
    watch(house, [3, 4])

    assert summary(house)["rows"] == 5570


def test_a_window_with_few_rows_is_joined_to_the_next(house):
    watch(house, [0, 1, 2], n=90)

    known = summary(house)

    assert (known["windows"], known["rows"]) == (1, 270)


def test_a_new_champion_gets_its_own_reference_and_closes_what_was_open(house):
    watch(house, range(2))
    watch(house, [2, 3], age=1.0)
    assert house.signals()
    drifted = profile.make_reference(*reference_rows(age=1.0))
    digest = house.register(drifted)
    with house.database.transaction() as tx:
        SqlEndpoints(tx).set_champion("default", "churn", 2, by="ann", now=at(4))

    step(house, 4)
    assert house.signals() == []
    for hour in range(4, 12):
        house.capture(hour, digest=digest, age=1.0)
        assert not step(house, hour + 1)

    assert house.signals() == []
    assert "churn:2 answers instead" in house.signals(closed=True)[0]["sentence"]
    assert summary(house)["windows"] == 8


def reference_rows(**changes):
    rng = np.random.default_rng(3)
    from_rows = {"age": 40 + 10 * (rng.normal(size=20_000) + changes["age"]), "income": np.exp(rng.normal(size=20_000))}
    from_rows["plan"] = rng.choice(["basic", "plus", "pro"], 20_000, p=[0.6, 0.3, 0.1]).astype(object)
    from_rows["note"] = rng.choice(["x", "y"], 20_000).astype(object)
    score = rng.random(20_000)
    from_rows["output.label"] = np.where(score > 0.5, "yes", "no").astype(object)
    from_rows["output.score"] = score
    return Signature((), ()), from_rows


def test_a_challengers_rows_are_not_held_against_the_champion(house):
    watch(house, range(2))
    for hour in range(2, 5):
        house.capture(hour)
        house.capture(hour, variant="challenger", age=2.0)
        assert not step(house, hour + 1)


def test_labels_that_turn_out_wrong_more_often_raise_a_signal_of_performance(house):
    for hour in range(6):
        house.capture(hour)
        house.lake.add(at(hour) + 5, house.rng.random(300) < 0.1)
        assert not step(house, hour + 1)

    told = []
    for hour in range(6, 12):
        house.capture(hour)
        house.lake.add(at(hour) + 5, house.rng.random(300) < 0.25)
        told += step(house, hour + 1)

    (signal,) = told
    assert signal.kind == "performance"
    assert signal.effect["metric"] == "error_rate"
    assert signal.effect["before"] == pytest.approx(0.1)
    assert signal.effect["low"] < 0.25 < signal.effect["high"]
    assert "labelled answers are wrong" in signal.sentence


def test_a_label_is_weighed_once_however_often_it_is_read(house):
    house.capture(0)
    house.lake.add(at(0) + 5, [True] * 12 + [False] * 100)
    for hour in range(1, 40):
        house.capture(hour)
        step(house, hour + 1)

    known = summary(house)

    assert known["performance"]["rows"] == 112
    assert not house.signals()


def test_answers_of_others_are_not_the_champions_fault(house):
    for hour in range(5):
        house.capture(hour)
        house.lake.add(at(hour) + 5, [True] * 300, version=2)
        house.lake.add(at(hour) + 5, [True] * 300, flags=1)
        house.lake.add(at(hour) + 5, [True] * 300, variant="challenger")
        step(house, hour + 1)

    assert house.signals() == []


def test_an_endpoint_that_falls_silent_says_so_and_is_heard_of_again(house):
    watch(house, range(6))

    (signal,) = step(house, 12)

    assert signal.kind == "silence"
    assert "no request since" in signal.sentence
    assert step(house, 13) == []
    assert watch(house, [13]) == []
    assert house.signals() == []


def test_a_server_that_stopped_reporting_raises_silence(house):
    with house.database.transaction() as tx:
        tx.execute(schema.server.insert().values(name="s1", seen_at=at(1) - 60, epoch=3, health="{}"))

    (signal,) = watch(house, [0])

    assert "server s1 does not report" in signal.sentence


def test_dropped_captures_are_told(house):
    lost = {"default/churn/champion": 4, "default/churn/challenger": 3, "default/other/champion": 100}
    beat = {"connections": 1, "capture_stopped": "disk_full", "capture_dropped": lost}
    worker = SimpleNamespace(health=beat, serving=True, process=SimpleNamespace(pid=1))
    health = msgspec.json.encode(serve_health.summary([worker], None, restarts=0)).decode()
    with house.database.transaction() as tx:
        tx.execute(schema.server.insert().values(name="s1", seen_at=at(1), epoch=3, health=health))

    (signal,) = watch(house, [0])

    assert "had to drop 7 captures" in signal.sentence


def test_a_signal_that_someone_closed_is_raised_anew_if_the_change_lasts(house):
    watch(house, range(2))
    (first,) = watch(house, [2], age=0.6)
    with house.database.transaction() as tx:
        tx.execute(update(schema.signal).values(closed_at=at(3)))

    (again,) = watch(house, range(3, 5), age=0.6)

    assert again.id != first.id


def test_a_muted_signal_stays_but_posts_nothing(house):
    watch(house, range(2))
    watch(house, [2], age=0.6)
    with house.database.transaction() as tx:
        tx.execute(update(schema.signal).values(muted_until=at(100)))
    before = len(house.messages())

    watch(house, range(3, 6), age=0.6, plan=[0.1, 0.1, 0.8])

    assert len(house.messages()) == before
    assert {"age", "plan"} <= set(house.signals()[0]["columns"])


def test_another_policy_begins_the_detectors_anew_and_keeps_what_is_open(house):
    watch(house, range(2))
    (signal,) = watch(house, [2], age=0.6)
    with house.database.transaction() as tx:
        SqlEndpoints(tx).set_policies(
            "default", "churn", {"monitor": "[monitor]\nwait='0s'\nmin_rows=200"}, by="ann", now=at(3)
        )

    watch(house, [3], age=0.6)

    assert [s["id"] for s in house.signals()] == [signal.id]


def test_a_holder_that_lost_the_lease_writes_nothing(house):
    with house.database.transaction() as tx:
        old = lease.acquire(tx, "clockwork", "a", at(0), ttl_s=1.0)
        lease.acquire(tx, "clockwork", "b", at(1), ttl_s=10_000.0)
    house.capture(0)

    with pytest.raises(Conflict):
        step(house, 1, fence=old)

    assert "windows" not in summary(house)


def test_a_broken_policy_of_one_endpoint_does_not_stop_the_others(house):
    with house.database.transaction() as tx:
        SqlEndpoints(tx).create(
            "default", "a-broken", "churn", 1, by="ann", now=at(0), policies={"monitor": "nonsense"}
        )
    house.capture(0)

    with pytest.raises(Rejected, match="not TOML"):
        step(house, 1)

    assert summary(house)["windows"] == 1


def test_an_endpoint_nobody_called_has_no_windows(house):
    assert step(house, 5) == []
    assert "no window is complete yet" in summary(house)["sentence"]


def test_labels_for_events_nobody_captured_are_told_once_they_come(house):
    house.lake.add(at(0) + 5, [False] * 20)
    assert watch(house, range(2)) == []
    house.lake.strays = 9

    (signal,) = [s for hour in (2, 3) for s in watch(house, [hour])]

    assert signal.kind == "silence"
    assert "9 labels came for events that were never captured" in signal.sentence
    watch(house, [4])
    assert house.signals() == []


def test_the_first_look_after_a_rest_raises_no_silence(house):
    with house.database.transaction() as tx:
        tx.execute(schema.server.insert().values(name="s1", seen_at=at(1) - 600, epoch=3, health="{}"))
    house.capture(0)

    started = step(house, 1, listening_since=at(1) - 1)
    later = step(house, 1, listening_since=at(1) - 300)

    assert started == []
    assert ["server s1 does not report" in signal.sentence for signal in later] == [True]
