"""Compare two tables once, without a server: which columns changed by more than a trifle, and how.

Every column gets an e-value against "no share moved by more than the tolerance" from the same bets that
watch live traffic; the columns that are named are chosen by e-BH, so that of those at most one in twenty
is expected to be named wrongly, whatever the columns have to do with each other.
"""

from collections.abc import Sequence
from math import log
from typing import Any

import numpy as np
from msgspec import Struct

from shipway.monitor import changes, files
from shipway.monitor.changes import Change, percent
from shipway.monitor.files import Rows
from shipway.monitor.policy import Policy, default_policy
from shipway.stats import distances, edetector, profile
from shipway.stats.profile import Cells, ColumnReference

FALSE_SHARE = 0.05


class Compared(Struct, frozen=True):
    """One column of a comparison."""

    column: str
    kind: str
    changed: bool
    log_e: float
    """Evidence that it changed by more than the tolerance; 3 is e cubed, twenty to one."""
    sentence: str
    distance: float
    """Kolmogorov-Smirnov distance; for levels the largest change of a share."""
    stability_index: float
    jensen_shannon: float
    moved: float
    """Approximate Wasserstein distance, in the column's unit; 0 for levels."""
    missing_before: float
    missing_after: float
    new: float
    """Share of values that are levels never seen in the reference."""
    outside: float
    """Share of values outside the reference's range."""
    detail: Change


class Comparison(Struct, frozen=True):
    """Two tables, column by column; those that changed first, most affected first."""

    changed: tuple[str, ...]
    """Names of columns that changed, or are gone."""
    sentence: str
    rows_before: int
    rows_after: int
    columns: tuple[Compared, ...]
    gone: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    """Columns without a profile: dates, lists and bytes."""
    retyped: tuple[str, ...] = ()
    """Columns of numbers that hold text now."""

    def __str__(self) -> str:
        heads = ("column", "changed", "distance", "PSI", "missing", "new or outside", "what")
        lines = [
            (
                c.column, "yes" if c.changed else "", f"{c.distance:.3f}", f"{c.stability_index:.3f}",
                f"{percent(c.missing_before)} -> {percent(c.missing_after)}", percent(max(c.new, c.outside)),
                c.sentence if c.changed else "",
            )
            for c in self.columns
        ]  # fmt: skip
        return f"{self.sentence}\n\n{table(heads, lines)}"


class ColumnProfile(Struct, frozen=True):
    """What one column holds."""

    column: str
    kind: str
    missing: float
    figures: dict[str, Any]
    levels: dict[str, float]
    """Most frequent levels and their shares of present values."""


class TableProfile(Struct, frozen=True):
    """What the columns of a table hold."""

    rows: int
    columns: tuple[ColumnProfile, ...]
    left_out: tuple[str, ...] = ()

    def __str__(self) -> str:
        lines = [(c.column, c.kind, percent(c.missing), _values(c)) for c in self.columns]
        written = table(("column", "kind", "missing", "values"), lines)
        return f"{self.rows:,} rows, {len(self.columns)} columns\n\n{written}"


def compare(reference: object, current: object, policy: Policy | None = None) -> Comparison:
    """Compare a table with an earlier one, or with what a bundle was made for.

    Args:
        reference: a pyarrow table, a Parquet, CSV or JSON Lines file, a bundle folder or its profile.json.
        current: a table or file.
        policy: its `ignore_changes_below`, `quality` and `ignore_columns` hold here; the default one if None.

    Raises:
        Missing: a file is not there.
        Rejected: a file cannot be read as a table, has no rows, or the two have no column in common.
    """
    rule = default_policy() if policy is None else policy
    now = files.open_rows(current)
    made = files.open_reference(reference)
    before = None if made is not None else files.open_rows(reference)
    rows = made.rows if made is not None else before.rows if before is not None else 0
    known = [c.name for c in made.columns] if made is not None else list(before.names if before is not None else ())
    names = [n for n in known if n not in rule.ignore_columns]
    pairs: list[tuple[ColumnReference, Cells]] = []
    left_out, retyped = [], []
    for name in (n for n in names if n in now.names):
        column = now.fetch(name)
        was = made.column(name) if made is not None else _reference_of(before, name)
        if was is None or files.kind(column) == "other":
            left_out.append(name)
            continue
        cells = files.count(was, column)
        if cells is None:
            retyped.append(name)
        else:
            pairs.append((was, cells))
    # A bundle's reference holds the model's answers too, which a file of inputs has not.
    gone = tuple(n for n in names if n not in now.names and not n.startswith("output."))
    compared = _compared(pairs, rule)
    changed = (*gone, *retyped, *(c.column for c in compared if c.changed))
    added = tuple(n for n in now.names if n not in known)
    return Comparison(
        changed=changed,
        sentence=_sentence(compared, gone, retyped, rule),
        rows_before=rows,
        rows_after=now.rows,
        columns=tuple(compared),
        gone=gone,
        added=added,
        left_out=tuple(left_out),
        retyped=tuple(retyped),
    )


