"""Say what a table looks like in counts that add up exactly.

`make_reference` looks at training or holdout rows once and fixes the edges; `count` counts any
other rows on those edges; `add` joins two counts. A profile is one vector of whole numbers, so
counting two halves and adding is the same as counting the whole, over hours, replicas and slices,
and every statistic of drift is read from it later.

A column of numbers has 20 bins between quantiles of the reference (or one per value where it has
no more than 20), a column of text has its most frequent levels. Missing cells, values outside the
reference's range and levels never seen before have cells of their own.

Not here: how far two profiles are apart (`shipway.stats.distances`), and when that is news
(`shipway.stats.edetector`).
"""

import hashlib
from collections import Counter
from collections.abc import Mapping
from typing import Any, Literal

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from shipway.errors import Rejected
from shipway.terms import Column, Signature

FORMAT = 1
BINS = 20
"""Bins of a column of numbers."""

LEVELS = 20
"""Levels of a text column that get a cell of their own, unless the caller wants up to 200."""

KNOWN = 1000
"""Levels that a reference remembers by name, to tell a rare one from a new one."""

LONGEST_LEVEL = 200
"""Text with longer values is not a level: its length in characters is profiled instead."""

WIDEST = 64
"""A column of vectors is profiled position by position up to this many positions."""

SORT_FROM = 20_000
"""From this many rows on, sorting (which numpy vectorises) beats looking up every value."""

Cells = NDArray[np.int64]
Kind = Literal["number", "level", "length"]

MISSING, BELOW, NEW = 0, 1, 1
OTHER = 2


class ColumnReference(Struct, frozen=True, omit_defaults=True):
    """One column of a reference: its edges or levels, and how many rows fell into each cell.

    Cells of numbers (and of lengths of text): missing, below `low`, the bins, above `high`.
    Cells of levels: missing, new, other (known but not in `levels`), one per level.
    """

    name: str
    kind: Kind
    counts: tuple[int, ...]
    """Cells of the reference rows."""
    edges: tuple[float, ...] = ()
    """Upper ends of all bins but the last, inclusive, growing."""
    low: float | None = None
    high: float | None = None
    levels: tuple[str, ...] = ()
    """Most frequent first."""
    rare: tuple[str, ...] | None = ()
    """Other known levels, sorted; None if there are too many to tell a rare level from a new one."""
    unseen: float = 0.0
    """Share of rows that may be expected to bring a new level (Good-Turing: share of levels seen once)."""
    deff: float = 1.0
    """Design effect: this many neighbouring rows tell as much as one independent row; 1 if rows are independent."""

    @property
    def size(self) -> int:
        """Number of cells."""
        return len(self.edges) + 4 if self.kind != "level" else len(self.levels) + 3


class Reference(Struct, frozen=True, omit_defaults=True):
    """What a bundle promises about its data, as `reference/profile.json`."""

    format: int
    rows: int
    layout: str
    """Digest of names, edges and levels: profiles with the same layout add up."""
    columns: tuple[ColumnReference, ...]

    def column(self, name: str) -> ColumnReference | None:
        """Return the column of this name, or None."""
        return next((c for c in self.columns if c.name == name), None)

    @property
    def size(self) -> int:
        """Number of cells of all columns."""
        return sum(c.size for c in self.columns)


class Profile(Struct, frozen=True, eq=False):
    """Counts of some rows on the cells of one reference."""

    layout: str
    rows: int
    cells: Cells
    """All columns' cells one after the other, in the reference's order."""

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Profile):
            return NotImplemented
        same = self.layout == other.layout and self.rows == other.rows
        return same and np.array_equal(self.cells, other.cells)

    def __hash__(self) -> int:
        return hash((self.layout, self.rows, self.cells.tobytes()))


