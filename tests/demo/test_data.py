import numpy as np
import pandas as pd
import pytest

from shipway.demo.data import load, prepare, records
from shipway.errors import Rejected
from shipway.terms import Task


def odd_table(rows=400):
    rng = np.random.default_rng(3)
    return pd.DataFrame(
        {
            "id": [f"customer {i}" for i in range(rows)],
            "age": np.where(rng.random(rows) < 0.1, np.nan, rng.integers(18, 90, rows)),
            "city": rng.choice(["Bern", "Thun", None], rows),
            "nothing": [None] * rows,
            "active": rng.random(rows) < 0.5,
            "when": pd.date_range("2025-01-01", periods=rows, freq="h"),
            "y": rng.choice(["yes", "no", None], rows),
        }
    )


def test_columns_that_cannot_be_features_are_left_out_and_named():
    data = prepare(odd_table(), name="odd", target="y", time=None)

    assert set(data.left_out) == {"id", "nothing"}
    assert data.features == ["age", "city", "active", "when"]
    assert data.task is Task.BINARY


def test_rows_without_a_label_are_in_no_part():
    data = prepare(odd_table(), name="odd", target="y", time=None)

    for part in (data.train, data.holdout, data.stream):
        assert part["y"].isin(["yes", "no"]).all()
        assert len(part)


def test_with_a_time_column_the_stream_comes_after_the_training_rows_and_in_order():
    data = prepare(
        odd_table().assign(t=np.arange(400)[::-1], age=np.arange(400.0)[::-1]), name="odd", target="y", time="t"
    )

    ages = [part["age"].tolist() for part in (data.train, data.holdout, data.stream)]
    assert ages[0] + ages[1] + ages[2] == sorted(ages[0] + ages[1] + ages[2])
    assert "t" not in data.features


def test_the_three_parts_share_no_row():
    table = odd_table().assign(age=np.arange(400.0))
    data = prepare(table, name="odd", target="y", time=None)

    seen = [set(part["age"]) for part in (data.train, data.holdout, data.stream)]
    assert not (seen[0] & seen[1] | seen[0] & seen[2] | seen[1] & seen[2])


def test_a_number_with_many_values_is_a_regression_target():
    assert (
        prepare(odd_table().assign(y=np.arange(400) * 1.5), name="odd", target="y", time=None).task is Task.REGRESSION
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda table: table.rename(columns={"y": "yy"}), "no column 'y'; did you mean 'yy'?"),
        (lambda table: table.head(50), "rows with a 'y'"),
        (lambda table: table.assign(y="same"), "has 1 different value"),
        (lambda table: table[["id", "y"]], "no column to predict"),
    ],
)
def test_a_table_without_a_story_is_refused_with_a_sentence(change, said):
    with pytest.raises(Rejected, match=said.replace("?", r"\?")) as refused:
        prepare(change(odd_table()), name="odd", target="y", time=None)

    assert refused.value.fix


def test_the_file_without_a_target_asks_for_it(tmp_path):
    with pytest.raises(Rejected, match="without the column to predict"):
        load(tmp_path / "x.csv", target=None, time=None)


def test_missing_cells_become_null_in_records():
    rows = records(pd.DataFrame({"a": [1.5, np.nan], "b": ["x", None]}))

    assert rows == [{"a": 1.5, "b": "x"}, {"a": None, "b": None}]
