"""Decide from one window whether something changed that matters. Pure: values in, values out.

`update` takes in the profile of one window and the labels that came meanwhile, and says what is news.
A change is news once: while it lasts its finding stays open and is brought up to date, and it is closed
when the evidence is gone.

Not here: what has stopped being heard of (`shipway.monitor.silence`).
"""

from collections.abc import Callable
from typing import Any, Literal

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from shipway.monitor import changes
from shipway.monitor.changes import Change
from shipway.monitor.policy import Kind, Policy
from shipway.stats import edetector, profile, sequences
from shipway.stats.edetector import Armed, Weighed
from shipway.stats.profile import ColumnReference, Profile, Reference
from shipway.stats.sequences import Baseline, Losses

FORMAT = 1
LONGEST_HISTORY = 240
"""Windows kept for the charts."""


class Point(Struct, frozen=True, array_like=True):
    """One window in the history."""

    at: float
    """End of the window."""
    rows: int
    drift: float
    """Log capital of the family, as are the next two."""
    quality: float
    performance: float
    labelled: int = 0
    loss: float | None = None
    """Mean loss of the rows labelled meanwhile: share wrong, or mean absolute error."""


class Opened(Struct, frozen=True):
    """A change that was raised and still lasts."""

    since: float
    columns: tuple[str, ...] = ()


class Taken(Struct, frozen=True):
    """A window whose rows were taken in."""

    start: float
    end: float
    counts: bytes
    """Encoded profile of the rows that had come by then."""


class State(Struct, frozen=True):
    """All that is remembered between windows of one endpoint and version."""

    format: int
    name: str
    """Of the endpoint, for the sentences."""
    layout: str
    began: float
    window: float
    """End of the last window whose rows were taken in."""
    looked: float
    """End of the last window for which labels were looked up."""
    capital: bytes = b""
    calm: tuple[float, ...] = ()
    """For each column the end of the last window in which its evidence was low; first shape, then quality."""
    baseline: Baseline | None = None
    loss_capital: bytes = b""
    loss_calm: float = 0.0
    worse: Losses | None = None
    """Labelled rows since `loss_calm`; None while the evidence is low."""
    labelled: Losses | None = None
    """All labelled rows so far."""
    counted: dict[int, Losses] = {}
    """Number of a stretch of the past -> its labelled rows that were weighed already."""
    labelled_at: float | None = None
    """When labels were last seen."""
    unknown: int = 0
    """Labels without an event, when they were last counted."""
    unknown_new: int = 0
    """How many more that were than the time before."""
    unknown_at: float = 0.0
    windows: int = 0
    rows: int = 0
    opened: dict[str, Opened] = {}
    history: tuple[Point, ...] = ()
    recent: tuple[Taken, ...] = ()
    """The last windows, to find rows that come late."""


class Finding(Struct, frozen=True):
    """Something to tell."""

    kind: Kind
    status: Literal["raised", "updated", "lasting", "closed"]
    """`updated` has columns that were not named before; `lasting` has not, and nobody is told again."""
    since: float
    sentence: str
    log_e: float
    bar: float
    columns: tuple[str, ...] = ()
    effect: dict[str, Any] = {}
    details: dict[str, Any] = {}


def begin(name: str, reference: Reference, policy: Policy, start: float, baseline: Baseline | None) -> State:
    """Return the state before the first window, which begins at `start`."""
    armed = armed_for(reference, policy)
    return State(
        FORMAT, name, reference.layout, start, start, start,
        calm=(start,) * (2 * len(armed.columns)), baseline=baseline, loss_calm=start,
    )  # fmt: skip


def armed_for(reference: Reference, policy: Policy) -> Armed:
    """Lay the bets that a policy asks for."""
    return edetector.arm(
        reference,
        tolerance=policy.ignore_changes_below,
        quality_tolerance=policy.quality.ignore_changes_below,
        columns=[c.name for c in reference.columns if c.name not in policy.ignore_columns],
    )