def flatten(
    signature: Signature, inputs: Mapping[str, NDArray[Any]], outputs: Mapping[str, NDArray[Any]] | None = None
) -> dict[str, NDArray[Any]]:
    """Name every column that is worth a profile, one-dimensional each.

    Inputs keep their names. Outputs become `output.label`, `output.score` (the probability of the second
    class, or the largest where there are more than two) and `output.prediction`, other tensors `output.NAME`.
    A column of vectors becomes `NAME[0]`, `NAME[1]`, ... up to 64 positions, beyond that it is left out.

    >>> flatten(Signature((), (), ("no", "yes")), {}, {"probability": np.array([[0.25, 0.75]])})
    {'output.score': array([0.75])}
    """
    flat: dict[str, NDArray[Any]] = {}
    for name, values in inputs.items():
        flat |= _positions(name, values)
    for name, values in (outputs or {}).items():
        if name == "probability" and signature.classes and values.ndim == 2:
            flat["output.score"] = values[:, 1] if values.shape[1] == 2 else values.max(axis=1, initial=0.0)
        else:
            flat |= _positions(f"output.{name}", values)
    return flat


def make_reference(
    signature: Signature,
    columns: Mapping[str, NDArray[Any]],
    *,
    max_levels: int = LEVELS,
) -> Reference:
    """Fix edges and levels from rows, and count the same rows on them.

    Args:
        signature: of the model; its known levels and ranges widen what counts as seen.
        columns: one-dimensional arrays of equal length, as `flatten` gives them.
        max_levels: levels with a cell of their own, 1 to 200.

    Raises:
        Rejected: columns of different length.

    >>> made = make_reference(Signature((), ()), {"age": np.array([30.0, 41.0, np.nan, 30.0])})
    >>> made.columns[0].edges, made.columns[0].counts
    ((30.0,), (1, 0, 2, 1, 0))
    """
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        raise Rejected(f"columns of different length: {lengths}", fix="give every column the same number of rows")
    made = tuple(
        column_reference(name, values, seen=signature.input(name), max_levels=max_levels)
        for name, values in columns.items()
    )
    return assemble(made, max(lengths.values(), default=0))


def assemble(columns: tuple[ColumnReference, ...], rows: int) -> Reference:
    """Make a reference of finished columns."""
    shape = [(c.name, c.kind, c.edges, c.low, c.high, c.levels, c.rare) for c in columns]
    layout = hashlib.blake2b(msgspec.json.encode(shape), digest_size=8).hexdigest()
    return Reference(FORMAT, rows, layout, columns)


def column_reference(
    name: str, values: NDArray[Any], *, seen: Column | None = None, max_levels: int = LEVELS, bins: int = BINS
) -> ColumnReference:
    """Make the reference of one column from its values."""
    if values.dtype.kind in "fiu":
        return _number_reference(name, "number", values.astype(np.float64, copy=False), seen, bins)
    return level_reference(name, Counter(values.tolist()), seen=seen, max_levels=max_levels)


def level_reference(
    name: str, counted: Mapping[Any, int], *, seen: Column | None = None, max_levels: int = LEVELS
) -> ColumnReference:
    """Make the reference of a text or yes-no column from how often each value occurs; None and NaN are missing."""
    present = {_text(v): int(n) for v, n in counted.items() if not _is_missing(v)}
    if max(map(len, present), default=0) > LONGEST_LEVEL or (len(present) > KNOWN and _is_free(present)):
        lengths = np.repeat([float(len(v)) for v in present], list(present.values()))
        missing = np.full(sum(counted.values()) - lengths.size, np.nan)
        return _number_reference(name, "length", np.concatenate([lengths, missing]), None, BINS)
    ranked = sorted(present, key=lambda level: (-present[level], level))
    top = tuple(ranked[: max(1, min(max_levels, 200))])
    known = set(ranked) | set((seen.levels if seen is not None else None) or ())
    singles = sum(n == 1 for n in present.values())
    total = sum(present.values())
    made = ColumnReference(
        name,
        "level",
        (),
        levels=top,
        rare=tuple(sorted(known - set(top))) if len(known) <= KNOWN else None,
        unseen=singles / total if total and len(known) <= KNOWN else 0.0,
    )
    return msgspec.structs.replace(made, counts=tuple(level_cells(made, counted).tolist()))


