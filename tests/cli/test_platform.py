import json

import pytest

EVENT = "018bcfe5-6800-7000-8000-000000000001"


def test_a_folder_is_uploaded_registered_gated_and_deployed_in_one_go(shipway, control, packed):
    done = shipway("deploy", packed / "good", "--endpoint", "churn", "--wait", "0")

    assert done.code == 0, done.err
    lines = [line.split()[0] for line in done.out.splitlines()]
    assert lines[:3] == ["registered", "gate", "deployed"]
    assert "no server answers" in done.out
    assert shipway("endpoint", "show", "churn", "--json").json["champion"] == 1
    assert control.platform.bundles.digests()


@pytest.mark.usefixtures("deployed")
def test_a_version_that_the_gate_does_not_pass_is_not_deployed(shipway, packed, tmp_path):
    policy = tmp_path / "gate.toml"
    policy.write_text('[[check]]\nkind = "threshold"\nmetric = "accuracy"\nat_least = 0.9999\n')

    done = shipway("deploy", packed / "poor", "--endpoint", "churn", "--policy", f"gate={policy}", "--wait", "0")

    assert done.code in (1, 4), done.err
    assert "not deployed" in done.out
    assert shipway("endpoint", "show", "churn", "--json").json["champion"] == 1
    assert "deployed    " not in done.out


@pytest.mark.usefixtures("deployed")
def test_without_a_gate_where_the_owner_says_so(shipway):
    done = shipway("deploy", "churn:2", "--endpoint", "lax", "--set", "require_gate=false", "--wait", "0", "--json")

    assert done.code == 0, done.out
    assert done.json["deployed"] is True
    assert done.json["gate"] is None


@pytest.mark.usefixtures("deployed")
def test_lists_show_models_versions_and_endpoints(shipway):
    everything, versions = shipway("list"), shipway("list", "churn")

    assert "champion -> 1" in everything.out
    assert "churn:1" in versions.out
    assert "pass" in versions.out
    assert shipway("list", "--json").json["endpoints"][0]["name"] == "churn"


@pytest.mark.usefixtures("deployed")
def test_a_version_is_inspected_compared_and_carded_by_reference(shipway, packed):
    inspected = shipway("inspect", "churn@champion")
    compared = shipway("diff", "churn:1", packed / "good")
    card = shipway("card", "churn:1")

    assert "aliases champion" in inspected.out
    assert compared.code == 0
    assert "# churn" in card.out.lower()


@pytest.mark.usefixtures("deployed")
def test_a_reference_scores_where_the_files_are_here(shipway, packed, tmp_path):
    done = shipway("score", "churn:1", packed / "holdout.csv", "scored.csv")

    assert done.code == 0, done.err
    assert (tmp_path / "scored.csv").exists()


@pytest.mark.usefixtures("deployed")
def test_settings_and_policies_are_set_and_stay(shipway, tmp_path):
    policy = tmp_path / "rollout.toml"
    policy.write_text("")

    shipway("endpoint", "set", "churn", "auto_promote=true", "deadline_ms=500", "webhooks=http://127.0.0.1:9/a")
    done = shipway("endpoint", "set", "churn", "max_rows=5", "--json")

    kept = done.json["settings"]
    assert (kept["auto_promote"], kept["deadline_ms"], kept["max_rows"]) == (True, 500, 5)
    assert kept["webhooks"] == ["http://127.0.0.1:9/a"]
    wrong = shipway("endpoint", "set", "churn", "auto_promot=true")
    assert wrong.code == 2
    assert "auto_promote" in wrong.err


@pytest.mark.usefixtures("deployed")
def test_a_rollout_is_planned_started_followed_and_rolled_back_by_endpoint_name(shipway):
    refused = shipway("rollout", "start", "churn", "churn:2")
    shipway("endpoint", "set", "churn", "require_gate=false")
    plan = shipway("rollout", "plan", "churn", "churn:2")
    start = shipway("rollout", "start", "churn", "churn:2")
    status = shipway("rollout", "status", "churn", "--json")
    pause = shipway("rollout", "pause", "churn", "--why", "lunch")
    shipway("rollout", "resume", "churn")
    back = shipway("rollout", "rollback", "churn", "--why", "enough")
    after = shipway("rollout", "status", "churn", "--wait")
    verified = shipway("rollout", "verify", status.json["id"])

    assert refused.code in (1, 4)
    assert "not started" in refused.out
    assert plan.code == 0
    assert "requests" in plan.out
    assert start.code == 0
    assert status.code == 0
    assert status.json["state"] == "running"
    assert pause.out.startswith("paused")
    assert back.out.startswith("rolled_back")
    assert after.code == 1
    assert verified.code == 0
    assert shipway("rollout", "status").out.count("churn") >= 1
    assert shipway("rollout", "explain", "churn").code == 0


@pytest.mark.usefixtures("deployed")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["rollout", "status", "nothing"], "neither a rollout nor an endpoint"),
        (["rollout", "status", "churn"], "has had no rollout"),
        (["rollout", "start", "churn", "churn:99"], "no version 99"),
        (["rollout", "start", "chrn", "churn:2"], "churn"),
        (["deploy", "churm", "--endpoint", "churn"], "churn"),
        (["list", "churm"], "churn"),
        (["card", "churn:9"], "9"),
        (["gate", "churn@nothing"], "alias"),
        (["token", "revoke", "nothing"], "ann"),
        (["label", "churn", "--event", "nonsense", "--value", "yes"], "nonsense"),
        (["label", "nothing", "--event", EVENT, "--value", "yes"], "nothing"),
        (["monitor", "explain", "nothing"], "nothing"),
        (["retrain", "approve", "nothing"], "nothing"),
        (["token", "create", "x", "--role", "king"], "king"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value,
)
def test_what_is_not_there_is_named_with_what_could_be_meant(shipway, arguments, said):
    done = shipway(*arguments)

    assert done.code == 2, done.out
    assert said in done.err
    assert done.err.count("\n") == 2


