"""The page at `/docs`: draws `/openapi.json` with a script and a style of our own, nothing from elsewhere."""

from importlib.resources import files

from fastapi import APIRouter, Request, Response

from shipway.api.call import answer
from shipway.errors import Missing

router = APIRouter(include_in_schema=False)

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_TYPES = {
    "docs.js": "text/javascript; charset=utf-8",
    "docs.css": "text/css; charset=utf-8",
    "docs.svg": "image/svg+xml",
}


def _static(file: str, media_type: str) -> Response:
    body = files("shipway.api").joinpath("static", file).read_bytes()
    return Response(body, media_type=media_type, headers={"content-security-policy": _POLICY})


@router.get("/docs")
def docs_page() -> Response:
    """Show every route with its parameters, body and roles."""
    return _static("docs.html", "text/html; charset=utf-8")


@router.get("/docs/{asset}")
def docs_asset(asset: str) -> Response:
    """Serve the script and the style of the page."""
    if asset not in _TYPES:
        raise Missing("there is no such file", fix="see /docs")
    return _static(asset, _TYPES[asset])


@router.get("/openapi.json")
def openapi(request: Request) -> Response:
    """Describe the API in OpenAPI 3.1."""
    return answer(request.app.openapi())