def describe(data: object) -> TableProfile:
    """Say what the columns of a table hold: range, quantiles, missing cells, levels.

    Raises:
        Missing: the file is not there.
        Rejected: it cannot be read as a table, or has no rows.
    """
    source = files.open_rows(data)
    found, left_out = [], []
    for name in source.names:
        made = _reference_of(source, name)
        if made is None:
            left_out.append(name)
            continue
        cells = np.array(made.counts, np.int64)
        figures = changes.figures(made, cells)
        figures |= {} if made.low is None else {"low": made.low, "high": made.high}
        top = dict(zip(made.levels, distances.shares(cells)[2:].tolist(), strict=False))
        found.append(ColumnProfile(name, made.kind, figures.pop("missing"), figures, top))
    return TableProfile(source.rows, tuple(found), tuple(left_out))


def table(heads: tuple[str, ...], lines: Sequence[tuple[str, ...]]) -> str:
    """Write rows under heads in aligned columns of plain text."""
    widths = [max(len(str(line[i])) for line in [heads, *lines]) for i in range(len(heads))]
    rule = tuple("-" * width for width in widths)
    padded = [[f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)] for line in [heads, rule, *lines]]
    return "\n".join("  ".join(line).rstrip() for line in padded)


def _reference_of(source: Rows | None, name: str) -> ColumnReference | None:
    if source is None:
        return None
    column = source.fetch(name)
    return None if files.kind(column) == "other" else files.make(name, column)


def _compared(pairs: list[tuple[ColumnReference, Cells]], policy: Policy) -> list[Compared]:
    whole = profile.assemble(tuple(c for c, _ in pairs), max((sum(c.counts) for c, _ in pairs), default=0))
    rows = max((int(cells.sum()) for _, cells in pairs), default=0)
    counted = np.concatenate([cells for _, cells in pairs]) if pairs else np.zeros(0, np.int64)
    armed = edetector.arm(
        whole, tolerance=policy.ignore_changes_below, quality_tolerance=policy.quality.ignore_changes_below
    )
    window = profile.Profile(whole.layout, rows, counted)
    weighed = edetector.weigh(armed, edetector.update(armed, edetector.start(armed), window))
    evidence = np.logaddexp(weighed.shape_of, weighed.quality_of) - log(2.0)
    named = set(edetector.named(evidence, false_share=FALSE_SHARE))
    found = []
    for at, (column, cells) in enumerate(pairs):
        before = np.array(column.counts, np.int64)
        is_quality = weighed.quality_of[at] > weighed.shape_of[at]
        told = (changes.quality if is_quality else changes.shape)(
            column, before, cells, max(float(evidence[at]), -99.0)
        )
        was, now = distances.rates(column, before), distances.rates(column, cells)
        found.append(
            Compared(
                column.name, column.kind, at in named, told.log_e, told.sentence,
                distances.kolmogorov_smirnov(column, before, cells), distances.population_stability(before, cells),
                distances.jensen_shannon(before, cells), distances.wasserstein(column, before, cells),
                was.missing, now.missing, now.new, now.outside, told,
            )
        )  # fmt: skip
    return sorted(found, key=lambda c: (not c.changed, -c.detail.distance if c.changed else -c.distance, c.column))


def _sentence(compared: list[Compared], gone: tuple[str, ...], retyped: list[str], policy: Policy) -> str:
    total = len(compared) + len(gone) + len(retyped)
    moved = [c for c in compared if c.changed]
    parts = [f"{', '.join(gone)} {'is' if len(gone) == 1 else 'are'} gone"] if gone else []
    parts += (
        [f"{', '.join(retyped)} {'holds' if len(retyped) == 1 else 'hold'} text instead of numbers"] if retyped else []
    )
    parts += [c.sentence for c in moved[:3]]
    parts += [f"and {len(moved) - 3} more"] if len(moved) > 3 else []
    ignored = f"changes below {percent(policy.ignore_changes_below)} of rows are ignored"
    if not parts:
        return f"none of {total} columns changed ({ignored})"
    count = len(moved) + len(gone) + len(retyped)
    return f"{count} of {total} columns changed: {'; '.join(parts)} ({ignored})"


def _values(column: ColumnProfile) -> str:
    if column.kind == "level":
        return ", ".join(f"{level} {percent(share)}" for level, share in list(column.levels.items())[:4])
    known = column.figures
    if "low" not in known:
        return ""
    low, median, high = (changes.number(known[k]) for k in ("low", "median", "high"))
    return f"{low} to {high}, median {median}" + (" characters" if column.kind == "length" else "")
