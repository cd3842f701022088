import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from shipway.bundle.encoding import Encoding, TableColumn, decode, encode, encoder
from shipway.errors import Rejected

JOBS = TableColumn("job", "text", {"cook": 0.0, "nurse": 1.0}, 2.0, 3.0)
HOURS = TableColumn("hour", "level", [(0.0, 10.0), (6.0, None)], 12.0, 13.0)


def test_known_unknown_and_missing_cells_get_the_numbers_of_the_table():
    matrix = encoder(Encoding((JOBS, TableColumn("age", "number"), HOURS)))

    x = matrix({
        "job": np.array(["nurse", "king", None], object),
        "age": np.array([41.0, np.nan, 3.0]),
        "hour": np.array([0.0, 7.0, np.nan]),
    })  # fmt: skip

    np.testing.assert_array_equal(x, [[1, 41, 10], [2, np.nan, 12], [3, 3, 13]])


@given(
    st.lists(
        st.tuples(st.sampled_from(["cook", "nurse", "x", "", None]), st.sampled_from([0.0, 6.0, 1.0, math.nan])),
        min_size=1,
    )
)
def test_a_batch_is_encoded_as_its_rows_alone(cells):
    matrix = encoder(Encoding((JOBS, HOURS)))
    job, hour = np.array([c for c, _ in cells], object), np.array([h for _, h in cells])

    whole = matrix({"job": job, "hour": hour})

    alone = [matrix({"job": job[i : i + 1], "hour": hour[i : i + 1]})[0] for i in range(len(cells))]
    np.testing.assert_array_equal(whole, alone)


def test_a_cell_that_the_original_refuses_is_refused_naming_the_column():
    strict = encoder(Encoding((TableColumn("job", "text", {"cook": 0.0}, UNSET, UNSET),)))

    with pytest.raises(Rejected, match="'job' has a level that the model has never seen"):
        strict({"job": np.array(["king"], object)})
    with pytest.raises(Rejected, match="'job' is missing"):
        strict({"job": np.array([None], object)})


def test_an_encoding_survives_its_own_writing():
    encoding = Encoding(
        (JOBS, HOURS, TableColumn("age", "number"), TableColumn("strict", "text", {"a": None}, UNSET, 1.0))
    )

    assert decode(encode(encoding)) == encoding
    assert encoding.position("age") == 2
    with pytest.raises(Rejected):
        encoding.position("job")


def test_a_damaged_encoding_is_rejected():
    with pytest.raises(Rejected, match="cannot be read"):
        decode(b'{"columns": 3}')
