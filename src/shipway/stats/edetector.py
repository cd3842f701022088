"""Tell a change that matters from noise, window by window, at a false-alarm rate chosen beforehand.

`arm` lays bets on the cells of a reference, `start` gives the capital of a detector that has seen
nothing, `update` takes in one window's profile. The null hypothesis is not "nothing changed" but
"no share moved by more than the tolerance", so large windows do not alarm over trifles.

For k of n rows at or below a cut (or in a level) whose reference probability is at most u:

    E = exp(l k - n ln(1 + u (e^l - 1)))

has mean at most 1 under every law inside the tolerance, since the moment generating function of a
Bernoulli variable grows with its probability; the same holds for n - k. M = E (M + 1) is then a
Shiryaev-Roberts e-detector, averages of e-detectors are e-detectors, and an alarm when M >= A comes,
while nothing changes, after A windows or later on average, whatever the columns have to do with each other.

Source:
    Shin, Ramdas, Rinaldo, "E-detectors: a nonparametric framework for sequential change detection",
    NEJSDS 2(2), 2024, arXiv:2203.03532. The tolerance carries the reference's own sampling error too
    (Wilson bounds at 3.5 standard errors), as in Shaer et al., arXiv:2602.13848.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from shipway.errors import Rejected
from shipway.stats.profile import ColumnReference, Profile, Reference, spans

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

STAKES = np.array([0.02, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6])
"""Small stakes find small persistent changes, large ones find large changes in small windows."""

SHAPE, QUALITY = 0, 1
CEILING = 50.0
"""Log capital never grows beyond this, so that a change that is over is forgotten in bounded time."""

STANDARD_ERRORS = 3.5


@dataclass(frozen=True)
class Armed:
    """Bets on the cells of one reference; arrays are over all cuts of all columns."""

    layout: str
    columns: tuple[str, ...]
    column: Indices
    """Index of the column of each cut."""
    group: Indices
    """SHAPE for a cut point or a level, QUALITY for missing, new, below and above."""
    part: Indices
    """Index of the first cut of each (column, group) part."""
    begin: Indices
    end: Indices
    """A cut counts cells begin:end of the profile ..."""
    begin_of: Indices
    end_of: Indices
    """... among cells begin_of:end_of."""
    cost: Floats
    """Price per row of a bet, shape (2 sides, cuts, stakes)."""
    deff: Floats
    """Design effect of the column of each cut."""


@dataclass(frozen=True)
class Weighed:
    """How strong the evidence of change is, as natural logarithms of e-detectors."""

    shape: float
    """All columns' distributions together."""
    quality: float
    """All columns' missing, new and out-of-range shares together."""
    shape_of: Floats
    """Each column's distribution, in the order of `Armed.columns`."""
    quality_of: Floats


def arm(
    reference: Reference,
    *,
    tolerance: float,
    quality_tolerance: float | None = None,
    columns: Sequence[str] | None = None,
) -> Armed:
    """Lay bets on a reference.

    Args:
        reference: edges and counts.
        tolerance: a share (of the rows below a cut, of a level) may move this far, as a fraction of one.
        quality_tolerance: the same for missing, new and out-of-range shares; `tolerance` if None.
        columns: only these; all if None.
    """
    strict = tolerance if quality_tolerance is None else quality_tolerance
    placed = spans(reference)
    chosen = [c for c in reference.columns if columns is None or c.name in columns]
    cuts = [cut for at, c in enumerate(chosen) for cut in _cuts(at, c, placed[c.name].start)]
    rows = np.array(cuts, np.float64).reshape(-1, 8)
    at, group, begin, end, begin_of, end_of = (rows[:, i].astype(np.int64) for i in range(6))
    deff = np.array([chosen[i].deff for i in at], np.float64)
    low, high = wilson_bounds(rows[:, 6], rows[:, 7], deff)
    allowed = np.where(group == SHAPE, tolerance, strict)
    dearest = np.maximum(np.stack([high + allowed, 1.0 - low + allowed]), 1e-12)
    # Where any share is tolerated a bet can gain nothing; at an infinite price it is never made.
    cost = np.where(
        dearest[:, :, None] < 1.0, np.log1p(np.minimum(dearest, 1.0)[:, :, None] * np.expm1(STAKES)), np.inf
    )
    return Armed(
        layout=reference.layout,
        columns=tuple(c.name for c in chosen),
        column=at,
        group=group,
        part=np.flatnonzero(np.diff(at * 2 + group, prepend=-1)),
        begin=begin,
        end=end,
        begin_of=begin_of,
        end_of=end_of,
        cost=cost,
        deff=deff,
    )