def count(reference: Reference, columns: Mapping[str, NDArray[Any]]) -> Profile:
    """Count rows on the reference's cells.

    A column that `columns` lacks counts nothing; a column that the reference lacks is ignored.

    >>> made = make_reference(Signature((), ()), {"age": np.array([30.0, 41.0])})
    >>> count(made, {"age": np.array([99.0, 30.0, np.nan])}).cells.tolist()
    [1, 0, 1, 0, 1]
    """
    rows = max((len(columns[c.name]) for c in reference.columns if c.name in columns), default=0)
    parts = [
        column_cells(c, columns[c.name]) if c.name in columns else np.zeros(c.size, np.int64) for c in reference.columns
    ]
    return Profile(reference.layout, rows, np.concatenate(parts) if parts else np.zeros(0, np.int64))


def column_cells(column: ColumnReference, values: NDArray[Any]) -> Cells:
    """Count one column's values on its cells."""
    if column.kind == "level":
        return level_cells(column, Counter(values.tolist()))
    if column.kind == "length":
        return _number_cells(column, _lengths(values))
    return _number_cells(column, _numbers(values))


def level_cells(column: ColumnReference, counted: Mapping[Any, int]) -> Cells:
    """Count one column's levels on its cells from how often each value occurs."""
    if column.kind == "length":
        counted_lengths = [(np.nan if _is_missing(v) else float(len(_text(v))), n) for v, n in counted.items()]
        return _number_cells(column, np.repeat([v for v, _ in counted_lengths], [n for _, n in counted_lengths]))
    cells = np.zeros(column.size, np.int64)
    place = {level: i + 3 for i, level in enumerate(column.levels)}
    rare = None if column.rare is None else frozenset(column.rare)
    for value, n in counted.items():
        if _is_missing(value):
            cells[MISSING] += n
            continue
        level = _text(value)
        at = place.get(level)
        if at is None:
            at = OTHER if rare is None or level in rare else NEW
        cells[at] += n
    return cells


def add(a: Profile, b: Profile) -> Profile:
    """Join two profiles of the same reference, exactly.

    Raises:
        Rejected: they were counted on different edges.
    """
    if a.layout != b.layout:
        raise Rejected(
            f"profiles on different edges do not add up (layouts {a.layout} and {b.layout})",
            fix="count both on the reference of the same version",
        )
    return Profile(a.layout, a.rows + b.rows, a.cells + b.cells)


def empty(reference: Reference) -> Profile:
    """Return the profile of no rows."""
    return Profile(reference.layout, 0, np.zeros(reference.size, np.int64))


def own(reference: Reference) -> Profile:
    """Return the profile of the reference's own rows."""
    cells = [n for c in reference.columns for n in c.counts]
    return Profile(reference.layout, reference.rows, np.array(cells, np.int64))


def spans(reference: Reference) -> dict[str, slice]:
    """Return where each column's cells are in a profile."""
    placed, start = {}, 0
    for column in reference.columns:
        placed[column.name] = slice(start, start + column.size)
        start += column.size
    return placed


def encode(profile: Profile) -> bytes:
    """Write a profile in a few bytes a cell."""
    top = int(profile.cells.max(initial=0))
    width = "<u2" if top < 1 << 16 else "<u4" if top < 1 << 32 else "<i8"
    return msgspec.msgpack.encode((FORMAT, profile.layout, profile.rows, width, profile.cells.astype(width).tobytes()))


def decode(data: bytes) -> Profile:
    """Read what `encode` wrote.

    Raises:
        Rejected: these bytes are no profile of a format we know.
    """
    try:
        version, layout, rows, width, cells = msgspec.msgpack.decode(
            data, type=tuple[int, str, int, Literal["<u2", "<u4", "<i8"], bytes]
        )
        counted = np.frombuffer(cells, width).astype(np.int64)
    except (msgspec.DecodeError, ValueError) as exc:
        raise Rejected(f"{len(data)} bytes are not an encoded profile", fix="collect the segment again") from exc
    if version != FORMAT:
        raise Rejected(f"a profile of format {version} cannot be read here", fix="update Shipway")
    return Profile(layout, rows, counted)


def _positions(name: str, values: NDArray[Any]) -> dict[str, NDArray[Any]]:
    if values.ndim == 1:
        return {name: values}
    flat = values.reshape(len(values), int(np.prod(values.shape[1:])))
    if flat.shape[1] > WIDEST:
        return {}
    return {f"{name}[{i}]": flat[:, i] for i in range(flat.shape[1])}


