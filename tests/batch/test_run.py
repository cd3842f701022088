import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from shipway import batch, bundle
from shipway.errors import Missing, Rejected, Tampered

KINDS = ["csv", "parquet", "jsonl"]


def write(table, path):
    if path.suffix == ".csv":
        table.to_csv(path, index=False)
    elif path.suffix == ".parquet":
        table.to_parquet(path, index=False, row_group_size=1_000)
    else:
        table.to_json(path, orient="records", lines=True)
    return path


def read(path):
    readers = {".csv": pd.read_csv, ".parquet": pd.read_parquet}
    return readers.get(path.suffix, lambda p: pd.read_json(p, lines=True))(path)


def in_one_go(folder, table):
    runtime = bundle.open(bundle.audit(bundle.read(folder)), bundle.DEFAULT)
    columns = {name: table[name].to_numpy(object if name == "plan" else float) for name in ("age", "plan", "fee")}
    return runtime.predict(columns)


@pytest.mark.parametrize("source", KINDS)
@pytest.mark.parametrize("out", KINDS)
def test_every_form_in_gives_the_same_answers_in_every_form_out(folder, rows, tmp_path, source, out):
    table = rows(2_500)

    report = batch.score(folder, write(table, tmp_path / f"rows.{source}"), tmp_path / f"out.{out}")

    expected, scored = in_one_go(folder, table), read(tmp_path / f"out.{out}")
    assert (report.rows, report.scored, report.rejected, report.rejected_file) == (2_500, 2_500, 0, None)
    assert scored["id"].astype(int).tolist() == table["id"].tolist()
    assert scored["plan"].tolist() == table["plan"].tolist()
    assert np.allclose(scored["age"].astype(float), table["age"])
    assert scored["output.label"].tolist() == expected["label"].tolist()
    assert np.abs(scored["output.probability.yes"] - expected["probability"][:, 1]).max() < 1e-12


def test_numbers_of_a_csv_have_the_types_of_the_signature_in_parquet(folder, rows, tmp_path):
    batch.score(folder, write(rows(5), tmp_path / "rows.csv"), tmp_path / "out.parquet")

    types = {field.name: str(field.type) for field in parquet.read_schema(tmp_path / "out.parquet")}
    assert (types["age"], types["plan"], types["id"]) == ("double", "string", "string")


def test_columns_of_parquet_keep_their_types(folder, rows, tmp_path):
    table = pa.Table.from_pandas(rows(5), preserve_index=False)
    table = table.set_column(2, "plan", table["plan"].dictionary_encode())
    table = table.append_column("when", pa.array([1, 2, 3, None, 5], pa.timestamp("us", "UTC")))
    parquet.write_table(table, tmp_path / "rows.parquet")

    batch.score(folder, tmp_path / "rows.parquet", tmp_path / "out.parquet")

    scored = parquet.read_table(tmp_path / "out.parquet")
    assert scored.select(table.column_names).equals(parquet.read_table(tmp_path / "rows.parquet"))


@pytest.mark.parametrize(("columns", "kept"), [(None, ["id", "age", "plan", "fee"]), (["id"], ["id"]), ((), ["row"])])
def test_only_the_columns_that_were_asked_for_are_copied(folder, rows, tmp_path, columns, kept):
    batch.score(folder, write(rows(9), tmp_path / "rows.csv"), tmp_path / "out.csv", columns=columns)

    names = list(pd.read_csv(tmp_path / "out.csv"))
    assert [name for name in names if not name.startswith("output.")] == kept


def test_a_bad_row_is_listed_with_its_number_and_reason_and_the_others_are_scored(folder, tmp_path):
    lines = [
        "id,age,plan,fee", "0,41,basic,1", "1,old,basic,1", "", "2,41,basic", "3,41,basic,1e999", "4,,basic,1",
        "5,41,,1", "6,41,gold,1", '7, 41 ,"plus",1', "8,1,2,3,4", "9,9,basic,9",
    ]  # fmt: skip
    (tmp_path / "rows.csv").write_text("\n".join(lines) + "\n")

    report = batch.score(folder, tmp_path / "rows.csv", tmp_path / "out.csv")

    bad = pd.read_csv(report.rejected_file, keep_default_na=False)
    assert pd.read_csv(tmp_path / "out.csv")["id"].tolist() == [0, 7, 9]
    assert (report.rows, report.scored, report.rejected) == (10, 3, 7)
    assert bad["row"].tolist() == [1, 2, 3, 4, 5, 6, 8]
    assert bad["column"].tolist() == ["age", "", "fee", "age", "plan", "", ""]
    for said, reason in zip(
        ["not a number", "3 cells instead of 4", "infinite", "missing", "missing", "never seen", "5 cells"],
        bad["reason"],
        strict=True,
    ):
        assert said in reason
    assert sum(report.reasons.values()) == 7


