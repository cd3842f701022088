"""Put entries of the ledger into words: who did what, and why. Pure.

Kinds that this release writes have a phrase each; any other is written as it stands, because a record
that hides what it does not understand is none.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from shipway.console.figures import percent, words
from shipway.ledger import Entry
from shipway.terms import BASIS


@dataclass(frozen=True)
class Line:
    """One entry in words."""

    seq: int
    at: float
    who: str
    what: str
    why: str
    lamp: str
    hash: str = ""


def line(entry: Entry) -> Line:
    """Write one entry."""
    phrase = PHRASES.get(entry.kind)
    what, why, lamp = phrase(entry.subject, entry.payload) if phrase else _plain(entry)
    return Line(entry.seq, entry.at, _who(entry.actor), what, why, lamp, entry.hash.removeprefix("sha256:"))


def _who(actor: str) -> str:
    return {
        "shipway": "Shipway",
        "rollout": "Rollout",
        "monitor": "Monitor",
        "retrain": "Retraining",
        "gate": "Gate",
    }.get(actor, actor)


def thing(subject: str) -> str:
    """Name what an entry is about.

    >>> thing("model:churn:3"), thing("endpoint:churn"), thing("signal:9")
    ('churn version 3', 'endpoint churn', 'signal 9')
    """
    kind, _, name = subject.partition(":")
    if kind == "model":
        model, _, version = name.partition(":")
        return f"{model} version {version}" if version else model
    return f"{kind} {name}" if name else subject


ID = re.compile(r"[a-z0-9._-]+-\d+")
"""What names a rollout."""

Said = tuple[str, str, str]
"""What, why, lamp."""


def _plain(entry: Entry) -> Said:
    noun, _, verb = entry.kind.partition(".")
    what = (
        f"{verb.replace('_', ' ')} {noun}: {thing(entry.subject)}" if verb else f"{entry.kind}: {thing(entry.subject)}"
    )
    return what, _reason(entry.payload), "soft"


def _reason(payload: dict[str, Any]) -> str:
    for key in ("why", "sentence", "reason"):
        if isinstance(payload.get(key), str) and payload[key]:
            return str(payload[key])
    verdict = payload.get("verdict")
    return f"verdict {verdict}" if verdict else ""


def _registered(subject: str, payload: dict[str, Any]) -> Said:
    return f"registered {thing(subject)}", str(payload.get("digest", ""))[:20] + "…", "soft"


def _moved(subject: str, payload: dict[str, Any]) -> Said:
    before = f", from version {payload['from']}" if payload.get("from") else ""
    why = _reason(payload)
    return (
        f"pointed {payload.get('alias')} to {thing(subject)}{before}",
        f"for rollout {why}" if ID.fullmatch(why) else why,
        "soft",
    )


def _judged(subject: str, payload: dict[str, Any]) -> Said:
    verdict = str(payload.get("verdict", ""))
    what = {"pass": "passed", "fail": "failed", "undecided": "could not decide on"}.get(verdict, "judged")
    return (
        f"{what} {thing(subject)} at the gate",
        str(payload.get("sentence", "")),
        {"pass": "ok", "fail": "bad"}.get(verdict, "wait"),
    )


def _attached(subject: str, payload: dict[str, Any]) -> Said:
    verdict = str(payload.get("verdict") or "")
    if payload.get("kind") != "gate" or not verdict:
        return f"attached {payload.get('kind') or 'evidence'} to {thing(subject)}", verdict, "soft"
    said = {"pass": "it passed", "fail": "it failed"}.get(verdict, verdict)
    return f"had {thing(subject)} judged by the gate: {said}", "", {"pass": "ok", "fail": "bad"}.get(verdict, "wait")


def _created(subject: str, payload: dict[str, Any]) -> Said:
    return f"deployed version {payload.get('version')} to {thing(subject)}", _reason(payload), "ok"


def _champion(subject: str, payload: dict[str, Any]) -> Said:
    return (
        f"made version {payload.get('to')} the champion of {thing(subject)}, instead of {payload.get('from')}",
        _reason(payload),
        "ok",
    )


def _split(subject: str, payload: dict[str, Any]) -> Said:
    shares = []
    for variant in payload.get("variants", []):
        if variant.get("mode") == "shadow":
            shares.append(f"version {variant.get('version')} in shadow")
        else:
            shares.append(f"version {variant.get('version')} on {percent(variant.get('weight', 0) / BASIS)}")
    return f"split {thing(subject)}: {words(shares)}", _reason(payload), "wait"


def _settings(subject: str, payload: dict[str, Any]) -> Said:
    return f"changed the settings of {thing(subject)}", _reason(payload), "soft"


def _policies(subject: str, payload: dict[str, Any]) -> Said:
    return f"changed the policies of {thing(subject)}", _reason(payload), "soft"


def _on(payload: dict[str, Any]) -> str:
    return f"version {payload.get('challenger')} on {payload.get('endpoint')}"


def _rollout(verb: str, lamp: str) -> Callable[[str, dict[str, Any]], Said]:
    def phrase(_subject: str, payload: dict[str, Any]) -> Said:
        return f"{verb} {_on(payload)}", _reason(payload), lamp

    return phrase


def _decided(_subject: str, payload: dict[str, Any]) -> Said:
    decision = payload.get("decision", {})
    action = str(decision.get("action", ""))
    verb, lamp = DECISIONS.get(action, ("decided about", "soft"))
    return f"{verb} {_on(payload)}", str(decision.get("sentence", "")), lamp


DECISIONS = {
    "advance": ("moved on", "wait"),
    "promote": ("promoted", "ok"),
    "rollback": ("rolled back", "bad"),
    "wait_approval": ("asks for approval of", "wait"),
    "hold": ("holds", "wait"),
}


def _training(verb: str, lamp: str) -> Callable[[str, dict[str, Any]], Said]:
    def phrase(subject: str, payload: dict[str, Any]) -> Said:
        made = f", which made version {payload['version']}" if payload.get("version") else ""
        why = ". ".join(str(payload[key]).rstrip(".") for key in ("why", "sentence") if payload.get(key))
        return f"{verb} for {thing(subject)}{made}", why, lamp

    return phrase


def _token(verb: str) -> Callable[[str, dict[str, Any]], Said]:
    def phrase(subject: str, payload: dict[str, Any]) -> Said:
        name = payload.get("name") or thing(subject)
        role = f" with the role {payload['role']}" if payload.get("role") else ""
        return f"{verb} the token {name}{role}", _reason(payload), "soft"

    return phrase


def _signal(verb: str, lamp: str) -> Callable[[str, dict[str, Any]], Said]:
    def phrase(subject: str, payload: dict[str, Any]) -> Said:
        kind = f"the {payload['kind']} alarm" if payload.get("kind") else "an alarm"
        on = f" on {subject.partition(':')[2]}"
        return f"{verb} {kind}{on}", _reason(payload), lamp

    return phrase


PHRASES: dict[str, Callable[[str, dict[str, Any]], Said]] = {
    "version.registered": _registered,
    "alias.moved": _moved,
    "gate.judged": _judged,
    "gate.attached": _judged,
    "evidence.attached": _attached,
    "endpoint.created": _created,
    "endpoint.champion": _champion,
    "endpoint.split": _split,
    "endpoint.settings": _settings,
    "endpoint.policies": _policies,
    "rollout.started": _rollout("started the rollout of", "soft"),
    "rollout.decided": _decided,
    "rollout.frozen": _rollout("froze the champion's usual worst latency for", "soft"),
    "rollout.restarted": _rollout("began again with", "wait"),
    "rollout.superseded": _rollout("ended the rollout of", "off"),
    "rollout.paused": _rollout("paused", "wait"),
    "rollout.resumed": _rollout("resumed", "wait"),
    "rollout.approved": _rollout("approved", "ok"),
    "rollout.promoted": _rollout("promoted by hand", "ok"),
    "rollout.rolled_back": _rollout("rolled back by hand", "bad"),
    "retrain.proposed": _training("proposed a training", "wait"),
    "retrain.queued": _training("asked for a training", "soft"),
    "retrain.running": _training("began a training", "wait"),
    "retrain.done": _training("finished a training", "ok"),
    "retrain.failed": _training("could not finish a training", "bad"),
    "token.issued": _token("issued"),
    "token.revoked": _token("revoked"),
    "signal.raised": _signal("raised", "bad"),
    "signal.updated": _signal("added to", "bad"),
    "signal.closed": _signal("closed", "ok"),
    "signal.acknowledged": _signal("looks after", "soft"),
    "signal.muted": _signal("silenced", "soft"),
}
