import shutil

import pytest


def test_a_bundle_is_stored_once_and_keeps_its_number(api, upload, bundles):
    first, again = upload(bundles["good"]), upload(bundles["good"])
    numbers = [api.post("/v1/models/churn/versions", json=first.json()).json()["version"] for _ in range(2)]

    assert first.json() == again.json()
    assert numbers == [1, 1]


def test_versions_are_listed_newest_first_with_what_is_known_of_them(churn):
    listed = churn.get("/v1/models/churn/versions").json()["versions"]
    shown = churn.get("/v1/models/churn/versions/1").json()

    assert [row["version"] for row in listed] == [2, 1]
    assert listed[0]["gate"] is None
    assert shown["manifest"]["model"] == "churn"
    assert shown["evidence"] == []


def test_a_bundle_changed_on_the_way_is_refused_by_name_of_the_file(upload, bundles, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(bundles["good"], broken)
    model = broken / "model" / "model.onnx"
    model.write_bytes(model.read_bytes()[:-1] + b"\0")

    answer = upload(broken)

    assert answer.status_code == 409
    assert answer.json()["kind"] == "Tampered"
    assert "model/model.onnx" in answer.json()["error"]
    assert str(tmp_path) not in answer.text
    assert "upload-" not in answer.text


def test_a_bundle_is_registered_under_its_own_name_only(api, upload, bundles):
    digest = upload(bundles["good"]).json()["digest"]

    answer = api.post("/v1/models/other/versions", json={"digest": digest})

    assert answer.status_code == 422
    assert "packed as churn" in answer.json()["error"]


def test_the_gate_judges_and_the_verdict_stays_with_the_version(churn):
    judged = churn.post("/v1/models/churn/versions/1/gate", json={}).json()

    assert judged["verdict"] in ("pass", "fail", "undecided")
    assert judged["sentence"]
    assert churn.get("/v1/models/churn/versions/1").json()["gate"] == judged["verdict"]
    assert [e["kind"] for e in churn.get("/v1/models/churn/versions/1").json()["evidence"]] == ["gate"]


def test_a_gate_policy_that_does_not_parse_is_refused(churn):
    answer = churn.post("/v1/models/churn/versions/1/gate", json={"policy": "nonsense = ["})

    assert answer.status_code == 422


def test_an_alias_moves_only_from_where_it_was_seen(churn):
    first = churn.put("/v1/models/churn/aliases/champion", json={"version": 1, "seen": 0, "why": "first"})
    late = churn.put("/v1/models/churn/aliases/champion", json={"version": 2, "seen": 0})
    right = churn.put("/v1/models/churn/aliases/champion", json={"version": 2, "seen": first.json()["revision"]})

    assert (first.status_code, late.status_code, right.status_code) == (200, 409, 200)
    assert churn.get("/v1/resolve", params={"ref": "churn"}).json()["version"] == 2
    assert churn.get("/v1/models").json()["models"][0]["aliases"] == {"champion": 2}


@pytest.mark.parametrize(("form", "start"), [("markdown", "#"), ("html", "<!doctype html>")])
def test_the_card_comes_in_both_forms(churn, form, start):
    card = churn.get("/v1/models/churn/versions/1/card", params={"form": form}).json()["card"]

    assert card.lower().startswith(start)
    assert "churn" in card


NAMED = [
    "/v1/models/{}/versions", "/v1/models/{}/versions/1", "/v1/models/{}/aliases", "/v1/endpoints/{}",
    "/v1/monitor/{}", "/v1/rollouts/{}", "/v1/signals/{}/explain", "/v1/models/{}/versions/1/card",
    "/v1/models/churn/versions/{}", "/v1/resolve?ref={}", "/v1/events?endpoint={}", "/v1/labels/unknown?endpoint={}",
]  # fmt: skip


@pytest.mark.parametrize(
    "name",
    [
        "../etc", "%2e%2e", "%252e%252e", "a%5Cb", "a%00b", "%2Fabs", "C:", "file:x", "-rf", "%E2%80%AEgnp", "x" * 300,
        "\u0441hurn", "Churn", "a b", "%0d%0aset-cookie:x=1", "<script>", "'--", "a%1b[2J",
    ],
)  # fmt: skip
def test_a_hostile_name_is_refused_in_one_sentence(api, name):
    for path in NAMED:
        answer = api.get(path.format(name))

        assert answer.status_code in (404, 422), path
        assert answer.json()["fix"]
        assert "\x1b" not in answer.text
        assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("version", ["0", "-1", "1e3", "9" * 20, "9" * 5000, "1.5", "x", "", "nan"])
def test_a_version_that_cannot_be_is_refused(churn, version):
    answer = churn.get(f"/v1/models/churn/versions/{version}")

    assert answer.status_code in (404, 422)
    assert answer.json()["fix"]


@pytest.fixture
def changed(churn, platform):
    """Change one byte of the stored bundle of version 2, and back."""
    path = platform.bundles.path(churn.get("/v1/resolve", params={"ref": "churn:2"}).json()["digest"])
    model = path / "model" / "model.onnx"
    content = bytearray(model.read_bytes())
    content[len(content) // 2] ^= 1
    model.write_bytes(content)
    return churn


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", "/v1/endpoints/churn", {"ref": "churn:2", "settings": {"require_gate": False}}),
        ("POST", "/v1/endpoints/churn/rollouts", {"ref": "churn:2"}),
        ("POST", "/v1/models/churn/versions/2/gate", {}),
    ],
    ids=["deploy", "rollout", "gate"],
)
def test_a_stored_bundle_that_was_changed_goes_nowhere(changed, method, path, body):
    changed.put("/v1/endpoints/churn", json={"ref": "churn:1", "settings": {"require_gate": False}})

    answer = changed.request(method, path, json=body)

    assert answer.status_code == 409
    assert answer.json()["kind"] == "Tampered"
    assert "model/model.onnx was changed" in answer.json()["error"]
    assert "push" in answer.json()["fix"]
    row = changed.get("/v1/endpoints/churn").json()
    assert (row["champion"], row["rollout"]) == (1, "")


def test_pushing_a_changed_bundle_again_mends_it(changed, upload, bundles):
    upload(bundles["poor"])
    body = {"ref": "churn:2", "settings": {"require_gate": False}}

    assert changed.put("/v1/endpoints/churn", json=body).status_code == 200
