"""API tokens: make, list, revoke."""

from typing import Annotated, Literal

import msgspec
from fastapi import APIRouter, Depends, Response
from msgspec import Struct

from shipway import access
from shipway.api.call import Admin, answer, body
from shipway.endpoint.routes import compose

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
    with call.platform.database.transaction() as tx:
        secret = access.issue(
            tx, project=call.project, name=wanted.name, role=wanted.role, endpoints=tuple(wanted.endpoints),
            now=call.now, expires_at=wanted.expires_at, actor=call.actor,
        )  # fmt: skip
        compose(tx, call.now)
        row = next(row for row in reversed(access.tokens(tx, call.project)) if row.name == wanted.name)
    return answer({**msgspec.to_builtins(row), "secret": secret}, 201)


@router.delete("/v1/tokens/{token_id}")
def revoke_token(call: Admin, token_id: str) -> Response:
    """End a token now; servers learn it with the next route table."""
    with call.platform.database.transaction() as tx:
        row = access.revoke(tx, call.project, token_id, now=call.now, actor=call.actor)
        compose(tx, call.now)
    return answer(row)
