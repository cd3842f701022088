"""Decide whether a signal leads to a new training, and what becomes of one that vanished. Pure."""

from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

from shipway.retrain.policy import Policy, seconds
from shipway.terms import Signal

DAY_S = 86400.0

JobState = Literal["proposed", "queued", "running", "done", "failed"]
OPEN: tuple[JobState, ...] = ("proposed", "queued", "running")


class Past(Struct, frozen=True):
    """A job of this endpoint, as far as deciding about the next one goes."""

    state: JobState
    created_at: float
    ended_at: float | None = None
    by_hand: bool = False


def wanted(
    signals: Sequence[Signal], policy: Policy, past: Sequence[Past], *, in_trial: bool, now: float
) -> Signal | None:
    """Choose the open signal that a new version should answer; None if none should be made now.

    Nothing is made while a job is open, while a challenger is on trial, within `cooldown` of the last automatic
    job, or beyond `max_per_day`.

    Args:
        signals: open signals of one endpoint.
        policy: of that endpoint.
        past: its jobs.
        in_trial: whether a rollout is running there.
        now: Unix seconds.
    """
    asking = [s for s in signals if s.kind in policy.when]
    if not asking or not policy.can_train or in_trial or any(job.state in OPEN for job in past):
        return None
    automatic = [job for job in past if not job.by_hand]
    last = max((job.ended_at or job.created_at for job in automatic), default=None)
    if last is not None and now - last < seconds(policy.cooldown):
        return None
    if sum(now - job.created_at < DAY_S for job in automatic) >= policy.max_per_day:
        return None
    rank = {kind: at for at, kind in enumerate(("performance", "drift", "quality"))}
    return min(asking, key=lambda s: (rank.get(s.kind, len(rank)), s.raised_at))


def after_loss(attempts: int, policy: Policy) -> JobState:
    """Say what a job becomes whose process vanished without a result.

    >>> after_loss(1, Policy(entry="a:b")), after_loss(2, Policy(entry="a:b"))
    ('queued', 'failed')
    """
    return "queued" if attempts < policy.attempts else "failed"
