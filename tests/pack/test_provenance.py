import hashlib
import subprocess

import pyarrow as pa
import pytest
from sklearn.linear_model import LogisticRegression

from shipway.errors import Broken
from shipway.pack.environment import environment, modules_of
from shipway.pack.forest import Forest, emit
from shipway.pack.provenance import described, git, provenance, sbom
from shipway.pack.writing import canonical

TABLE = pa.table({"a": [1, 2, 3], "b": ["x", None, "y"]})


def test_a_tables_digest_is_of_its_cells_not_of_its_chunks():
    chunked = pa.concat_tables([TABLE[:1], TABLE[1:]])

    assert described(chunked)["sha256"] == described(TABLE)["sha256"]
    assert described(TABLE.set_column(0, "a", pa.array([1, 2, 4])))["sha256"] != described(TABLE)["sha256"]


def test_what_the_caller_says_wins():
    found = provenance({"git": {"commit": "mine"}, "seed": 1}, TABLE, None, parent="", now=0.0)

    assert found["git"] == {"commit": "mine"}
    assert found["data"]["rows"] == 3
    assert "parent" not in found


def test_commit_and_dirtiness_are_those_of_the_repository_around(tmp_path):
    assert git(tmp_path) == {}
    run = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    (tmp_path / "train.py").write_text("1")
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "x"]):
        subprocess.run([*run, *command], check=True, capture_output=True)

    clean = git(tmp_path)
    (tmp_path / "train.py").write_text("2")
    dirty = git(tmp_path)

    assert len(clean["commit"]) == 40
    assert not clean["dirty"]
    assert dirty == clean | {"dirty": True}


def test_the_environment_lists_what_the_model_needs_and_nothing_else():
    found = environment(LogisticRegression().fit([[0], [1]], [0, 1]), "shipway, double")

    names = {p["name"] for p in found["packages"]}
    assert {"scikit-learn", "scipy", "numpy", "onnxruntime", "joblib"} <= names
    assert not {"pytest", "fastapi", "lightgbm"} & names
    assert all(len(p["record_sha256"]) == 64 for p in found["packages"] if "unpinned" not in p)


def test_a_model_that_cannot_be_pickled_still_has_an_environment():
    model = LogisticRegression()
    model.callback = lambda: None

    assert "sklearn" in modules_of(model)


def test_the_bill_of_materials_is_the_same_for_the_same_model():
    found = environment(None, "none")

    one, two = (sbom("m", "0" * 64, found, now=0.0) for _ in range(2))

    assert canonical(one) == canonical(two)
    assert {c["bom-ref"] for c in one["components"]} == set(one["dependencies"][0]["dependsOn"])


def test_canonical_json_is_rfc_8785():
    assert canonical({"b": 1.0, "a": [1e-7, "é"]}) == '{"a":[1e-7,"é"],"b":1}'.encode()
    assert hashlib.sha256(canonical({})).hexdigest() == hashlib.sha256(b"{}").hexdigest()


def tree(true, false):
    forest = Forest(1)
    forest.leaf(0, 1.0)
    node, other = forest.node(), forest.node()
    forest.less(node, 0, 0.5, true, false, missing_true=False)
    forest.less(other, 0, 0.5, (0, True), (0, True), missing_true=False)
    forest.root((node, False))
    return forest


def test_a_sound_tree_is_written():
    assert emit(tree((1, False), (0, True)), "X", "out").op_type == "TreeEnsemble"


@pytest.mark.parametrize("true", [(7, False), (-1, False), (9, True), (0, False)])
def test_a_tree_that_points_outside_or_at_itself_is_never_written(true):
    with pytest.raises(Broken, match="tree"):
        emit(tree(true, (0, True)), "X", "out")
