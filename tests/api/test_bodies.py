"""Bodies that a parser could trip over: each is answered with a sentence, none with a 500."""

import pytest

from shipway.api import call

BODIES = {
    "empty list": b"[]",
    "not json": b"{",
    "nan": b'{"version": NaN}',
    "infinity": b'{"version": Infinity}',
    "an integer too large to keep": b'{"version": 18446744073709551615}',
    "too large a number": b'{"version": 1e400}',
    "a number of 5000 digits": b'{"version": ' + b"9" * 5000 + b"}",
    "nested 100,000 deep": b'{"version": ' + b"[" * 100_000,
    "nested and closed": b'{"x": ' + b"[" * 50_000 + b"]" * 50_000 + b"}",
    "a lone surrogate": b'{"why": "\\ud800", "version": 1}',
    "broken utf-8": b'{"why": "\xff", "version": 1}',
    "an unknown field": b'{"version": 1, "evil": 1}',
    "a text for a number": b'{"version": "1"}',
    "true for a number": b'{"version": true}',
    "null": b"null",
    "a nul": b'{"why": "\\u0000", "version": 99}',
}


TAKEN = [
    ("PUT", "/v1/models/churn/aliases/champion"),
    ("POST", "/v1/labels"),
    ("POST", "/v1/counts"),
    ("POST", "/v1/inbox"),
    ("PUT", "/v1/endpoints/churn"),
    ("POST", "/v1/tokens"),
]


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_a_body_that_does_not_fit_is_answered_with_a_sentence(api, body):
    for method, path in TAKEN:
        answer = api.request(method, path, content=body)

        assert answer.status_code in (404, 422), f"{method} {path}"
        assert answer.json()["error"]
        assert answer.json()["fix"]


def test_the_sentence_names_the_field_that_is_wrong(api):
    answer = api.put("/v1/models/churn/aliases/champion", json={"version": "three"})

    assert "$.version" in answer.json()["error"]


def test_a_body_above_the_limit_is_refused(api):
    async def sends():
        for _ in range(call.MAX_JSON // 2**20 + 1):
            yield b" " * 2**20

    answer = api.post("/v1/labels", content=sends())

    assert answer.status_code == 422
    assert "larger than" in answer.json()["error"]


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=-1", "limit=99999999999999999999", "limit=x", "after=-1", "limit=1e3"]
)
def test_a_query_that_does_not_fit_is_answered_in_our_form(api, query):
    answer = api.get(f"/v1/ledger?{query}")

    assert answer.status_code == 422
    assert set(answer.json()) == {"error", "fix", "kind"}
