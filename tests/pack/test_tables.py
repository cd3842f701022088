import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shipway.errors import Missing, Rejected
from shipway.pack.tables import cells, need_column, read_table
from shipway.terms import Column


def csv(folder, text, name="t.csv"):
    path = folder / name
    path.write_text(text)
    return path


def test_empty_cells_are_missing_and_types_come_from_the_whole_file(tmp_path):
    rows = "".join(f"{i},a\n" for i in range(200_000))

    table = read_table(csv(tmp_path, "n,t\n" + rows + "1.5,\n,x\n"))

    assert table.schema.types == [pa.float64(), pa.string()]
    assert table["n"].null_count == 1
    assert table["t"].null_count == 1


def test_spellings_of_no_number_are_missing_among_numbers_and_text_among_texts(tmp_path):
    table = read_table(csv(tmp_path, "n,t\n1,None\nNA,NA\nnan,x\n"))

    assert table["n"].to_pylist() == [1, None, None]
    assert table["t"].to_pylist() == ["None", "NA", "x"]


@pytest.mark.parametrize("mark", [";", "\t", "|"])
def test_other_separators_are_recognised(tmp_path, mark):
    table = read_table(csv(tmp_path, f"a{mark}b\n1{mark}2\n"))

    assert table.column_names == ["a", "b"]


def test_dates_stay_the_text_they_were(tmp_path):
    table = read_table(csv(tmp_path, "d,t\n2020-01-01,2020-01-01 10:00:00\n"))

    assert table.to_pylist() == [{"d": "2020-01-01", "t": "2020-01-01 10:00:00"}]


def test_quoted_cells_may_hold_separators_and_lines(tmp_path):
    table = read_table(csv(tmp_path, 'a,b\n"x,y","1\n2"\n'))

    assert table.to_pylist() == [{"a": "x,y", "b": "1\n2"}]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("a,b\n", "no rows"),
        ("a,a\n1,2\n", "2 columns called 'a'"),
        ("a,,c\n1,2,3\n", "column 2 of .* has no name"),
        ("a,b\n1,2\n3\n", "cannot be read as CSV"),
    ],
)
def test_a_file_that_is_no_table_is_refused_in_one_sentence(tmp_path, text, said):
    with pytest.raises(Rejected, match=said) as caught:
        read_table(csv(tmp_path, text))

    assert caught.value.fix


def test_text_in_another_coding_is_refused_with_the_fix(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes("name\nJos\xe9\n".encode("latin-1"))

    with pytest.raises(Rejected) as caught:
        read_table(path)

    assert "UTF-8" in caught.value.fix


def test_a_missing_file_suggests_the_one_that_was_meant(tmp_path):
    csv(tmp_path, "a\n1\n", "adult.csv")

    with pytest.raises(Missing) as caught:
        read_table(tmp_path / "adlut.csv")

    assert "adult.csv" in caught.value.fix


def test_parquet_and_json_lines_are_read(tmp_path):
    table = pa.table({"a": [1, None], "b": pa.array(["x", "y"]).dictionary_encode()})
    pq.write_table(table, tmp_path / "t.parquet")
    (tmp_path / "t.jsonl").write_text('{"a": 1, "b": "x"}\n{"a": null, "b": "y"}\n')

    assert read_table(tmp_path / "t.parquet").to_pylist() == read_table(tmp_path / "t.jsonl").to_pylist()
    assert read_table(tmp_path / "t.parquet").schema.field("b").type == pa.string()


@pytest.mark.parametrize("name", ["t.parquet", "t.jsonl", "t.xlsx"])
def test_a_file_that_is_not_what_its_name_says_is_refused(tmp_path, name):
    with pytest.raises(Rejected):
        read_table(csv(tmp_path, "not this\n\x00", name))


def test_a_wrong_column_name_suggests_close_ones():
    with pytest.raises(Rejected) as caught:
        need_column(["age", "Income", "job"], "income", "the target")

    assert "did you mean 'Income'" in caught.value.fix


def test_cells_come_in_the_type_of_the_signature():
    column = pa.chunked_array([["1", "NA", None, "2.5"]])

    numbers = cells(column, Column("a", "FP64"))

    np.testing.assert_array_equal(numbers, [1, np.nan, np.nan, 2.5])
    assert cells(pa.chunked_array([[1, None]]), Column("a", "BYTES")).tolist() == ["1", None]
    with pytest.raises(Rejected, match="'a' holds string"):
        cells(pa.chunked_array([["x"]]), Column("a", "FP64"))


def test_binary_rubbish_is_refused_without_being_printed(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes(b"a,b\n\x1b[31m\x00\x07,1,2\n")

    with pytest.raises(Rejected) as caught:
        read_table(path)

    assert str(caught.value).isprintable()
    assert "1b" not in str(caught.value) and "[31m" not in str(caught.value)  # noqa: PT018 - one fact


def test_a_folder_is_no_file_to_guess_at(tmp_path):
    with pytest.raises(Rejected, match="is a folder") as caught:
        read_table(tmp_path)

    assert ".parquet" in caught.value.fix
