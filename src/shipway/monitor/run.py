"""One pass over all endpoints: read what arrived, decide, write what is news in one transaction each.

A window is taken in once: its end is kept with the state, so a pass that is repeated or resumes after a
kill finds nothing to do twice.
"""

import hashlib
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from msgspec import Struct
from sqlalchemy import Connection

from shipway import ledger
from shipway.bundle import BundleStore
from shipway.database import Database, lease
from shipway.endpoint import EndpointRow, SqlEndpoints
from shipway.errors import Missing, ShipwayError
from shipway.monitor import _sql, alerts, decide, labelled, windows
from shipway.monitor._sql import Kept, OpenSignal
from shipway.monitor.alerts import Event
from shipway.monitor.decide import Finding, State
from shipway.monitor.labelled import Outcomes
from shipway.monitor.policy import DEFAULT_TOML, Policy, parse_policy
from shipway.monitor.silence import Facts, silent
from shipway.registry import SqlRegistry, VersionRow
from shipway.stats import profile
from shipway.stats.profile import Reference
from shipway.terms import Signal

LEASE = "clockwork"
ACTOR = "monitor"
PROFILE_FILE = "reference/profile.json"
STRAYS_EVERY_S = 60.0


class Watched(Struct, frozen=True):
    """One endpoint, its champion and its rules."""

    row: EndpointRow
    champion: VersionRow
    policy: Policy
    policy_digest: str


class Read(Struct, frozen=True):
    """What one pass knows of an endpoint before it decides."""

    kept: Kept | None
    first: float | None
    """Start of the first bucket that this version counted as champion, where nothing is kept of it."""
    facts: Facts
    signals: dict[str, OpenSignal]


class Taken(Struct, frozen=True):
    """What a pass made of the windows that ended."""

    state: State
    summary: dict[str, Any]
    findings: tuple[Finding, ...]
    has_window: bool


class Look(Struct, frozen=True):
    """One pass: when it is, by which right it writes, and since when anybody could be heard."""

    now: float
    fence: int | None
    listening_since: float


def step(
    database: Database,
    lake: Outcomes | None,
    bundles: BundleStore,
    now: float,
    fence: int | None = None,
    listening_since: float = 0.0,
) -> list[Signal]:
    """Take every endpoint's monitor forward to `now`.

    Args:
        database: metadata, where collectors' profiles were folded.
        lake: where labelled answers are; None watches without labels.
        bundles: where the references are.
        now: Unix seconds.
        fence: of the clockwork's lease; a holder that lost it writes nothing.
        listening_since: when the control plane started, Unix seconds. Nobody was heard before, so that silence
            counts from then: a platform that rested over night raises no alarm in the morning.

    Returns:
        Signals that were raised, or have new columns.

    Raises:
        ShipwayError: the first failure, after all endpoints had their turn.
    """
    with database.read() as tx:
        rows = SqlEndpoints(tx).all()
        champions = [SqlRegistry(tx).version(r.project, r.model, r.champion) for r in rows]
    raised: list[Signal] = []
    failed: list[ShipwayError] = []
    for row, champion in zip(rows, champions, strict=True):
        try:
            raised += _endpoint(database, lake, bundles, (row, champion), Look(now, fence, listening_since))
        except ShipwayError as exc:
            failed.append(exc)
    if failed:
        raise failed[0]
    return raised


def status(tx: Connection, project: str, endpoint: str) -> dict[str, Any]:
    """Return what is known about an endpoint: the summary of its last window and its open signals."""
    known = _sql.summary(tx, project, endpoint) or {"sentence": f"{endpoint}: no window is complete yet"}
    signals = [msgspec.to_builtins(o.signal) for o in _sql.open_signals(tx, project, endpoint).values()]
    return known | {"signals": signals}


def _endpoint(
    database: Database,
    lake: Outcomes | None,
    bundles: BundleStore,
    served: tuple[EndpointRow, VersionRow],
    look: Look,
) -> list[Signal]:
    row, champion = served
    now, fence = look.now, look.fence
    text = row.policies.get("monitor", "") or DEFAULT_TOML
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    watched = Watched(row, champion, parse_policy(text), digest)
    known = _read(database, watched, look)
    taken = _take(database, lake, bundles, watched, known, now)
    opened = known.signals.get("silence")
    quiet = silent(known.facts, watched.policy, now, opened.opened if opened else None)
    findings = [*(taken.findings if taken else ()), *([quiet] if quiet is not None else [])]
    is_quiet = taken is None and all(finding.status == "lasting" for finding in findings)
    if is_quiet and not any(_is_stale(watched, o.signal) for o in known.signals.values()):
        return []
    with database.transaction() as tx:
        if fence is not None:
            lease.require(tx, LEASE, fence, now)
        if taken is not None:
            current = _sql.kept(tx, row.project, row.name, champion.digest)
            if current is not None and current.state.looked >= taken.state.looked:
                return []  # another pass was here meanwhile
            if not taken.has_window:
                shown = _sql.summary(tx, row.project, row.name, champion.digest)
                taken.summary["columns"] = shown.get("columns", [])
            _sql.save(tx, row.project, row.name, champion.digest, Kept(taken.state, digest), taken.summary)
        return _tell(tx, watched, known, findings, now)


