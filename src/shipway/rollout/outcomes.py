"""Turn labelled captures into the evidence of a guardrail on quality.

A loss is 0 or 1: a classifier's answer is wrong, or a regressor's error is above the champion's frozen p90.
A failure, or an answer that the champion gave for a failed challenger, counts against the challenger once
its label is known, as it does for the champion: counting it earlier would compare labelled with unlabelled.
Of a request with many rows the first one speaks, because rows of one request share their fate.
"""

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from shipway.rollout.evidence import Assigned
from shipway.stats.evalue import Floats, Segment
from shipway.stats.paired import Pairs
from shipway.terms import BASIS, Task

Flags = npt.NDArray[np.bool_]
Values = npt.NDArray[Any]

SHADOW, FALLBACK, FORCED = 1, 2, 4
OK = 200
FREEZE_ROWS = 100
"""So many labelled answers of the champion freeze its p90."""


class Table(Protocol):
    """What is used of a pyarrow table."""

    def column(self, name: str, /) -> Any:  # noqa: ANN401  -- a pyarrow array
        """Return a column."""
        ...


class Outcomes(Protocol):
    """What a rollout asks of the lake.

    Laws: `outcomes` has one row per row of a primary request, with `truth` null while there is no label;
    `pairs` has one per row of a request that the champion answered and the shadow scored.
    """

    def outcomes(self, project: str, endpoint: str, *, since: float | None = None, rollout: str | None = None) -> Table:
        """Return answers: event_id, row, variant, version, rollout, restart, propensity, status, flags, label, prediction, truth."""  # noqa: E501  -- the columns
        ...

    def pairs(self, project: str, endpoint: str, *, rollout: str, restart: int) -> Table:
        """Return pairs: event_id, row, {champion,challenger}_{label,prediction}, challenger_status, truth."""
        ...


class Loss(Struct, frozen=True):
    """How answers are judged."""

    task: Task
    above: float = 0.0
    """Regression: an error above this is bad."""
    after_event: str = ""
    """Only later events count: the earlier ones froze `above`."""

    def counts(self, table: Table) -> Flags:
        """Tell which rows may be judged: the first of a request, labelled, after those that froze the loss."""
        truth = _column(table, "truth")
        known: Flags = np.array([t is not None for t in truth], dtype=bool)
        if self.task is Task.REGRESSION:
            known &= np.isfinite(numbers(truth))
        if self.after_event:
            known &= _column(table, "event_id") > self.after_event
        known &= _column(table, "row") == 0
        return known

    def bad(self, label: Values, prediction: Values, truth: Values) -> Flags:
        """Tell which answers were bad; no answer is.

        >>> said, true = np.array(["yes", None], dtype=object), np.array(["yes", "no"], dtype=object)
        >>> Loss(Task.BINARY).bad(said, said, true).tolist()
        [False, True]
        """
        if self.task is Task.REGRESSION:
            return ~(np.abs(numbers(prediction) - numbers(truth)) <= self.above)
        return np.array(label != truth, dtype=bool)


def numbers(values: Values) -> Floats:
    """Read numbers from text or numbers; NaN for what is none.

    >>> numbers(np.array(["1.5", None, "many"], dtype=object)).tolist()
    [1.5, nan, nan]
    """
    try:
        return values.astype(np.float64)
    except (TypeError, ValueError):
        return np.array([_number(v) for v in values], dtype=np.float64)


def _number(value: object) -> float:
    try:
        return float(str(value))
    except ValueError:
        return float("nan")


def _column(table: Table, name: str) -> Values:
    values: Values = table.column(name).to_numpy(zero_copy_only=False)
    return values


def judged_pairs(table: Table, loss: Loss) -> Pairs:
    """Count pairs whose label is known."""
    counts, truth = loss.counts(table), _column(table, "truth")

    def bad(arm: str) -> Flags:
        return loss.bad(_column(table, f"{arm}_label"), _column(table, f"{arm}_prediction"), truth)

    ours = bad("champion")
    theirs = bad("challenger") | (_column(table, "challenger_status") != OK)
    return Pairs(
        worse=int(np.sum(counts & theirs & ~ours)),
        better=int(np.sum(counts & ours & ~theirs)),
        same=int(np.sum(counts & (ours == theirs))),
    )


def judged_segments(table: Table, loss: Loss, restart: int) -> tuple[tuple[Segment, ...], tuple[Assigned, ...]]:
    """Count labelled answers per propensity and arm; also how many labels each arm has, for the sample ratio."""
    flags, propensity = _column(table, "flags"), _column(table, "propensity")
    counts = loss.counts(table) & (_column(table, "restart") == restart)
    counts &= (propensity > 0) & (propensity < BASIS) & (flags & (SHADOW | FORCED) == 0)
    bad = loss.bad(_column(table, "label"), _column(table, "prediction"), _column(table, "truth"))
    bad |= (_column(table, "status") != OK) | (flags & FALLBACK != 0)
    challenger = _column(table, "variant") == "challenger"
    segments, labelled = [], []
    for share in sorted(set(propensity[counts].tolist())):
        here = counts & (propensity == share)
        segment = Segment(
            propensity=share / BASIS,
            challenger_bad=int(np.sum(here & challenger & bad)),
            challenger_good=int(np.sum(here & challenger & ~bad)),
            champion_bad=int(np.sum(here & ~challenger & bad)),
            champion_good=int(np.sum(here & ~challenger & ~bad)),
        )
        segments.append(segment)
        labelled.append(Assigned(int(share), segment.challenger, segment.champion))
    return tuple(segments), tuple(labelled)


def freeze(table: Table, version: int, rollout: str) -> Loss | None:
    """Freeze the champion's p90 error from its labelled answers; None while there are too few.

    Answers from before the rollout are taken if there are enough; else the first of the rollout itself,
    which then are left out of the evidence.
    """
    errors = np.abs(numbers(_column(table, "prediction")) - numbers(_column(table, "truth")))
    usable = (_column(table, "row") == 0) & (_column(table, "version") == version) & np.isfinite(errors)
    usable &= _column(table, "flags") & (SHADOW | FALLBACK | FORCED) == 0
    before = usable & (_column(table, "rollout") != rollout)
    if np.sum(before) >= FREEZE_ROWS:
        return Loss(Task.REGRESSION, float(np.quantile(errors[before], 0.9)))
    if np.sum(usable) < FREEZE_ROWS:
        return None
    last = max(_column(table, "event_id")[usable].tolist())
    return Loss(Task.REGRESSION, float(np.quantile(errors[usable], 0.9)), last)