def test_a_bad_line_of_json_is_set_aside(folder, tmp_path):
    good = {"age": 41, "plan": "basic", "fee": 1.5, "note": "x"}
    lines = [
        good, "not json", [1], good | {"age": "41"}, good | {"plan": 3}, good | {"note": {"a": [1]}},
        {"plan": "basic", "fee": 1}, good | {"age": True},
    ]  # fmt: skip
    (tmp_path / "rows.jsonl").write_text(
        "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines)
    )

    report = batch.score(folder, tmp_path / "rows.jsonl", tmp_path / "out.jsonl", rejected=tmp_path / "bad.jsonl")

    scored = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    bad = [json.loads(line) for line in (tmp_path / "bad.jsonl").read_text().splitlines()]
    assert [entry["row"] for entry in bad] == [1, 2, 3, 4, 6, 7]
    assert [entry["note"] for entry in scored] == ["x", '{"a":[1]}']
    assert report.rejected_file == tmp_path / "bad.jsonl"


def test_rows_that_the_model_refuses_fails_on_or_cannot_answer_are_set_aside_alone(tens, tmp_path):
    parquet.write_table(pa.table({"x": [1, 7, 2, 8, 13, 3, None]}), tmp_path / "rows.parquet")

    report = batch.score(tens, tmp_path / "rows.parquet", tmp_path / "out.parquet", columns=())

    bad = pd.read_csv(report.rejected_file, keep_default_na=False)
    scored = pd.read_parquet(tmp_path / "out.parquet")
    assert scored["row"].tolist() == [0, 2, 5]
    assert scored["output.prediction"].tolist() == [10.0, 20.0, 30.0]
    assert bad["row"].tolist() == [1, 3, 4, 6]
    for word, reason in zip(["never seen 7", "index", "finite", "missing"], bad["reason"], strict=True):
        assert word in reason


def test_when_no_row_can_be_scored_an_older_output_stays(tens, tmp_path):
    parquet.write_table(pa.table({"x": [7, 8]}), tmp_path / "rows.parquet")
    (tmp_path / "out.csv").write_text("older\n")

    report = batch.score(tens, tmp_path / "rows.parquet", tmp_path / "out.csv")

    assert report.all_bad
    assert report.out is None
    assert (tmp_path / "out.csv").read_text() == "older\n"
    assert len(pd.read_csv(report.rejected_file)) == 2


def test_too_many_bad_rows_write_nothing_at_all(tens, tmp_path):
    parquet.write_table(pa.table({"x": [1, 7, 8]}), tmp_path / "rows.parquet")

    batch.score(tens, tmp_path / "rows.parquet", tmp_path / "enough.csv", most_rejected=2)
    with pytest.raises(Rejected, match="2 rows cannot be scored, and at most 1 may"):
        batch.score(tens, tmp_path / "rows.parquet", tmp_path / "out.csv", most_rejected=1)

    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"rows.parquet", "enough.csv", "enough.csv.rejected.csv"}


