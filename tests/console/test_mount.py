"""The console beside the API in one application, on a real installation."""

import pytest

from shipway import access, console
from shipway.api import create_app
from shipway.settings import Settings
from shipway.wiring.platform import open_platform


@pytest.fixture
def installation(tmp_path):
    opened = open_platform(Settings(home=tmp_path))
    yield opened
    opened.close()


@pytest.fixture
def together(installation):
    made = create_app(installation)
    console.mount(made, installation)
    return made


def test_pages_and_api_answer_side_by_side(together, installation, browse):
    with installation.database.transaction() as tx:
        secret = access.issue(tx, project="default", name="mia", role="admin", now=1.0, actor="test")
    reader = browse(together)
    reader.post("/login", {"token": secret}, headers={"origin": "http://127.0.0.1:8787"})

    assert "Nothing is deployed yet" in reader.get("/").text
    assert reader.get("/v1/health").status_code == 200
    assert reader.get("/v1/models", headers={"authorization": f"Bearer {secret}"}).json() == {"models": []}


def test_session_of_the_console_opens_nothing_of_the_api(together, installation, browse):
    reader = browse(together)
    link = console.login_link(installation, "", installation.clock())

    assert reader.get(link).status_code == 200
    assert reader.get("/").status_code == 200
    assert reader.get("/v1/models").status_code == 401


def test_pages_keep_their_own_policy_and_referrer_where_the_api_has_others(together, browse):
    answer = browse(together).get("/login")

    assert answer.headers["referrer-policy"] == "same-origin"
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")


def test_pages_are_no_part_of_the_description_of_the_api(together, browse):
    assert all(
        path.startswith(("/v1", "/docs", "/openapi")) for path in browse(together).get("/openapi.json").json()["paths"]
    )
