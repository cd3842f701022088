"""Take labels: what turned out to be true about an event, later.

A label names the event by the id that came with the answer and a row of the request, or by the caller's
own key. It may come before its event has reached the lake, late, or again: the one received last wins.
"""

import math
from collections.abc import Sequence

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, insert

from shipway.capture.ids import id_time, normal_id
from shipway.database.schema import label_inbox
from shipway.errors import Rejected

AHEAD_S = 60.0
"""Clocks of two machines may differ by this much before an id is from the future."""

DAY_S = 86_400.0
"""A time that became true may be ahead by this much: people write local times for UTC."""

MAX_TEXT = 10_000

Scalar = str | int | float | bool


class Label(Struct, frozen=True, forbid_unknown_fields=True):
    """What turned out to be true about one row of one event."""

    value: Scalar
    event: str = ""
    """Id from the header `shipway-event-id`."""
    key: str = ""
    """The caller's own key, where the event id is not known."""
    row: int = 0
    """Row of the request, from 0."""
    name: str = "label"
    """What is named; `label` is the target of the model."""
    at: float | None = None
    """When it became true, Unix seconds; now if None."""


def add_labels(tx: Connection, project: str, endpoint: str, labels: Sequence[Label], now: float) -> int:
    """Put labels down to be committed to the lake; all or none. Return how many.

    A label for an event that is not in the lake yet is kept: captures arrive seconds later than answers.

    Raises:
        Rejected: a label has no event and no key, or both; its id is malformed or from the future; its value is
            missing or not a finite scalar; it became true at no time that can be. The message names the first one.
    """
    rows = []
    for number, label in enumerate(labels):
        try:
            event = _checked(label, now)
        except Rejected as exc:
            where = f"label {number + 1} of {len(labels)}: " if len(labels) > 1 else ""
            raise Rejected(f"{where}{exc}", fix=exc.fix) from exc
        rows.append(
            {
                "project": project,
                "endpoint": endpoint,
                "event": event,
                "row": label.row,
                "key": label.key,
                "name": label.name,
                "value": msgspec.json.encode(label.value).decode(),
                "at": now if label.at is None else label.at,
                "received_at": now,
            }
        )
    if rows:
        tx.execute(insert(label_inbox), rows)
    return len(rows)


def _checked(label: Label, now: float) -> str:
    """Return the event id in normal form, or "" for a label by key."""
    _check_value(label)
    _check_time(label, now)
    if not 0 <= label.row < 2**31:
        raise Rejected(f"row {label.row} cannot be a row of a request", fix="rows of a request are counted from 0")
    if bool(label.event) == bool(label.key):
        both = "both an event id and a key" if label.event else "neither an event id nor a key"
        raise Rejected(f"it has {both}", fix="give the id from the header shipway-event-id, or the key of the request")
    if not label.event:
        return ""
    event = normal_id(label.event)
    ahead = id_time(event) - now
    if ahead > AHEAD_S:
        raise Rejected(
            f"event {event} is {ahead:.0f} s in the future, so it was not answered here",
            fix="send the id that came with the answer; if it did, set the clocks of caller and server",
        )
    return event


def _check_time(label: Label, now: float) -> None:
    """Refuse a time that is no Unix time: one such row would stop the commit of all labels behind it."""
    if label.at is not None and not 0 <= label.at <= now + DAY_S:
        raise Rejected(
            f"its time {label.at:g} is not one that has come, in Unix seconds",
            fix="send when it became true in seconds since 1970, or leave `at` out for now",
        )


def _check_value(label: Label) -> None:
    value = label.value
    if isinstance(value, float) and not math.isfinite(value):
        raise Rejected("its value is not a finite number", fix="leave out labels that are not known yet")
    if not isinstance(value, str | int | float):
        raise Rejected(
            f"its value is of type {type(value).__name__}",
            fix="give a text, a number, true or false; leave out unknown labels",
        )
    if isinstance(value, str) and len(value) > MAX_TEXT:
        raise Rejected(
            f"its value has {len(value)} characters, more than {MAX_TEXT}", fix="label with a class name or a number"
        )
    if not label.name:
        raise Rejected("its name is empty", fix="leave the name out for the target of the model")
