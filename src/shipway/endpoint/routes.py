"""Number route tables, keep them, and hand them out.

`compose` runs in the transaction of a decision, so that no decision is without its table; `publish` puts the
newest table where servers on this machine look, by rename, so that they read the old one or the new one.
"""

import os
import tempfile
from pathlib import Path

import msgspec
from sqlalchemy import Connection, insert, or_, select

from shipway import ledger
from shipway.database import schema
from shipway.endpoint._sql import SqlEndpoints
from shipway.endpoint.decide import same_content, table
from shipway.errors import Unavailable
from shipway.terms import PredictToken, RouteTable

FILE = "routes.json"


def compose(tx: Connection, now: float) -> RouteTable | None:
    """Write the next route table if it would tell servers something new, and return it; else None."""
    before = latest(tx)
    made = table(
        SqlEndpoints(tx).all(),
        _tokens(tx, now),
        epoch=before.epoch + 1 if before else 1,
        ledger_head=ledger.head(tx),
        now=now,
    )
    if before is not None and same_content(before, made):
        return None
    body = msgspec.json.encode(made).decode()
    tx.execute(insert(schema.route).values(epoch=made.epoch, issued_at=now, body=body))
    return made


def latest(tx: Connection) -> RouteTable | None:
    """Return the newest route table, or None before the first."""
    body = tx.execute(select(schema.route.c.body).order_by(schema.route.c.epoch.desc()).limit(1)).scalar()
    return None if body is None else msgspec.json.decode(body, type=RouteTable)


def publish(folder: Path, table: RouteTable) -> None:
    """Put a table into `folder/routes.json`, whole or not at all, readable by its owner alone.

    Raises:
        Unavailable: the folder cannot be written; servers keep the table they have.
    """
    draft: Path | None = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor, path = tempfile.mkstemp(prefix=f".{FILE}.", dir=folder)  # made with mode 0600
        draft = Path(path)
        with open(descriptor, "wb") as out:  # noqa: PTH123 - a descriptor, not a path
            out.write(msgspec.json.encode(table))
            out.flush()
            os.fsync(out.fileno())
        draft.replace(folder / FILE)
        _sync(folder)
    except OSError as exc:
        if draft is not None:
            draft.unlink(missing_ok=True)
        raise Unavailable(
            f"cannot write route table {table.epoch} to {folder}: {exc.strerror}",
            fix="free space there or correct its owner; servers go on with the table they have",
        ) from exc


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _tokens(tx: Connection, now: float) -> dict[str, PredictToken]:
    """Read the live tokens that may call endpoints: `predict` those they name, `admin` all of their project."""
    t = schema.token
    rows = tx.execute(
        select(t).where(
            t.c.role.in_(("admin", "predict")),
            t.c.revoked_at.is_(None),
            or_(t.c.expires_at.is_(None), t.c.expires_at > now),
        )
    )
    return {
        row.sha256: PredictToken(
            tuple(f"{row.project}/{e}" for e in msgspec.json.decode(row.endpoints, type=tuple[str, ...]) or ("*",)),
            row.expires_at,
        )
        for row in rows
    }