@pytest.mark.usefixtures("deployed")
def test_rollback_returns_to_the_champion_before(shipway):
    shipway("deploy", "churn:2", "--endpoint", "churn", "--set", "require_gate=false", "--wait", "0")

    done = shipway("rollback", "churn")

    assert done.code == 0
    assert "churn:1 answers everyone" in done.out
    assert shipway("rollback", "churn").code in (0, 1)


@pytest.mark.usefixtures("deployed")
def test_labels_come_from_words_and_from_files(shipway, tmp_path):
    (tmp_path / "labels.csv").write_text(f"event,value,row\n{EVENT},yes,0\n{EVENT},no,1\n")
    (tmp_path / "bad.csv").write_text("id,truth\n1,2\n")

    one = shipway("label", "churn", "--event", EVENT, "--value", "yes")
    many = shipway("label", "churn", "--file", "labels.csv", "--json")
    bad = shipway("label", "churn", "--file", "bad.csv")

    assert one.out.splitlines()[0] == "1 label taken for churn"
    assert many.json["accepted"] == 2
    assert bad.code == 2
    assert "id, truth" in bad.err


@pytest.mark.usefixtures("deployed")
def test_tokens_are_made_listed_used_and_revoked(shipway):
    secret = shipway("token", "create", "shop", "--endpoint", "churn", "--expires", "90d").out.strip()
    listed = shipway("token", "list")
    denied = shipway("list", "--token", secret)
    shipway("token", "revoke", "shop")
    gone = shipway("label", "churn", "--event", EVENT, "--value", "yes", "--token", secret)

    assert secret.startswith("sw_")
    assert "shop" in listed.out
    assert secret not in listed.out
    assert denied.code == 2
    assert "predict" in denied.err
    assert gone.code == 2
    assert "revoked" in shipway("token", "list").out


@pytest.mark.usefixtures("deployed")
def test_the_ledger_is_verified_with_every_decision(shipway):
    done, value = shipway("audit", "verify"), shipway("audit", "verify", "--json").json

    assert done.code == 0
    assert "as they were written" in done.out
    assert value["holds"] is True
    assert shipway("audit", "verify", "--head", value["head"]).code == 0
    assert shipway("audit", "verify", "--head", "sha256:" + "1" * 64).code == 1


@pytest.mark.usefixtures("deployed")
def test_monitor_retrain_and_alert_answer_before_anything_happened(shipway):
    monitor, jobs, alert = (
        shipway("monitor", "status", "churn"),
        shipway("retrain", "status"),
        shipway("alert", "test", "churn"),
    )

    assert monitor.code == 0, monitor.err
    assert jobs.code == 0
    assert "no retraining yet" in jobs.out
    assert alert.code in (0, 1)


def test_url_and_token_of_the_command_line_win_over_the_context(shipway, control):
    other = shipway("list", "--url", "http://127.0.0.1:1")
    wrong = shipway("list", "--url", control.url, "--token", "sw_wrong")
    right = shipway("list", "--url", control.url, "--token", control.token)

    assert other.code == 3
    assert "127.0.0.1:1" in other.err
    assert wrong.code == 2
    assert right.code == 0


@pytest.mark.usefixtures("control")
def test_the_context_of_a_control_plane_that_is_gone_says_so(shipway, tmp_path):
    (tmp_path / "home" / "context.json").write_text(json.dumps({"url": "http://127.0.0.1:1", "token": "x"}))

    assert "nothing listens at http://127.0.0.1:1" in shipway("list").err


@pytest.mark.usefixtures("deployed")
def test_a_label_that_no_answer_can_match_is_told(shipway):
    done = shipway("label", "churn", "--key", "order-7", "--value", "maybe")

    assert done.code == 0
    assert "but the label cannot be an answer of churn:1, which knows no, yes: 'maybe'" in done.out


@pytest.mark.usefixtures("deployed")
def test_a_version_is_verified_where_its_files_are(shipway, control):
    sound = shipway("verify", "churn:1")
    for digest in control.platform.bundles.digests():
        (control.platform.bundles.path(digest) / "model" / "model.onnx").write_bytes(b"rot")

    changed = shipway("verify", "churn:1")

    assert sound.code == 0
    assert changed.code == 1
    assert "is not what was packed: model/model.onnx" in changed.err


@pytest.mark.usefixtures("deployed")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["deploy", "churn:1", "--endpoint", "../x"], "'../x' cannot name an endpoint"),
        (["deploy", "churn:1", "--endpoint", ""], "'' cannot name an endpoint"),
        (["token", "create", "shop", "--role", "king"], "there is no role 'king'"),
        (["retrain", "status", "nowhere"], "no endpoint is called nowhere"),
        (["audit", "verify", "--head", "nonsense"], "'nonsense' is not a digest"),
        (["endpoint", "set", "churn", "auto_promote=maybe"], '"maybe" is no value for the endpoint setting'),
    ],
)
def test_a_mistake_is_named_with_its_fix_and_status_2(shipway, words, said):
    done = shipway(*words)

    assert done.code == 2
    assert said in done.err
    assert "fix: " in done.err
