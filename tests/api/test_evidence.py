import msgspec
import pytest
from sqlalchemy import insert, select

from shipway.database.schema import inbox, label_inbox, server, signal
from shipway.terms import FORMAT, CountsReport, Signal

NOW = 1_800_000_000.0
EVENT = "018bcfe5-6800-7000-8000-000000000001"


@pytest.fixture
def deployed(churn):
    churn.put("/v1/endpoints/churn", json={"ref": "churn:1", "settings": {"require_gate": False}})
    return churn


@pytest.fixture
def raised(platform):
    """An open signal."""
    one = Signal("s1", "default", "churn", "drift", NOW - 60, NOW, "fee moved", 12.0, 9.0, columns=("fee",))
    with platform.database.transaction() as tx:
        tx.execute(
            insert(signal).values(
                id="s1",
                project="default",
                endpoint="churn",
                kind="drift",
                body=msgspec.json.encode(one).decode(),
                raised_at=NOW,
            )
        )
    return "s1"


def test_labels_are_kept_once_they_are_acknowledged(deployed, platform):
    labels = [{"event": EVENT, "value": "yes"}, {"key": "order-7", "row": 3, "value": "no"}]

    answer = deployed.post("/v1/labels", json={"endpoint": "churn", "labels": labels})

    assert answer.json()["accepted"] == 2
    with platform.database.read() as tx:
        rows = tx.execute(select(label_inbox.c.key, label_inbox.c.row, label_inbox.c.value)).all()
    assert rows == [("", 0, '"yes"'), ("order-7", 3, '"no"')]


@pytest.mark.parametrize(
    "label",
    [
        {"value": "yes"},
        {"event": EVENT, "key": "x", "value": "yes"},
        {"event": "not-an-id", "value": "yes"},
        {"event": EVENT, "value": None},
        {"event": EVENT},
        {"event": EVENT, "value": ["yes"]},
        {"event": EVENT, "value": "yes", "row": -1},
        {"event": EVENT, "value": "yes", "row": 2**40},
        {"event": EVENT, "value": "yes", "evil": 1},
    ],
    ids=str,
)
def test_one_label_that_cannot_be_refuses_all_of_its_request(deployed, platform, label):
    good = {"event": EVENT, "value": "no"}

    answer = deployed.post("/v1/labels", json={"endpoint": "churn", "labels": [good, label]})

    assert answer.status_code == 422
    with platform.database.read() as tx:
        assert tx.execute(select(label_inbox)).all() == []


def test_a_predict_token_labels_only_the_endpoints_it_names(deployed, calling, issue):
    deployed.put("/v1/endpoints/other", json={"ref": "churn:1", "settings": {"require_gate": False}})
    narrow = calling(issue("predict", "shop", endpoints=("churn",)))
    body = {"labels": [{"event": EVENT, "value": "yes"}]}

    assert narrow.post("/v1/labels", json={**body, "endpoint": "churn"}).status_code == 200
    assert narrow.post("/v1/labels", json={**body, "endpoint": "other"}).status_code == 403


def test_the_ledger_is_listed_in_order_and_verifies(deployed):
    entries = deployed.get("/v1/ledger").json()["entries"]
    later = deployed.get("/v1/ledger", params={"after": entries[0]["seq"]}).json()["entries"]
    verified = deployed.get("/v1/ledger/verify").json()

    assert [entry["seq"] for entry in entries] == list(range(1, len(entries) + 1))
    assert later == entries[1:]
    assert verified["ok"] is True
    assert verified["entries"] == len(entries)
    assert verified["recomputed"]["ok"] is True
    assert any(entry["actor"] == "ann" for entry in entries)


def test_a_ledger_that_was_cut_is_found_against_a_head_noted_earlier(deployed):
    answer = deployed.get("/v1/ledger/verify", params={"head": "sha256:" + "1" * 64}).json()

    assert answer["ok"] is False


def test_signals_are_listed_acknowledged_and_muted_on_the_record(deployed, raised):
    listed = deployed.get("/v1/signals", params={"endpoint": "churn"}).json()["signals"]
    explained = deployed.get(f"/v1/signals/{raised}/explain").json()
    seen = deployed.post(f"/v1/signals/{raised}/ack").json()
    muted = deployed.post(f"/v1/signals/{raised}/mute", json={"until": NOW + 3600}).json()
    kinds = [entry["kind"] for entry in deployed.get("/v1/ledger", params={"subject": "signal:s1"}).json()["entries"]]

    assert [one["id"] for one in listed] == ["s1"]
    assert "fee moved" in explained["text"]
    assert seen["acknowledged_by"] == "ann"
    assert muted["muted_until"] == NOW + 3600
    assert kinds == ["signal.acknowledged", "signal.muted"]


