import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.svm import LinearSVC

from shipway import bundle, pack
from shipway.errors import Rejected
from shipway.pack.attempts import own_double


@pytest.fixture(scope="module")
def plain():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.normal(size=300), "b": rng.integers(0, 50, 300), "extra": "unused"})
    frame["y"] = np.where(frame.a + rng.normal(0, 0.5, 300) > 0, 1, 0)
    return frame


@pytest.fixture(scope="module")
def model(plain):
    return LogisticRegression(max_iter=500).fit(plain[["a", "b"]], plain.y)


def test_a_bundle_holds_what_it_promises(plain, model, tmp_path):
    packed = pack.pack(
        model, name="m", data=plain[:200], holdout=plain[200:], target="y", out=tmp_path / "m", now=1e9,
        parent="sha256:x", description="a test", metrics={"accuracy": 0.9}, provenance={"seed": 7},
    )  # fmt: skip

    manifest = bundle.audit(bundle.read(packed.folder), packed.digest).manifest
    assert manifest == packed.manifest
    assert [c.name for c in manifest.signature.inputs] == ["a", "b"]
    assert manifest.signature.inputs[1].integral
    assert manifest.signature.classes == ("0", "1")
    assert manifest.runtime.inline
    assert set(manifest.runtime.cost_us) == {"1", "64"}
    assert manifest.metrics == {"accuracy": 0.9}
    assert manifest.provenance["seed"] == 7
    assert manifest.provenance["parent"] == "sha256:x"
    assert manifest.provenance["packed_at"] == "2001-09-09T01:46:40Z"
    assert manifest.provenance["holdout"]["rows"] == 100
    assert {"numpy", "onnxruntime", "scikit-learn"} <= {p["name"] for p in manifest.environment["packages"]}
    rows = pq.read_table(packed.folder / "reference/rows.parquet")
    assert rows.column_names == ["a", "b", "__target__", "__label__", "__probability__"]
    assert rows["__target__"].to_pylist() == [str(v) for v in plain.y[200:]]
    sbom = json.loads((packed.folder / "sbom.cdx.json").read_bytes())
    assert (sbom["specVersion"], sbom["metadata"]["component"]["type"]) == ("1.6", "machine-learning-model")


def test_the_same_input_gives_the_same_digest(plain, model, tmp_path):
    known = {"1": 8.0, "64": 40.0}

    digests = {
        pack.pack(model, name="m", data=plain, target="y", out=tmp_path / out, now=5.0, cost_us=known).digest
        for out in ("one", "two")
    }

    assert len(digests) == 1