def update(
    state: State,
    reference: Reference,
    window: Profile,
    policy: Policy,
    window_end: float,
    losses: Losses | None = None,
) -> tuple[State, tuple[Finding, ...]]:
    """Take in one window and say what is news.

    Args:
        state: from the window before, or `begin`.
        reference: of the version that answers.
        window: counts of the rows; a profile of no rows where there were too few.
        policy: what counts as news.
        window_end: Unix seconds.
        losses: labelled rows that were not given before, of this or earlier windows.

    Returns:
        The new state, and findings that were raised, changed, last or are closed.
    """
    armed = armed_for(reference, policy)
    capital = edetector.decode(armed, state.capital)
    if window.rows:
        capital = edetector.update(armed, capital, window)
    weighed = edetector.weigh(armed, capital)
    state = msgspec.structs.replace(
        state,
        capital=edetector.encode(capital),
        calm=_calm(state, weighed, policy, window_end),
        window=window_end if window.rows else state.window,
        looked=window_end,
        windows=state.windows + bool(window.rows),
        rows=state.rows + window.rows,
    )
    state, performance = _weigh_losses(state, policy, window_end, losses)
    point = Point(
        window_end, window.rows, _finite(weighed.shape), _finite(weighed.quality), _finite(performance),
        losses.rows if losses else 0, losses.rate if losses and losses.rows else None,
    )  # fmt: skip
    state = msgspec.structs.replace(state, history=(*state.history, point)[-LONGEST_HISTORY:])
    found = []
    if window.rows:
        found += _judge_columns(state, armed, weighed, reference, window, policy)
    if losses is not None and losses.rows:
        found += _judge_losses(state, performance, policy)
    return _remember(state, found), tuple(found)


def summarise(state: State, reference: Reference, window: Profile | None, policy: Policy) -> dict[str, Any]:
    """Return what pages and `monitor status` show after a window, columns with the strongest evidence first."""
    armed = armed_for(reference, policy)
    weighed = edetector.weigh(armed, edetector.decode(armed, state.capital))
    evidence = np.maximum(weighed.shape_of, weighed.quality_of)
    described = _described(armed, reference, window, evidence, changes.shape) if window is not None else []
    last = state.history[-1] if state.history else Point(state.began, 0, 0.0, 0.0, 0.0)
    return {
        "format": FORMAT,
        "sentence": _overall(state),
        "window": policy.window,
        "window_end": state.window,
        "windows": state.windows,
        "rows": state.rows,
        "bar": policy.bar,
        "windows_per_alarm": policy.windows_per_alarm,
        "false_alarms": policy.false_alarms,
        "ignore_changes_below": policy.ignore_changes_below,
        "log_e": {"drift": last.drift, "quality": last.quality, "performance": last.performance},
        "performance": _effect(state, state.worse or state.labelled),
        "open": {kind: {"since": o.since, "columns": list(o.columns)} for kind, o in state.opened.items()},
        "columns": msgspec.to_builtins(sorted(described, key=lambda c: (-c.log_e, -c.distance))),
        "history": [msgspec.structs.asdict(p) for p in state.history],
    }


def forget(state: State, reference: Reference, policy: Policy, kind: str) -> State:
    """Start one kind anew, after someone closed its signal by hand."""
    armed = armed_for(reference, policy)
    opened = {k: o for k, o in state.opened.items() if k != kind}
    state = msgspec.structs.replace(state, opened=opened)
    if kind == "performance":
        return msgspec.structs.replace(state, loss_capital=b"", loss_calm=state.looked, worse=None)
    if kind not in {"drift", "quality"}:
        return state
    group = edetector.SHAPE if kind == "drift" else edetector.QUALITY
    capital = edetector.forget(armed, edetector.decode(armed, state.capital), group)
    return msgspec.structs.replace(state, capital=edetector.encode(capital))


