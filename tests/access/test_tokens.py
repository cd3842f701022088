"""A secret opens what its token says, until it ends, and nothing else does."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from shipway import access, ledger
from shipway.database import schema
from shipway.errors import Forbidden, Missing, Rejected
from shipway.terms import Principal

NOW = 1000.0


@pytest.fixture
def tx(database):
    with database.transaction() as opened:
        yield opened


def issue(tx, **changed):
    return access.issue(
        tx, **({"project": "default", "name": "laptop", "role": "admin", "now": NOW, "actor": "ann"} | changed)
    )


def test_a_secret_is_who_it_was_issued_to(tx):
    secret = issue(tx, role="predict", project="eu", name="till 7")

    assert access.authenticate(tx, secret, NOW) == Principal("till 7", "eu", "predict")


def test_a_secret_is_kept_nowhere(tx):
    secret = issue(tx)

    kept = [str(row) for t in (schema.token, schema.ledger) for row in tx.execute(select(t))]
    assert len(kept) == 2
    assert not any(secret in row or secret[3:] in row for row in kept)
    assert secret.startswith("sw_")
    assert len(secret) >= 43


def test_no_two_secrets_are_the_same(tx):
    assert len({issue(tx) for _ in range(50)}) == 50


@pytest.mark.parametrize(
    "wrong", ["", "sw_", "x", "sw_" + "A" * 43, "\ud800", "é" * 100, "x" * 1_000_000, "' or 1=1 --"]
)
def test_what_is_no_secret_is_refused(tx, wrong):
    issue(tx)

    with pytest.raises(Forbidden, match="this token opens nothing here"):
        access.authenticate(tx, wrong, NOW)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, 45), to=st.characters(codec="ascii"))
def test_one_other_character_is_refused(tx, place, to):
    secret = issue(tx)
    wrong = secret[:place] + to + secret[place + 1 :]

    if wrong != secret:
        with pytest.raises(Forbidden):
            access.authenticate(tx, wrong, NOW)


def test_refusals_do_not_say_whether_a_secret_ever_existed(tx):
    expired, revoked = issue(tx, expires_at=NOW + 10), issue(tx, name="old")
    access.revoke(tx, "default", "old", now=NOW, actor="ann")

    refused = []
    for secret in (expired, revoked, "sw_never"):
        with pytest.raises(Forbidden) as caught:
            access.authenticate(tx, secret, NOW + 10)
        refused.append((str(caught.value), caught.value.fix))

    assert len(set(refused)) == 1


def test_a_token_opens_until_the_second_it_expires(tx):
    secret = issue(tx, expires_at=NOW + 10)

    assert access.authenticate(tx, secret, NOW + 9.9).name == "laptop"
    with pytest.raises(Forbidden):
        access.authenticate(tx, secret, NOW + 10)


def test_an_end_at_the_beginning_of_time_is_an_end(tx):
    secret = issue(tx, now=-5.0, expires_at=0.0)

    with pytest.raises(Forbidden):
        access.authenticate(tx, secret, 1.0)


@pytest.mark.parametrize(
    ("role", "needed", "passes"),
    [
        ("admin", "admin", True), ("admin", "predict", True), ("admin", "server", True), ("system", "admin", True),
        ("predict", "predict", True), ("predict", "admin", False), ("predict", "server", False),
        ("server", "server", True), ("server", "admin", False), ("server", "predict", False),
    ],
)  # fmt: skip
def test_a_role_opens_its_own_doors_and_admin_opens_all(role, needed, passes):
    principal = Principal("laptop", "default", role)

    if passes:
        access.require(principal, needed)
    else:
        with pytest.raises(Forbidden, match=f"laptop has the role {role}, and this needs {needed}"):
            access.require(principal, needed)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"role": "root"}, "'root' is not a role"),
        ({"name": ""}, "cannot name a token"),
        ({"name": "  "}, "cannot name a token"),
        ({"name": "a\x1b[31m"}, "cannot name a token"),
        ({"name": "x" * 65}, "cannot name a token"),
        ({"project": "../x"}, "cannot name a project"),
        ({"endpoints": ["churn"]}, "cannot be limited to endpoints"),
        ({"role": "predict", "endpoints": ["../x"]}, "cannot name"),
        ({"expires_at": NOW}, "would have expired"),
    ],
)
def test_a_token_that_cannot_be_is_rejected_and_not_made(tx, changed, says):
    with pytest.raises(Rejected, match=says):
        issue(tx, **changed)

    assert access.tokens(tx, "default") == []


def test_tokens_are_listed_without_their_secrets(tx):
    issue(tx, name="a")
    issue(tx, name="b", role="predict", endpoints=["churn"], now=NOW + 1, expires_at=NOW + 99)
    issue(tx, name="c", project="other")

    listed = access.tokens(tx, "default")

    assert [(t.name, t.role, t.endpoints, t.expires_at) for t in listed] == [
        ("a", "admin", (), None),
        ("b", "predict", ("churn",), NOW + 99),
    ]
    assert not hasattr(listed[0], "sha256")


def test_a_token_is_revoked_by_id_or_name_once(tx):
    issue(tx, name="a")
    issue(tx, name="b")
    by_id = next(t.id for t in access.tokens(tx, "default") if t.name == "a")

    assert access.revoke(tx, "default", by_id, now=NOW, actor="ann").revoked_at == NOW
    access.revoke(tx, "default", "b", now=NOW, actor="ann")

    with pytest.raises(Missing, match="has no live token 'b'"):
        access.revoke(tx, "default", "b", now=NOW, actor="ann")


def test_a_name_that_two_tokens_share_does_not_say_which_to_revoke(tx):
    issue(tx), issue(tx)

    with pytest.raises(Rejected, match="2 live tokens are called 'laptop'") as caught:
        access.revoke(tx, "default", "laptop", now=NOW, actor="ann")

    assert all(t.id in caught.value.fix for t in access.tokens(tx, "default"))


def test_a_token_of_another_project_cannot_be_revoked(tx):
    issue(tx, project="other")

    with pytest.raises(Missing):
        access.revoke(tx, "default", "laptop", now=NOW, actor="ann")


def test_issuing_and_revoking_are_in_the_ledger(tx):
    issue(tx)
    access.revoke(tx, "default", "laptop", now=NOW, actor="bob")

    assert [(e.kind, e.actor, e.payload["role"]) for e in ledger.entries(tx)] == [
        ("token.issued", "ann", "admin"),
        ("token.revoked", "bob", "admin"),
    ]
