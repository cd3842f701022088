"""Add the buckets that collectors counted to windows, each row once, even if it comes late.

A bucket grows when a segment arrives late. The last windows are therefore added up again at every look,
and what they have gained since they were taken in is counted with the next window.
"""

from typing import NamedTuple

import numpy as np

from shipway.monitor.decide import State, Taken
from shipway.monitor.policy import Policy
from shipway.stats import profile
from shipway.stats.profile import Profile, Reference

REMEMBERED = 8
"""Windows that rows may be late by."""

Buckets = list[tuple[float, Profile]]
"""Start in Unix seconds, and counts; oldest first."""


class Window(NamedTuple):
    """Rows to take in at once."""

    end: float
    rows: Profile


def ended(now: float, policy: Policy) -> float:
    """Return the end of the last window whose captures had time to arrive."""
    return float(np.floor((now - policy.wait_s) / policy.window_s) * policy.window_s)


def since(state: State) -> float:
    """Return the start of the oldest bucket that is still of interest."""
    return state.recent[0].start if state.recent else state.window


def gather(
    state: State, buckets: Buckets, reference: Reference, policy: Policy
) -> tuple[list[Window], tuple[Taken, ...]]:
    """Add buckets to windows; one with too few rows is joined to the next.

    Returns:
        Windows with enough rows, and what to remember of the last ones; both as before where there is none.
    """
    late, recent = _late(state, buckets, reference)
    pending, pending_end = late, None
    start = state.window
    windows: list[Window] = []
    own = profile.empty(reference)
    for at, counted in buckets:
        if at < state.window:
            continue
        end = float((np.floor(at / policy.window_s) + 1) * policy.window_s)
        if pending_end is not None and end > pending_end and pending.rows >= policy.min_rows:
            windows.append(Window(pending_end, pending))
            recent.append(Taken(start, pending_end, profile.encode(own)))
            pending, own, start = profile.empty(reference), profile.empty(reference), pending_end
        pending, own, pending_end = profile.add(pending, counted), profile.add(own, counted), end
    if pending_end is not None and pending.rows >= policy.min_rows:
        windows.append(Window(pending_end, pending))
        recent.append(Taken(start, pending_end, profile.encode(own)))
    return (windows, tuple(recent[-REMEMBERED:])) if windows else ([], state.recent)


def _late(state: State, buckets: Buckets, reference: Reference) -> tuple[Profile, list[Taken]]:
    """Add up what past windows have gained; return it and the windows as they are now."""
    late, now = profile.empty(reference), []
    for taken in state.recent:
        known = profile.decode(taken.counts)
        total = profile.empty(reference)
        for at, counted in buckets:
            if taken.start <= at < taken.end:
                total = profile.add(total, counted)
        gained = total.cells - known.cells
        if total.rows > known.rows and (gained >= 0).all():
            late = profile.add(late, profile.Profile(total.layout, total.rows - known.rows, gained))
            known = total
        now.append(Taken(taken.start, taken.end, profile.encode(known)))
    return late, now