def _calm(state: State, weighed: Weighed, policy: Policy, window_end: float) -> tuple[float, ...]:
    values = np.concatenate([weighed.shape_of, weighed.quality_of])
    before = state.calm if len(state.calm) == values.size else (state.window,) * values.size
    low = values < policy.bar / 3
    return tuple(window_end if is_low else at for is_low, at in zip(low.tolist(), before, strict=True))


def _weigh_losses(state: State, policy: Policy, window_end: float, losses: Losses | None) -> tuple[State, float]:
    if state.baseline is None:
        return state, -np.inf
    capital = _loss_capital(state, state.baseline)
    if losses is None or not losses.rows:
        return state, sequences.log_e(capital)
    capital = sequences.update(state.baseline, capital, losses, tolerance=policy.performance.ignore_changes_below)
    evidence = sequences.log_e(capital)
    is_calm = evidence < policy.bar / 3
    worse = losses if state.worse is None else state.worse + losses
    state = msgspec.structs.replace(
        state,
        loss_capital=edetector.encode(capital),
        loss_calm=window_end if is_calm else state.loss_calm,
        worse=None if is_calm else worse,
        labelled=losses if state.labelled is None else state.labelled + losses,
        labelled_at=window_end,
    )
    return state, evidence


def _loss_capital(state: State, baseline: Baseline) -> NDArray[np.float64]:
    fresh = sequences.start(baseline)
    if len(state.loss_capital) != fresh.size * 8:
        return fresh
    return np.frombuffer(state.loss_capital, "<f8").reshape(fresh.shape)


def _judge_columns(
    state: State, armed: Armed, weighed: Weighed, reference: Reference, window: Profile, policy: Policy
) -> list[Finding]:
    columns = len(armed.columns)
    shape = _judge_family(
        "drift", state, _described(armed, reference, window, weighed.shape_of, changes.shape),
        weighed.shape, policy.bar, state.calm[:columns],
    )  # fmt: skip
    quality = _judge_family(
        "quality", state, _described(armed, reference, window, weighed.quality_of, changes.quality),
        weighed.quality, policy.bar, state.calm[columns:],
    )  # fmt: skip
    return [finding for finding in (shape, quality) if finding is not None]


def _judge_family(
    kind: Literal["drift", "quality"],
    state: State,
    described: list[Change],
    log_e: float,
    bar: float,
    calm: tuple[float, ...],
) -> Finding | None:
    opened = state.opened.get(kind)
    if log_e < bar / 2 and opened is not None:
        said = f"{state.name}: {', '.join(opened.columns)} {_verb(opened.columns)} as promised again"
        return Finding(kind, "closed", opened.since, said, log_e, bar, opened.columns)
    if log_e < bar and opened is None:
        return None
    evidence = [c.log_e for c in described]
    chosen = edetector.named(evidence) or [int(np.argmax(evidence))]
    ranked = sorted(chosen, key=lambda i: -described[i].distance)
    named = tuple(described[i].column for i in ranked)
    columns = named if opened is None else (*named, *(c for c in opened.columns if c not in named))
    since = min(calm[i] for i in ranked) if opened is None else opened.since
    return Finding(
        kind, status_of(opened, columns), since,
        _sentence(kind, state.name, since, [described[i] for i in ranked], len(described)), log_e, bar, columns,
        effect=_effect(state, state.worse),
        details={"changes": msgspec.to_builtins([described[i] for i in ranked]), "columns": len(described)},
    )  # fmt: skip


def _judge_losses(state: State, log_e: float, policy: Policy) -> list[Finding]:
    opened, bar = state.opened.get("performance"), policy.bar
    if log_e < bar / 2 and opened is not None:
        said = f"{state.name} is right as often as promised again"
        return [Finding("performance", "closed", opened.since, said, log_e, bar)]
    if state.worse is None or (log_e < bar and opened is None):
        return []
    effect = _effect(state, state.worse)
    since = opened.since if opened else state.loss_calm
    return [
        Finding(
            "performance", status_of(opened, ()), since,
            f"{state.name}: {effect['sentence']}, since {changes.moment(since)}", log_e, bar, effect=effect,
        )
    ]  # fmt: skip