def _read(database: Database, watched: Watched, look: Look) -> Read:
    """Read in one picture what decides whether there is anything to do."""
    row, digest = watched.row, watched.champion.digest
    with database.read() as tx:
        kept = _sql.kept(tx, row.project, row.name, digest)
        after = _sql.others(tx, row.project, row.name, digest) or 0.0
        first = _sql.first_bucket(tx, row.project, row.name, digest, after) if kept is None else None
        state, captured = kept.state if kept is not None else None, row.settings.capture
        facts = _sql.facts(tx, row.project, row.name, digest, state=state, is_captured=captured, now=look.now)
        facts = msgspec.structs.replace(facts, listening_since=look.listening_since)
        return Read(kept, first, facts, _sql.open_signals(tx, row.project, row.name))


def _take(
    database: Database, lake: Outcomes | None, bundles: BundleStore, watched: Watched, known: Read, now: float
) -> Taken | None:
    """Take in every window that has ended; None if none has."""
    policy, row = watched.policy, watched.row
    end = windows.ended(now, policy)
    looked = known.kept.state.looked if known.kept is not None else known.first
    if looked is None or end <= looked:
        return None
    folder = bundles.path(watched.champion.digest)
    reference = _reference(folder)
    state = _state(watched, known, reference, folder)
    with database.read() as tx:
        buckets = _sql.buckets(tx, row.project, row.name, watched.champion.digest, windows.since(state), end)
    state, losses = _labels(lake, watched, state, now)
    ready, recent = windows.gather(state, buckets, reference, policy)
    findings: dict[str, Finding] = {}
    for at, window in enumerate(ready):
        last = at == len(ready) - 1
        state, found = decide.update(state, reference, window.rows, policy, window.end, losses if last else None)
        _merge(findings, found)
    if not ready and losses is not None:
        state, found = decide.update(state, reference, profile.empty(reference), policy, end, losses)
        _merge(findings, found)
    state = msgspec.structs.replace(state, looked=end, recent=recent)
    summary = decide.summarise(state, reference, ready[-1].rows if ready else None, policy)
    return Taken(state, summary, tuple(findings.values()), bool(ready))


def _reference(folder: Path) -> Reference:
    file = folder / PROFILE_FILE
    try:
        return msgspec.json.decode(file.read_bytes(), type=Reference)
    except FileNotFoundError as exc:
        raise Missing(f"bundle {folder.name[:12]} has no {PROFILE_FILE}", fix="pack the model again with data") from exc


def _state(watched: Watched, known: Read, reference: Reference, folder: Path) -> State:
    """Return the state to go on from: as kept, or begun with the rows this version answered as champion."""
    policy, kept = watched.policy, known.kept
    if kept is None:
        start = float(np.floor((known.first or 0.0) / policy.window_s) * policy.window_s)
        baseline = labelled.promised(folder, watched.champion.manifest.task)
        return decide.begin(watched.row.name, reference, policy, start, baseline)
    state = kept.state
    if kept.policy_digest != watched.policy_digest or state.layout != reference.layout:
        # Other rules are other bets: the detectors begin anew, what is open, counted and shown stays.
        fresh = decide.begin(state.name, reference, policy, state.window, state.baseline)
        state = msgspec.structs.replace(
            state,
            layout=fresh.layout,
            calm=fresh.calm,
            capital=b"",
            loss_capital=b"",
            loss_calm=state.looked,
            worse=None,
        )
    for kind in [kind for kind in state.opened if kind not in known.signals]:
        state = decide.forget(state, reference, policy, kind)
    return state


def _labels(lake: Outcomes | None, watched: Watched, state: State, now: float) -> tuple[State, Any]:
    task = watched.champion.manifest.task
    if lake is None or task not in {"binary", "multiclass", "regression"}:
        return state, None
    table = lake.outcomes(watched.row.project, watched.row.name, since=labelled.since(watched.policy, now))
    if not table.num_rows:
        return state, None
    state = _strays(lake, watched, state, now)
    found = labelled.realised(table, state, watched.policy, task, watched.champion.version)
    return msgspec.structs.replace(state, baseline=found.baseline, counted=found.counted), found.losses


