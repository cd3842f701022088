"""Tell people: a signal in words, the messages that its alerts put into the outbox, and their delivery.

A message is posted in the transaction that raised its signal and delivered afterwards, at least once; its
id is the receiver's idempotency key.
"""

import logging
from collections.abc import Callable, Sequence
from hashlib import sha256
from http.client import HTTPException
from math import exp
from typing import Any, Literal
from urllib.error import HTTPError, URLError
from urllib.request import HTTPRedirectHandler, Request, build_opener

import msgspec
from msgspec import Struct
from sqlalchemy import Connection

from shipway.database import Database, outbox
from shipway.database.outbox import Message
from shipway.monitor.changes import moment, percent
from shipway.monitor.policy import Alert, Policy
from shipway.terms import FORMAT, Signal

log = logging.getLogger("shipway.alert")

TIMEOUT_S = 3.0
AT_ONCE = 20
"""Messages that one call delivers at most."""

Post = Callable[[str, bytes, dict[str, str]], int]
"""Sends a body with headers to a URL and returns the HTTP status; raises OSError where there is none."""

Event = Literal["raised", "updated", "closed", "test"]


class Channel(Struct, frozen=True):
    """Where one test alert went and how it fared."""

    target: str
    ok: bool
    error: str = ""


def explain(signal: Signal) -> str:
    """Tell a signal as a colleague would: what, since when, how sure, how bad, what to do.

    >>> print(explain(Signal("s1", "default", "churn", "silence", 0.0, 60.0, "churn: no label arrived", 0.0, 0.0)))
    Silence on churn, raised 1970-01-01 00:01:00 UTC (signal s1).
    churn: no label arrived.
    """
    lines = [
        f"{signal.kind.capitalize()} on {signal.endpoint}, raised {moment(signal.raised_at)} (signal {signal.id}).",
        signal.sentence.rstrip(".") + ".",
    ]
    if signal.bar:
        lines.append(_how_sure(signal))
    for i, change in enumerate(signal.details.get("changes", [])[:5], 1):
        lines.append(f"  {i}. {change['sentence']} (moved by {percent(change['distance'])} of rows)")
    if said := signal.effect.get("sentence"):
        lines.append(f"What it costs: {said}.")
    if signal.actions:
        lines.append("What to do: " + ", or ".join(f"`{action}`" for action in signal.actions) + ".")
    return "\n".join(lines)


def post_alerts(
    tx: Connection, policy: Policy, webhooks: Sequence[str], signal: Signal, event: Event, now: float
) -> None:
    """Put the messages of a signal into the outbox."""
    for alert in _receivers(policy, webhooks):
        if signal.kind in alert.signals:
            target = alert.url or "log"
            told = [signal.id, event, target, signal.columns]
            key = sha256(msgspec.json.encode(told)).hexdigest()[:32]
            content = body(signal, event)
            outbox.post(tx, project=signal.project, kind=alert.kind, target=target, body=content, now=now, id=key)


def body(signal: Signal, event: Event) -> dict[str, Any]:
    """Return what a webhook receives: the signal's own fields, what happened to it, and `text` for chat tools."""
    told = explain(signal) if event != "closed" else f"Closed: {signal.sentence}."
    fields: dict[str, Any] = msgspec.to_builtins(signal)
    return fields | {"format": FORMAT, "event": f"signal.{event}", "text": told}


def deliver(database: Database, now: float, post: Post | None = None) -> list[str]:
    """Deliver what is due in the outbox and return the ids of messages that arrived.

    A receiver that failed is not asked again in the same call, so that a dead one costs one timeout; its
    messages come back after 5 s, then 10, 20 and so on up to an hour.
    """
    send = http_post if post is None else post
    with database.read() as tx:
        due = outbox.due(tx, now, AT_ONCE)
    arrived: list[str] = []
    failed: set[str] = set()
    for message in due:
        if message.target in failed:
            continue
        error = _deliver(message, send)
        with database.transaction() as tx:
            if error:
                failed.add(message.target)
                outbox.failed(tx, message.id, error, now)
            else:
                arrived.append(message.id)
                outbox.delivered(tx, message.id, now)
    return arrived


def try_alerts(policy: Policy, webhooks: Sequence[str], signal: Signal, post: Post | None = None) -> list[Channel]:
    """Send a test alert through every channel at once, past the outbox, and report how each fared."""
    send = http_post if post is None else post
    channels = []
    for alert in _receivers(policy, webhooks):
        target = alert.url or "log"
        message = Message(
            f"test-{signal.id}", signal.project, alert.kind, target, body(signal, "test"), signal.raised_at
        )
        error = _deliver(message, send)
        channels.append(Channel(target, not error, error))
    return channels


def http_post(url: str, content: bytes, headers: dict[str, str]) -> int:
    """Post to a URL with a timeout and return the status; redirects are not followed."""
    if not url.startswith(("http://", "https://")):
        raise OSError(f"{url[:40]!r} is not an http or https URL")
    request = Request(url, data=content, headers=headers, method="POST")  # noqa: S310 - the scheme was checked
    try:
        with build_opener(_NoRedirect).open(request, timeout=TIMEOUT_S) as answer:
            return int(answer.status)
    except HTTPError as refused:
        with refused:
            return refused.code
    except HTTPException as broken:
        raise OSError(f"the receiver broke off: {type(broken).__name__}") from broken


class _NoRedirect(HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        """A webhook goes where its owner said or nowhere."""


def _receivers(policy: Policy, webhooks: Sequence[str]) -> list[Alert]:
    known = {alert.url for alert in policy.alert}
    return [*policy.alert, *(Alert("webhook", url) for url in webhooks if url not in known)]


def _how_sure(signal: Signal) -> str:
    def times(log_e: float) -> str:
        return f"{exp(log_e):,.0f}" if log_e < 30 else f"10^{log_e / 2.302585:.0f}"

    return f"How sure: evidence {times(signal.log_e)} against a bar of {times(signal.bar)}."


def _deliver(message: Message, send: Post) -> str:
    """Deliver one message; return what went wrong, or ""."""
    if message.kind == "log":
        said = message.body.get("text") or msgspec.json.encode(message.body).decode()
        log.warning("%s", said.replace("\n", " | "))
        return ""
    headers = {
        "content-type": "application/json",
        "user-agent": "shipway",
        "idempotency-key": message.id,
    }
    try:
        status = send(message.target, msgspec.json.encode(message.body), headers)
    except (OSError, URLError) as exc:
        reason = getattr(exc, "reason", None) or exc
        return f"no answer: {reason}"
    return "" if 200 <= status < 300 else f"answered {status}"