def start(armed: Armed) -> Floats:
    """Return the log capital of a detector that has seen nothing, shape (2, cuts, stakes)."""
    return np.full(armed.cost.shape, -np.inf)


def update(armed: Armed, capital: Floats, profile: Profile) -> Floats:
    """Take in one window and return the new log capital.

    Raises:
        Rejected: the window was counted on other edges.
    """
    if profile.layout != armed.layout:
        raise Rejected(
            f"a window on edges {profile.layout} cannot be weighed against a reference on {armed.layout}",
            fix="count the window on the reference of the same version",
        )
    before = np.concatenate([[0], np.cumsum(profile.cells)])
    k = (before[armed.end] - before[armed.begin]).astype(np.float64)
    n = (before[armed.end_of] - before[armed.begin_of]).astype(np.float64)
    gain = (np.stack([k, n - k])[:, :, None] * STAKES - np.maximum(n, 1.0)[:, None] * armed.cost) / armed.deff[:, None]
    # A column that no row of this window has keeps its capital: a window without evidence must not count as one.
    return np.where(n[:, None] > 0, np.minimum(gain + np.logaddexp(capital, 0.0), CEILING), capital)


def weigh(armed: Armed, capital: Floats) -> Weighed:
    """Average capital over stakes, sides, cuts and columns."""
    columns = len(armed.columns)
    shape_of, quality_of = np.full(columns, -np.inf), np.full(columns, -np.inf)
    if armed.part.size:
        per_cut = _log_mean(np.moveaxis(capital, 1, 0).reshape(capital.shape[1], -1))
        sizes = np.diff(armed.part, append=armed.column.size)
        per_part = np.logaddexp.reduceat(per_cut, armed.part) - np.log(sizes)
        at, group = armed.column[armed.part], armed.group[armed.part]
        shape_of[at[group == SHAPE]] = per_part[group == SHAPE]
        quality_of[at[group == QUALITY]] = per_part[group == QUALITY]
    return Weighed(float(_log_mean(shape_of)), float(_log_mean(quality_of)), shape_of, quality_of)


def forget(armed: Armed, capital: Floats, group: int) -> Floats:
    """Start one group (SHAPE or QUALITY) anew and keep the other's capital."""
    return np.where((armed.group == group)[None, :, None], -np.inf, capital)


def named(log_e: ArrayLike, *, false_share: float = 0.05) -> list[int]:
    """Choose the columns to name by e-BH, most affected first.

    Among columns named from one window's e-values the expected share of false ones is at most `false_share`,
    under any dependence. From running capital, which is no e-value at a time chosen by the data, it is a ranking.

    Source:
        Wang, Ramdas, "False discovery rate control with e-values", JRSS-B 84(3), 2022.

    >>> named([0.1, 9.0, 4.0, 0.2])
    [1, 2]
    """
    values = np.asarray(log_e, np.float64)
    order = np.argsort(-values, kind="stable")
    needed = np.log(values.size / (false_share * np.arange(1, values.size + 1)))
    passing = np.flatnonzero(values[order] >= needed)
    return [int(i) for i in order[: passing[-1] + 1]] if passing.size else []


