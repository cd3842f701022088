"""The files pages need besides themselves: one stylesheet, one script, one picture. All our own."""

import hashlib
from pathlib import Path

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

FOLDER = Path(__file__).parent / "static"
TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
FILES = {path.name: path.read_bytes() for path in sorted(FOLDER.iterdir()) if path.suffix in TYPES}
VERSION = hashlib.sha256(b"".join(FILES.values())).hexdigest()[:12]
"""Part of each address, so that a browser may keep a file for ever and still gets the next one."""


def serve(request: Request) -> Response:
    """Answer with one of the files; there is no way to name another."""
    name = request.path_params["file"]
    if name not in FILES:
        return PlainTextResponse("no such file", status_code=404)
    headers = {"x-content-type-options": "nosniff", "cross-origin-resource-policy": "same-origin"}
    fresh = request.url.query == VERSION
    headers["cache-control"] = "public, max-age=31536000, immutable" if fresh else "no-cache"
    return Response(FILES[name], media_type=TYPES[Path(name).suffix], headers=headers)
