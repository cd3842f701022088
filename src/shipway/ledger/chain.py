"""Append to the ledger and read it.

The hash of an entry is the sha256 of the RFC 8785 bytes of everything in it, the hash before it included, so
anyone can recompute the chain with tools of their own.
"""

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import msgspec
import rfc8785
from msgspec import Struct
from sqlalchemy import Connection, RowMapping, insert, select

from shipway.database.schema import ledger
from shipway.errors import Rejected

GENESIS = "sha256:" + "0" * 64
"""What the first entry names as the one before it, and the head of an empty ledger."""


class Entry(Struct, frozen=True):
    """One thing that someone did."""

    seq: int
    """1, 2, 3 and so on, without a gap, over all projects."""
    project: str
    at: float
    """Unix seconds."""
    actor: str
    """A person, token or part of the platform."""
    kind: str
    """What was done, like `alias.moved`."""
    subject: str
    """What it was done to, like `model:churn:3`."""
    payload: dict[str, Any]
    """The evidence and the result."""
    previous: str
    """Hash of the entry before."""
    hash: str


def append(  # noqa: PLR0913 - an entry has these parts
    tx: Connection, *, project: str, actor: str, kind: str, subject: str, payload: dict[str, Any], now: float
) -> Entry:
    """Add an entry to the end of the ledger, in the transaction of what it records.

    Args:
        tx: an open transaction for writing.
        project: that it belongs to.
        actor: who did it.
        kind: what was done.
        subject: what it was done to.
        payload: JSON-like values, structs included; whole numbers below 2**53, no NaN.
        now: Unix seconds.

    Raises:
        Rejected: the payload cannot be written as canonical JSON.
    """
    last = tx.execute(select(ledger.c.seq, ledger.c.hash).order_by(ledger.c.seq.desc()).limit(1)).first()
    text = canonical(payload, kind)
    draft = Entry(
        seq=last.seq + 1 if last else 1,
        project=project,
        at=float(now),
        actor=actor,
        kind=kind,
        subject=subject,
        payload=_read(text.decode()),
        previous=last.hash if last else GENESIS,
        hash="",
    )
    entry = msgspec.structs.replace(draft, hash=digest(draft))
    tx.execute(insert(ledger).values(**msgspec.structs.asdict(entry) | {"payload": text.decode()}))
    return entry


def canonical(payload: dict[str, Any], kind: str) -> bytes:
    """Write a payload as RFC 8785 JSON.

    Raises:
        Rejected: a value in it has no canonical form.
    """
    try:
        return rfc8785.dumps(msgspec.to_builtins(payload, str_keys=True))
    except (rfc8785.CanonicalizationError, TypeError, ValueError, RecursionError) as exc:
        raise Rejected(
            f"the payload of a {kind} entry is not canonical JSON: {exc}",
            fix="use text, finite numbers, whole numbers below 2**53, lists and objects with text keys",
        ) from exc


def digest(entry: Entry) -> str:
    """Compute what the hash of an entry has to be."""
    content = msgspec.structs.asdict(entry)
    del content["hash"]
    return "sha256:" + hashlib.sha256(rfc8785.dumps(content)).hexdigest()


def entries(
    tx: Connection,
    *,
    project: str | None = None,
    subject: str | None = None,
    kind: str | None = None,
    after: int = 0,
    limit: int = 1000,
) -> list[Entry]:
    """Return entries in order, those after number `after`, at most `limit`; filters narrow them down."""
    wanted = select(ledger).where(ledger.c.seq > after).order_by(ledger.c.seq).limit(limit)
    for column, value in ((ledger.c.project, project), (ledger.c.subject, subject), (ledger.c.kind, kind)):
        if value is not None:
            wanted = wanted.where(column == value)
    return [_entry(row) for row in tx.execute(wanted).mappings()]


def walk(tx: Connection) -> Iterator[Entry]:
    """Yield every entry in order without holding all in memory.

    A payload that is no JSON object any more comes out as None in an object, so that its hash cannot fit.
    """
    rows = tx.execute(select(ledger).order_by(ledger.c.seq), execution_options={"yield_per": 500}).mappings()
    for row in rows:
        try:
            yield _entry(row)
        except (ValueError, TypeError, OverflowError, RecursionError):
            yield Entry(**{**row, "payload": {"unreadable": None}})


def head(tx: Connection) -> str:
    """Return the hash of the newest entry; keep it elsewhere to be able to prove that nothing was cut off."""
    found: str | None = tx.execute(select(ledger.c.hash).order_by(ledger.c.seq.desc()).limit(1)).scalar()
    return found or GENESIS


def _entry(row: RowMapping) -> Entry:
    return Entry(**{**row, "payload": _read(row["payload"])})


def _read(text: str) -> dict[str, Any]:
    payload = json.loads(text, parse_int=_number)
    if not isinstance(payload, dict):
        raise TypeError("a payload is an object")
    return payload


def _number(digits: str) -> int | float:
    """Read whole numbers from 2**53 on as floats: canonical JSON writes 1e20 without a point."""
    whole = int(digits)
    return whole if abs(whole) < 2**53 else float(whole)