def _number_reference(
    name: str, kind: Kind, values: NDArray[np.float64], seen: Column | None, bins: int
) -> ColumnReference:
    present, missing = _sorted(values)
    ordered = present[np.searchsorted(present, -np.inf, "right") : np.searchsorted(present, np.inf, "left")]
    made = ColumnReference(name, kind, ())
    if ordered.size:
        low = min(float(ordered[0]), seen.low if seen is not None and seen.low is not None else np.inf)
        high = max(float(ordered[-1]), seen.high if seen is not None and seen.high is not None else -np.inf)
        made = msgspec.structs.replace(made, edges=_edges(ordered, bins), low=low, high=high)
    return msgspec.structs.replace(made, counts=tuple(_sorted_cells(made, present, missing).tolist()))


def _edges(ordered: NDArray[np.float64], bins: int) -> tuple[float, ...]:
    """Cut sorted values into so many bins at most; a value that fills several alone gets one to itself."""
    starts = np.flatnonzero(np.diff(ordered, prepend=-np.inf))
    if starts.size <= bins:
        return tuple(ordered[starts[:-1]].tolist())
    ranks = -(-ordered.size * np.arange(1, bins) // bins) - 1
    quantiles, repeats = np.unique(ordered[ranks], return_counts=True)
    heavy = quantiles[repeats > 1]
    before = np.searchsorted(ordered, heavy, side="left") - 1
    cuts = np.union1d(quantiles, ordered[before[before >= 0]])
    return tuple(cuts[cuts < ordered[-1]].tolist())


def _number_cells(column: ColumnReference, values: NDArray[np.float64]) -> Cells:
    if values.size >= SORT_FROM:
        return _sorted_cells(column, *_sorted(values))
    missing = np.isnan(values)
    present = values[~missing]
    edges = np.array(column.edges)
    bins = np.bincount(np.searchsorted(edges, present, side="left"), minlength=edges.size + 1)
    low, high = _range(column)
    return _cells(bins, int(missing.sum()), int((present < low).sum()), int((present > high).sum()))


def _sorted_cells(column: ColumnReference, present: NDArray[np.float64], missing: int) -> Cells:
    """Count values that are sorted and hold no NaN."""
    low, high = _range(column)
    up_to = np.searchsorted(present, np.array(column.edges), side="right")
    bins = np.diff(up_to, prepend=0, append=present.size)
    below = int(np.searchsorted(present, low, side="left"))
    return _cells(bins, missing, below, present.size - int(np.searchsorted(present, high, side="right")))


def _cells(bins: NDArray[np.int64], missing: int, below: int, above: int) -> Cells:
    """Join the cells of a column; the outer bins give up their rows outside the range.

    That is exact, because the first edge is at least `low` and the last one below `high`.
    """
    cells = np.concatenate([[missing, below], bins, [above]]).astype(np.int64)
    cells[2] -= below
    cells[-2] -= above
    return cells


def _sorted(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], int]:
    """Return sorted values without NaN, and how many were NaN; numpy sorts NaN to the end."""
    ordered = np.sort(values)
    present = int(np.searchsorted(ordered, np.nan, side="left"))
    return ordered[:present], ordered.size - present


def _range(column: ColumnReference) -> tuple[float, float]:
    if column.low is None or column.high is None:
        return -np.inf, np.inf
    return column.low, column.high


def _numbers(values: NDArray[Any]) -> NDArray[np.float64]:
    if values.dtype.kind != "O":
        return values.astype(np.float64, copy=False)
    return np.array([np.nan if v is None else v for v in values.tolist()], np.float64)


def _lengths(values: NDArray[Any]) -> NDArray[np.float64]:
    return np.array([np.nan if _is_missing(v) else len(_text(v)) for v in values.tolist()], np.float64)


def _is_free(counted: Mapping[str, int]) -> bool:
    """Say whether the frequent levels are too small a part to describe the column."""
    top = sorted(counted.values(), reverse=True)[:LEVELS]
    return 2 * sum(top) < sum(counted.values())


def _is_missing(value: object) -> bool:
    return value is None or value != value  # noqa: PLR0124 - only NaN differs from itself


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else str(value)
