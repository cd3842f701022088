"""What has to leave the database: written in the transaction of its cause, delivered at least once.

A message is posted with the decision it tells of, so there is neither a decision without its message nor a
message without its decision. Whoever delivers marks it; failures come back later, each time after twice
the wait. Receivers may see a message twice and know it by its id.
"""

import hashlib
from typing import Any

import msgspec
import rfc8785
from msgspec import Struct
from sqlalchemy import Connection, func, select, update
from sqlalchemy.dialects.sqlite import insert

from shipway.database.schema import outbox

FIRST_WAIT_S = 5.0
LONGEST_WAIT_S = 3600.0


class Message(Struct, frozen=True):
    """One message on its way out."""

    id: str
    """Idempotency key."""
    project: str
    kind: str
    """`webhook` or `log`."""
    target: str
    """Where to: a URL for a webhook."""
    body: dict[str, Any]
    created_at: float
    attempts: int = 0
    """Deliveries that failed so far."""
    error: str | None = None
    """What the last failed one said."""


def post(  # noqa: PLR0913 - a message has these parts
    tx: Connection,
    *,
    project: str,
    kind: str,
    target: str,
    body: dict[str, Any],
    now: float,
    id: str | None = None,  # noqa: A002 - the column's name
) -> str:
    """Put a message into the outbox and return its id; a second one with the same id changes nothing.

    Without `id` it is a digest of the message and its time, so that a repeated step does not send twice.
    """
    content = rfc8785.dumps(msgspec.to_builtins([project, kind, target, body, now]))
    key = id or hashlib.sha256(content).hexdigest()[:32]
    row = {
        "id": key, "project": project, "kind": kind, "target": target, "created_at": now, "due_at": now,
        "body": msgspec.json.encode(body).decode(),
    }  # fmt: skip
    tx.execute(insert(outbox).values(row).on_conflict_do_nothing())
    return key


def due(tx: Connection, now: float, limit: int = 20) -> list[Message]:
    """Return messages that should be delivered by now, longest due first."""
    rows = tx.execute(
        select(outbox)
        .where(outbox.c.delivered_at.is_(None), outbox.c.due_at <= now)
        .order_by(outbox.c.due_at, outbox.c.created_at, outbox.c.id)
        .limit(limit)
    )
    return [
        Message(r.id, r.project, r.kind, r.target, msgspec.json.decode(r.body), r.created_at, r.attempts, r.error)
        for r in rows
    ]


def delivered(tx: Connection, id: str, now: float) -> None:  # noqa: A002 - the column's name
    """Mark a message as delivered."""
    tx.execute(update(outbox).where(outbox.c.id == id).values(delivered_at=now, error=None))


def failed(tx: Connection, id: str, error: str, now: float) -> None:  # noqa: A002 - the column's name
    """Note a failed delivery; it is due again after 5 s, then 10, 20 and so on up to an hour."""
    attempts = tx.execute(select(outbox.c.attempts).where(outbox.c.id == id)).scalar()
    if attempts is None:
        return
    wait = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** min(attempts, 20))
    tx.execute(
        update(outbox).where(outbox.c.id == id).values(attempts=attempts + 1, error=error[:500], due_at=now + wait)
    )


def waiting(tx: Connection) -> int:
    """Count the messages that are not delivered yet."""
    return tx.execute(select(func.count()).where(outbox.c.delivered_at.is_(None))).scalar_one()
