import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from shipway.capture.columns import decode, encode, layout
from shipway.terms import Column

FORM = layout((Column("plan", "BYTES"), Column("fee", "FP64"), Column("note", "BYTES")))
CELLS = st.one_of(st.none(), st.text(max_size=80), st.sampled_from(["basic", "", "a" * 61, "\u2603", "\ud800"]))


def texts(cells):
    column = np.empty(len(cells), object)
    column[:] = cells
    return column


@given(st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=12))
def test_texts_come_back_as_they_were_whatever_they_are_and_however_often_they_came(rows):
    columns = {
        "plan": texts([plan for plan, _ in rows]),
        "fee": np.arange(len(rows), dtype=float),
        "note": texts([note for _, note in rows]),
    }

    twice = [encode(FORM, columns) for _ in range(2)]
    found = decode(FORM, len(rows), memoryview(twice[1]))

    assert twice[0] == twice[1]
    for name in ("plan", "note"):
        written = [c if c is None else c.encode("utf-8", "replace").decode() for c in columns[name]]
        assert found[name].tolist() == written
    assert found["fee"].tolist() == columns["fee"].tolist()
