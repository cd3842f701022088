"""Sign in with a token or a one-time link, and out again."""

from starlette.responses import Response

from shipway import access
from shipway.console import session
from shipway.console.visit import Visit
from shipway.errors import Forbidden


def login(visit: Visit) -> Response:
    """The door: a form for a token, and the place where one-time links arrive."""
    if visit.posted:
        return _with_token(visit)
    code = visit.query("code")
    if code:
        opened = session.redeem(visit.secret, visit.platform.settings.home, code, visit.now)
        if opened is not None:
            return _enter(visit, opened, "/")
        return _door(
            visit,
            "This link was used before or is older than 15 minutes.",
            "`shipway up` prints a new one; or paste a token below.",
            status=403,
        )
    if visit.signed_in() is not None:
        return visit.go(_inside(visit.query("next")))
    return _door(visit)


def logout(visit: Visit) -> Response:
    """Close the session of this browser."""
    if not visit.posted:
        return visit.render(
            "confirm.html",
            title="Sign out",
            sentence="Sign out of this browser?",
            lines=[],
            button="Sign out",
            back="/",
            stop=False,
            ask="",
        )
    response = visit.go("/login")
    response.delete_cookie(session.cookie_name(visit.secret), path="/", httponly=True, samesite="strict")
    return response


def _with_token(visit: Visit) -> Response:
    token = visit.form.get("token", "").strip()
    try:
        with visit.platform.database.read() as tx:
            principal = access.authenticate(tx, token, visit.now)
        opened = session.opened_by(principal, token, visit.now)
    except Forbidden as refused:
        return _door(visit, str(refused), refused.fix, status=403)
    return _enter(visit, opened, _inside(visit.form.get("next", "")))


def _enter(visit: Visit, opened: session.Session, target: str) -> Response:
    # Not a redirect: after a link from another site the browser would withhold the strict cookie from it.
    response = visit.bare("entered.html", target=target)
    response.set_cookie(
        session.cookie_name(visit.secret),
        session.seal(visit.secret, opened),
        max_age=session.SESSION_S,
        path="/",
        httponly=True,
        samesite="strict",
        secure=visit.request.url.scheme == "https",
    )
    return response


def _inside(path: str) -> str:
    """Give a path back if it leads to a page of ours, else home."""
    ours = path.startswith("/") and not path.startswith(("//", "/\\", "/login", "/logout")) and path.isprintable()
    return path if ours else "/"


def _door(visit: Visit, message: str = "", fix: str = "", *, status: int = 200) -> Response:
    return visit.bare(
        "login.html",
        status=status,
        message=message,
        fix=fix,
        next=visit.query("next") or visit.form.get("next", ""),
    )