def _described(
    armed: Armed,
    reference: Reference,
    window: Profile,
    evidence: NDArray[np.float64],
    describe: Callable[[ColumnReference, NDArray[np.int64], NDArray[np.int64], float], Change],
) -> list[Change]:
    """Describe every watched column, in the order of `armed.columns`."""
    placed, before = profile.spans(reference), profile.own(reference).cells
    by_name = {c.name: c for c in reference.columns}
    return [
        describe(by_name[name], before[placed[name]], window.cells[placed[name]], _finite(log_e))
        for name, log_e in zip(armed.columns, evidence.tolist(), strict=True)
    ]


def _sentence(kind: str, name: str, since: float, changed: list[Change], columns: int) -> str:
    what = "gets different rows" if kind == "drift" else "gets rows of another quality"
    told = "; ".join(c.sentence for c in changed[:3])
    more = f"; and {len(changed) - 3} more" if len(changed) > 3 else ""
    return f"{name} {what} since {changes.moment(since)}: {len(changed)} of {columns} columns changed: {told}{more}"


def _effect(state: State, losses: Losses | None) -> dict[str, Any]:
    """Say what the model's answers turned out to be worth, next to what was promised."""
    if losses is None or not losses.rows or state.baseline is None or not state.baseline.losses.rows:
        return {}
    before, after = state.baseline.losses, losses
    low, high = sequences.interval(after.bad[-1], after.rows)
    if state.baseline.bars:
        share = after.bad[-1] / after.rows
        said = (
            f"its mean absolute error on {after.rows:,} labelled answers is {changes.number(after.rate)}, was "
            f"{changes.number(before.rate)}; {changes.percent(share)} of errors exceed "
            f"{changes.number(state.baseline.bars[-1])}, was {changes.percent(before.bad[-1] / before.rows)}"
        )
        metric = "mean_absolute_error"
    else:
        said = (
            f"{changes.percent(after.rate)} of {after.rows:,} labelled answers are wrong "
            f"({changes.percent(low)} to {changes.percent(high)}), was {changes.percent(before.rate)}"
        )
        metric = "error_rate"
    return {
        "metric": metric,
        "before": before.rate,
        "after": after.rate,
        "rows": after.rows,
        "low": low,
        "high": high,
        "sentence": said,
    }


def _overall(state: State) -> str:
    if not state.windows:
        return f"{state.name}: no window is complete yet"
    if not state.opened:
        seen = f"{state.windows:,} windows, {state.rows:,} rows"
        return f"{state.name} gets the rows it was made for: nothing changed in {seen}"
    kinds = ", ".join(
        f"{kind} since {changes.moment(o.since)}" + (f" ({', '.join(o.columns[:3])})" if o.columns else "")
        for kind, o in sorted(state.opened.items())
    )
    return f"{state.name} is not as promised: {kinds}"


def _remember(state: State, found: list[Finding]) -> State:
    opened = dict(state.opened)
    for finding in found:
        if finding.status == "closed":
            opened.pop(finding.kind, None)
        else:
            opened[finding.kind] = Opened(finding.since, finding.columns)
    return msgspec.structs.replace(state, opened=opened)


def status_of(opened: Opened | None, columns: tuple[str, ...]) -> Literal["raised", "updated", "lasting"]:
    """Say whether a change is new, has new columns, or only lasts."""
    if opened is None:
        return "raised"
    return "updated" if set(columns) - set(opened.columns) else "lasting"


def _verb(columns: tuple[str, ...]) -> str:
    return "is" if len(columns) == 1 else "are"


def _finite(log_e: float) -> float:
    """Give JSON a number where there is no capital at all."""
    return float(max(log_e, -99.0))