def _strays(lake: Outcomes, watched: Watched, state: State, now: float) -> State:
    """Count labels whose event never came; it takes a look at every capture, so not more often than each minute."""
    if now - state.unknown_at < STRAYS_EVERY_S:
        return state
    found = int(lake.unknown_labels(watched.row.project, watched.row.name, older_than=now - STRAYS_EVERY_S).labels)
    return msgspec.structs.replace(state, unknown=found, unknown_new=max(0, found - state.unknown), unknown_at=now)


def _merge(findings: dict[str, Finding], found: tuple[Finding, ...]) -> None:
    """Of several windows of one pass tell the last, as raised if any of them raised it."""
    for finding in found:
        before = findings.get(finding.kind)
        keeps = before is not None and finding.status == "lasting" and before.status != "closed"
        status = before.status if before is not None and keeps else finding.status
        findings[finding.kind] = msgspec.structs.replace(finding, status=status)


def _tell(tx: Connection, watched: Watched, known: Read, findings: list[Finding], now: float) -> list[Signal]:
    row = watched.row
    resting = _sql.muted(tx, row.project, row.name, now)
    told = []
    for kind, before in known.signals.items():
        if _is_stale(watched, before.signal):
            said = f"{before.signal.sentence}; closed because {watched.champion} answers instead"
            _close(tx, watched, msgspec.structs.replace(before.signal, sentence=said), now, told=kind not in resting)
    for finding in findings:
        open_signal = known.signals.get(finding.kind)
        is_ours = open_signal is not None and not _is_stale(watched, open_signal.signal)
        before_signal = open_signal.signal if open_signal is not None and is_ours else None
        if finding.status == "closed":
            if before_signal is not None:
                closed = msgspec.structs.replace(before_signal, sentence=finding.sentence)
                _close(tx, watched, closed, now, told=finding.kind not in resting)
            continue
        signal = _signal(watched, finding, before_signal, now)
        if before_signal is None:
            _sql.insert_signal(tx, signal)
        else:
            _sql.change_signal(tx, signal)
        if before_signal is None or finding.status == "updated":
            event: Event = "raised" if before_signal is None else "updated"
            _note(tx, watched, f"signal.{event}", signal, now)
            if finding.kind not in resting:
                alerts.post_alerts(tx, watched.policy, row.settings.webhooks, signal, event, now)
            told.append(signal)
    return told


def _is_stale(watched: Watched, signal: Signal) -> bool:
    """Whether it was raised about a version that is champion no more."""
    return signal.kind in _sql.STATISTICAL and signal.details.get("digest") != watched.champion.digest


def _close(tx: Connection, watched: Watched, signal: Signal, now: float, *, told: bool) -> None:
    _sql.change_signal(tx, signal, closed_at=now)
    _note(tx, watched, "signal.closed", signal, now)
    if told:
        alerts.post_alerts(tx, watched.policy, watched.row.settings.webhooks, signal, "closed", now)


def _signal(watched: Watched, finding: Finding, before: Signal | None, now: float) -> Signal:
    row, name = watched.row, watched.row.name
    raised_at = before.raised_at if before is not None else now
    told = f"{row.project}|{name}|{finding.kind}|{watched.champion.digest}|{raised_at!r}"
    key = before.id if before is not None else hashlib.sha256(told.encode()).hexdigest()[:12]
    back = (f"shipway rollback {name}",) if row.previous is not None else ()
    actions = {
        "drift": (f"shipway retrain run {name}", f"shipway monitor explain {key}"),
        "quality": (f"shipway monitor explain {key}", f"shipway retrain run {name}"),
        "performance": (f"shipway retrain run {name}", *back, f"shipway monitor explain {key}"),
        "silence": ("shipway doctor", f"shipway monitor status {name}"),
    }[finding.kind]
    return Signal(
        id=key,
        project=row.project,
        endpoint=name,
        kind=finding.kind,
        since=finding.since,
        raised_at=raised_at,
        sentence=finding.sentence,
        log_e=finding.log_e,
        bar=finding.bar,
        columns=finding.columns,
        effect=finding.effect,
        actions=actions,
        evidence=f"/endpoints/{name}",
        details=finding.details
        | {"digest": watched.champion.digest, "version": watched.champion.version, "policy": watched.policy_digest},
    )


def _note(tx: Connection, watched: Watched, kind: str, signal: Signal, now: float) -> None:
    payload = {
        "signal": signal.id, "kind": signal.kind, "sentence": signal.sentence, "since": signal.since,
        "columns": list(signal.columns), "log_e": signal.log_e, "bar": signal.bar,
        "version": watched.champion.version, "digest": watched.champion.digest, "policy": watched.policy_digest,
    }  # fmt: skip
    subject = f"endpoint:{watched.row.name}"
    ledger.append(tx, project=watched.row.project, actor=ACTOR, kind=kind, subject=subject, payload=payload, now=now)