def test_packing_again_replaces_the_bundle_but_never_another_folder(plain, model, tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine.txt").write_text("keep")
    pack.pack(model, name="m", data=plain, target="y", out=tmp_path / "m", now=1.0)
    again = pack.pack(model, name="m", data=plain, target="y", out=tmp_path / "m", now=2.0)

    with pytest.raises(Rejected, match="is not a bundle"):
        pack.pack(model, name="m", data=plain, target="y", out=tmp_path / "notes", now=1.0)

    assert bundle.read(tmp_path / "m").digest == again.digest
    assert (tmp_path / "notes" / "mine.txt").read_text() == "keep"
    assert {p.name for p in tmp_path.iterdir()} == {"m", "notes"}


def test_tables_and_frames_are_packed_alike(plain, model, tmp_path):
    one = pack.pack(model, name="m", data=plain, target="y", out=tmp_path / "one", now=1.0)
    two = pack.pack(model, name="m", data=pa.Table.from_pandas(plain), target="y", out=tmp_path / "two", now=1.0)

    assert one.manifest.signature == two.manifest.signature
    assert one.manifest.files[0] == two.manifest.files[0]


def test_the_report_names_what_was_refused_and_why(plain, tmp_path):
    data = plain[["a", "b"]].assign(y=plain.a * 2)
    fitted = KNeighborsRegressor(weights="distance").fit(data[["a", "b"]], data.y)

    with pytest.raises(Rejected, match=r"KNeighborsRegressor is not read here.*skl2onnx, double") as caught:
        pack.pack(fitted, name="m", data=data[:150], holdout=data[150:] + 0.01, target="y", out=tmp_path / "m", now=0.0)

    assert caught.value.fix
    assert not (tmp_path / "m").exists()


def test_a_conversion_that_is_wrong_without_an_error_is_not_believed(plain, tmp_path):
    def wrong(original, levels):
        other = LogisticRegression(C=1e-3).fit(plain[["a", "b"]], plain.y)
        return own_double(type(original)(**{**vars(original), "model": other}), levels)

    unread = make_pipeline(FunctionTransformer(np.arcsinh), LogisticRegression()).fit(plain[["a", "b"]], plain.y)

    with pytest.raises(Rejected, match="mine: not equal on 300 rows"):
        pack.pack(unread, name="m", data=plain, target="y", out=tmp_path / "m", now=0.0, converters={"mine": wrong})


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"target": "Y"}, "no column 'Y' for the target"),
        ({"target": "extra"}, "holds 'unused', and the model knows '0', '1'"),
        ({"name": "Bad Name"}, "cannot name a model"),
        ({"drop": ["a"]}, "fitted on column 'a', which the data lack"),
        ({"empty": "b"}, "'b' is missing in all 300 rows"),
        ({"one": 1}, "holds only one class, '1'"),
        ({"rows": 0}, "no rows"),
        ({"text": "b"}, "the model itself fails on rows of the data"),
        ({"dates": "b"}, "'b' holds timestamp"),
    ],
)
def test_every_mistake_is_one_sentence_with_a_fix(plain, model, tmp_path, options, said):
    data = plain.copy()
    if "drop" in options:
        data = data.drop(columns=options["drop"])
    if "empty" in options:
        data[options["empty"]] = np.nan
    if "one" in options:
        data["y"] = options["one"]
    if "rows" in options:
        data = data[: options["rows"]]
    if "text" in options:
        data[options["text"]] = "word"
    if "dates" in options:
        data[options["dates"]] = pd.Timestamp("2020-01-01")

    with pytest.raises(Rejected, match=said) as caught:
        pack.pack(
            model,
            name=options.get("name", "m"),
            data=data,
            target=options.get("target", "y"),
            out=tmp_path / "m",
            now=0.0,
        )

    assert caught.value.fix
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda _: LogisticRegression(), "was not fitted"),
        (lambda d: LinearSVC().fit(d[["a", "b"]], d.y), "labels without probabilities"),
        (lambda _: {"weights": 1}, "dict cannot be packed"),
        (
            lambda d: Ridge().fit(d[["a", "b"]].to_numpy(), d.y),
            "takes 2 columns and the data have 3 besides the target 'y'",
        ),
        (lambda d: Ridge().fit(d[["a", "b", "y"]], d.y), "fitted on column 'y'"),
        (lambda _: b"no graph", "not an ONNX model"),
    ],
)
def test_a_model_that_cannot_be_packed_says_why(plain, tmp_path, made, said):
    with pytest.raises(Rejected, match=said):
        pack.pack(made(plain), name="m", data=plain, target="y", out=tmp_path / "m", now=0.0)


def test_a_text_target_is_refused_for_a_model_of_numbers(plain, tmp_path):
    data = plain[["a", "b"]].assign(y="word")
    fitted = Ridge().fit(plain[["a", "b"]], plain.y)

    with pytest.raises(Rejected, match="the model predicts numbers"):
        pack.pack(fitted, name="m", data=data, target="y", out=tmp_path / "m", now=0.0)


def test_without_a_target_the_bundle_has_rows_but_no_truth(plain, model, tmp_path):
    packed = pack.pack(model, name="m", data=plain, target=None, out=tmp_path / "m", now=0.0)

    assert "__target__" not in pq.read_table(packed.folder / "reference/rows.parquet").column_names


def test_a_missing_cell_is_allowed_only_where_the_model_takes_it(plain, model, tmp_path):
    packed = pack.pack(model, name="m", data=plain, target="y", out=tmp_path / "m", now=0.0)

    assert not any(c.nullable for c in packed.manifest.signature.inputs)
    with pytest.raises(Rejected, match="'a' is missing in row 0"):
        bundle.coerce(packed.manifest.signature, [{"a": None, "b": 1}])
    assert any("missing cells in all columns" in note for note in packed.report.notes)


def test_progress_is_told_in_words(plain, model, tmp_path):
    said = []

    pack.pack(model, name="m", data=plain, target="y", out=tmp_path / "m", now=0.0, progress=said.append)

    assert said[0] == "reading model and data"
    assert "converting with shipway, double" in said


def test_the_report_reads_as_a_table(plain, model, tmp_path):
    report = pack.pack(model, name="m", data=plain, target="y", out=tmp_path / "m", now=0.0).report

    told = dict(report.table())

    assert told["model"] == "LogisticRegression"
    assert "equal on 300 rows" in told["parity"]
    assert "times faster" in told["speed"]
