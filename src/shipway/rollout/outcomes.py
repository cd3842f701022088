"""Turn labelled captures into the evidence of a guardrail on quality.

A loss is 0 or 1: a classifier's answer is wrong, or a regressor's error is above the champion's frozen p90.
A failure, or an answer that the champion gave for a failed challenger, counts against the challenger once
its label is known, as it does for the champion: counting it earlier would compare labelled with unlabelled.
Of a request with many rows the first one speaks, because rows of one request share their fate.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import numpy as np
from msgspec import Struct

from shipway.rollout.decide import Assigned
from shipway.stats.evalue import Segment
from shipway.stats.paired import Pairs
from shipway.terms import BASIS, Task

SHADOW, FALLBACK, FORCED = 1, 2, 4
OK = 200
FREEZE_ROWS = 100
"""So many labelled answers of the champion freeze its p90."""


class Outcomes(Protocol):
    """What a rollout asks of the lake; the tables are pyarrow's.

    Laws: `outcomes` has one row per row of a primary request, with `truth` null while there is no label;
    `pairs` has one per row of a request that both answered.
    """

    def outcomes(self, project: str, endpoint: str, *, since: float | None = None, rollout: str | None = None) -> Any:  # noqa: ANN401  -- a pyarrow table
        """Return event_id, row, at, variant, version, rollout, restart, propensity, status, flags, label, prediction, truth."""
        ...

    def pairs(self, project: str, endpoint: str, *, rollout: str, restart: int) -> Any:  # noqa: ANN401  -- a pyarrow table
        """Return event_id, row, champion_label, champion_prediction, challenger_label, challenger_prediction, challenger_status, truth."""
        ...


class Loss(Struct, frozen=True):
    """How an answer is judged."""

    task: Task
    above: float | None = None
    """Regression: an error above this is bad. None while it is not frozen."""
    after_event: str = ""
    """Only later events count: the earlier ones froze `above`."""

    def bad(self, label: object, prediction: object, truth: object) -> bool:
        """Whether an answer was bad.

        >>> Loss(Task.BINARY).bad("yes", None, "no"), Loss(Task.REGRESSION, above=2.0).bad(None, 5.0, "4")
        (True, False)
        """
        if self.task is not Task.REGRESSION:
            return _text(label) != _text(truth)
        error = _error(prediction, truth)
        return error is None or self.above is None or error > self.above


def _text(value: object) -> str:
    """Write a label as classes are written: 1.0, 1 and "1" are one class."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _error(prediction: object, truth: object) -> float | None:
    try:
        error = abs(float(str(prediction)) - float(str(truth)))
    except ValueError:
        return None
    return error if np.isfinite(error) else None


def _rows(table: Any, names: Iterable[str]) -> Iterable[Mapping[str, Any]]:  # noqa: ANN401  -- a pyarrow table
    columns = {name: table.column(name).to_pylist() for name in names}
    for i in range(table.num_rows):
        row = {name: values[i] for name, values in columns.items()}
        if row["row"] == 0 and row["truth"] is not None:
            yield row


def judged_pairs(table: Any, loss: Loss) -> Pairs:  # noqa: ANN401  -- a pyarrow table
    """Count pairs whose label is known."""
    names = ["event_id", "row", "truth", "challenger_status"]
    names += [f"{arm}_{part}" for arm in ("champion", "challenger") for part in ("label", "prediction")]
    worse = better = same = 0
    for row in _rows(table, names):
        if row["event_id"] <= loss.after_event:
            continue
        ours = loss.bad(row["champion_label"], row["champion_prediction"], row["truth"])
        theirs = row["challenger_status"] != OK or loss.bad(
            row["challenger_label"], row["challenger_prediction"], row["truth"]
        )
        worse += theirs and not ours
        better += ours and not theirs
        same += ours == theirs
    return Pairs(worse=worse, better=better, same=same)


def judged_segments(table: Any, loss: Loss, restart: int) -> tuple[tuple[Segment, ...], tuple[Assigned, ...]]:  # noqa: ANN401  -- a pyarrow table
    """Count labelled answers per propensity and arm; also how many labels each arm has, for the sample ratio."""
    names = ["event_id", "row", "variant", "restart", "propensity", "status", "flags", "label", "prediction", "truth"]
    sums: dict[int, dict[str, list[int]]] = {}
    for row in _rows(table, names):
        here = row["restart"] == restart and 0 < row["propensity"] < BASIS
        if not here or row["flags"] & (SHADOW | FORCED) or row["event_id"] <= loss.after_event:
            continue
        failed = row["status"] != OK or bool(row["flags"] & FALLBACK)
        bad = failed or loss.bad(row["label"], row["prediction"], row["truth"])
        arm = "challenger" if row["variant"] == "challenger" else "champion"
        counts = sums.setdefault(row["propensity"], {"champion": [0, 0], "challenger": [0, 0]})
        counts[arm][0 if bad else 1] += 1
    ordered = sorted(sums.items())
    segments = tuple(Segment(p / BASIS, *arms["challenger"], *arms["champion"]) for p, arms in ordered)
    labelled = tuple(Assigned(p, sum(arms["challenger"]), sum(arms["champion"])) for p, arms in ordered)
    return segments, labelled


def freeze(table: Any, version: int, rollout: str) -> Loss | None:  # noqa: ANN401  -- a pyarrow table
    """Freeze the champion's p90 error from its first labelled answers; None while there are too few.

    Answers from before the rollout are taken if there are enough; else the first of the rollout itself,
    which then are left out of the evidence.
    """
    names = ["event_id", "row", "version", "rollout", "prediction", "truth", "flags"]
    found = [
        (row["rollout"] == rollout, row["event_id"], error)
        for row in _rows(table, names)
        if row["version"] == version
        and not row["flags"] & (SHADOW | FALLBACK | FORCED)
        and (error := _error(row["prediction"], row["truth"])) is not None
    ]
    before = [error for during, _, error in found if not during]
    if len(before) >= FREEZE_ROWS:
        return Loss(Task.REGRESSION, float(np.quantile(before, 0.9)))
    if len(found) < FREEZE_ROWS:
        return None
    last = max(event for _, event, _ in found)
    return Loss(Task.REGRESSION, float(np.quantile([error for *_, error in found], 0.9)), last)
