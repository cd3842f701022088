"""Who looks at the pages: sessions in a signed cookie, and one-time links that open one.

The key stands in the home folder, readable by its owner alone; whoever can read it owns the installation
anyway. A session names the token it was opened with by the token's hash, and the token is looked up at
every request, so that revoking it ends its sessions at once. A session opened by a link belongs to the
owner of the home folder. Both end by themselves.
"""

import base64
import hashlib
import hmac
import os
import secrets
from contextlib import suppress
from pathlib import Path

import msgspec
from sqlalchemy import Connection, select

from shipway.database import schema
from shipway.errors import Forbidden
from shipway.terms import Principal

SESSION_S = 12 * 3600
"""Seconds after which one must sign in again."""
LINK_S = 15 * 60
"""Seconds for which a one-time link opens a session."""


class Session(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the cookie says, once its signature holds."""

    name: str
    project: str
    expires_at: float
    token: str = ""
    """sha256 (hex) of the token it was opened with, or "" for a one-time link."""


def key(home: Path) -> bytes:
    """Read the key that signs cookies and links, making it at the first call."""
    path = home / "console.key"
    if not path.exists():
        fresh = home / f".console.key.{secrets.token_hex(8)}"
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(32))
        with suppress(FileExistsError):  # another process was first: its key holds
            os.link(fresh, path)
        fresh.unlink()
    return path.read_bytes()


def cookie_name(secret: bytes) -> str:
    """Name the cookie after the installation: cookies are shared by all ports of a machine."""
    return f"shipway-{hashlib.sha256(secret).hexdigest()[:8]}"


def _sign(secret: bytes, purpose: str, body: bytes) -> str:
    mac = hmac.new(secret, purpose.encode() + b"\0" + body, hashlib.sha256).digest()
    return f"{_text(body)}.{_text(mac)}"


def _text(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def _open(secret: bytes, purpose: str, signed: str) -> bytes | None:
    """Give the body back if we signed it for this purpose."""
    body_text, dot, mac_text = signed.partition(".")
    if not dot or len(signed) > 2000:
        return None
    try:
        body = base64.urlsafe_b64decode(body_text + "=" * (-len(body_text) % 4))
        mac = base64.urlsafe_b64decode(mac_text + "=" * (-len(mac_text) % 4))
    except ValueError:
        return None
    wanted = hmac.new(secret, purpose.encode() + b"\0" + body, hashlib.sha256).digest()
    return body if hmac.compare_digest(mac, wanted) else None


def seal(secret: bytes, session: Session) -> str:
    """Write a session as the value of a cookie."""
    return _sign(secret, "session", msgspec.json.encode(session))


def unseal(secret: bytes, cookie: str, now: float) -> Session | None:
    """Read a session from a cookie; None if it is not ours or has ended."""
    body = _open(secret, "session", cookie)
    if body is None:
        return None
    session = msgspec.json.decode(body, type=Session)
    return session if now < session.expires_at else None


def opened_by(principal: Principal, token: str, now: float) -> Session:
    """Make the session of someone who showed a valid token.

    Raises:
        Forbidden: the token may not see the console.
    """
    if principal.role != "admin":
        raise Forbidden(
            f"token {principal.name!r} has the role {principal.role}, and the console needs the role admin",
            fix="use an admin token; `shipway token create NAME --role admin` makes one",
        )
    return Session(principal.name, principal.project, now + SESSION_S, hashlib.sha256(token.encode()).hexdigest())


def principal(tx: Connection, session: Session, now: float) -> Principal | None:
    """Say who a session is now; None if its token was revoked or has expired."""
    if not session.token:
        return Principal(session.name, session.project, "admin")
    row = tx.execute(select(schema.token).where(schema.token.c.sha256 == session.token)).first()
    if row is None or row.revoked_at is not None or row.role != "admin":
        return None
    if row.expires_at is not None and row.expires_at <= now:
        return None
    return Principal(row.name, row.project, "admin")


class _Code(msgspec.Struct, frozen=True):
    nonce: str
    expires_at: float
    project: str


def make_code(secret: bytes, now: float, project: str = "default") -> str:
    """Make the code of a one-time link."""
    return _sign(secret, "link", msgspec.json.encode(_Code(secrets.token_hex(16), now + LINK_S, project)))


def redeem(secret: bytes, home: Path, signed: str, now: float) -> Session | None:
    """Open the session of a one-time link; None if it is not ours, too old or used before.

    Using it leaves an empty file named by the code, so that no process and no restart accepts it again.
    """
    body = _open(secret, "link", signed)
    if body is None:
        return None
    code = msgspec.json.decode(body, type=_Code)
    if now >= code.expires_at:
        return None
    folder = home / "used-links"
    folder.mkdir(mode=0o700, exist_ok=True)
    for old in folder.iterdir():
        if float(old.name.partition("-")[0]) < now:
            old.unlink(missing_ok=True)
    try:
        (folder / f"{code.expires_at:.0f}-{code.nonce}").touch(mode=0o600, exist_ok=False)
    except FileExistsError:
        return None
    return Session("owner", code.project, now + SESSION_S)
