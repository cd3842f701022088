"""The application: routes, errors and the checks that every request passes."""

import errno
import logging
from http import HTTPStatus
from importlib import metadata
from typing import Any, cast

import msgspec
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shipway.api import docs, endpoints, evidence, models, rollouts, servers, signals, tokens
from shipway.api.call import Platform, answer
from shipway.errors import Broken, Rejected, ShipwayError, Unavailable

OPEN = frozenset({"/v1/health", "/openapi.json", "/docs", "/docs/{asset}"})
"""Routes that need no token: they tell nothing about an installation but its release and its ports."""

ROUTERS = (
    servers.router,
    models.router,
    endpoints.router,
    rollouts.router,
    signals.router,
    evidence.router,
    tokens.router,
    docs.router,
)
"""Every route there is, room by room."""

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
)

log = logging.getLogger("shipway.api")


def create_app(platform: Platform) -> FastAPI:
    """Make the application of one platform. It opens nothing and starts nothing."""
    app = FastAPI(
        title="Shipway",
        version=metadata.version("shipway"),
        description="Takes a trained model to production and keeps it honest.",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=_operation,
    )
    app.state.platform = platform
    for router in ROUTERS:
        app.include_router(router)
    app.add_exception_handler(ShipwayError, _failed)
    app.add_exception_handler(RequestValidationError, _unfitting)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _crashed)
    app.add_middleware(_Guard, platform=platform)
    app.openapi = lambda: _described(app)  # type: ignore[method-assign]  # the way FastAPI documents
    return app


def _operation(route: APIRoute) -> str:
    return route.name


def _error(status: int, sentence: str, fix: str, kind: str) -> Response:
    response = answer({"error": sentence, "fix": fix, "kind": kind}, status)
    if status == HTTPStatus.UNAUTHORIZED:
        response.headers["www-authenticate"] = "Bearer"
    return response


async def _failed(_request: Request, exc: Exception) -> Response:
    failure = cast("ShipwayError", exc)
    known = next(kind for kind in type(failure).__mro__ if kind.__module__ == "shipway.errors")
    return _error(failure.status, str(failure), failure.fix, known.__name__)


async def _unfitting(_request: Request, exc: Exception) -> Response:
    found = cast("RequestValidationError", exc).errors()
    said = "; ".join(f"{'.'.join(str(part) for part in one['loc'][1:])}: {one['msg']}" for one in found[:5])
    return _error(422, f"the request does not fit: {said}", "see /docs for what this route takes", "Rejected")


async def _http(request: Request, exc: Exception) -> Response:
    status = cast("HTTPException", exc).status_code
    if status == HTTPStatus.NOT_FOUND:
        return _error(404, "there is no such route", "see /docs for the routes there are", "Missing")
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        return _error(
            405, f"this route does not take {request.method}", "see /docs for the methods it takes", "Rejected"
        )
    return _error(status, HTTPStatus(status).phrase.lower(), "see /docs", "Broken" if status >= 500 else "Rejected")


async def _crashed(_request: Request, exc: Exception) -> Response:
    if isinstance(exc, OSError) and exc.errno == errno.ENOSPC:
        return _error(
            503,
            "the disk is full; nothing was written",
            "free space, then send the request again",
            Unavailable.__name__,
        )
    if isinstance(exc, OverflowError):
        return _error(
            422, "a number in the request is too large to be kept", "send numbers below 2**63", Rejected.__name__
        )
    log.error("a request failed", exc_info=exc)
    return _error(
        500, f"the control plane failed: {type(exc).__name__}", "see its log, then report it", Broken.__name__
    )


class _Guard:
    """Refuses hosts that a rebound name would send, and adds the headers that keep browsers careful."""

    def __init__(self, app: ASGIApp, platform: Platform) -> None:
        self.app = app
        self.platform = platform

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def careful(message: Message) -> None:
            if message["type"] == "http.response.start":
                present = {name.lower() for name, _ in message["headers"]}
                message["headers"] = [*message["headers"], *(pair for pair in _HEADERS if pair[0] not in present)]
            await send(message)

        if self.platform.settings.control_host in _LOOPBACK and _host(scope) not in _LOOPBACK:
            refusal = _error(
                403,
                "this address is served to this machine only",
                "use http://127.0.0.1 or http://localhost",
                "Forbidden",
            )
            await refusal(scope, receive, careful)
            return
        await self.app(scope, receive, careful)


def _host(scope: Scope) -> str:
    named = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"host"), "")
    if named.startswith("["):
        return named[1:].partition("]")[0]
    return named.partition(":")[0].lower()


def _described(app: FastAPI) -> dict[str, Any]:
    """Describe every route, with the bodies that msgspec decodes and the roles that may call it."""
    if app.openapi_schema:
        return app.openapi_schema
    schema = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    components = schema.setdefault("components", {})
    components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    parts = schema["components"].setdefault("schemas", {})
    for route in (route for router in ROUTERS for route in router.routes):
        if not isinstance(route, APIRoute) or route.path not in schema["paths"]:
            continue
        for method in route.methods or ():
            operation = schema["paths"][route.path].get(method.lower())
            if operation is not None:
                _describe(operation, route, parts)
    app.openapi_schema = schema
    return schema


def _describe(operation: dict[str, Any], route: APIRoute, parts: dict[str, Any]) -> None:
    for dependency in route.dependant.dependencies:
        roles = getattr(dependency.call, "roles", None)
        kind = getattr(dependency.call, "kind", None)
        if roles:
            operation["security"] = [{"token": []}]
            operation["x-roles"] = list(roles)
        if kind is not None:
            (shape,), found = msgspec.json.schema_components([kind], ref_template="#/components/schemas/{name}")
            parts.update(found)
            operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": shape}}}
