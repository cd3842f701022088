"""Two tables, no server: what changed is named, what did not is not, and odd files are refused in words."""

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from shipway import monitor
from shipway.errors import Missing, Rejected
from shipway.monitor import parse_policy
from shipway.stats import profile
from shipway.terms import Signature


def table(seed, n=5000, *, shift=0.0, **more):
    rng = np.random.default_rng(seed)
    columns = {
        "age": rng.normal(40, 10, n) + 10 * shift,
        "visits": rng.poisson(2, n),
        "plan": rng.choice(["basic", "plus", "pro"], n, p=[0.6, 0.3, 0.1]),
        "paid": rng.random(n) < 0.4,
    }
    return pa.table(columns | more)


def test_the_same_source_twice_is_no_change():
    for seed in range(5):
        found = monitor.compare(table(seed), table(100 + seed))
        assert not found.changed
        assert found.sentence.startswith("none of 4 columns changed")


def test_a_shift_of_a_third_of_a_standard_deviation_is_named_with_its_median():
    found = monitor.compare(table(1), table(2, shift=0.3))

    assert found.changed == ("age",)
    assert found.columns[0].column == "age"
    assert "age: median 43" in found.sentence
    assert found.columns[0].distance == pytest.approx(0.12, abs=0.03)
    assert found.columns[0].moved == pytest.approx(3.0, abs=0.6)


def test_small_tables_are_compared_without_crying_wolf():
    assert not monitor.compare(table(1, 40), table(2, 40)).changed


def test_new_levels_and_missing_cells_are_told():
    n = 5000
    plan = np.where(np.arange(n) % 20 == 0, "family", "basic")
    age = pa.array([None if i % 10 == 0 else 40.0 + i % 7 for i in range(n)])
    before = pa.table({"plan": ["basic"] * n, "age": [40.0 + i % 7 for i in range(n)]})

    found = monitor.compare(before, pa.table({"plan": plan, "age": age}))

    assert set(found.changed) == {"plan", "age"}
    assert "5.0 % of values were never seen before" in found.sentence
    assert "missing in 10 % of rows, was 0 %" in found.sentence


def test_a_column_that_is_gone_or_holds_text_now_is_a_change():
    after = table(2).drop_columns(["visits"]).set_column(0, "age", pa.array(["n/a"] * 5000))

    found = monitor.compare(table(1), after)

    assert (found.gone, found.retyped) == (("visits",), ("age",))
    assert "visits is gone" in found.sentence
    assert "age holds text instead of numbers" in found.sentence


def test_numbers_that_were_written_as_text_are_still_numbers():
    after = table(2).set_column(0, "age", pa.array([f"{v:.3f}" for v in table(2)["age"].to_pylist()]))

    assert not monitor.compare(table(1), after).changed


def test_added_columns_and_dates_are_listed_and_not_judged():
    when = pa.array(np.arange(5000), pa.timestamp("s"))

    found = monitor.compare(table(1, when=when), table(2, when=when, extra=np.zeros(5000)))

    assert (found.added, found.left_out) == (("extra",), ("when",))
    assert not found.changed


def test_ignored_columns_and_tolerance_come_from_the_policy():
    policy = parse_policy('[monitor]\nignore_columns = ["visits"]\nignore_changes_below = 0.3')

    found = monitor.compare(table(1), table(2, shift=0.3), policy)

    assert not found.changed
    assert [c.column for c in found.columns if c.column == "visits"] == []


def test_parquet_csv_and_a_bundles_reference_give_the_same_verdict(tmp_path):
    before, after = table(1), table(2, shift=0.5)
    pq.write_table(before, tmp_path / "a.parquet")
    pq.write_table(after, tmp_path / "b.parquet")
    pa.csv.write_csv(before, tmp_path / "a.csv")
    columns = {name: before[name].to_numpy(zero_copy_only=False) for name in before.column_names}
    columns["output.score"] = np.linspace(0, 1, 5000)
    made = profile.make_reference(Signature((), ()), columns)
    (tmp_path / "bundle" / "reference").mkdir(parents=True)
    (tmp_path / "bundle" / "reference" / "profile.json").write_bytes(msgspec.json.encode(made))

    verdicts = [
        monitor.compare(reference, tmp_path / "b.parquet").changed
        for reference in (tmp_path / "a.parquet", tmp_path / "a.csv", tmp_path / "bundle", made)
    ]

    assert verdicts == [("age",)] * 4


def test_the_result_is_a_table_for_people_and_json_for_programs():
    found = monitor.compare(table(1), table(2, shift=0.5))

    assert "age" in str(found).splitlines()[4]
    assert msgspec.json.decode(msgspec.json.encode(found))["changed"] == ["age"]


def test_a_table_can_be_described_alone():
    found = monitor.profile(table(1))

    age, visits, plan, paid = found.columns
    assert 39 < age.figures["median"] < 41
    assert visits.figures["low"] == 0.0
    assert list(plan.levels) == ["basic", "plus", "pro"]
    assert set(paid.levels) == {"true", "false"}
    assert "median" in str(found)


def test_what_cannot_be_compared_is_refused_in_words(tmp_path):
    (tmp_path / "torn.parquet").write_bytes(b"PAR1 torn")
    (tmp_path / "folder").mkdir()

    with pytest.raises(Missing, match="no file"):
        monitor.compare(tmp_path / "absent.csv", table(1))
    with pytest.raises(Rejected, match="cannot be read as Parquet"):
        monitor.compare(tmp_path / "torn.parquet", table(1))
    with pytest.raises(Missing, match="folder without"):
        monitor.compare(tmp_path / "folder", table(1))
    with pytest.raises(Rejected, match="has no rows"):
        monitor.compare(table(1), table(1).slice(0, 0))
    with pytest.raises(Rejected, match="cannot be compared"):
        monitor.compare(3, table(1))
