"""What happened: labels, captured events, the ledger."""

import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Response
from msgspec import Meta, Struct

from shipway import lake, ledger
from shipway.api.call import Admin, Labeller, answer, body
from shipway.endpoint import SqlEndpoints
from shipway.errors import Rejected
from shipway.lake import Label
from shipway.terms import name

router = APIRouter(tags=["evidence"])

MAX_LABELS = 100_000


class NewLabel(Struct, forbid_unknown_fields=True):
    """What turned out to be true about one row of one event."""

    value: str | int | float | bool
    event: str = ""
    """Event id, from the header `shipway-event-id`."""
    key: str = ""
    """The caller's own key, where the event id is not known."""
    row: Annotated[int, Meta(ge=0, le=2**31 - 1)] = 0
    name: str = "label"
    at: float | None = None
    """When it was true, Unix seconds; now where null."""


class Labels(Struct, forbid_unknown_fields=True):
    """Labels of one endpoint."""

    endpoint: str
    labels: list[NewLabel]


@router.post("/v1/labels")
def take_labels(call: Labeller, wanted: Annotated[Labels, Depends(body(Labels))]) -> Response:
    """Take what turned out to be true. A label for an event that is not here yet waits for it."""
    if len(wanted.labels) > MAX_LABELS:
        raise Rejected(f"{len(wanted.labels)} labels are more than the {MAX_LABELS} of one request", fix="send them in several")
    for at, label in enumerate(wanted.labels):
        if bool(label.event) == bool(label.key):
            raise Rejected(f"label {at} names {'both' if label.event else 'neither'} an event and a key", fix="give exactly one of `event` and `key`")
    labels = [
        Label(event=one.event, row=one.row, key=one.key, name=one.name, value=one.value, at=call.now if one.at is None else one.at) for one in wanted.labels
    ]
    with call.platform.database.transaction() as tx:
        SqlEndpoints(tx).get(call.project, name(wanted.endpoint, "endpoint"))
        lake.add_labels(tx, call.project, wanted.endpoint, labels, call.now)
    return answer({"accepted": len(labels)})


@router.get("/v1/events")
def list_events(
    call: Admin, endpoint: str, since: float | None = None, limit: Annotated[int, Query(ge=1, le=10_000)] = 100
) -> Response:
    """List captured rows of an endpoint, newest first."""
    with call.platform.database.read() as tx:
        SqlEndpoints(tx).get(call.project, name(endpoint, "endpoint"))
    table = call.platform.lake.events(call.project, endpoint, since=since, limit=limit)
    return answer({"events": [{key: _cell(value) for key, value in row.items()} for row in table.to_pylist()]})


def _cell(value: Any) -> object:  # noqa: ANN401 - a cell of an Arrow table
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, datetime.datetime):
        return value.timestamp()
    if isinstance(value, float) and value - value != 0:
        return None  # JSON has no NaN and no infinities
    return value


@router.get("/v1/ledger")
def list_ledger(
    call: Admin, after: Annotated[int, Query(ge=0)] = 0, limit: Annotated[int, Query(ge=1, le=10_000)] = 1000, subject: str | None = None
) -> Response:
    """List ledger entries in order, from the one after `after`."""
    with call.platform.database.read() as tx:
        entries = ledger.entries(tx, project=call.project, subject=subject, after=after, limit=limit)
        return answer({"entries": entries, "head": ledger.head(tx)})


@router.get("/v1/ledger/verify")
def verify_ledger(call: Admin, head: str | None = None) -> Response:
    """Check the whole chain, and that it still holds a `head` noted earlier; recompute every rollout decision."""
    with call.platform.database.read() as tx:
        return answer(ledger.verify(tx, head))
