"""Whole runs of the gate on real bundles."""

import shutil

import msgspec
import pyarrow as pa
import pytest
import rfc8785
from sklearn.metrics import accuracy_score

from shipway import bundle, gate
from shipway.errors import Rejected, Tampered
from shipway.terms import Verdict

NOW = 1_800_000_000.0


def test_a_first_model_that_beats_guessing_passes(bundles):
    judgement, _ = gate.run(bundles["good"], None, None, now=NOW)

    assert judgement.verdict is Verdict.PASS
    assert judgement.rows == 1500
    assert judgement.metrics["auc"].low > 0.8


def test_a_model_that_learnt_noise_does_not_pass(bundles):
    assert gate.run(bundles["guess"], None, None, now=NOW)[0].verdict is not Verdict.PASS


def test_an_equal_model_passes_beside_the_champion_and_a_worse_one_fails(bundles):
    same, _ = gate.run(bundles["same"], bundles["good"], None, now=NOW)
    bad, _ = gate.run(bundles["bad"], bundles["good"], None, now=NOW)

    assert (same.verdict, bad.verdict) == (Verdict.PASS, Verdict.FAIL)
    assert set(same.champion) == set(same.metrics)
    assert "the champion" in bad.sentence


def test_a_regressor_is_judged_by_how_much_it_explains(bundles):
    judgement, _ = gate.run(bundles["amount"], None, None, now=NOW)

    assert judgement.verdict is Verdict.PASS
    assert judgement.metrics["r2"].value == pytest.approx(0.9, abs=0.03)


def test_a_champion_that_answers_another_question_leaves_it_undecided(bundles):
    judgement, _ = gate.run(bundles["good"], bundles["amount"], None, now=NOW)

    assert judgement.verdict is Verdict.UNDECIDED
    assert "another question" in judgement.sentence


def test_the_accuracy_is_that_of_the_bundle_itself_on_the_given_rows(bundles, holdout):
    judgement, statement = gate.run(bundles["good"], None, None, now=NOW, data=holdout, target="answer")

    runtime = bundle.open(bundle.audit(bundle.read(bundles["good"])), bundle.DEFAULT)
    said = runtime.predict({k: holdout[k].to_numpy() for k in ("a", "b")})["label"]
    runtime.close()
    truth = holdout["answer"].to_pylist()
    assert judgement.metrics["accuracy"].value == pytest.approx(accuracy_score(truth, list(said)))
    assert statement["predicate"]["data"] == {"rows": "given by the caller", "count": 1500}


def test_rows_without_an_outcome_are_left_out(bundles, holdout):
    truth = holdout["answer"].to_pylist()
    some = holdout.set_column(2, "answer", pa.array([None] * 1000 + truth[1000:]))

    assert gate.run(bundles["good"], None, None, now=NOW, data=some, target="answer")[0].rows == 500


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda t: t.drop_columns(["b"]), "'b'"),
        (lambda t: t.set_column(0, "a", pa.array(["x"] * t.num_rows)), "'a'"),
        (lambda t: t.drop_columns(["answer"]), "'answer'"),
        (lambda t: t.slice(0, 0), "no rows"),
    ],
)
def test_a_table_that_does_not_fit_is_refused_by_name(bundles, holdout, change, named):
    with pytest.raises(Rejected, match=named):
        gate.run(bundles["good"], None, None, now=NOW, data=change(holdout), target="answer")


def test_the_statement_names_the_digest_and_everything_the_verdict_came_from(bundles):
    policy = "[[check]]\nkind = 'rows'\nat_least = 10"

    judgement, statement = gate.run(bundles["good"], None, policy, now=NOW)

    digest = bundle.read(bundles["good"]).digest
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["subject"] == [{"name": "demo", "digest": {"sha256": digest.removeprefix("sha256:")}}]
    predicate = statement["predicate"]
    assert predicate["verdict"] == "pass" == judgement.verdict
    assert predicate["policy"] == policy
    assert predicate["metrics"]["accuracy"]["value"] == judgement.metrics["accuracy"].value
    assert rfc8785.dumps(msgspec.to_builtins(statement))


def test_the_same_run_twice_gives_the_same_judgement(bundles):
    once, again = (gate.run(bundles["same"], bundles["good"], None, now=NOW) for _ in range(2))

    assert once == again


def test_a_changed_byte_is_refused_before_anything_runs(bundles, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(bundles["good"], copy)
    model = next((copy / "model").glob("*.onnx"))
    model.chmod(0o644)
    content = bytearray(model.read_bytes())
    content[len(content) // 2] ^= 1
    model.write_bytes(content)

    with pytest.raises(Tampered):
        gate.run(copy, None, None, now=NOW)


def test_classes_written_as_numbers_are_found_in_a_table_that_holds_them_as_decimals(bundles, holdout):
    coded = [1.0 if said == "yes" else 0.0 for said in holdout["answer"].to_pylist()]
    table = holdout.set_column(2, "answer", pa.array(coded))

    judgement, _ = gate.run(bundles["coded"], None, None, now=NOW, data=table, target="answer")

    assert judgement.metrics["accuracy"].value > 0.8
