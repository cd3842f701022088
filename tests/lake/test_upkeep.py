import os
from pathlib import Path

from shipway.lake import Label
from shipway.lake.tables import CAPTURES, committed, files, find
from shipway.lake.upkeep import compact, expire


def table(house):
    return find(house.lake._catalog, CAPTURES, "default", "income")


def fill(house, commits):
    events = []
    for _ in range(commits):
        house.now += 1
        events += house.write(rows=2)
        house.carry()
    return events


def on_disk(house):
    return [path for path in (house.root / "lake").rglob("*") if path.is_file()]


def test_joining_small_files_changes_no_row_and_forgets_no_commit(house):
    events = fill(house, 4)
    house.label(Label("yes", event=events[0]))
    house.carry()
    before = house.lake.outcomes("default", "income")
    ids = committed(table(house))

    assert compact(table(house), house.lake._engine, small_files=4) == 4

    assert len(files(table(house))) == 1
    assert committed(table(house)) == ids
    assert house.lake.outcomes("default", "income").equals(before)
    assert table(house).scan().to_arrow().num_rows == 8


def test_few_small_files_are_left_alone(house):
    fill(house, 2)

    assert compact(table(house), house.lake._engine, small_files=3) == 0


def test_joining_loses_to_a_commit_that_came_first(house):
    fill(house, 3)
    stale = table(house)
    fill(house, 1)

    assert compact(stale, house.lake._engine, small_files=3) == 0

    assert house.lake.events("default", "income").num_rows == 8


def test_joined_files_of_different_columns_keep_them(house):
    house.write(rows=1, outputs={}, status=500)
    house.carry()
    fill(house, 2)

    compact(table(house), house.lake._engine, small_files=3)

    assert sorted(map(str, house.lake.events("default", "income")["out_label"].to_pylist())) == [
        "None", "no", "no", "yes", "yes",
    ]  # fmt: skip


def test_a_sweep_deletes_what_no_snapshot_reaches_and_nothing_young(house):
    fill(house, 3)
    orphan = next(path for path in on_disk(house) if path.suffix == ".parquet").with_name("orphan.parquet")
    orphan.write_bytes(b"left by a killed commit")
    stray = house.root / "incoming" / "default" / "income" / "again.parquet"
    stray.write_bytes(b"a segment that came twice")
    kept = set(on_disk(house)) - {orphan}
    mtime = orphan.stat().st_mtime

    assert house.lake.sweep(house.database, "default", "income", mtime + 10) == 0
    assert house.lake.sweep(house.database, "default", "income", mtime + 10_000) == 2

    assert set(on_disk(house)) == kept
    assert not stray.exists()
    assert house.lake.events("default", "income").num_rows == 6


def test_a_sweep_after_joining_and_forgetting_frees_the_disk(house):
    fill(house, 4)
    compact(table(house), house.lake._engine, small_files=2)
    assert expire(table(house), keep=1, spare=1) > 0
    before = len(on_disk(house))

    for path in on_disk(house):
        os.utime(path, (0, 0))
    assert house.lake.sweep(house.database, "default", "income", house.now) > 0

    data = [path for path in on_disk(house) if path.suffix == ".parquet"]
    assert len(on_disk(house)) < before
    assert len(data) == 1
    assert house.lake.events("default", "income").num_rows == 8
    assert [Path(file.path) for file in files(table(house))] == data


def test_a_pinned_snapshot_is_not_forgotten(house):
    fill(house, 1)
    cited = house.lake.snapshot("default", "income")
    house.lake.pin("default", "income", cited, "cited")
    fill(house, 3)

    assert expire(table(house), keep=1, spare=1) == 2
    assert table(house).scan(snapshot_id=cited).to_arrow().num_rows == 2
