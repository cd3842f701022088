"""What a worker answers over HTTP: predictions, metadata, health. Who may ask is checked here.

Routes are the Open Inference Protocol's: `/v2`, `/v2/health/live`, `/v2/health/ready`,
`/v2/models/{endpoint}`, `/v2/models/{endpoint}/ready` and `POST /v2/models/{endpoint}/infer`. The
model name in a URL is an endpoint. Health needs no token; everything else does where the route
table has tokens.
"""

import hashlib
from collections.abc import Callable

import orjson

from shipway.serve.dialect import v2
from shipway.serve.route.answer import Answering
from shipway.serve.route.table import Served, Table
from shipway.serve.transport.exchange import Exchange
from shipway.terms import PredictToken

MODELS = b"/v2/models/"
BEARER = b"bearer "
ANONYMOUS = hashlib.sha256(b"").hexdigest()
NEEDS_TOKEN = b'www-authenticate: Bearer realm="shipway"\r\n'


class Application:
    """The function of one exchange that an `HttpServer` calls."""

    def __init__(self, answering: Answering, clock: Callable[[], float], version: str) -> None:
        self._answering = answering
        self._clock = clock
        self._about = orjson.dumps({"name": "shipway", "version": version, "extensions": []})

    def __call__(self, exchange: Exchange) -> None:
        """Answer one request, now or soon."""
        path = exchange.path.partition(b"?")[0]
        if not path.startswith(MODELS):
            self._about_server(exchange, path)
            return
        name, _, verb = path[len(MODELS) :].partition(b"/")
        if verb == b"ready":
            self._ready(exchange, name)
            return
        table = self._answering.table
        served = table.endpoints.get(_text(name))
        if table.tokens and not self._permit(exchange, table, served):
            return
        if served is None:
            exchange.refuse(404, f"no endpoint is called {_text(name)[:80]!r} here", "deploy a version to it first")
        elif verb == b"infer":
            if _method(exchange, b"POST"):
                self._answering.infer(exchange, served)
        elif verb == b"":
            if _method(exchange, b"GET"):
                self._metadata(exchange, served)
        else:
            _unknown(exchange, path)

    def _about_server(self, exchange: Exchange, path: bytes) -> None:
        table = self._answering.table
        if path in (b"/v2", b"/v2/"):
            if _method(exchange, b"GET"):
                exchange.answer(200, self._about)
        elif path == b"/v2/health/live":
            exchange.answer(200, b'{"live":true}')
        elif path == b"/v2/health/ready":
            ready = all(served.champion for served in table.endpoints.values())
            exchange.answer(200 if ready else 503, orjson.dumps({"ready": ready, "epoch": table.epoch}))
        else:
            _unknown(exchange, path)

    def _ready(self, exchange: Exchange, name: bytes) -> None:
        served = self._answering.table.endpoints.get(_text(name))
        ready = served is not None and served.champion is not None
        exchange.answer(200 if ready else 503, orjson.dumps({"name": _text(name)[:80], "ready": ready}))

    def _metadata(self, exchange: Exchange, served: Served) -> None:
        if served.champion is None:
            exchange.refuse(503, f"{served.route.name} cannot answer: {served.problem}", "look at the server's log")
            return
        versions = [str(v.version) for v in served.route.variants]
        exchange.answer(200, v2.metadata(served.route.name, served.champion.engine.manifest, versions))

    def _permit(self, exchange: Exchange, table: Table, served: Served | None) -> bool:
        """Return whether the caller's token allows this; if not, it has been answered.

        The hash of the empty secret stands for callers without a token, and names the endpoints open to all.
        """
        anybody = table.tokens.get(ANONYMOUS)
        if anybody is not None and served is not None and _allows(anybody, served):
            return True
        sent = exchange.headers.get(b"authorization", b"")
        if sent[: len(BEARER)].lower() != BEARER:
            fix = "send 'authorization: Bearer <token>'; 'shipway token create NAME --role predict' makes one"
            exchange.refuse(401, "this server wants a token", fix, NEEDS_TOKEN)
            return False
        # Tokens are found by the hash of the secret, so the time of a look-up says nothing about a secret.
        token = table.tokens.get(hashlib.sha256(sent[len(BEARER) :].strip()).hexdigest())
        if token is None:
            exchange.refuse(
                401, "this token is not known here", "ask for a new one; it may have been revoked", NEEDS_TOKEN
            )
            return False
        if token.expires_at is not None and token.expires_at <= self._clock():
            exchange.refuse(401, "this token has expired", "ask for a new one", NEEDS_TOKEN)
            return False
        if not _allows(token, served):
            exchange.refuse(403, "this token may not call that endpoint", "ask for a token that names the endpoint")
            return False
        return True


def _allows(token: PredictToken, served: Served | None) -> bool:
    if served is None:
        return True  # it may know that nothing is there
    return served.scope in token.endpoints or f"{served.route.project}/*" in token.endpoints


def _text(name: bytes) -> str:
    return name.decode("utf-8", "replace")


def _method(exchange: Exchange, wanted: bytes) -> bool:
    if exchange.method == wanted or (exchange.method == b"HEAD" and wanted == b"GET"):
        return True
    what = wanted.decode()
    exchange.refuse(405, f"this path answers {what}", f"use {what}", b"allow: " + wanted + b"\r\n")
    return False


def _unknown(exchange: Exchange, path: bytes) -> None:
    fix = "predictions are asked with POST /v2/models/{endpoint}/infer"
    exchange.refuse(404, f"nothing is at {_text(path)[:80]!r}", fix)
