import numpy as np
import pyarrow as pa
import pytest

from shipway.capture import Ids
from shipway.errors import Rejected
from shipway.lake import Label, unknown_labels
from shipway.terms import Column

OUTCOMES = [
    "event_id",
    "row",
    "at",
    "variant",
    "served",
    "version",
    "rollout",
    "restart",
    "propensity",
    "status",
    "flags",
    "label",
    "score",
    "prediction",
    "truth",
]
PAIRS = [
    "event_id",
    "row",
    "at",
    "champion_label",
    "champion_score",
    "champion_prediction",
    "challenger_label",
    "challenger_score",
    "challenger_prediction",
    "challenger_status",
    "truth",
]


def truths(house):
    return house.lake.outcomes("default", "income")["truth"].to_pylist()


def pairs(house):
    return house.lake.pairs("default", "income", rollout="r1", restart=0)


def test_every_question_has_its_shape_before_anything_was_captured(house):
    lake = house.lake
    empty = {
        "outcomes": lake.outcomes("default", "income"),
        "pairs": pairs(house),
        "training": lake.training("default", "income"),
        "events": lake.events("default", "income", limit=5),
    }

    assert all(table.num_rows == 0 for table in empty.values())
    assert empty["outcomes"].column_names == OUTCOMES
    assert empty["pairs"].column_names == PAIRS
    assert empty["training"].column_names == ["target"]

    house.write()
    house.carry()
    assert lake.outcomes("default", "income").schema == empty["outcomes"].schema
    assert pairs(house).schema == empty["pairs"].schema


def test_outcomes_are_primary_rows_with_their_truth_in_order_of_time(house):
    first, second = house.write(rows=2, count=2)
    house.shadow(first, rows=2)
    house.label(Label("no", event=first, row=1))
    house.carry()

    rows = house.lake.outcomes("default", "income").to_pylist()

    assert [(r["event_id"], r["row"], r["label"], r["truth"]) for r in rows] == [
        (first, 0, "yes", None),
        (first, 1, "no", "no"),
        (second, 0, "yes", None),
        (second, 1, "no", None),
    ]
    assert rows[0]["at"] == house.now
    assert rows[0]["score"] == pytest.approx(0.1)


def test_outcomes_may_be_asked_of_one_rollout_or_since_an_instant(house):
    house.write(rows=1, context=house.context(rollout=""))
    house.now += 10
    house.write(rows=1)
    house.carry()
    ask = house.lake.outcomes

    assert ask("default", "income", rollout="r1").num_rows == 1
    assert ask("default", "income", rollout="").num_rows == 1
    assert ask("default", "income", rollout="r2").num_rows == 0
    assert ask("default", "income", since=house.now).num_rows == 1
    assert ask("default", "income", since=house.now + 1).num_rows == 0


def test_the_label_received_last_wins_however_late_and_in_whatever_order_committed(house):
    [event] = house.write(rows=1)
    house.label(Label("yes", event=event), at=house.now + 20)
    house.carry()
    house.label(Label("no", event=event), at=house.now + 10)
    house.carry()
    assert truths(house) == ["yes"]

    house.label(Label("no", event=event), Label("maybe", event=event), at=house.now + 30)
    house.carry()
    assert truths(house) == ["maybe"]


def test_a_label_may_come_before_its_event_reached_the_lake(house):
    [event] = house.write(rows=1)
    house.label(Label("yes", event=event))
    house.lake.commit_labels(house.database, house.now)
    house.carry()

    assert truths(house) == ["yes"]


def test_a_label_by_the_callers_key_finds_its_event(house):
    house.write(rows=2, key="order-7")
    house.write(rows=2, key="order-8")
    house.label(Label("no", key="order-7", row=1))
    house.carry()

    assert truths(house) == [None, "no", None, None]


def test_of_a_label_by_key_and_one_by_event_the_later_wins(house):
    [event] = house.write(rows=1, key="order-7")
    house.label(Label("by event", event=event), at=house.now + 1)
    house.label(Label("by key", key="order-7"), at=house.now + 2)
    house.carry()
    assert truths(house) == ["by key"]

    house.label(Label("by event", event=event), at=house.now + 3)
    house.carry()
    assert truths(house) == ["by event"]


def test_labels_of_other_names_are_no_truth(house):
    [event] = house.write(rows=1)
    house.label(Label("late", event=event, name="delivery"))
    house.carry()

    assert truths(house) == [None]


def test_truth_is_written_like_the_class(house, row):
    _, said = row
    [event] = house.write(rows=2, outputs=said(2, first="1", other="0"))
    [other] = house.write(rows=2, outputs=said(2, first="1.0", other="True"))
    house.label(Label(1.0, event=event), Label("0.0", event=event, row=1), Label(1, event=other))
    house.label(Label(True, event=other, row=1))
    house.carry()

    assert truths(house) == ["1", "0", "1.0", "True"]


