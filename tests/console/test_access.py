"""Who may look, and from where: sessions, one-time links, tokens, hosts, origins."""

import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipway import access, console
from shipway.console import guard, session

URL = "http://127.0.0.1:8787"


@pytest.mark.parametrize("path", ["/", "/endpoints/churn", "/ledger", "/models/churn/1/card.html", "/alerts"])
def test_stranger_is_led_to_the_door_and_back_to_where_they_were_going(stranger, path):
    answer = stranger.get(path)

    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/login")
    assert answer.headers["location"] == "/login" or "next=%2F" in answer.headers["location"]


def test_stranger_may_not_act(stranger, story):
    answer = stranger.post(f"/rollouts/{story}/rollback", headers={"origin": URL})

    assert answer.status_code == 401


def test_valid_token_opens_a_session_that_scripts_cannot_read(stranger, token):
    answer = stranger.post("/login", {"token": token, "next": "/models"}, headers={"origin": URL})

    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert token not in cookie
    assert "0;url=/models" in answer.text
    assert stranger.get("/").status_code == 200


@pytest.mark.parametrize("secret", ["", "sw_wrong", "sw_" + "0" * 60, "\udcff", "x" * 5000])
def test_wrong_token_opens_nothing(stranger, secret):
    answer = stranger.post("/login", {"token": secret.encode("utf-8", "replace").decode()}, headers={"origin": URL})

    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers


def test_token_of_another_role_may_not_see_the_console(stranger, platform):
    with platform.database.transaction() as tx:
        caller = access.issue(tx, project="default", name="app", role="predict", now=1.0, actor="test")

    answer = stranger.post("/login", {"token": caller}, headers={"origin": URL})

    assert answer.status_code == 403
    assert "needs the role admin" in answer.text


def test_revoking_a_token_ends_its_sessions_at_once(stranger, platform, token):
    stranger.post("/login", {"token": token}, headers={"origin": URL})
    with platform.database.transaction() as tx:
        access.revoke(tx, "default", access.tokens(tx, "default")[0].id, now=2.0, actor="test")

    assert stranger.get("/").status_code == 303


@pytest.mark.parametrize(
    "path", ["//evil.example", "/\\evil.example", "https://evil.example", "javascript:alert(1)", "/login"]
)
def test_door_never_leads_to_another_site(stranger, token, path):
    answer = stranger.post("/login", {"token": token, "next": path}, headers={"origin": URL})

    assert 'url=/"' in answer.text


def test_one_time_link_opens_one_session_and_no_second(stranger, platform):
    link = console.login_link(platform, URL, platform.clock())

    first, second = stranger.get(link.removeprefix(URL)), stranger.get(link.removeprefix(URL))

    assert (first.status_code, second.status_code) == (200, 403)
    assert "set-cookie" in first.headers


def test_one_time_link_of_yesterday_opens_nothing(stranger, platform):
    link = console.login_link(platform, URL, platform.clock() - session.LINK_S - 1)

    assert stranger.get(link.removeprefix(URL)).status_code == 403


def test_signing_out_ends_the_session_of_this_browser(stranger, token):
    stranger.post("/login", {"token": token}, headers={"origin": URL})

    stranger.post("/logout", headers={"origin": URL})

    assert stranger.get("/").status_code == 303


def test_key_is_readable_by_its_owner_alone_and_stays_the_same(tmp_path):
    first = session.key(tmp_path)

    assert session.key(tmp_path) == first
    assert len(first) == 32
    assert stat.S_IMODE((tmp_path / "console.key").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["console.key"]


@given(st.text(max_size=200), st.integers(0, 400))
def test_no_altered_cookie_is_a_session(junk, at):
    secret = b"k" * 32
    sealed = session.seal(secret, session.Session("mia", "default", 1e12))
    at = min(at, len(sealed) - 1)
    altered = sealed[:at] + ("A" if sealed[at] != "A" else "B") + sealed[at + 1 :]

    assert session.unseal(secret, sealed, 0.0) is not None
    assert session.unseal(b"j" * 32, sealed, 0.0) is None
    assert session.unseal(secret, junk, 0.0) is None
    opened = session.unseal(secret, altered, 0.0)
    # The last letter of base64 has spare bits; altering those alone changes nothing that is signed.
    assert opened is None or (opened.name == "mia" and at in (sealed.index(".") - 1, len(sealed) - 1))


def test_session_ends_by_itself():
    sealed = session.seal(b"k", session.Session("mia", "default", 100.0))

    assert session.unseal(b"k", sealed, 99.0) is not None
    assert session.unseal(b"k", sealed, 100.0) is None


def test_link_code_is_no_session_and_session_is_no_link_code(tmp_path):
    secret = b"k" * 32
    code, cookie = session.make_code(secret, 0.0), session.seal(secret, session.Session("mia", "default", 1e12))

    assert session.unseal(secret, code, 1.0) is None
    assert session.redeem(secret, tmp_path, cookie, 1.0) is None


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8787", "127.0.0.1.evil.example", "127.0.0.1@evil.example", "", "localhost.evil"],
)
def test_name_that_was_pointed_at_this_machine_is_refused(reader, host):
    answer = reader.get("/", headers={"host": host})

    assert answer.status_code == 403


@pytest.mark.parametrize("host", ["localhost:8787", "127.0.0.1:9999", "[::1]:8787", "LOCALHOST"])
def test_loopback_names_are_ours(host):
    assert guard.is_ours(host, frozenset())


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9999"},
        {"origin": "https://127.0.0.1:8787"},
        {"origin": "", "referer": "http://evil.example/http://127.0.0.1:8787"},
        {"origin": ""},
    ],
)
def test_order_from_another_site_is_refused_even_with_the_cookie(reader, story, headers):
    answer = reader.post(f"/rollouts/{story}/rollback", headers=headers)

    assert answer.status_code == 403
    assert "did not come from a page of this console" in answer.text


def test_every_answer_says_what_a_page_may_do(reader, stranger):
    for answer in (reader.get("/"), stranger.get("/login"), reader.get("/endpoints/nope"), stranger.get("/")):
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'")
        assert "unsafe" not in policy
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["cache-control"] == "no-store"


def test_form_beyond_its_size_is_refused(reader):
    answer = reader.post("/login", {"token": "x" * 70_000})

    assert answer.status_code == 422


def test_static_folder_gives_its_own_files_and_no_other(stranger):
    assert stranger.get("/static/shipway.css").headers["content-type"].startswith("text/css")
    for name in ("../web.py", "..%2fweb.py", "%2e%2e/web.py", "nothing.css"):
        assert stranger.get(f"/static/{name}").status_code in (303, 404)
