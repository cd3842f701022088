import json
import shutil

import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet


def test_pack_says_what_it_did_and_what_comes_next(shipway, work):
    done = shipway(
        "pack", work / "model.pkl", "--data", work / "train.csv", "--holdout", work / "holdout.csv",
        "--target", "left", "--name", "churn",
    )  # fmt: skip

    assert done.code == 0, done.err
    assert "parity" in done.out
    assert "shipway deploy churn --endpoint churn" in done.out
    assert done.err == ""


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"--target": "lef"}, "left"),
        ({"--data": "empty.csv"}, "empty"),
        ({"--data": "nothing.csv"}, "nothing.csv"),
        ({"--name": "Big Churn"}, "Big Churn"),
        ({"--task": "guessing"}, "guessing"),
    ],
    ids=str,
)
def test_a_mistake_in_packing_is_one_sentence_with_a_fix(shipway, work, changed, said):
    options = {"--data": "train.csv", "--target": "left", "--name": "churn"} | changed
    options["--data"] = str(work / options["--data"])

    done = shipway("pack", work / "model.pkl", *(word for pair in options.items() for word in pair))

    assert done.code == 2
    assert said in done.err
    assert done.err.count("\n") == 2


def test_a_pickle_that_would_run_code_is_refused(shipway, work, tmp_path):
    evil = tmp_path / "evil.pkl"
    evil.write_bytes(b"\x80\x02cos\nsystem\nX\x0b\x00\x00\x00touch owned\x85R.")

    done = shipway("pack", evil, "--data", work / "train.csv", "--target", "left", "--name", "churn")

    assert done.code == 2
    assert "system" in done.err
    assert not (tmp_path / "owned").exists()


def test_inspect_shows_a_bundle_without_a_server(shipway, packed):
    done, value = shipway("inspect", packed / "good"), shipway("inspect", packed / "good", "--json").json

    assert done.code == 0
    assert "plan" in done.out
    assert "monthly, yearly" in done.out
    assert value["manifest"]["model"] == "churn"


