"""Bodies: what is understood, and what is refused with a sentence instead of a guess."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipway.errors import Rejected
from shipway.serve.dialect import records, strict, v2
from shipway.terms import Column, Signature

SIGNATURE = Signature(
    inputs=(
        Column("x", "FP64", nullable=True),
        Column("n", "INT64"),
        Column("small", "INT32"),
        Column("half", "FP32"),
        Column("on", "BOOL"),
        Column("text", "BYTES", nullable=True),
    ),
    outputs=(Column("label", "BYTES"), Column("probability", "FP64", shape=(2,))),
    classes=("no", "yes"),
)
NUMBERS = Signature(inputs=(Column("a", "FP64", nullable=True), Column("b", "INT64")), outputs=())
ROW = {"x": 1.5, "n": 2, "small": 3, "half": 0.5, "on": True, "text": "é"}


def ask(dialect, document, signature=SIGNATURE, max_rows=100):
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return dialect.read(strict.parse(body), body, signature, max_rows)


def tensor(name, datatype, data, shape=None, **more):
    return {"name": name, "datatype": datatype, "shape": [len(data)] if shape is None else shape, "data": data, **more}


def tensors(row=ROW, **changed):
    kinds = {"x": "FP64", "n": "INT64", "small": "INT32", "half": "FP32", "on": "BOOL", "text": "BYTES"}
    made = {name: tensor(name, kinds[name], [value]) for name, value in row.items()}
    return {"inputs": list((made | changed).values())}


def test_both_dialects_make_the_same_columns_of_the_same_rows():
    rows = [ROW, ROW | {"x": None, "text": None, "n": -(2**62)}]
    columnar = {name: [row[name] for row in rows] for name in ROW}
    kinds = {c.name: c.datatype for c in SIGNATURE.inputs}

    one = ask(records, {"rows": rows, "key": "k"})
    two = ask(v2, {"id": "7", "inputs": [tensor(n, kinds[n], data) for n, data in columnar.items()], "key": "k"})

    assert (one.rows, one.key, two.rows, two.key, two.id) == (2, "k", 2, "k", "7")
    assert one.columns.keys() == two.columns.keys()
    for name, values in one.columns.items():
        assert values.dtype == two.columns[name].dtype
        np.testing.assert_array_equal(values, two.columns[name])
    assert math.isnan(one.columns["x"][1])


def test_one_matrix_stands_for_all_columns_of_numbers():
    question = ask(v2, {"inputs": [tensor("anything", "FP32", [[1.5, 2], [None, 3]], [2, 2])]}, NUMBERS)

    np.testing.assert_array_equal(question.columns["a"], [1.5, math.nan])
    assert question.columns["b"].tolist() == [2, 3]


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"NaN", b'{"rows":[{"x":NaN}]}', b'{"rows":[{"x":Infinity}]}', b'{"rows":[{"x":-Infinity}]}',
        b'{"rows":[{"x":1e400}]}', b'{"rows":[{"x":' + b"9" * 5000 + b"}]}", b'{"a":"\\ud800"}', b'"\xff"',
        b"[" * 100_000, b'{"rows":[]} x', b"\xef\xbb\xbf{}", b"{'rows':1}", b'{"rows":[01]}', b'"\xed\xa0\x80"',
    ],
)  # fmt: skip
def test_what_is_not_strict_json_is_refused(body):
    with pytest.raises(Rejected) as refused:
        strict.parse(body)

    assert refused.value.fix


@pytest.mark.parametrize(
    "body",
    [
        b'{"rows":[{"x":1,"x":2}]}',
        b'{"rows":[{"x":1}],"rows":[{"x":2}]}',
        b'{"rows":[{"x":1,"text":"12:30"},{"x":1,"\\u0078":2}]}',
        b'{"inputs":[{"name":"x","shape":[1],"datatype":"FP64","data":[1],"data":[2]}]}',
        b'{"inputs":[],"parameters":{"a":{"b":1,"b":2}}}',
    ],
)
def test_key_that_comes_twice_is_refused(body):
    document = strict.parse(body)
    dialect = records if "rows" in document else v2

    with pytest.raises(Rejected, match=r"comes twice|at least one"):
        dialect.read(document, body, SIGNATURE, 100)


@given(st.dictionaries(st.text(max_size=5), st.text(max_size=8), max_size=5))
def test_colons_in_keys_and_texts_are_no_duplicates(row):
    body = json.dumps({"rows": [row]}, ensure_ascii=False).encode()

    strict.no_duplicates(body, 1 + len(row))


@pytest.mark.parametrize("depth", [64, 65, 200])
def test_nesting_beyond_64_levels_is_refused(depth):
    body = b"[" * depth + b"]" * depth

    if depth > 64:
        with pytest.raises(Rejected, match="deeper than 64"):
            strict.shallow(strict.parse(body))
    else:
        strict.shallow(strict.parse(body))


@pytest.mark.parametrize(
    ("document", "match"),
    [
        ({"rows": {}}, "at least one object"),
        ({"rows": []}, "at least one object"),
        ({"rows": [1]}, "must be an object"),
        ({"rows": [ROW], "row": 1}, "no part of a request"),
        ({"rows": [ROW] * 101}, "101 rows"),
        ({"rows": [ROW], "key": "a\nb"}, "printable"),
        ({"rows": [ROW], "key": 7}, "printable"),
        ({"rows": [{**ROW, "x": "1.5"}]}, "'x'"),
        ({"rows": [{**ROW, "x": [1]}]}, "'x'"),
        ({"rows": [{**ROW, "n": 1.5}]}, "'n'"),
        ({"rows": [{**ROW, "n": None}]}, "'n'"),
        ({"rows": [{**ROW, "on": 1}]}, "'on'"),
        ({"rows": [{**ROW, "more": 1}]}, "'more'"),
        ({"rows": [{k: v for k, v in ROW.items() if k != "text"}]}, "'text'"),
    ],
)
def test_record_body_that_does_not_fit_is_refused_by_name(document, match):
    with pytest.raises(Rejected, match=match):
        ask(records, document)


@pytest.mark.parametrize(
    ("document", "match"),
    [
        ({"inputs": []}, "at least one tensor"),
        ({"inputs": {}}, "at least one tensor"),
        ({"inputs": [tensor("x", "FP64", [1])], "more": 1}, "no part of a V2"),
        (tensors() | {"id": 5}, "'id'"),
        (tensors(x={"datatype": "FP64", "shape": [1], "data": [1]}), "no name"),
        (tensors(x=tensor("x", "FP64", [1.0], [0])), "shape"),
        (tensors(x=tensor("x", "FP64", [1.0], [-1])), "shape"),
        (tensors(x=tensor("x", "FP64", [1.0], [])), "shape"),
        (tensors(x=tensor("x", "FP64", [1.0], [True])), "shape"),
        (tensors(x=tensor("x", "FP64", [1.0], [1 << 40])), "shape"),
        (tensors(x=tensor("x", "FP64", [1.0], [1 << 30])), "rows"),
        (tensors(x=tensor("x", "FP64", [1.0], [1, 2])), "has the shape"),
        (tensors(x=tensor("x", "FP64", [1.0, 2.0], [1])), "2 values"),
        (tensors(x=tensor("x", "FP64", [], [1])), "0 values"),
        (tensors(x=tensor("x", "FP64", ["1"])), "is a text"),
        (tensors(x=tensor("x", "FP64", [True])), "is a boolean"),
        (tensors(x=tensor("x", "BYTES", ["1"])), "came as BYTES"),
        (tensors(x=tensor("x", "INT64", [1.5])), "is a fraction"),
        (tensors(n=tensor("n", "FP64", [1.5])), "came as FP64"),
        (tensors(n=tensor("n", "INT64", [1 << 70])), "does not fit"),
        (tensors(small=tensor("small", "INT32", [1 << 40])), "does not fit"),
        (tensors(half=tensor("half", "FP32", [1e300])), "does not fit"),
        (tensors(on=tensor("on", "BOOL", [1])), "is a whole number"),
        (tensors(text=tensor("text", "BYTES", [1])), "is a whole number"),
        (tensors(x=tensor("z", "FP64", [1.0])), "no input 'z'"),
        (tensors(x=tensor("n", "INT64", [1])), "came twice"),
        ({"inputs": [tensor("x", "FP64", [1.0])]}, "lacks"),
        (tensors(x=tensor("x", "FP64", [[[1.0]]], [1, 1])), "is a list"),
        (tensors(x=tensor("x", "FP64", [[1.0], 2.0], [1])), "nested|values"),
        (tensors(x=tensor("x", "FP64", [1.0], parameters={"binary_data_size": 8})), "binary"),
    ],
)
def test_tensor_body_that_does_not_fit_is_refused_by_name(document, match):
    with pytest.raises(Rejected, match=match) as refused:
        ask(v2, document)

    assert refused.value.fix


leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
anything = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
)


@given(anything)
def test_no_body_whatsoever_ends_in_another_error_than_a_refusal(value):
    for document in (
        {"rows": value},
        {"rows": [value]},
        {"rows": [ROW | {"x": value}]},
        {"rows": [ROW], "key": value},
        {"inputs": value},
        {"inputs": [value]},
        {"inputs": [tensor("x", "FP64", [1.0]) | {"data": value}]},
        {"inputs": [tensor("x", "FP64", [1.0]) | {"shape": value}]},
        {"inputs": [tensor("x", "FP64", [1.0]) | {"datatype": value}]},
        {"inputs": [tensor("x", "FP64", [1.0]) | {"parameters": value}]},
        {"inputs": [tensor("x", "FP64", [1.0])], "id": value, "parameters": value},
    ):
        body = json.dumps(document).encode()
        try:
            parsed = strict.parse(body)
            (records if "rows" in parsed else v2).read(parsed, body, SIGNATURE, 100)
        except Rejected:
            continue


def test_answers_name_every_output_row_by_row_and_tensor_by_tensor():
    outputs = {"label": np.array(["yes", "no"], object), "probability": np.array([[0.25, 0.75], [1.0, 0.0]])}

    rows = json.loads(records.write(SIGNATURE, outputs, event="e", model="m", version=3))
    tensors_ = json.loads(v2.write(SIGNATURE, outputs, model="m", version=3, name="7"))

    assert rows["rows"] == [
        {"label": "yes", "probability": {"no": 0.25, "yes": 0.75}},
        {"label": "no", "probability": {"no": 1.0, "yes": 0.0}},
    ]
    assert (rows["event_id"], rows["model"], rows["version"]) == ("e", "m", 3)
    assert (tensors_["model_name"], tensors_["model_version"], tensors_["id"]) == ("m", "3", "7")
    assert tensors_["outputs"] == [
        {"name": "label", "datatype": "BYTES", "shape": [2], "data": ["yes", "no"]},
        {"name": "probability", "datatype": "FP64", "shape": [2, 2], "data": [0.25, 0.75, 1.0, 0.0]},
    ]
