"""Say in words and figures how one column changed, for signals, pages and `monitor compare`."""

from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from shipway.stats import distances
from shipway.stats.distances import Rates
from shipway.stats.profile import ColumnReference

Cells = NDArray[np.int64]

LONGEST_CHART = 24
"""Bars of a chart; the levels beyond are shown as one."""


class Chart(Struct, frozen=True):
    """Shares of rows before and after, in the order of the axis."""

    labels: tuple[str, ...]
    before: tuple[float, ...]
    after: tuple[float, ...]


class Change(Struct, frozen=True):
    """One column, before and after."""

    column: str
    kind: Literal["number", "level", "length"]
    what: Literal["shape", "quality"]
    """The distribution of present values, or missing, new and out-of-range cells."""
    log_e: float
    distance: float
    """Largest difference of a share: the Kolmogorov-Smirnov distance for `shape`."""
    sentence: str
    before: dict[str, Any]
    after: dict[str, Any]
    chart: Chart


def shape(column: ColumnReference, before: Cells, after: Cells, log_e: float) -> Change:
    """Describe how the distribution of a column changed."""
    return Change(
        column=column.name,
        kind=column.kind,
        what="shape",
        log_e=log_e,
        distance=distances.kolmogorov_smirnov(column, before, after),
        sentence=f"{column.name}: {_shape_words(column, before, after)}",
        before=figures(column, before),
        after=figures(column, after)
        | {
            "stability_index": distances.population_stability(before, after),
            "jensen_shannon": distances.jensen_shannon(before, after),
            "moved": distances.wasserstein(column, before, after),
        },
        chart=chart(column, before, after),
    )


def quality(column: ColumnReference, before: Cells, after: Cells, log_e: float) -> Change:
    """Describe how the missing, new and out-of-range cells of a column changed."""
    was, now = distances.rates(column, before), distances.rates(column, after)
    gaps = [
        abs(now.missing - was.missing),
        abs(now.new - was.new),
        abs(now.below - was.below),
        abs(now.above - was.above),
    ]
    return Change(
        column=column.name,
        kind=column.kind,
        what="quality",
        log_e=log_e,
        distance=max(gaps),
        sentence=f"{column.name}: {_quality_words(column, was, now, gaps.index(max(gaps)))}",
        before=figures(column, before),
        after=figures(column, after),
        chart=chart(column, before, after),
    )


def figures(column: ColumnReference, cells: Cells) -> dict[str, Any]:
    """Return the figures of one side that pages and tables show."""
    rates = distances.rates(column, cells)
    found: dict[str, Any] = {"rows": rates.rows, "missing": rates.missing}
    if column.kind == "level":
        return found | {"new": rates.new}
    low, median, high = distances.quantiles(column, cells, [0.05, 0.5, 0.95]).tolist()
    known = {"p5": low, "median": median, "p95": high, "mean": distances.mean(column, cells)}
    return found | {"outside": rates.outside} | {k: v for k, v in known.items() if np.isfinite(v)}


def chart(column: ColumnReference, before: Cells, after: Cells) -> Chart:
    """Return shares of present cells, with cells that neither side fills left out at the ends."""
    was, now = distances.shares(before), distances.shares(after)
    if column.kind == "level":
        labels = ["new", "other", *column.levels]
        # The most frequent of both sides first; new and other last.
        order = [*(2 + np.argsort(-np.maximum(was[2:], now[2:]), kind="stable")).tolist(), 1, 0]
        shown = [i for i in order if was[i] or now[i]][:LONGEST_CHART]
    else:
        labels = ["below", *_bins(column), "above"]
        shown = [i for i in range(len(labels)) if 0 < i < len(labels) - 1 or was[i] or now[i]]
    return Chart(
        labels=tuple(labels[i] for i in shown),
        before=tuple(round(float(was[i]), 6) for i in shown),
        after=tuple(round(float(now[i]), 6) for i in shown),
    )


def number(value: float) -> str:
    """Write a number with about four digits.

    >>> number(1234567.0), number(12.3456), number(0.00012)
    ('1,234,567', '12.35', '0.00012')
    """
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}"


def percent(share: float) -> str:
    """Write a share in percent.

    >>> percent(0.5), percent(0.038), percent(0.0004), percent(0.0)
    ('50 %', '3.8 %', '0.04 %', '0 %')
    """
    value = 100 * share
    if value and abs(value) < 0.95:
        return f"{value:.1g} %"
    return f"{value:.0f} %" if value >= 10 or not value else f"{value:.1f} %"


def moment(at: float) -> str:
    """Write an instant.

    >>> moment(0.0)
    '1970-01-01 00:00:00 UTC'
    """
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _shape_words(column: ColumnReference, before: Cells, after: Cells) -> str:
    was, now = distances.shares(before), distances.shares(after)
    if column.kind == "level":
        at = int(np.abs(now - was).argmax())
        who = ["values never seen before", "rare values", *(f"'{_short(level)}'" for level in column.levels)][at]
        return f"{who} in {percent(now[at])} of rows, was {percent(was[at])}"
    what = "length" if column.kind == "length" else "values"
    (old,), (new,) = distances.quantiles(column, before, [0.5]), distances.quantiles(column, after, [0.5])
    if number(old) != number(new) and np.isfinite(old) and np.isfinite(new):
        return f"median{' length' if column.kind == 'length' else ''} {number(new)}, was {number(old)}"
    return f"{percent(distances.kolmogorov_smirnov(column, before, after))} of {what} lie elsewhere in the range"


def _quality_words(column: ColumnReference, was: Rates, now: Rates, worst: int) -> str:
    if worst == 0:
        return f"missing in {percent(now.missing)} of rows, was {percent(was.missing)}"
    if worst == 1:
        return f"{percent(now.new)} of values were never seen before, was {percent(was.new)}"
    what = "lengths" if column.kind == "length" else "values"
    if worst == 2:
        low = number(column.low or 0.0)
        return f"{percent(now.below)} of {what} lie below {low}, the lowest seen before, was {percent(was.below)}"
    high = number(column.high or 0.0)
    return f"{percent(now.above)} of {what} lie above {high}, the highest seen before, was {percent(was.above)}"


def _bins(column: ColumnReference) -> list[str]:
    if column.low is None or column.high is None:
        return ["any"]
    ends = [column.low, *column.edges, column.high]
    if column.low == column.high:
        return [number(column.low)]
    return [f"{number(a)} to {number(b)}" for a, b in pairwise(ends)]


def _short(text: str) -> str:
    return text if len(text) <= 40 else text[:37] + "..."
