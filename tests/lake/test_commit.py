import threading

import numpy as np
import pyarrow.parquet as pq
import pytest
from pyiceberg.catalog.sql import SqlCatalog

from shipway.errors import Conflict
from shipway.lake import Label, Lake
from shipway.lake.shape import CAPTURE
from shipway.lake.tables import CAPTURES, LABELS, append, find
from shipway.stats import profile
from shipway.terms import Column


def query(house, sql):
    with house.database.read() as tx:
        return tx.exec_driver_sql(sql).all()


def table(house, kind=CAPTURES):
    return find(house.lake._catalog, kind, "default", "income")


def test_any_iceberg_reader_reads_captures_and_labels(house):
    [event] = house.write(rows=2, key="order-7")
    house.label(Label("yes", event=event))
    house.carry()

    catalog = SqlCatalog("lake", uri=f"sqlite:///{house.root}/lake.db")
    captured = catalog.load_table(("default", "captures", "income")).scan().to_arrow().to_pylist()
    labels = catalog.load_table(("default", "labels", "income")).scan().to_arrow().to_pylist()

    assert [(r["event_id"], r["row"], r["key"], r["status"]) for r in captured] == [
        (event, 0, "order-7", 200),
        (event, 1, "order-7", 200),
    ]
    assert captured[0]["at"].timestamp() == house.now
    assert captured[0]["in_hours_per_week"] == 30.0
    assert captured[0]["out_probability"] == [0.9, 0.1]
    assert labels[0]["value"] == "yes"
    catalog.engine.dispose()


def test_committing_again_adds_nothing(house):
    house.write()
    house.carry()

    assert house.lake.commit(house.database, house.now).segments == 0
    assert house.lake.events("default", "income").num_rows == 3


def test_a_segment_that_comes_back_after_its_commit_is_known(house):
    house.write()
    [path] = house.spool.iterdir()
    data = path.read_bytes()
    house.carry()
    path.write_bytes(data)

    house.carry()

    assert house.lake.events("default", "income").num_rows == 3
    assert query(house, "select sum(rows) from profile") == [(3,)]


def test_profiles_add_up_over_commits(house):
    for _ in range(3):
        house.write(rows=2)
        house.carry()

    [(rows, counts)] = query(house, "select rows, counts from profile")

    assert rows == 6 == profile.decode(counts).rows


def test_a_committer_that_slept_loses_to_the_one_that_did_not(house):
    house.write()
    house.carry()
    sleeper = table(house)
    house.write()
    house.carry()

    rows = sleeper.scan().to_arrow()
    with pytest.raises(Conflict, match="committed to"):
        append(sleeper, rows, ["again"], {})

    assert table(house).scan().to_arrow().num_rows == 6