def with_design_effects(reference: Reference, windows: Sequence[Profile]) -> Reference:
    """Learn from ordered windows how dependent neighbouring rows are, and return a reference that says so.

    Where rows of one window resemble each other (seasons, sessions, sorted files) their counts vary more than
    those of independent rows; the design effect is that ratio of variances, averaged over a column's cuts. Bets
    are then raised to the power 1 / deff, which pays with power for a false-alarm rate that holds in practice;
    it is a remedy, not a proof.

    Raises:
        Rejected: fewer than eight windows, which say too little about a variance.
    """
    if len(windows) < 8:
        raise Rejected(
            f"{len(windows)} windows say too little about how rows depend on each other",
            fix="give at least eight ordered windows",
        )
    armed = arm(reference, tolerance=0.0)
    before = np.array([np.concatenate([[0], np.cumsum(w.cells)]) for w in windows], np.float64)
    k, n = before[:, armed.end] - before[:, armed.begin], before[:, armed.end_of] - before[:, armed.begin_of]
    total = np.maximum(n.sum(axis=0), 1.0)
    p = k.sum(axis=0) / total
    expected = n * p * (1 - p)
    squares = ((k - n * p) ** 2).sum(axis=0)
    effects = []
    for at, column in enumerate(reference.columns):
        mine = (armed.column == at) & (armed.group == SHAPE) & (p > 0.01) & (p < 0.99)
        ratio = squares[mine] / np.maximum(expected[:, mine].sum(axis=0), 1e-12) * len(windows) / (len(windows) - 1)
        effects.append(msgspec.structs.replace(column, deff=max(1.0, float(ratio.mean()) if ratio.size else 1.0)))
    return msgspec.structs.replace(reference, columns=tuple(effects))


def encode(capital: Floats) -> bytes:
    """Write capital as bytes."""
    return capital.astype("<f8").tobytes()


def decode(armed: Armed, data: bytes) -> Floats:
    """Read what `encode` wrote; capital of other bets is worthless, so the detector starts anew then."""
    if len(data) != armed.cost.size * 8:
        return start(armed)
    return np.frombuffer(data, "<f8").reshape(armed.cost.shape).astype(np.float64)


def _cuts(at: int, column: ColumnReference, first: int) -> list[tuple[float, ...]]:
    """List a column's cuts: column, group, cells begin:end of begin_of:end_of, reference count and rows.

    A cut is a run of neighbouring cells, so that one cumulative sum over the profile serves all of them.
    """
    last = first + column.size
    rows = sum(column.counts)
    present = rows - column.counts[0]
    quality: list[tuple[float, ...]] = [(at, QUALITY, first, first + 1, first, last, column.counts[0], rows)]
    if column.kind == "level":
        new = column.unseen * present
        quality.append((at, QUALITY, first + 1, first + 2, first + 1, last, new, present))
        inside = [(first + i, first + i + 1, column.counts[i]) for i in range(2, column.size)]
    else:
        ends = [(first + 1, first + 2, column.counts[1]), (last - 1, last, column.counts[-1])]
        quality += [(at, QUALITY, begin, end, first + 1, last, k, present) for begin, end, k in ends]
        up_to = np.cumsum(column.counts[1:]).tolist()
        inside = [(first + 1, first + 3 + i, up_to[1 + i]) for i in range(len(column.edges))]
    return quality + [(at, SHAPE, begin, end, first + 1, last, k, present) for begin, end, k in inside]


def wilson_bounds(k: Floats, n: Floats, deff: Floats) -> tuple[Floats, Floats]:
    """Bound each reference probability; 0 and 1 where the reference has no rows.

    Source:
        E. B. Wilson (1927), JASA 22(158), 209-212, on n / deff independent rows.
    """
    rows = np.maximum(n / deff, 1e-9)
    p = np.where(n > 0, k / np.maximum(n, 1.0), 0.5)
    squared = STANDARD_ERRORS**2
    centre = (p + squared / (2 * rows)) / (1 + squared / rows)
    half = STANDARD_ERRORS * np.sqrt(p * (1 - p) / rows + squared / (4 * rows**2)) / (1 + squared / rows)
    return np.maximum(centre - half, 0.0), np.minimum(centre + half, 1.0)


def _log_mean(values: Floats) -> Floats:
    """Return ln(mean(exp(x))) over the last axis, without overflow; -inf for none."""
    if not values.shape[-1]:
        return np.full(values.shape[:-1], -np.inf)
    return np.asarray(np.logaddexp.reduce(values, axis=-1) - np.log(values.shape[-1]))