@pytest.mark.parametrize("until", [NOW - 1, NOW, NOW + 1e9])
def test_a_mute_has_an_end_that_is_near(deployed, raised, until):
    assert deployed.post(f"/v1/signals/{raised}/mute", json={"until": until}).status_code == 422


def test_an_alert_without_a_channel_says_so(deployed):
    channels = deployed.post("/v1/endpoints/churn/alert-test").json()["channels"]

    assert all(channel["target"] == "log" for channel in channels)


def test_an_alert_to_a_dead_receiver_is_told(deployed):
    deployed.patch("/v1/endpoints/churn", json={"settings": {"webhooks": ["http://127.0.0.1:9/hook"]}})

    channels = deployed.post("/v1/endpoints/churn/alert-test").json()["channels"]

    assert [channel["ok"] for channel in channels if channel["target"].startswith("http")] == [False]


@pytest.mark.usefixtures("deployed")
def test_a_server_reports_and_gets_its_routes(calling, issue, platform):
    own = calling(issue("server"))
    report = CountsReport(FORMAT, "here", {}, epoch=1)

    pushed = own.post("/v1/counts", content=msgspec.json.encode(report))
    table = own.get("/v1/routes", params={"after": 0, "wait_s": 0}).json()
    nothing = own.get("/v1/routes", params={"after": table["epoch"], "wait_s": 0}).json()

    assert pushed.status_code == 200
    assert table["endpoints"][0]["name"] == "churn"
    assert nothing is None
    with platform.database.read() as tx:
        assert tx.execute(select(server.c.name, server.c.seen_at)).all() == [("here", NOW)]


def segment(path):
    return {
        "segment": "a-1/default/churn", "project": "default", "endpoint": "churn", "path": str(path), "rows": 1,
        "first_at": NOW, "last_at": NOW, "profiles": "",
    }  # fmt: skip


def test_a_segment_put_down_twice_is_put_down_once(calling, issue, platform):
    own = calling(issue("server"))
    body = segment(platform.settings.incoming / "a.parquet")

    statuses = [own.post("/v1/inbox", json=body).status_code for _ in range(2)]

    assert statuses == [200, 200]
    with platform.database.read() as tx:
        assert len(tx.execute(select(inbox)).all()) == 1


@pytest.mark.parametrize("path", ["/etc/passwd", "../shipway.db", "incoming/../../x", "", "{incoming}/../shipway.db"])
def test_a_server_cannot_name_files_that_no_collector_wrote(calling, issue, platform, path):
    own = calling(issue("server"))

    answer = own.post("/v1/inbox", json=segment(path.replace("{incoming}", str(platform.settings.incoming))))

    assert answer.status_code == 422
    with platform.database.read() as tx:
        assert tx.execute(select(inbox)).all() == []


def test_health_tells_where_the_server_is_and_nothing_private(anonymous, platform):
    said = anonymous.get("/v1/health").json()

    assert said["ok"] is True
    assert said["server"] == "http://127.0.0.1:8786"
    assert str(platform.settings.home) not in str(said)


@pytest.mark.parametrize(("value", "said"), [("yes", ""), ("maybe", "'maybe'"), (1, "'1'"), (True, "'True'")])
def test_a_label_that_no_answer_can_match_is_taken_and_told(deployed, value, said):
    answer = deployed.post("/v1/labels", json={"endpoint": "churn", "labels": [{"key": "k", "value": value}]}).json()

    assert answer["accepted"] == 1
    assert [said in one and "knows no, yes" in one for one in answer.get("doubts", [])] == [True] * bool(said)


def test_a_label_for_an_event_that_was_never_captured_is_taken_and_told(deployed):
    answer = deployed.post("/v1/labels", json={"endpoint": "churn", "labels": [{"event": EVENT, "value": "yes"}]})

    assert answer.json()["accepted"] == 1
    assert EVENT in answer.json()["doubts"][0]


def test_a_head_that_is_no_digest_is_no_proof_of_tampering(api):
    answer = api.get("/v1/ledger/verify", params={"head": "nonsense"})

    assert answer.status_code == 422
    assert "not a digest" in answer.json()["error"]


def test_jobs_of_an_endpoint_that_is_not_there_are_not_none(api):
    assert api.get("/v1/jobs", params={"endpoint": "nowhere"}).status_code == 404