def test_two_committers_at_once_bring_everything_in_once(house):
    for _ in range(6):
        house.write(rows=1)
        house.collect()
    other = Lake.open(f"sqlite:///{house.root}/lake.db", house.root / "lake")
    failures = []

    def run(lake):
        try:
            lake.commit(house.database, house.now)
        except Conflict as lost:
            failures.append(lost)

    threads = [threading.Thread(target=run, args=(lake,)) for lake in (house.lake, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    other.close()
    house.carry()

    assert house.lake.events("default", "income").num_rows == 6
    assert query(house, "select sum(rows) from profile") == [(6,)]


def test_a_version_with_other_columns_extends_the_table(house):
    house.write(rows=1)
    house.carry()
    tensor = (Column("embedding", "FP32", (2,)), Column("flag", "BOOL"))
    house.write(
        rows=1,
        context=house.context(version=2, inputs=tensor, outputs=(Column("prediction", "FP64"),)),
        inputs={"embedding": np.array([[1, 2]], np.float32), "flag": np.array([True])},
        outputs={"prediction": np.array([4.5])},
    )
    house.carry()

    old, new = house.lake.events("default", "income").sort_by("version").to_pylist()

    assert (old["in_Age"], old["in_flag"], old["out_prediction"], old["out_label"]) == (0, None, None, "yes")
    assert (new["in_Age"], new["in_flag"], new["out_prediction"], new["out_label"]) == (None, True, 4.5, None)
    assert new["in_embedding"] == [1.0, 2.0]


def test_columns_do_not_grow_with_commits(house):
    house.write(rows=1)
    house.carry()
    before = table(house).schema().column_names
    house.write(rows=1)
    house.carry()

    assert table(house).schema().column_names == before
    assert before[: len(CAPTURE)] == CAPTURE.names


def test_names_that_differ_only_by_case_or_signs_stay_apart(house):
    house.write(rows=2)
    house.carry()

    rows = house.lake.events("default", "income", columns=["in_Age", "in_age", "in_hours-per-week", "row"])

    assert rows.column_names == ["in_Age", "in_age", "in_hours-per-week", "row"]
    assert rows.sort_by("row")["in_age"].to_pylist() == [None, "old"]
    assert rows.sort_by("row")["in_Age"].to_pylist() == [0, 1]


def test_a_missing_number_is_null_and_an_infinite_one_stays(house, row):
    asked, _ = row
    house.write(rows=2, inputs={**asked(2), "hours-per-week": np.array([np.nan, np.inf])})
    house.carry()

    assert sorted(map(str, house.lake.events("default", "income")["in_hours-per-week"].to_pylist())) == ["None", "inf"]


def test_a_request_of_which_nothing_could_be_kept_still_has_a_row(house):
    house.write(rows=5, inputs={}, outputs={}, status=500)
    house.carry()

    [found] = house.lake.events("default", "income").to_pylist()

    assert (found["row"], found["rows"], found["status"], found["out_label"]) == (0, 5, 500, None)


def test_a_file_that_vanished_is_reported_and_stops_nobody(house):
    house.write()
    house.collect()
    for path in (house.root / "incoming").rglob("*.parquet"):
        path.unlink()
    house.write()
    house.collect()

    report = house.lake.commit(house.database, house.now)

    assert (report.segments, report.lost) == (1, ("w0-000000/default/income",))


def test_a_broken_file_of_one_endpoint_does_not_keep_the_others_out(house):
    house.write(context=house.context(endpoint="a"))
    house.collect()
    for path in (house.root / "incoming").rglob("*.parquet"):
        path.write_bytes(b"PAR1 broken")
    house.write()
    house.collect()

    with pytest.raises(Exception, match=r"[Pp]arquet"):
        house.lake.commit(house.database, house.now)

    assert house.lake.events("default", "income").num_rows == 3


def test_parquet_files_leave_incoming_once_committed(house):
    house.write()
    house.carry()

    assert list((house.root / "incoming").rglob("*.parquet")) == []


def test_an_endpoint_of_any_legal_name_has_tables(house):
    odd = house.context(project="a.b-c", endpoint="x__labels.v1-2")
    house.write(context=odd)
    house.carry()

    assert house.lake.events("a.b-c", "x__labels.v1-2").num_rows == 3


def test_the_snapshot_changes_with_each_commit_and_a_pinned_one_stays(house):
    assert house.lake.snapshot("default", "income") is None
    house.write()
    house.carry()
    first = house.lake.snapshot("default", "income")
    house.lake.pin("default", "income", first, "cited")
    house.write()
    house.carry()

    assert house.lake.snapshot("default", "income") != first
    assert table(house).scan(snapshot_id=first).to_arrow().num_rows == 3
    assert table(house).metadata.refs["cited"].snapshot_id == first


def test_labels_leave_the_label_inbox_and_ids_given_again_are_still_new_labels(house):
    [event] = house.write(rows=3)
    house.carry()
    for row in range(3):
        house.label(Label("yes", event=event, row=row))
        house.carry()
        house.carry()

    assert house.lake.outcomes("default", "income")["truth"].to_pylist() == ["yes"] * 3
    assert table(house, LABELS).scan().to_arrow().num_rows == 3
    assert len(query(house, "select * from label_inbox")) <= 1


def test_incoming_files_carry_what_they_are(house):
    house.write()
    sent = []
    house.collect(send=sent.append)

    assert pq.ParquetFile(sent[0].path).schema_arrow.names[: len(CAPTURE)] == CAPTURE.names
