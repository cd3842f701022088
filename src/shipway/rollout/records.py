"""Recompute every decision of the ledger from the counts it was made from."""

from math import isclose
from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import Connection

from shipway import ledger
from shipway.errors import ShipwayError
from shipway.ledger import Entry
from shipway.rollout import rows
from shipway.rollout.decide import Decision, Evidence, decide
from shipway.rollout.policy import parse_policy

_EXACT = ("action", "step", "rule", "units", "challenger_units", "units_before", "last_unit_at", "decided_at")
_RATIO = ("log_e_ratio", "bar_ratio")
_CLOSE = ("log_e_harm", "bar_harm", "log_e_margin", "bar_margin")
_COUNTS = ("name", "verdict", "challenger", "challenger_bad", "champion", "champion_bad", "harm", "margin")


class VerifyReport(Struct, frozen=True):
    """What recomputing found."""

    ok: bool
    decisions: int
    mismatches: tuple[str, ...]
    sentence: str


def verify(tx: Connection, rollout_id: str | None = None) -> VerifyReport:
    """Recompute the decisions of one rollout, or of all, from the ledger.

    Counts, bars, rule and action must be equal, log e-values within a billionth; so that the same ledger
    verifies on another processor.

    Raises:
        Missing: there is no rollout of this id.
    """
    if rollout_id is not None:
        rows.trial(tx, rollout_id)
    subject = None if rollout_id is None else f"rollout:{rollout_id}"
    checked, mismatches, after = 0, [], 0
    policies: dict[str, str] = {}
    while found := ledger.entries(tx, subject=subject, after=after):
        after = found[-1].seq
        for entry in found:
            if entry.kind == "rollout.started":
                policies[entry.subject] = str(entry.payload.get("policy"))
            elif entry.kind == "rollout.decided":
                checked += 1
                if fault := _fault(entry, policies.get(entry.subject, "")):
                    mismatches.append(f"entry {entry.seq} ({entry.subject}): {fault}")
    if mismatches:
        sentence = f"{len(mismatches)} of {checked} decisions do not recompute; the first: {mismatches[0]}"
    elif checked:
        sentence = f"all {checked} decisions recompute from their counts"
    else:
        sentence = "no decision has been taken from evidence yet"
    return VerifyReport(not mismatches, checked, tuple(mismatches), sentence)


def _fault(entry: Entry, policy_text: str) -> str:
    """Say in what a recorded decision differs from what its counts give, or ""."""
    try:
        policy = parse_policy(policy_text)
        evidence = msgspec.convert(entry.payload["evidence"], Evidence)
        recorded = msgspec.convert(entry.payload["decision"], Decision)
        again = decide(policy, evidence, recorded.decided_at)
    except (ShipwayError, msgspec.ValidationError, KeyError, ArithmeticError, ValueError) as exc:
        return f"it cannot be recomputed: {exc}"
    faults = [_differs(field, getattr(recorded, field), getattr(again, field)) for field in _EXACT]
    faults += [_strays(field, getattr(recorded, field), getattr(again, field)) for field in _RATIO]
    faults.append(_differs("number of guardrails", len(recorded.checks), len(again.checks)))
    for ours, theirs in zip(recorded.checks, again.checks, strict=False):
        faults += [_differs(f"{ours.name}.{f}", getattr(ours, f), getattr(theirs, f)) for f in _COUNTS]
        faults += [_strays(f"{ours.name}.{f}", getattr(ours, f), getattr(theirs, f)) for f in _CLOSE]
    return next((fault for fault in faults if fault), "")


def _differs(field: str, recorded: Any, again: Any) -> str:  # noqa: ANN401  -- a field can be anything
    return "" if recorded == again else f"{field} was recorded as {recorded} and recomputes as {again}"


def _strays(field: str, recorded: float, again: float) -> str:
    return "" if isclose(recorded, again, rel_tol=1e-9, abs_tol=1e-12) else _differs(field, recorded, again)