def test_a_list_of_bad_rows_from_an_earlier_run_goes_with_it(tens, tmp_path):
    parquet.write_table(pa.table({"x": [1, 7]}), tmp_path / "bad.parquet")
    parquet.write_table(pa.table({"x": [1, 2]}), tmp_path / "good.parquet")

    before = batch.score(tens, tmp_path / "bad.parquet", tmp_path / "out.csv").rejected_file
    batch.score(tens, tmp_path / "good.parquet", tmp_path / "out.csv")

    assert before is not None
    assert not before.exists()


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_file_without_rows_gives_a_file_without_rows(folder, rows, tmp_path, kind):
    source = write(rows(0), tmp_path / f"rows.{kind}")

    report = batch.score(folder, source, tmp_path / "out.parquet")

    scored = pd.read_parquet(tmp_path / "out.parquet")
    assert (report.rows, report.all_bad) == (0, False)
    assert list(scored)[-1] == "output.probability.yes"
    assert len(scored) == 0


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("rows.csv", "age,plan\n1,basic\n", "lacks the column fee"),
        ("rows.csv", "age,plan,fee,age\n1,basic,2,3\n", "2 columns called 'age'"),
        ("rows.csv", b"age,plan,fee\n1,b\xe4sic,2\n", "cannot be read"),
        ("rows.csv", "", "is empty"),
        ("rows.parquet", "PAR1 and nothing more", "cannot be read"),
        ("rows.jsonl", "\n\n", "no line of"),
        ("rows.jsonl", '{"age": 1, "plan": "basic"}\n', "lacks the column fee"),
        ("rows.xlsx", "x", "neither .csv, .parquet nor .jsonl"),
        ("rows.csv", "age,plan,fee,output.label\n1,basic,2,yes\n", "'output.label' already"),
    ],
)
def test_a_file_that_can_never_fit_is_refused_and_nothing_is_left(folder, tmp_path, name, text, said):
    (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())

    with pytest.raises(Rejected, match=said.replace(".", r"\.")):
        batch.score(folder, tmp_path / name, tmp_path / "out.csv")

    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_parquet_column_of_a_type_that_can_never_fit_is_refused_before_any_row(folder, tmp_path):
    parquet.write_table(pa.table({"age": [[1.0]], "plan": ["basic"], "fee": [1.0]}), tmp_path / "rows.parquet")

    with pytest.raises(Rejected, match=r"'age' of rows\.parquet holds list"):
        batch.score(folder, tmp_path / "rows.parquet", tmp_path / "out.csv")


def test_source_answers_and_bad_rows_must_be_three_files(folder, rows, tmp_path):
    source = write(rows(3), tmp_path / "rows.csv")

    for arguments in ({"out": source}, {"out": tmp_path / "o.csv", "rejected": tmp_path / "o.csv"}):
        with pytest.raises(Rejected, match="must be three files"):
            batch.score(folder, source, **arguments)


def test_a_folder_that_is_not_there_is_missing(folder, rows, tmp_path):
    source = write(rows(3), tmp_path / "rows.csv")

    for arguments in ((folder, tmp_path / "none.csv", tmp_path / "o.csv"), (folder, source, tmp_path / "no" / "o.csv")):
        with pytest.raises(Missing):
            batch.score(*arguments)
    with pytest.raises(Missing):
        batch.score(tmp_path, source, tmp_path / "o.csv")


def test_a_bundle_that_was_changed_scores_nothing(folder, rows, tmp_path):
    copy = tmp_path / "copy"
    for path in [p for p in folder.rglob("*") if p.is_file()]:
        target = copy / path.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes() + (b" " if path.name == "encoding.json" else b""))

    with pytest.raises(Tampered):
        batch.score(copy, write(rows(3), tmp_path / "rows.csv"), tmp_path / "out.csv")

    assert not (tmp_path / "out.csv").exists()


def test_progress_tells_rows_and_share_and_ends_at_all(folder, rows, tmp_path):
    said = []

    source = write(rows(40_000), tmp_path / "rows.parquet")
    batch.score(folder, source, tmp_path / "out.parquet", progress=lambda words, share: said.append((words, share)))

    shares = [share for _, share in said]
    assert len(said) > 2
    assert shares == sorted(shares)
    assert said[-1] == ("scored 40,000 rows", 1.0)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    values=st.lists(st.one_of(st.integers(-20, 20), st.just(None)), max_size=60),
    group=st.integers(1, 20),
    kind=st.sampled_from(KINDS),
    threads=st.integers(1, 3),
)
def test_every_row_is_answered_or_set_aside_once_and_in_order(tens, tmp_path, values, group, kind, threads):
    source, out = tmp_path / f"rows.{kind}", Path(tmp_path / "out.parquet")
    if kind == "parquet":
        parquet.write_table(pa.table({"x": pa.array(values, pa.int64())}), source, row_group_size=group)
    elif kind == "csv":
        source.write_text("x\n" + "".join(f'"{"" if v is None else v}"\n' for v in values))
    else:
        source.write_text('{"x":1}\n' + "".join(json.dumps({"x": v}) + "\n" for v in values))
    values = [1, *values] if kind == "jsonl" else values

    report = batch.score(tens, source, out, columns=(), threads=threads)

    good = [i for i, v in enumerate(values) if v not in (None, 7, 8, 13)]
    bad = [i for i in range(len(values)) if i not in good]
    scored = parquet.read_table(out)["row"].to_pylist() if report.out else []
    aside = pd.read_csv(report.rejected_file)["row"].tolist() if report.rejected_file else []
    assert (scored, aside) == (good, bad)
    assert report.rows == len(values) == report.scored + report.rejected
