import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipway.bundle import check, coerce, records
from shipway.errors import Rejected
from shipway.terms import Column, Signature

AGE = Column("age", "FP64", nullable=True, integral=True)
SIGNATURE = Signature(
    (
        AGE,
        Column("job", "BYTES", nullable=True),
        Column("fee", "FP64"),
        Column("rooms", "INT64"),
        Column("garden", "BOOL"),
        Column("pixels", "FP32", shape=(2, 2)),
    ),
    (),
)
ROW = {"age": 41, "job": "cook", "fee": 1.5, "rooms": 3, "garden": True, "pixels": [[1, 2], [3, 4]]}


def test_rows_become_one_array_per_column_in_the_types_of_the_signature():
    columns = coerce(SIGNATURE, [ROW, ROW | {"age": None, "job": None, "rooms": 4.0}])

    assert columns["age"].tolist()[0] == 41.0
    assert math.isnan(columns["age"][1])
    assert columns["job"].tolist() == ["cook", None]
    assert columns["rooms"].dtype == np.int64
    assert columns["garden"].dtype == np.bool_
    assert columns["pixels"].shape == (2, 2, 2)
    assert columns["pixels"].dtype == np.float32


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"age": "41"}, "'age' of row 1 must be a number, not a text"),
        ({"age": True}, "'age' of row 1 must be a number, not true"),
        ({"age": [1]}, "'age' of row 1 must be a number, not a list"),
        ({"job": 7}, "'job' of row 1 must be a text, not a number"),
        ({"fee": None}, "'fee' is missing in row 1"),
        ({"rooms": 2.5}, "'rooms' of row 1 must be a whole number"),
        ({"rooms": 2**63}, "'rooms' of row 1 must be a whole number"),
        ({"garden": 1}, "'garden' of row 1 must be true or false"),
        ({"pixels": [1, 2]}, "'pixels' of row 1 must be a nested list"),
        ({"pixels": [[1, "a"], [2, 3]]}, "'pixels' of row 1 must be a nested list"),
        ({"age": 10**400}, "'age' of row 1 is too large"),
        ({"ages": 1}, "row 1 has column 'ages'"),
    ],
)
def test_a_wrong_cell_is_refused_naming_column_and_row(change, said):
    coerce(SIGNATURE, [ROW, ROW])

    with pytest.raises(Rejected, match=said):
        coerce(SIGNATURE, [ROW, ROW | change])


def test_a_missing_column_and_a_row_that_is_no_object_are_refused():
    with pytest.raises(Rejected, match="row 1 lacks column 'job', 'fee'"):
        coerce(SIGNATURE, [ROW, {k: v for k, v in ROW.items() if k not in ("job", "fee")}])
    with pytest.raises(Rejected, match="row 0 is not an object"):
        coerce(SIGNATURE, ["text"])


@given(
    st.lists(
        st.one_of(st.none(), st.integers(-(2**70), 2**70), st.floats(allow_nan=False, allow_infinity=False)), min_size=1
    )
)
def test_coerced_numbers_are_what_float_makes_of_them(cells):
    column = coerce(Signature((AGE,), ()), [{"age": cell} for cell in cells])["age"]

    expected = [math.nan if cell is None else float(cell) for cell in cells]
    np.testing.assert_array_equal(column, expected)


@given(
    st.lists(
        st.one_of(
            st.none(),
            st.booleans(),
            st.integers(),
            st.floats(),
            st.text(max_size=3),
            st.lists(st.integers(), max_size=2),
        ),
        min_size=1,
        max_size=6,
    )
)
def test_whatever_a_cell_holds_it_is_coerced_or_rejected(cells):
    for column in SIGNATURE.inputs:
        try:
            made = coerce(Signature((column,), ()), [{column.name: cell} for cell in cells])
        except Rejected:
            continue
        assert len(made[column.name]) == len(cells)


def test_columns_that_came_as_such_are_cast_only_without_loss():
    signature = Signature((AGE, Column("rooms", "INT64")), ())

    checked = check(signature, {"rooms": np.array([[1.0], [2.0]]), "age": np.array([1, 2], np.int32)})

    assert checked["age"].dtype == np.float64
    assert checked["rooms"].tolist() == [1, 2]
    with pytest.raises(Rejected, match="'rooms' holds numbers that INT64 cannot"):
        check(signature, {"rooms": np.array([1.5]), "age": np.array([1.0])})
    with pytest.raises(Rejected, match="'rooms' holds numbers that INT64 cannot"):
        check(signature, {"rooms": np.array([np.nan]), "age": np.array([1.0])})


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"fee": np.array([np.nan])}, "'fee' has missing cells"),
        ({"fee": np.array([np.inf])}, "'fee' holds an infinity"),
        ({"fee": np.array(["1"], object)}, "'fee' must hold FP64"),
        ({"fee": np.array([True])}, "'fee' must hold FP64"),
        ({"fee": np.ones((2, 2))}, "'fee' has shape"),
        ({}, "lacks column 'fee'"),
        ({"fee": np.ones(1), "fees": np.ones(1)}, "has column 'fees'"),
    ],
)
def test_columns_that_the_signature_does_not_promise_are_refused(columns, said):
    with pytest.raises(Rejected, match=said):
        check(Signature((Column("fee", "FP64"),), ()), columns)


def test_columns_of_different_length_are_refused():
    with pytest.raises(Rejected, match="differ in length"):
        check(Signature((AGE, Column("fee", "FP64")), ()), {"age": np.ones(2), "fee": np.ones(3)})


def test_answers_are_written_by_class_and_what_is_not_finite_as_null():
    signature = Signature((), (), ("no", "yes"))

    written = records(signature, {"label": np.array(["yes"], object), "probability": np.array([[0.25, np.nan]])})

    assert written == [{"label": "yes", "probability": {"no": 0.25, "yes": None}}]
