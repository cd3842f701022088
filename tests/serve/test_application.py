"""What a worker says over HTTP, asked of one real server."""

import hashlib
import json
import time

import pytest
from serve_scenes import Home, Server, call, challenger, champion, route, until

from shipway.terms import PredictToken

INFER = "/v2/models/toy/infer"
ROWS = json.dumps({"rows": [{"x": 1.0, "y": 2.0}]})
TENSORS = json.dumps(
    {
        "id": "42",
        "inputs": [
            {"name": "x", "datatype": "FP64", "shape": [2], "data": [1.0, -1.0]},
            {"name": "y", "datatype": "FP64", "shape": [2, 1], "data": [[0.0], [0.0]]},
        ],
    }
)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    home = Home(tmp_path_factory.mktemp("application") / "home")
    digest = home.bundle()
    home.publish(route(champion(digest, version=7), max_rows=100))
    server = Server(home).wait()
    yield server
    server.kill()
    server.log.close()


def test_records_and_tensors_get_the_same_answer_in_their_own_form(server):
    status, headers, body = call(server.port, "POST", INFER, ROWS)
    tensor_status, tensor_headers, tensor_body = call(server.port, "POST", INFER, TENSORS)

    one, two = json.loads(body), json.loads(tensor_body)
    assert (status, tensor_status) == (200, 200)
    assert headers["shipway-version"] == tensor_headers["shipway-version"] == "toy:7"
    assert headers["shipway-event-id"] == one["event_id"] != tensor_headers["shipway-event-id"]
    assert one["rows"][0]["label"] == two["outputs"][0]["data"][0] == "yes"
    assert (two["model_name"], two["model_version"], two["id"]) == ("toy", "7", "42")
    assert two["outputs"][1]["shape"] == [2, 2]


def test_metadata_and_health_are_those_of_the_protocol(server):
    about = json.loads(call(server.port, "GET", "/v2")[2])
    model = json.loads(call(server.port, "GET", "/v2/models/toy")[2])

    assert about["name"] == "shipway"
    assert (model["name"], model["versions"]) == ("toy", ["7"])
    assert [(c["name"], c["datatype"], c["shape"]) for c in model["inputs"]] == [
        ("x", "FP64", [-1]),
        ("y", "FP64", [-1]),
    ]
    assert call(server.port, "GET", "/v2/health/live")[0] == 200
    assert call(server.port, "GET", "/v2/health/ready")[0] == 200
    assert call(server.port, "GET", "/v2/models/toy/ready")[0] == 200
    assert call(server.port, "GET", "/v2/models/nobody/ready")[0] == 503


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", INFER, "", 400),
        ("POST", INFER, '{"rows":[{"x":NaN,"y":1}]}', 400),
        ("POST", INFER, '{"rows":[{"x":1e400,"y":1}]}', 400),
        ("POST", INFER, "[" * 200_000, 400),
        ("POST", INFER, '{"rows":[{"x":1,"x":1,"y":1}]}', 422),
        ("POST", INFER, '{"rows":[{"x":1}]}', 422),
        ("POST", INFER, json.dumps({"rows": [{"x": 1, "y": 1}] * 101}), 422),
        ("POST", INFER, "[]", 422),
        ("POST", INFER, "[" * 300 + "]" * 300, 422),
        ("POST", INFER, "{}", 422),
        ("GET", INFER, None, 405),
        ("DELETE", "/v2/models/toy", None, 405),
        ("POST", "/v2/models/nobody/infer", ROWS, 404),
        ("POST", "/v2/models/..%2f..%2fetc/infer", ROWS, 404),
        ("POST", "/v2/models/toy/infer/", ROWS, 404),
        ("POST", "/v2/models/toy;x/infer", ROWS, 404),
        ("POST", "//v2/models/toy/infer", ROWS, 404),
        ("GET", "/", None, 404),
        ("GET", "/metrics", None, 404),
        ("POST", "/drain", None, 404),
        ("GET", "/v2/models/toy/versions/7", None, 404),
    ],
)
def test_wrong_request_gets_4xx_with_a_sentence_and_a_fix(server, method, path, body, status):
    got, _, answer = call(server.port, method, path, body)

    assert got == status
    told = json.loads(answer)
    assert told["error"]
    assert told["fix"]
    assert call(server.port, "POST", INFER, ROWS)[0] == 200


