"""Who may call what: every case is generated from the router, so that a new route cannot be forgotten."""

import re
from types import SimpleNamespace

import pytest

from shipway import access
from shipway.api import OPEN, create_app

NOW = 1_800_000_000.0


def walk(routes):
    """Every route below these, whatever holds it: routers, mounts and single routes alike."""
    for route in routes:
        inner = getattr(getattr(route, "original_router", None), "routes", None) or getattr(route, "routes", None)
        if inner:
            yield from walk(inner)
        else:
            yield route


def routes():
    app = create_app(SimpleNamespace(settings=None, database=None, bundles=None, lake=None, clock=lambda: NOW))
    return sorted((method, route.path) for route in walk(app.routes) for method in route.methods)


GUARDED = [(method, path) for method, path in routes() if path not in OPEN]
ROLES = {
    "predict": {("POST", "/v1/labels")},
    "server": {("GET", "/v1/routes"), ("POST", "/v1/counts"), ("POST", "/v1/inbox")},
}


def filled(path):
    return re.sub(r"\{version\}", "1", re.sub(r"\{action\}", "pause", path)).replace("{", "").replace("}", "")


def test_the_walk_finds_every_described_route(app):
    described = {(method.upper(), path) for path, methods in app.openapi()["paths"].items() for method in methods}

    assert described <= set(routes())
    assert len(described) > 35


def test_only_the_listed_routes_are_open(app):
    open_in_description = {
        path
        for path, methods in app.openapi()["paths"].items()
        for route in methods.values()
        if not route.get("security")
    }

    assert open_in_description <= OPEN
    assert {path for _, path in routes()} >= OPEN, "a route that is gone must leave the list"


NO_TOKEN = {
    "none": {},
    "empty": {"authorization": "Bearer "},
    "unknown": {"authorization": "Bearer sw_wrong"},
    "basic": {"authorization": "Basic YTpi"},
    "long": {"authorization": "Bearer " + "x" * 5000},
    "cookie": {"cookie": "session=1"},
}


@pytest.mark.parametrize("headers", NO_TOKEN.values(), ids=NO_TOKEN)
def test_without_a_valid_token_no_route_is_reached(anonymous, headers):
    for method, path in GUARDED:
        answer = anonymous.request(method, filled(path), headers=headers, content=b"{}")

        assert answer.status_code == 401, f"{method} {path}"
        assert set(answer.json()) == {"error", "fix", "kind"}
        assert answer.headers["www-authenticate"] == "Bearer"


def test_an_expired_or_revoked_token_opens_nothing(anonymous, issue, platform):
    expired = issue("admin", "old", expires_at=NOW - 1, now=NOW - 100)
    revoked = issue("admin", "gone")
    with platform.database.transaction() as tx:
        access.revoke(tx, "default", "gone", now=NOW, actor="test")

    for method, path in GUARDED:
        for headers in (expired, revoked):
            answer = anonymous.request(method, filled(path), headers=headers, content=b"{}")
            assert answer.status_code == 401, f"{method} {path}"


@pytest.mark.parametrize("role", ["predict", "server"])
def test_a_role_reaches_its_own_routes_and_no_other(calling, issue, role):
    caller = calling(issue(role))

    for method, path in GUARDED:
        query = "?wait_s=0" if path == "/v1/routes" else ""
        status = caller.request(method, filled(path) + query, content=b"{}").status_code

        assert (status != 403) == ((method, path) in ROLES[role]), f"{method} {path}"
        assert status < 500


@pytest.mark.parametrize(
    "path",
    [
        "/v1/tokens/", "//v1/tokens", "/v1//tokens", "/v1/tokens;x", "/v1/Tokens", "/v1/tokens%00", "/V1/tokens",
        "/v1/health/../tokens", "/docs/..%2f..%2fapp.py", "/docs/../v1/tokens", "/%76%31/tokens",
    ],
)  # fmt: skip
def test_no_other_spelling_of_a_route_opens_it(anonymous, path):
    for method in ("GET", "POST", "HEAD", "OPTIONS", "PUT", "TRACE"):
        assert anonymous.request(method, path).status_code in (401, 404, 405), method


def test_a_name_that_was_rebound_to_this_machine_is_refused(calling, issue):
    answer = calling(issue("admin"), "http://evil.example:8787").get("/v1/endpoints")

    assert answer.status_code == 403
    assert "this machine only" in answer.json()["error"]


@pytest.mark.parametrize("host", ["127.0.0.1:8787", "localhost:8787", "[::1]:8787", "LOCALHOST"])
def test_every_name_of_this_machine_is_served(anonymous, host):
    assert anonymous.get("/v1/health", headers={"host": host}).status_code == 200


def test_tokens_of_another_project_see_nothing_of_this_one(anonymous, issue, platform):
    with platform.database.transaction() as tx:
        access.create_project(tx, "other", actor="test", now=NOW)
    mine, theirs = issue("admin", "ann"), issue("admin", "bob", project="other")

    listed = anonymous.get("/v1/tokens", headers=theirs).json()["tokens"]
    ours = anonymous.get("/v1/tokens", headers=mine).json()["tokens"]
    answer = anonymous.delete(f"/v1/tokens/{ours[0]['id']}", headers=theirs)

    assert [token["name"] for token in listed] == ["bob"]
    assert answer.status_code == 404


def test_a_token_is_shown_once_and_works_until_it_is_revoked(api):
    made = api.post("/v1/tokens", json={"name": "laptop", "role": "admin"}).json()
    headers = {"authorization": f"Bearer {made['secret']}"}

    assert api.get("/v1/tokens", headers=headers).status_code == 200
    assert made["secret"] not in api.get("/v1/tokens").text
    assert api.delete(f"/v1/tokens/{made['id']}").status_code == 200
    assert api.get("/v1/tokens", headers=headers).status_code == 401


def test_answers_tell_browsers_to_be_careful(anonymous):
    answer = anonymous.get("/v1/health")

    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
