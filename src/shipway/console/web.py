"""Put the pages on the control plane's application: guard, session, page, error, in this order.

Every route here is a plain Starlette route, so that the API's description of itself does not list pages.
A page is a function from `Visit` to a response; it runs in a thread, because it reads the database. A
`ShipwayError` becomes a page with its sentence and its fix, never a stack trace.
"""

from collections.abc import Callable
from functools import partial
from urllib.parse import parse_qsl, quote

from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from shipway.console import actions, assets, guard, pages, session, signing, trying
from shipway.console.visit import Platform, Visit
from shipway.errors import Forbidden, Rejected, ShipwayError
from shipway.terms import Principal

Page = Callable[[Visit], Response]
BODY_LIMIT = 64 * 1024

NOBODY = Principal("nobody", "default", "predict")


def login_link(platform: Platform, base_url: str, now: float) -> str:
    """Make a link that signs the owner of this installation in, once, within 15 minutes.

    Args:
        platform: whose console it opens.
        base_url: where the control plane answers, e.g. `http://127.0.0.1:8787`.
        now: Unix seconds.
    """
    code = session.make_code(session.key(platform.settings.home), now)
    return f"{base_url.rstrip('/')}/login?code={code}"


def mount(app: FastAPI, platform: Platform) -> None:
    """Add the console's pages to `app`; call it after the API's own routes are there."""
    secret = session.key(platform.settings.home)

    def add(path: str, page: Page, methods: tuple[str, ...] = ("GET",), *, door: bool = False) -> None:
        answer = partial(_answer, platform=platform, secret=secret, page=page, door=door)

        async def endpoint(request: Request) -> Response:
            return await answer(request)

        app.router.routes.append(Route(path, endpoint, methods=list(methods), include_in_schema=False))

    both = ("GET", "POST")
    add("/login", signing.login, both, door=True)
    add("/logout", signing.logout, both)
    add("/", pages.home)
    add("/endpoints/{name}", pages.endpoint)
    add("/endpoints/{name}/try", trying.page, both)
    add("/endpoints/{name}/label", trying.label, both)
    add("/endpoints/{name}/rollback", actions.roll_back_endpoint, both)
    add("/endpoints/{name}/retrain", actions.retrain, both)
    add("/jobs/{id}/approve", actions.approve_training, both)
    add("/rollouts/{id}", pages.rollout)
    add("/rollouts/{id}/{action:str}", actions.on_rollout, both)
    add("/models", pages.models)
    add("/models/{model}/{version:int}", pages.version)
    add("/models/{model}/{version:int}/card.html", pages.card)
    add("/drift/{endpoint}", pages.drift)
    add("/alerts", pages.alerts)
    add("/alerts/{id}/acknowledge", actions.acknowledge, both)
    add("/ledger", pages.ledger)
    app.router.routes.append(Route("/static/{file}", assets.serve, methods=["GET"], include_in_schema=False))


async def _answer(request: Request, *, platform: Platform, secret: bytes, page: Page, door: bool) -> Response:
    """Answer one request: is it ours, whose is it, what does the page say."""
    visit = Visit(platform=platform, secret=secret, principal=NOBODY, request=request, now=platform.clock(), form={})
    try:
        _guard(request, platform)
        if request.method == "POST":
            visit = visit.with_form(await _form(request))
        response = await run_in_threadpool(_open, visit, page, door)
    except ShipwayError as error:
        response = await run_in_threadpool(visit.error, error)
    for name, value in guard.HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers.setdefault("cache-control", "no-store")
    return response


def _open(visit: Visit, page: Page, door: bool) -> Response:  # noqa: FBT001 - private, named at the call
    if not door:
        principal = visit.signed_in()
        if principal is None:
            return _to_login(visit.request)
        visit = visit.as_principal(principal)
    try:
        return page(visit)
    except ShipwayError as error:
        return visit.error(error)


def _to_login(request: Request) -> Response:
    if request.method != "GET" or request.headers.get("shipway-fragment"):
        return HTMLResponse("<p>Your session has ended. <a href='/login'>Sign in again</a></p>", status_code=401)
    path = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return RedirectResponse("/login" if path == "/" else f"/login?next={quote(path, safe='')}", status_code=303)


def _guard(request: Request, platform: Platform) -> None:
    settings = platform.settings
    configured = frozenset({settings.control_host.lower()} - {"0.0.0.0", "::"})  # noqa: S104 - compared, not bound
    host = request.headers.get("host", "")
    if not guard.is_ours(host, configured):
        raise Forbidden(
            f"this console does not answer to the name {guard.host_name(host)[:60]!r}",
            fix=f"open it on port {settings.control_port} of localhost, or set SHIPWAY_CONTROL_HOST to that name",
        )
    if request.method == "POST" and not guard.comes_from_here(request.headers, request.url.scheme):
        raise Forbidden(
            "this order did not come from a page of this console", fix="open the page here and press its button again"
        )


async def _form(request: Request) -> dict[str, str]:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_LIMIT:
            raise Rejected(f"the form holds more than {BODY_LIMIT // 1024} kB", fix="send less text")
    try:
        return dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=200))
    except ValueError as exc:
        raise Rejected("the form cannot be read", fix="send it as the page's own button does") from exc