@pytest.mark.parametrize("stated", ["0", "-1", "1.5", "1e3", "9999999", "", "a", "²"])
def test_deadline_that_is_no_number_of_milliseconds_is_refused(server, stated):
    got, _, _ = call(server.port, "POST", INFER, ROWS, {"shipway-deadline-ms": stated.encode("utf-8")})

    assert got == 422


def test_callers_key_is_captured(home, start):
    home.publish(route(champion(home.bundle())))
    server = start().wait()

    server.ask(headers={"shipway-key": "order-1"})
    call(server.port, "POST", INFER, json.dumps({"rows": [{"x": 1.0, "y": 2.0}], "key": "order-2"}))
    bad = call(server.port, "POST", INFER, ROWS, {"shipway-key": "x" * 300})
    server.stop()

    assert bad[0] == 422
    assert [r.key for r in home.records()] == ["order-1", "order-2"]


def test_where_tokens_exist_only_their_holders_are_answered(home, start):
    def token(secret, *endpoints, expires_at=None):
        return {hashlib.sha256(secret.encode()).hexdigest(): PredictToken(endpoints, expires_at)}

    tokens = (
        token("mine", "default/toy")
        | token("all", "default/*")
        | token("other", "default/elsewhere")
        | token("old", "default/*", expires_at=time.time() - 1)
    )
    home.publish(route(champion(home.bundle())), tokens=tokens)
    server = start().wait()

    def status(secret, path="toy"):
        headers = {} if secret is None else {"Authorization": f"Bearer {secret}"}
        return server.ask(headers=headers, endpoint=path)[0]

    assert [status(s) for s in ("mine", "all")] == [200, 200]
    assert [status(s) for s in (None, "", "guess", "old")] == [401] * 4
    assert status("other") == 403
    assert status(None, "nobody") == 401
    assert status("mine", "nobody") == 404
    assert call(server.port, "GET", "/v2/models/toy")[0] == 401
    assert call(server.port, "GET", "/v2/health/ready")[0] == 200


def test_an_endpoint_open_to_all_needs_no_token_beside_one_that_does(home, start):
    anybody = {hashlib.sha256(b"").hexdigest(): PredictToken(("default/toy",))}
    shut = {hashlib.sha256(b"mine").hexdigest(): PredictToken(("default/shut",))}
    digest = home.bundle()
    home.publish(route(champion(digest)), route(champion(digest), name="shut"), tokens=anybody | shut)
    server = start().wait()

    def status(endpoint, headers):
        return server.ask(headers=headers, endpoint=endpoint)[0]

    assert status("toy", {}) == 200
    assert status("toy", {"Authorization": "Bearer of something else"}) == 200
    assert status("shut", {}) == 401
    assert status("shut", {"Authorization": "Bearer mine"}) == 200


def test_full_disk_stops_captures_and_not_answers_unless_they_are_required(home, start):
    digest = home.bundle()
    spool = home.folder / "servers" / "s" / "spool"
    home.publish(route(champion(digest)))
    server = start(options=("--seal-after", "0.3")).wait()
    assert server.ask()[0] == 200
    until(lambda: list(spool.glob("*.sealed")), "the segment to be sealed", seconds=10)
    hidden = spool.rename(spool.with_name("elsewhere"))
    spool.write_text("no folder here")  # every write fails now, as on a broken disk

    loose = server.ask()[0]
    home.publish(route(champion(digest), capture_required=True))
    server.wait()
    strict = server.ask()

    assert loose == 200
    assert strict[0] == 503
    assert "retry-after" in strict[1]
    until(lambda: server.health()["capture_stopped"], "the report")
    assert sum(server.health()["capture_dropped"].values()) >= 1
    spool.unlink()
    hidden.rename(spool)
    until(lambda: server.ask()[0] == 200, "captures again")


def test_route_without_capture_writes_nothing(home, start):
    home.publish(route(champion(home.bundle()), challenger(home.bundle(weight=2.0)), rollout="r1", capture=False))
    server = start().wait()

    assert [server.ask()[0] for _ in range(3)] == [200] * 3

    server.stop()
    assert home.records() == []
