"""One reader looking at one page: who, where, when, and how to answer."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from shipway.bundle import BundleStore
from shipway.console import read, session, templates
from shipway.database import Database
from shipway.errors import ShipwayError
from shipway.settings import Settings
from shipway.terms import Principal

DONE = {
    "paused": "The rollout is paused. It can still be rolled back by the evidence.",
    "resumed": "The rollout goes on.",
    "approved": "Approved: it is the champion now.",
    "promoted": "Promoted: it is the champion now.",
    "rolled-back": "Rolled back: the champion answers everyone again.",
    "retraining": "Retraining is queued. Its result goes through gate and rollout as always.",
    "labelled": "Noted. The label reaches the figures within seconds.",
    "acknowledged": "The alarm is acknowledged. It stays listed until its cause is gone.",
}  # fmt: skip
"""What a page says after an action; addresses carry the key, never the text."""


class Platform(Protocol):
    """What pages need of `wiring.platform.Platform`."""

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
        """Where bundles are."""
        ...

    @property
    def clock(self) -> Callable[[], float]:
        """Returns Unix seconds."""
        ...


@dataclass(frozen=True)
class Visit:
    """A request with everything a page needs to answer it."""

    platform: Platform
    secret: bytes
    principal: Principal
    request: Request
    now: float
    form: dict[str, str]

    @property
    def project(self) -> str:
        """Project of whoever is signed in."""
        return self.principal.project

    @property
    def failures(self) -> dict[str, str]:
        """Steps of the control plane that fail now, each with its last error."""
        clockwork = getattr(self.request.app.state, "clockwork", None)
        return dict(clockwork.failures) if clockwork is not None else {}

    @property
    def posted(self) -> bool:
        """Whether the reader has pressed the button."""
        return self.request.method == "POST"

    def path(self, name: str) -> Any:  # noqa: ANN401 - Starlette converts path parameters
        """A part of the address."""
        return self.request.path_params[name]

    def query(self, name: str) -> str:
        """A value after the question mark, or ""."""
        return str(self.request.query_params.get(name, ""))

    def with_form(self, form: dict[str, str]) -> "Visit":
        """The same visit with the fields of its form."""
        return replace(self, form=form)

    def as_principal(self, principal: Principal) -> "Visit":
        """The same visit by someone who is signed in."""
        return replace(self, principal=principal)

    def signed_in(self) -> Principal | None:
        """Who the cookie says this is, if it is valid and its token still is."""
        cookie = self.request.cookies.get(session.cookie_name(self.secret), "")
        opened = session.unseal(self.secret, cookie, self.now) if cookie else None
        if opened is None:
            return None
        with self.platform.database.read() as tx:
            return session.principal(tx, opened, self.now)

    def render(self, template: str, *, status: int = 200, **values: Any) -> Response:  # noqa: ANN401 - a template takes anything
        """Answer with a page in its frame, or with its inner part where the page's script asks for it."""
        with self.platform.database.read() as tx:
            frame = read.frame(tx, self.project, self.principal.name, self.now)
        fragment = bool(self.request.headers.get("shipway-fragment"))
        toast = "" if fragment else DONE.get(self.query("done"), "")
        return self.bare(template, status=status, frame=frame, fragment=fragment, toast=toast, **values)

    def bare(self, template: str, *, status: int = 200, **values: Any) -> Response:  # noqa: ANN401 - a template takes anything
        """Answer with a page that needs no one to be signed in."""
        look = self.request.cookies.get("shipway-look", "auto")
        given = {"look": look if look in ("light", "dark") else "auto", "here": self.request.url.path, "now": self.now}
        return HTMLResponse(templates.page(template, **given, **values), status_code=status)

    def go(self, path: str, done: str = "") -> Response:
        """Answer by sending the reader to another page of ours."""
        return RedirectResponse(f"{path}?done={done}" if done else path, status_code=303)

    def error(self, error: ShipwayError) -> Response:
        """Answer with what went wrong and what to do next."""
        return self.bare("error.html", status=error.status, message=str(error), fix=error.fix)