def test_pairs_put_both_answers_and_the_truth_side_by_side(house, row):
    _, said = row
    [event] = house.write(rows=2)
    house.shadow(event, rows=2, outputs=said(2, first="no", other="yes"))
    house.write(rows=2)
    house.label(Label("yes", event=event, row=0))
    house.carry()

    found = [
        (r["event_id"], r["row"], r["champion_label"], r["challenger_label"], r["challenger_status"], r["truth"])
        for r in pairs(house).to_pylist()
    ]

    assert found == [(event, 0, "yes", "no", 200, "yes"), (event, 1, "no", "yes", 200, None)]


@pytest.mark.parametrize("kept", [True, False])
def test_a_shadow_that_failed_is_a_failure_of_every_row(house, kept):
    [event] = house.write(rows=3)
    more = {} if kept else {"inputs": {}}
    house.shadow(event, rows=3, outputs={}, status=500, **more)
    house.carry()

    found = pairs(house)

    assert found["row"].to_pylist() == [0, 1, 2]
    assert found["challenger_status"].to_pylist() == [500] * 3
    assert found["challenger_label"].to_pylist() == [None] * 3


def test_an_event_that_was_shadowed_twice_is_one_pair(house):
    [event] = house.write(rows=2)
    house.shadow(event, rows=2, outputs={}, status=500)
    house.now += 1
    house.shadow(event, rows=2)
    house.carry()

    assert pairs(house)["challenger_status"].to_pylist() == [500, 500]


def test_pairs_of_another_restart_are_left_out(house):
    [event] = house.write(rows=1)
    house.shadow(event, rows=1)
    house.carry()

    assert pairs(house).num_rows == 1
    assert house.lake.pairs("default", "income", rollout="r1", restart=1).num_rows == 0


def test_training_rows_are_the_labelled_inputs_by_name(house):
    [event] = house.write(rows=2)
    [failed] = house.write(rows=1, outputs={}, status=500)
    house.shadow(event, rows=2)
    house.label(Label("no", event=event, row=1), Label("yes", event=failed))
    house.carry()

    rows = house.lake.training("default", "income", target="income")

    assert rows.to_pylist() == [{"hours-per-week": 30.0, "Age": 1, "age": "old", "income": "no"}]
    assert house.lake.training("default", "income", since=house.now + 1).num_rows == 0


def test_the_truth_of_a_regression_is_a_number(house):
    context = house.context(outputs=(Column("prediction", "FP64"),))
    [event] = house.write(rows=1, context=context, outputs={"prediction": np.array([4.0])})
    house.label(Label(5, event=event))
    house.carry()

    assert house.lake.training("default", "income")["target"].to_pylist() == [5.0]
    assert house.lake.outcomes("default", "income")["prediction"].to_pylist() == [4.0]


def test_a_target_called_like_an_input_is_refused(house):
    house.write()
    house.carry()

    with pytest.raises(Rejected, match="an input is called 'Age' too"):
        house.lake.training("default", "income", target="Age")


def test_events_come_newest_first_and_a_limit_never_misses_one(house):
    written = []
    for i in (5, 1, 9, 3, 7):  # segments arrive in any order
        house.now = 1_800_000_000.0 + i
        written += [(i, event) for event in house.write(rows=1, count=2)]
        house.carry()

    for limit in range(1, 12):
        found = house.lake.events("default", "income", limit=limit, columns=["event_id"])["event_id"].to_pylist()
        newest = [event for i, event in sorted(written, key=lambda w: -w[0])]
        assert len(found) == min(limit, 10)
        assert set(found) <= set(newest[: limit + limit % 2])


def test_an_unknown_column_is_refused_with_those_there_are(house):
    with pytest.raises(Rejected, match="no column 'out_labell'") as refused:
        house.lake.events("default", "income", columns=["out_labell"])

    assert "out_label" in refused.value.fix


def test_an_event_is_found_with_its_shadow_and_truth(house):
    [event] = house.write(rows=2)
    [shadow] = house.shadow(event, rows=2)
    house.write(rows=2)
    house.label(Label("no", event=event, row=1))
    house.carry()

    rows = house.lake.find("default", "income", event).to_pylist()

    assert [(r["event_id"], r["row"], r["truth"]) for r in rows] == [
        (event, 0, None),
        (event, 1, "no"),
        (shadow, 0, None),
        (shadow, 1, None),
    ]
    with pytest.raises(Rejected):
        house.lake.find("default", "income", "nonsense")


def test_labels_whose_event_never_came_are_counted_once_they_are_old(house):
    with house.database.transaction() as tx:
        tx.exec_driver_sql(
            "insert into endpoint (project, name, model, champion, variants, revision, created_at)"
            " values ('default', 'income', 'income', 1, '[]', 1, 0)"
        )
    [event] = house.write(rows=1, key="known")
    stray = Ids(bytes, lambda: int(house.now * 1e9)).new().hex()
    house.label(Label("yes", event=event), Label("yes", key="known"))
    house.label(Label("yes", event=stray), Label("yes", event=stray, row=1), Label("no", key="never"))
    house.carry()

    assert unknown_labels(house.database, house.lake, older_than=house.now) == []
    [found] = unknown_labels(house.database, house.lake, older_than=house.now + 1)

    assert (found.project, found.endpoint, found.labels, found.events) == ("default", "income", 3, 2)
    assert found.oldest == house.now


def test_answers_are_arrow_tables(house):
    assert isinstance(house.lake.events("default", "income"), pa.Table)
