"""What every route shares: who calls, what came, what goes back.

`allow(role, ...)` is the dependency that turns a bearer token into a `Call`; a route without it is open,
and a test lists the routes that may be. Bodies are decoded by msgspec: strictly, with a limit on size,
and with the name of the field that is wrong.
"""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Protocol, TypeVar

import msgspec
import numpy as np
from fastapi import Depends, Request, Response

from shipway import access
from shipway.bundle import BundleStore
from shipway.database import Database
from shipway.errors import Forbidden, Rejected
from shipway.settings import Settings
from shipway.terms import Principal

MAX_JSON = 32 * 2**20
"""Largest JSON body, in bytes."""

T = TypeVar("T")


class Captures(Protocol):
    """What routes need of `lake.Lake`, whose libraries take a second to import."""

    def events(self, project: str, endpoint: str, *, since: float | None, limit: int | None) -> Any:  # noqa: ANN401 - a pyarrow table
        """Return captured rows of an endpoint, newest first."""
        ...

    def find(self, project: str, endpoint: str, event_id: str) -> Any:  # noqa: ANN401 - a pyarrow table
        """Return all rows of one event."""
        ...

    def unknown_labels(self, project: str, endpoint: str, *, older_than: float) -> Any:  # noqa: ANN401 - its own struct
        """Count labels whose event never arrived."""
        ...


class Platform(Protocol):
    """What routes need of `wiring.platform.Platform`."""

    @property
    def settings(self) -> Settings:
        """Where this installation lives."""
        ...

    @property
    def database(self) -> Database:
        """The metadata database, open."""
        ...

    @property
    def bundles(self) -> BundleStore:
        """The bundle folder."""
        ...

    @property
    def lake(self) -> Captures:
        """The lake, opened at first use."""
        ...

    @property
    def clock(self) -> Callable[[], float]:
        """Returns Unix seconds."""
        ...


class NoToken(Forbidden):
    """No valid token came with the request."""

    status = 401


@dataclass(frozen=True)
class Call:
    """One authenticated request."""

    platform: Platform
    principal: Principal
    now: float

    @property
    def project(self) -> str:
        """The project that the caller's token belongs to."""
        return self.principal.project

    @property
    def actor(self) -> str:
        """How the ledger names the caller."""
        return self.principal.name


def bearer(request: Request) -> str:
    """Return the secret of the authorization header, or ""."""
    scheme, _, secret = request.headers.get("authorization", "").partition(" ")
    return secret.strip() if scheme.lower() == "bearer" else ""


def allow(*roles: str) -> Callable[[Request], Call]:
    """Make the dependency that lets only these roles pass.

    Raises (when it runs):
        NoToken: no token, or one that is unknown, expired or revoked.
        Forbidden: a valid token of another role.
    """

    def authorised(request: Request) -> Call:
        platform: Platform = request.app.state.platform
        secret = bearer(request)
        if not secret:
            raise NoToken(
                "this route needs a token",
                fix="send the header `authorization: Bearer TOKEN`; `shipway up` writes one into the context file",
            )
        now = platform.clock()
        with platform.database.read() as tx:
            try:
                principal = access.authenticate(tx, secret, now)
            except Forbidden as exc:
                raise NoToken(str(exc), fix=exc.fix) from exc
        if principal.role not in roles:
            raise Forbidden(
                f"a token of role {principal.role} may not do this", fix=f"use a token of role {' or '.join(roles)}"
            )
        return Call(platform, principal, now)

    authorised.roles = roles  # type: ignore[attr-defined]  # the API page and the test of all routes read it
    return authorised


admin = allow("admin")
labeller = allow("admin", "predict")
server = allow("admin", "server")

Admin = Annotated[Call, Depends(admin)]
Labeller = Annotated[Call, Depends(labeller)]
Server = Annotated[Call, Depends(server)]


async def read_body(request: Request, limit: int = MAX_JSON) -> bytes:
    """Read a body that must not be larger than `limit` bytes.

    Raises:
        Rejected: it is larger.
    """
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > limit:
            raise Rejected(f"the body is larger than {limit} bytes", fix="send it in smaller pieces")
        parts.append(part)
    return b"".join(parts)


def body(kind: type[T]) -> Callable[[Request], Coroutine[Any, Any, T]]:
    """Make the dependency that decodes the body of a request as `kind`.

    Raises (when it runs):
        Rejected: it is not JSON, or does not fit; the sentence names the field.
    """

    async def decoded(request: Request) -> T:
        return decode(await read_body(request), kind)

    decoded.kind = kind  # type: ignore[attr-defined]  # the API page describes the body by it
    return decoded


def decode(raw: bytes, kind: type[T]) -> T:
    """Decode JSON into `kind`.

    Raises:
        Rejected: it is not JSON, or does not fit; the sentence names the field.
    """
    try:
        return msgspec.json.decode(raw or b"{}", type=kind)
    except msgspec.ValidationError as exc:
        raise Rejected(f"the body does not fit: {exc}", fix="see /docs for what this route takes") from exc
    except (msgspec.DecodeError, RecursionError, UnicodeError, ValueError) as exc:
        raise Rejected(f"the body is not JSON: {exc}", fix="send JSON; NaN and infinities are not part of it") from exc


def answer(value: object, status: int = 200) -> Response:
    """Render a value as JSON."""
    return Response(msgspec.json.encode(value, enc_hook=plain), status, media_type="application/json")


def plain(value: object) -> object:
    """Turn what msgspec does not know into what it does: numpy scalars and arrays, paths, sets, plain objects."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    raise NotImplementedError(f"{type(value).__name__} has no JSON form")
