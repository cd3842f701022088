"""API tokens: make, list, revoke."""

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Response
from msgspec import Struct

from shipway import access
from shipway.api.call import Admin, answer, body
from shipway.endpoint import compose
from shipway.errors import Rejected

router = APIRouter(tags=["tokens"])


class NewToken(Struct, forbid_unknown_fields=True):
    """Who gets a token, and for what."""

    name: str
    role: Literal["admin", "predict", "server"]
    endpoints: list[str] = []
    """What a predict token may call; all endpoints of the project where empty."""
    expires_at: float | None = None
    """Unix seconds; never where null."""


@router.get("/v1/tokens")
def list_tokens(call: Admin) -> Response:
    """List tokens. Secrets are not kept, so they cannot be listed."""
    with call.platform.database.read() as tx:
        return answer({"tokens": access.tokens(tx, call.project)})


@router.post("/v1/tokens")
def issue_token(call: Admin, wanted: Annotated[NewToken, Depends(body(NewToken))]) -> Response:
    """Make a token. Its secret is in this answer and nowhere else."""
    if not wanted.name.strip() or len(wanted.name) > 64 or not wanted.name.isprintable():
        raise Rejected("a token needs a name of 1 to 64 printable characters", fix="name it after who or what will use it")
    if wanted.expires_at is not None and wanted.expires_at <= call.now:
        raise Rejected("the token would have expired already", fix="give an `expires_at` in the future, in Unix seconds")
    with call.platform.database.transaction() as tx:
        secret = access.issue(
            tx, project=call.project, name=wanted.name, role=wanted.role, endpoints=tuple(wanted.endpoints),
            now=call.now, expires_at=wanted.expires_at, actor=call.actor,
        )  # fmt: skip
        compose(tx, call.now)
    return answer({"name": wanted.name, "role": wanted.role, "secret": secret}, 201)


@router.delete("/v1/tokens/{token_id}")
def revoke_token(call: Admin, token_id: str) -> Response:
    """End a token now; servers learn it with the next route table."""
    with call.platform.database.transaction() as tx:
        access.revoke(tx, project=call.project, token_id=token_id, actor=call.actor, now=call.now)
        compose(tx, call.now)
    return answer({"id": token_id, "revoked": True})
