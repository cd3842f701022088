"""What happened: labels, captured events, the ledger."""

import datetime as dt
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Query, Response
from msgspec import Struct
from sqlalchemy import Connection

from shipway import access, ledger
from shipway.api.call import Admin, Call, Labeller, answer, body
from shipway.api.doubts import LATE_S, doubts
from shipway.endpoint import SqlEndpoints
from shipway.errors import Forbidden, Rejected
from shipway.lake.labels import Label, add_labels
from shipway.rollout.records import verify
from shipway.terms import digest, name

router = APIRouter(tags=["evidence"])

MAX_LABELS = 100_000


class Labels(Struct, forbid_unknown_fields=True):
    """Labels of one endpoint."""

    endpoint: str
    labels: list[Label]


@router.post("/v1/labels")
def take_labels(call: Labeller, wanted: Annotated[Labels, Depends(body(Labels))]) -> Response:
    """Take what turned out to be true. A label for an event that is not here yet waits for it.

    What is odd about labels that were taken is said in `doubts`: an answer that the model cannot give, an event
    that was not captured.
    """
    if len(wanted.labels) > MAX_LABELS:
        raise Rejected(
            f"{len(wanted.labels)} labels are more than the {MAX_LABELS} of one request", fix="send them in several"
        )
    with call.platform.database.transaction() as tx:
        SqlEndpoints(tx).get(call.project, name(wanted.endpoint, "endpoint"))
        _within_token(tx, call, wanted.endpoint)
        accepted = add_labels(tx, call.project, wanted.endpoint, wanted.labels, call.now)
    said = doubts(call, wanted.endpoint, wanted.labels)
    return answer({"accepted": accepted, "doubts": said} if said else {"accepted": accepted})


@router.get("/v1/labels/unknown")
def count_unknown_labels(call: Admin, endpoint: str) -> Response:
    """Count labels older than five minutes whose event never arrived: wrong ids, or captures that are off."""
    with call.platform.database.read() as tx:
        SqlEndpoints(tx).get(call.project, name(endpoint, "endpoint"))
    return answer(call.platform.lake.unknown_labels(call.project, endpoint, older_than=call.now - LATE_S))


def _within_token(tx: Connection, call: Call, endpoint: str) -> None:
    """Refuse a label for an endpoint that the caller's token does not name."""
    if call.principal.role != "predict":
        return
    mine = next(row for row in access.tokens(tx, call.project) if row.name == call.actor and row.revoked_at is None)
    if mine.endpoints and endpoint not in mine.endpoints:
        raise Forbidden(
            f"this token is not for the endpoint {endpoint}",
            fix=f"it is for {', '.join(mine.endpoints)}; use another for this one",
        )


@router.get("/v1/events")
def list_events(
    call: Admin,
    endpoint: str,
    since: Annotated[float | None, Query(allow_inf_nan=False)] = None,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 100,
) -> Response:
    """List captured rows of an endpoint, newest first."""
    with call.platform.database.read() as tx:
        SqlEndpoints(tx).get(call.project, name(endpoint, "endpoint"))
    table = call.platform.lake.events(call.project, endpoint, since=since, limit=limit)
    return answer({"events": [{key: _cell(value) for key, value in row.items()} for row in table.to_pylist()]})


def _cell(value: Any) -> object:  # noqa: ANN401 - a cell of an Arrow table
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dt.datetime):
        return value.timestamp()
    if isinstance(value, float) and value - value != 0:
        return None  # JSON has no NaN and no infinities
    return value


@router.get("/v1/ledger")
def list_ledger(
    call: Admin,
    after: Annotated[int, Query(ge=0, le=2**53)] = 0,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 1000,
    subject: str | None = None,
) -> Response:
    """List ledger entries in order, from the one after `after`."""
    with call.platform.database.read() as tx:
        entries = ledger.entries(tx, project=call.project, subject=subject, after=after, limit=limit)
        return answer({"entries": entries, "head": ledger.head(tx)})


@router.get("/v1/ledger/verify")
def verify_ledger(call: Admin, head: str | None = None) -> Response:
    """Check the whole chain, and that it still holds a `head` noted earlier; recompute every rollout decision."""
    if head is not None:
        digest(head)
    with call.platform.database.read() as tx:
        chain = ledger.verify(tx, head)
        decisions = verify(tx)
    return answer({**msgspec.to_builtins(chain), "recomputed": decisions})
