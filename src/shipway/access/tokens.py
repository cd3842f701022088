"""Issue, check and revoke API tokens."""

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from typing import Literal, get_args

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, insert, select, update

from shipway import ledger
from shipway.database.schema import token
from shipway.errors import Forbidden, Missing, Rejected
from shipway.terms import Principal, name

Role = Literal["admin", "predict", "server"]

PREFIX = "sw_"
"""Lets people and secret scanners see what a string is."""

LONGEST_SECRET = 200
"""Longer ones are not even hashed."""


class TokenRow(Struct, frozen=True):
    """A token without its secret."""

    id: str
    project: str
    name: str
    role: Role
    endpoints: tuple[str, ...]
    """Endpoints it may call; () is all of its project."""
    created_at: float
    expires_at: float | None
    revoked_at: float | None


def issue(  # noqa: PLR0913 - a token has these parts
    tx: Connection,
    *,
    project: str,
    name: str,
    role: str,
    endpoints: Sequence[str] = (),
    now: float,
    expires_at: float | None = None,
    actor: str,
) -> str:
    """Make a token and return its secret, which nobody can read again.

    Args:
        tx: an open transaction for writing.
        project: that it gives rights in.
        name: for people, to know it by; need not be unique.
        role: `admin`, `predict` or `server`.
        endpoints: what a predict token may call; () is every endpoint of the project.
        now: Unix seconds.
        expires_at: Unix seconds, or None for no end.
        actor: who makes it.

    Raises:
        Rejected: name, role, endpoints or end cannot be.
    """
    _check(project, name, role, endpoints)
    if expires_at is not None and expires_at <= now:
        raise Rejected(
            f"token {name} would have expired {now - expires_at:.0f} s ago", fix="give an end that is still to come"
        )
    secret = PREFIX + secrets.token_urlsafe(32)
    hashed = _sha256(secret)
    row = TokenRow(
        # A part of the hash, so that logs can name a token; 48 bits say nothing about a secret of 256.
        id="t_" + hashed[:12],
        project=project,
        name=name,
        role=msgspec.convert(role, Role),
        endpoints=tuple(endpoints),
        created_at=now,
        expires_at=expires_at,
        revoked_at=None,
    )
    columns = msgspec.structs.asdict(row) | {"endpoints": msgspec.json.encode(row.endpoints).decode()}
    tx.execute(insert(token).values(**columns, sha256=hashed))
    payload = {"name": name, "role": role, "endpoints": list(endpoints), "expires_at": expires_at}
    ledger.append(
        tx, project=project, actor=actor, kind="token.issued", subject=f"token:{row.id}", payload=payload, now=now
    )
    return secret


def authenticate(tx: Connection, secret: str, now: float) -> Principal:
    """Return who shows a secret.

    Raises:
        Forbidden: no token has this secret, or it is revoked or has expired; the answer is the same.
    """
    hashed = _sha256(secret if len(secret) <= LONGEST_SECRET else "")
    # Looked up by hash: whoever measures the look-up learns about the hash of a guess, not about a secret.
    row = tx.execute(select(token).where(token.c.sha256 == hashed)).first()
    known = hmac.compare_digest(hashed, row.sha256 if row else "0" * 64)
    expired = row is not None and row.expires_at is not None and row.expires_at <= now
    if row is None or not known or row.revoked_at is not None or expired:
        raise Forbidden(
            "this token opens nothing here",
            fix="show a valid one in SHIPWAY_TOKEN or --token; an admin makes one with `shipway token create NAME`",
        )
    return Principal(name=row.name, project=row.project, role=row.role)


def require(principal: Principal, role: str) -> None:
    """Let a principal pass if it has the role; `admin` and `system` have every role.

    Raises:
        Forbidden: it has not.
    """
    if principal.role not in (role, "admin", "system"):
        raise Forbidden(
            f"{principal.name} has the role {principal.role}, and this needs {role}",
            fix=f"ask an admin for a token: `shipway token create NAME --role {role}`",
        )


def revoke(tx: Connection, project: str, token_id: str, *, now: float, actor: str) -> TokenRow:
    """End a token, named by its id, or by its name where only one live token has it.

    Servers forget it with the next route table.

    Raises:
        Missing: the project has no such live token.
        Rejected: several have this name.
    """
    live = [t for t in tokens(tx, project) if t.revoked_at is None]
    found = [t for t in live if token_id in (t.id, t.name)]
    if not found:
        names = ", ".join(f"{t.id} ({t.name})" for t in live[:5]) + f" and {len(live) - 5} more" * (len(live) > 5)
        raise Missing(
            f"project {project} has no live token {token_id[:40]!r}",
            fix=f"its live tokens are {names}" if live else "it has no live tokens at all",
        )
    if len(found) > 1:
        ids = ", ".join(t.id for t in found)
        raise Rejected(f"{len(found)} live tokens are called {token_id!r}", fix=f"say which by its id: {ids}")
    ended = msgspec.structs.replace(found[0], revoked_at=now)
    tx.execute(update(token).where(token.c.id == ended.id).values(revoked_at=now))
    payload = {"name": ended.name, "role": ended.role}
    subject = f"token:{ended.id}"
    ledger.append(tx, project=project, actor=actor, kind="token.revoked", subject=subject, payload=payload, now=now)
    return ended


def tokens(tx: Connection, project: str) -> list[TokenRow]:
    """List the tokens of a project, oldest first, revoked ones included."""
    rows = tx.execute(select(token).where(token.c.project == project).order_by(token.c.created_at, token.c.id))
    return [
        TokenRow(
            row.id, row.project, row.name, row.role, msgspec.json.decode(row.endpoints, type=tuple[str, ...]),
            row.created_at, row.expires_at, row.revoked_at,
        )
        for row in rows
    ]  # fmt: skip


def _check(project: str, named: str, role: str, endpoints: Sequence[str]) -> None:
    name(project, "project")
    if not 1 <= len(named) <= 64 or not named.isprintable() or not named.strip():
        raise Rejected(
            f"{named[:40]!r} cannot name a token", fix="use 1 to 64 printable characters, such as who will use it"
        )
    if role not in get_args(Role):
        raise Rejected(f"{role!r} is not a role", fix=f"the roles are {', '.join(get_args(Role))}")
    if endpoints and role != "predict":
        raise Rejected(
            f"a token with the role {role} cannot be limited to endpoints", fix="use --role predict, or name none"
        )
    for endpoint in endpoints:
        name(endpoint, "endpoint")


def _sha256(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