def test_a_changed_byte_is_named_by_verify(shipway, packed, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(packed / "good", broken)
    model = broken / "model" / "model.onnx"
    model.write_bytes(model.read_bytes()[:-1] + b"\0")

    sound, changed = shipway("verify", packed / "good"), shipway("verify", broken)

    assert sound.code == 0
    assert changed.code == 1
    assert "model/model.onnx" in changed.err


def test_another_digest_than_the_expected_one_is_a_no(shipway, packed):
    assert shipway("verify", packed / "good", "--digest", "sha256:" + "0" * 64).code == 1


def test_diff_lists_what_differs_and_says_so_by_its_status(shipway, packed):
    same, other = (
        shipway("diff", packed / "good", packed / "good"),
        shipway("diff", packed / "good", packed / "poor", "--json"),
    )

    assert same.code == 0
    assert other.code == 1
    assert "model/model.onnx" in other.json["changes"]["files"]


def test_gate_judges_a_folder_without_a_server(shipway, packed):
    alone = shipway("gate", packed / "good")
    beside = shipway("gate", packed / "poor", "--champion", packed / "good", "--json")

    assert alone.code == 0, alone.out
    assert beside.code in (1, 4)
    assert beside.json["verdict"] != "pass"


def test_gate_takes_rows_and_policy_of_the_user(shipway, packed, tmp_path):
    policy = tmp_path / "gate.toml"
    policy.write_text('[[check]]\nkind = "threshold"\nmetric = "accuracy"\nat_least = 0.999\n')

    done = shipway("gate", packed / "good", "--data", packed / "holdout.csv", "--target", "left", "--policy", policy)

    assert done.code in (1, 4), done.err
    assert "accuracy" in done.out


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize("out", ["csv", "parquet"])
def test_score_writes_an_answer_beside_every_row(shipway, packed, tmp_path, kind, out):
    target = tmp_path / f"scored.{out}"

    done = shipway("score", packed / "good", packed / f"holdout.{kind}", target, "--json")

    scored = pd.read_csv(target) if out == "csv" else pd.read_parquet(target)
    assert done.code == 0, done.out
    assert done.json["rows"] == len(scored) == 200
    assert (scored["output.label"] == scored["left"]).mean() > 0.8
    chances = scored[["output.probability.no", "output.probability.yes"]].sum(axis=1)
    assert (chances - 1).abs().max() < 1e-9


def test_scoring_does_not_depend_on_how_the_file_is_cut(shipway, packed, tmp_path):
    table = parquet.read_table(packed / "holdout.parquet")
    parquet.write_table(pa.concat_tables([table] * 200), tmp_path / "long.parquet")

    shipway("score", packed / "good", tmp_path / "long.parquet", tmp_path / "long.scored.parquet")
    shipway("score", packed / "good", packed / "holdout.csv", tmp_path / "short.parquet")

    long, short = pd.read_parquet(tmp_path / "long.scored.parquet"), pd.read_parquet(tmp_path / "short.parquet")
    assert len(long) == 40_000
    assert (long["output.label"][-200:].to_numpy() == short["output.label"].to_numpy()).all()


@pytest.mark.parametrize(("text", "said"), [("tenure,plan\n1,monthly\n", "fee"), ("", "empty")])
def test_a_file_that_does_not_fit_leaves_nothing_behind(shipway, packed, tmp_path, text, said):
    rows, out = tmp_path / "rows.csv", tmp_path / "out.csv"
    rows.write_text(text)

    done = shipway("score", packed / "good", rows, out)

    assert done.code == 2, done.err
    assert said in done.err
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["rows.csv"]


@pytest.mark.parametrize(
    ("row", "said"), [("many,1,monthly", "tenure"), ("1,,monthly", "fee"), ("1,2", "2 cells instead of 3")]
)
def test_a_bad_row_is_set_aside_and_fails_the_command_only_if_there_is_no_good_one(
    shipway, packed, tmp_path, row, said
):
    for name, text in {"all": f"{row}\n", "one": f"5,60,yearly\n{row}\n"}.items():
        (tmp_path / f"{name}.csv").write_text("tenure,fee,plan\n" + text)

    hopeless = shipway("score", packed / "good", tmp_path / "all.csv", "all.out.csv")
    mixed = shipway("score", packed / "good", tmp_path / "one.csv", "one.out.csv", "--json")
    strict = shipway("score", packed / "good", tmp_path / "one.csv", "strict.csv", "--most-rejected", "0")

    assert (hopeless.code, mixed.code, strict.code) == (1, 0, 2)
    assert said in hopeless.out
    assert said in strict.err
    assert (mixed.json["scored"], mixed.json["rejected"]) == (1, 1)
    assert said.split()[0] in (tmp_path / "one.out.csv.rejected.csv").read_text()
    assert not (tmp_path / "all.out.csv").exists()
    assert not (tmp_path / "strict.csv").exists()


def test_compare_and_profile_work_on_files_alone(shipway, packed, tmp_path):
    table = pd.read_csv(packed / "holdout.csv")
    drifted = pd.concat([table] * 5).assign(fee=lambda t: t["fee"] * 2)
    drifted.to_csv(tmp_path / "now.csv", index=False)

    same = shipway("monitor", "compare", packed / "train.csv", packed / "holdout.csv", "--json")
    moved = shipway("monitor", "compare", packed / "holdout.csv", tmp_path / "now.csv", "--json")
    profile = shipway("monitor", "profile", packed / "train.csv")

    assert same.code == 0, same.out
    assert moved.code == 1
    assert moved.json["changed"] == ["fee"]
    assert profile.code == 0
    assert "tenure" in profile.out


def test_the_card_of_a_folder_prints_its_gaps(shipway, packed, tmp_path):
    printed = shipway("card", packed / "good")
    shipway("card", packed / "good", "--html", "--out", "card.html")

    assert printed.out.startswith("#")
    assert "absent" in printed.out
    assert (tmp_path / "card.html").read_text().lower().startswith("<!doctype html>")


def test_with_json_every_file_command_prints_one_object(shipway, packed):
    for arguments in (
        ["inspect", packed / "good"],
        ["verify", packed / "good"],
        ["monitor", "profile", packed / "train.csv"],
    ):
        done = shipway(*arguments, "--json")
        assert done.code == 0
        assert isinstance(json.loads(done.out), dict)
        assert done.out.count("\n") == 1
