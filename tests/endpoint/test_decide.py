"""A route table follows from its rows, and only sound splits are sent out."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from shipway.endpoint import EndpointRow, EndpointSettings, table
from shipway.endpoint.decide import ANONYMOUS, check_split, same_content
from shipway.errors import Rejected
from shipway.terms import PredictToken, Variant

NOW = 1000.0


def endpoint(name, *, public=True):
    champion = Variant("champion", "churn", 1, "sha256:1", weight=10_000)
    settings = EndpointSettings(public=public, sticky="header:customer", deadline_ms=500)
    return EndpointRow("default", name, "churn", 1, None, (champion,), "", 0, settings, {}, 1, NOW)


def make(rows, tokens=None, epoch=1):
    return table(rows, tokens or {}, epoch=epoch, ledger_head="sha256:0", now=NOW)


def test_a_route_carries_what_servers_need_of_its_endpoint():
    (route,) = make([endpoint("a")]).endpoints

    assert (route.project, route.name, route.sticky, route.deadline_ms) == ("default", "a", "header:customer", 500)
    assert route.variants == endpoint("a").variants


@given(st.permutations("abcd"))
def test_the_order_of_rows_does_not_show_in_the_table(names):
    assert make([endpoint(n) for n in names]) == make([endpoint(n) for n in "abcd"])


def test_callers_need_no_token_while_every_endpoint_is_public():
    assert make([endpoint("a")], {"f" * 64: PredictToken(("default/*",))}).tokens == {}


def test_one_endpoint_that_is_not_public_closes_itself_and_no_other():
    made = make([endpoint("a"), endpoint("b", public=False)], {"f" * 64: PredictToken(("default/b",))})

    assert made.tokens == {"f" * 64: PredictToken(("default/b",)), ANONYMOUS: PredictToken(("default/a",))}


def test_an_endpoint_that_is_not_public_stays_closed_when_there_are_no_tokens_at_all():
    assert make([endpoint("b", public=False)]).tokens == {ANONYMOUS: PredictToken(())}


def test_expired_tokens_are_left_out():
    tokens = {"e" * 64: PredictToken(("default/*",), NOW), "f" * 64: PredictToken(("default/*",), NOW + 1)}

    assert set(make([endpoint("b", public=False)], tokens).tokens) == {"f" * 64, ANONYMOUS}


def test_the_anonymous_token_is_the_hash_of_the_empty_secret():
    assert hashlib.sha256(b"").hexdigest() == ANONYMOUS


def test_number_and_time_are_not_content():
    one = make([endpoint("a")])

    assert same_content(one, structs.replace(one, epoch=9, issued_at=5.0, ledger_head="sha256:9"))
    assert not same_content(one, make([endpoint("b")]))


def variant(name="champion", **changed):
    return structs.replace(Variant(name, "churn", 1, "sha256:1", weight=10_000), **changed)


@pytest.mark.parametrize(
    ("variants", "rollout", "says"),
    [
        ([], "", "has the variants none"),
        ([variant("challenger")], "r", "has the variants challenger"),
        ([variant(), variant()], "r", "has the variants champion, champion"),
        ([variant(mode="shadow", weight=0)], "", "answer nobody"),
        ([variant(weight=9_999)], "", "add up to 9999 basis points"),
        ([variant(weight=9_000), variant("challenger", weight=2_000)], "r", "add up to 11000 basis points"),
        ([variant(weight=11_000), variant("challenger", weight=-1_000)], "r", "outside 0 to 10,000"),
        ([variant(), variant("challenger", weight=5, mode="shadow")], "r", "would answer 5 basis points"),
        ([variant(), variant("challenger", weight=0, shadow_share=20_000)], "r", "outside 0 to 10,000"),
        ([variant(), variant("challenger", weight=0)], "", "a challenger and no rollout"),
    ],
)
def test_a_split_that_servers_could_not_obey_is_rejected(variants, rollout, says):
    with pytest.raises(Rejected, match=says):
        check_split("churn", variants, rollout)


@given(st.integers(0, 10_000))
def test_any_share_between_champion_and_challenger_is_accepted(weight):
    split = [variant("challenger", weight=weight), variant(weight=10_000 - weight)]

    assert check_split("churn", split, "r").name == "champion"
