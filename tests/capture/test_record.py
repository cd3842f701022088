import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from shipway.capture import Recorder, Spool, frame, prepare, read_segment
from shipway.capture.columns import DTYPES
from shipway.capture.record import LIMIT, MAGIC, TRUNCATED
from shipway.capture.segment import Scanner, read
from shipway.terms import Column

TEXT = st.one_of(st.none(), st.text(st.characters(exclude_categories=["Cs"]), max_size=20))


@st.composite
def sides(draw):
    """Columns of any datatype and shape, and any values of them, for one request."""
    rows = draw(st.integers(1, 4))
    columns, values = [], {}
    for i, datatype in enumerate(draw(st.lists(st.sampled_from([*DTYPES, "BYTES"]), max_size=5))):
        shape = draw(st.sampled_from([(), (2,), (2, 3)]))
        columns.append(Column(f"c{i}", datatype, shape))
        if datatype == "BYTES":
            count = rows * int(np.prod(shape))
            cells = np.empty(count, object)
            cells[:] = draw(st.lists(TEXT, min_size=count, max_size=count))
            values[f"c{i}"] = cells.reshape(rows, *shape)
        else:
            values[f"c{i}"] = draw(arrays.arrays(DTYPES[datatype], (rows, *shape)))
    return rows, tuple(columns), values


def read_one(prepared, pieces):
    [raw] = Scanner().feed(MAGIC + prepared.frame + b"".join(pieces))
    return read(raw)


@given(side=sides(), key=st.text(max_size=30), unit=st.integers(0, (1 << 64) - 1))
def test_what_is_read_is_what_was_framed(side, key, unit, context):
    rows, columns, values = side
    prepared = context(inputs=columns, outputs=columns)
    key = key.encode("utf-8", "replace").decode()

    found = read_one(
        prepared,
        frame(
            prepared, event=b"e" * 16, at_ns=123, rows=rows, inputs=values, outputs=values, unit=unit, latency_us=45,
            status=200, flags=2, key=key, pair=b"p" * 16,
        ),
    )  # fmt: skip

    assert (found.event_id, found.pair, found.at_ns, found.unit) == ((b"e" * 16).hex(), (b"p" * 16).hex(), 123, unit)
    assert (found.rows, found.latency_us, found.status, found.flags, found.key) == (rows, 45, 200, 2, key)
    assert found.context == prepared.context
    for name, expected in values.items():
        for side_found in (found.inputs, found.outputs):
            np.testing.assert_array_equal(side_found[name], expected)
            assert side_found[name].dtype == expected.dtype


def test_a_column_of_another_dtype_is_converted_rather_than_misread(context):
    prepared = context(inputs=(Column("age", "FP64"),))

    found = read_one(prepared, frame(prepared, event=bytes(16), at_ns=0, rows=2, inputs={"age": np.array([1, 2])}))

    assert found.inputs["age"].tolist() == [1.0, 2.0]


def test_a_request_that_was_not_answered_keeps_its_inputs(context):
    prepared = context()
    inputs = {"age": np.array([1.0]), "city": np.array([None], object)}

    found = read_one(prepared, frame(prepared, event=bytes(16), at_ns=0, rows=1, inputs=inputs, status=500))

    assert found.outputs == {}
    assert found.inputs["city"].tolist() == [None]


def test_a_large_request_keeps_its_first_rows_and_says_so(context):
    prepared = context(inputs=(Column("age", "FP64"),), outputs=())
    ages = np.arange(20_000.0)

    pieces = frame(prepared, event=bytes(16), at_ns=0, rows=20_000, inputs={"age": ages})
    found = read_one(prepared, pieces)

    assert found.flags & TRUNCATED
    assert found.rows == 20_000
    assert 0 < len(found.inputs["age"]) <= LIMIT // 8
    assert found.inputs["age"].tolist() == ages[: len(found.inputs["age"])].tolist()
    assert sum(map(len, pieces)) < LIMIT + 1000


def test_one_huge_cell_is_left_out_and_the_request_stays(context):
    prepared = context(inputs=(Column("note", "BYTES"),), outputs=())
    notes = np.array(["x" * (LIMIT + 1)], object)

    found = read_one(prepared, frame(prepared, event=bytes(16), at_ns=0, rows=1, inputs={"note": notes}))

    assert (found.rows, found.inputs) == (1, {})
    assert found.flags & TRUNCATED


def test_equal_contexts_have_one_number_and_any_difference_another(context):
    assert context() == context()
    assert len({context().number, context(epoch=8).number, context(propensity=0).number}) == 3


def test_a_context_keeps_only_what_reading_needs(context):
    wide = Column("city", "BYTES", levels=("Graz", "Wien"), nullable=True)

    prepared = prepare(context(inputs=(wide,)).context)

    assert prepared.context.inputs == (Column("city", "BYTES"),)


def test_each_segment_can_be_read_alone(tmp_path, add, context):
    spool = Spool(tmp_path, "w1", segment_bytes=2000)
    recorder = Recorder(spool)
    contexts = [context(), context(epoch=8)]

    written = []
    for i in range(40):
        written.append(add(recorder, contexts[i % 2]))
        assert recorder.flush()
    spool.close()

    segments = sorted(tmp_path.glob("*.sealed"))
    assert len(segments) > 3
    assert [r.event_id for path in segments for r in read_segment(path)] == written
    assert {r.epoch for r in read_segment(segments[-1])} == {7, 8}
