import pytest

from shipway import access
from shipway.endpoint.routes import latest

GATED = {"require_gate": False}


@pytest.fixture
def deployed(churn):
    """An endpoint `churn` that churn:1 answers."""
    answer = churn.put("/v1/endpoints/churn", json={"ref": "churn:1", "settings": GATED})
    assert answer.status_code == 200, answer.text
    return churn


def test_a_deployed_version_is_what_servers_are_told(deployed, platform):
    row = deployed.get("/v1/endpoints/churn").json()
    with platform.database.read() as tx:
        table = latest(tx)

    assert (row["model"], row["champion"]) == ("churn", 1)
    assert row["url"] == "http://127.0.0.1:8786/v2/models/churn/infer"
    assert [v.version for v in table.endpoints[0].variants] == [1]
    assert deployed.get("/v1/resolve", params={"ref": "churn@champion"}).json()["version"] == 1


def test_a_version_without_a_passed_gate_is_not_deployed(churn):
    answer = churn.put("/v1/endpoints/churn", json={"ref": "churn:1"})

    assert answer.status_code in (409, 422)
    assert "gate" in answer.json()["error"]
    assert churn.get("/v1/endpoints").json() == {"endpoints": []}


def test_settings_that_are_not_named_stay(deployed):
    changed = deployed.patch("/v1/endpoints/churn", json={"settings": {"auto_promote": True}}).json()
    again = deployed.patch("/v1/endpoints/churn", json={"settings": {"deadline_ms": 500}}).json()

    assert changed["settings"]["require_gate"] is False
    assert (again["settings"]["auto_promote"], again["settings"]["deadline_ms"]) == (True, 500)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"settings": {"nonsense": 1}}, "no setting 'nonsense'"),
        ({"settings": {"auto_promote": "yes"}}, '"yes" is no value for the endpoint setting auto_promote'),
        ({"settings": {"deadline_ms": -1}}, "-1 is no value for the endpoint setting deadline_ms"),
        ({"settings": {"webhooks": ["example.org/hook"]}}, "endpoint setting webhooks"),
        ({"settings": {"sticky": "cookie:x"}}, "endpoint setting sticky"),
        ({"policies": {"nonsense": ""}}, "no policy called 'nonsense'"),
        ({"policies": {"rollout": "nonsense = 1"}}, "nonsense"),
        ({"policies": {"monitor": "window = 'soon'"}}, "window"),
        ({"policies": {"gate": "["}}, "TOML"),
    ],
)
def test_a_change_that_cannot_be_changes_nothing(deployed, change, said):
    before = deployed.get("/v1/endpoints/churn").json()

    answer = deployed.patch("/v1/endpoints/churn", json=change)

    assert answer.status_code == 422
    assert said in answer.json()["error"]
    assert deployed.get("/v1/endpoints/churn").json() == before


def test_a_second_deployment_can_be_taken_back(deployed):
    deployed.put("/v1/endpoints/churn", json={"ref": "churn:2"})

    row = deployed.post("/v1/endpoints/churn/rollback").json()

    assert row["champion"] == 1
    assert deployed.get("/v1/resolve", params={"ref": "churn"}).json()["version"] == 1


def test_an_endpoint_without_a_version_before_cannot_go_back(deployed):
    answer = deployed.post("/v1/endpoints/churn/rollback")

    assert answer.status_code == 409
    assert answer.json()["fix"]


