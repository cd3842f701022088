import subprocess
import sys

import pytest

from shipway.capture import Ids
from shipway.errors import Rejected
from shipway.lake import Label, add_labels


def refused(house, *labels):
    with pytest.raises(Rejected) as found, house.database.transaction() as tx:
        add_labels(tx, "default", "income", labels, house.now)
    with house.database.read() as tx:
        assert tx.exec_driver_sql("select count(*) from label_inbox").scalar() == 0
    return found.value


def event(at_s):
    return Ids(bytes, lambda: int(at_s * 1e9)).new().hex()


def test_a_malformed_event_id_is_refused_with_a_fix(house):
    error = refused(house, Label("yes", event="order-7"))

    assert str(error) == "'order-7' is not an event id"
    assert "shipway-event-id" in error.fix


def test_an_event_from_the_future_is_refused(house):
    error = refused(house, Label("yes", event=event(house.now + 3600)))

    assert "is 3600 s in the future" in str(error)
    assert "clocks" in error.fix


def test_a_little_clock_difference_is_not_the_future(house):
    house.label(Label("yes", event=event(house.now + 30)))


def test_one_bad_label_among_many_refuses_all_and_is_counted_from_one(house):
    error = refused(house, Label("yes", event=event(house.now)), Label("yes"))

    assert str(error) == "label 2 of 2: it has neither an event id nor a key"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), None, ["yes"], "x" * 10_001])
def test_a_value_that_is_no_finite_scalar_is_refused(house, value):
    assert refused(house, Label(value, event=event(house.now))).fix


def test_a_label_names_an_event_or_a_key_and_a_row(house):
    assert "both" in str(refused(house, Label("yes", event=event(house.now), key="k")))
    assert "row -1" in str(refused(house, Label("yes", event=event(house.now), row=-1)))
    assert "name is empty" in str(refused(house, Label("yes", event=event(house.now), name="")))


def test_an_id_may_be_written_with_dashes_and_capitals(house):
    [captured] = house.write(rows=1)
    text = captured.upper()
    house.label(Label("no", event=f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"))
    house.carry()

    assert house.lake.outcomes("default", "income")["truth"].to_pylist() == ["no"]


def test_taking_labels_and_inbox_rows_imports_no_lake_library():
    code = (
        "import sys; from shipway.lake import add_labels, receive, Label, InboxRow;"
        "print(*{m.partition('.')[0] for m in sys.modules} & {'pyiceberg', 'duckdb', 'pyarrow'})"
    )

    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert ran.stdout.split() == []


@pytest.mark.parametrize("at", [1e300, -1.0, float("nan"), float("inf"), "tomorrow and a day"])
def test_a_time_that_cannot_be_is_refused_before_it_stops_every_commit(house, at):
    moment = house.now + 2 * 86_400 if isinstance(at, str) else at

    error = refused(house, Label("yes", event=event(house.now), at=moment))

    assert "is not one that has come" in str(error)
    assert error.fix