def test_a_rollout_is_started_followed_steered_and_verified(deployed):
    plan = deployed.post("/v1/endpoints/churn/rollouts/plan", json={"ref": "churn:2"}).json()
    started = deployed.post("/v1/endpoints/churn/rollouts", json={"ref": "churn:2"})
    key = started.json()["id"]
    now = deployed.get(f"/v1/rollouts/{key}").json()
    paused = deployed.post(f"/v1/rollouts/{key}/pause", json={"why": "lunch"}).json()
    resumed = deployed.post(f"/v1/rollouts/{key}/resume", json={}).json()
    ended = deployed.post(f"/v1/rollouts/{key}/rollback", json={"why": "no"}).json()

    assert plan["steps"][0]["kind"] == "shadow"
    assert started.status_code == 201
    assert (now["state"], now["challenger"], now["kind"]) == ("running", 2, "shadow")
    assert (paused["state"], resumed["state"], ended["state"]) == ("paused", "running", "rolled_back")
    assert deployed.get(f"/v1/rollouts/{key}/verify").json()["ok"] is True
    assert deployed.get(f"/v1/rollouts/{key}/explain").json()["lines"] == []
    listed = deployed.get("/v1/rollouts", params={"endpoint": "churn"}).json()["rollouts"]
    assert [(row["id"], row["state"]) for row in listed] == [(key, "rolled_back")]


def test_two_rollouts_at_once_let_exactly_one_run(deployed):
    first = deployed.post("/v1/endpoints/churn/rollouts", json={"ref": "churn:2"})
    second = deployed.post("/v1/endpoints/churn/rollouts", json={"ref": "churn:2"})

    assert (first.status_code, second.status_code) == (201, 409)


def test_planning_changes_nothing(deployed, platform):
    with platform.database.read() as tx:
        before = latest(tx)
    entries = len(deployed.get("/v1/ledger").json()["entries"])

    deployed.post("/v1/endpoints/churn/rollouts/plan", json={"ref": "churn:2"})

    with platform.database.read() as tx:
        assert latest(tx) == before
    assert len(deployed.get("/v1/ledger").json()["entries"]) == entries
    assert deployed.get("/v1/rollouts").json() == {"rollouts": []}


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/v1/endpoints/nothing", None),
        ("PUT", "/v1/endpoints/new", {"ref": "nothing"}),
        ("PUT", "/v1/endpoints/new", {"ref": "churn:99"}),
        ("POST", "/v1/endpoints/nothing/rollouts", {"ref": "churn:2"}),
        ("POST", "/v1/endpoints/churn/rollouts", {"ref": "churn:99"}),
        ("POST", "/v1/endpoints/nothing/rollback", None),
        ("GET", "/v1/rollouts/nothing", None),
        ("GET", "/v1/rollouts/nothing/verify", None),
        ("POST", "/v1/rollouts/nothing/pause", {}),
        ("GET", "/v1/models/nothing/versions", None),
        ("POST", "/v1/labels", {"endpoint": "nothing", "labels": []}),
        ("GET", "/v1/signals/nothing/explain", None),
        ("POST", "/v1/signals/nothing/ack", None),
        ("POST", "/v1/jobs/nothing/approve", None),
        ("GET", "/v1/monitor/nothing", None),
        ("GET", "/v1/events?endpoint=nothing", None),
        ("POST", "/v1/endpoints/nothing/alert-test", None),
    ],
)
def test_what_is_not_there_is_named_with_what_is(deployed, method, path, body):
    answer = deployed.request(method, path, json=body)

    assert answer.status_code == 404
    assert answer.json()["fix"]


def test_another_project_sees_no_rollout_of_this_one(deployed, calling, issue, platform):
    key = deployed.post("/v1/endpoints/churn/rollouts", json={"ref": "churn:2"}).json()["id"]
    with platform.database.transaction() as tx:
        access.create_project(tx, "other", actor="t", now=0.0)
    other = calling(issue("admin", "bob", project="other"))

    statuses = [
        other.get(f"/v1/rollouts/{key}").status_code,
        other.get(f"/v1/rollouts/{key}/verify").status_code,
        other.post(f"/v1/rollouts/{key}/promote", json={}).status_code,
        other.get("/v1/models/churn/versions/1").status_code,
        other.get("/v1/endpoints/churn").status_code,
    ]

    assert statuses == [404] * 5
    assert other.get("/v1/endpoints").json() == {"endpoints": []}
    assert other.get("/v1/rollouts").json() == {"rollouts": []}
