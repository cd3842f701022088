"""Put the splits of a forest, made on features, onto columns of X.

A split on a scaled number becomes a split on the raw number; one on an encoded text becomes membership of a
set of codes. So a forest behind any preprocessing is one operator over X, and as exact as the forest itself.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from shipway.pack.features import Constant, Number, Table, Unsupported
from shipway.pack.forest import Branch, Forest
from shipway.pack.graph import Matrix
from shipway.pack.layout import Layout
from shipway.pack.numbers import goes_left, never_decreases, raw_thresholds, run

Floats = NDArray[np.float64]
Chooser = Callable[[Floats], NDArray[np.bool_]]
"""Says of each value of a feature, NaN included, whether it goes to the true branch."""


@dataclass(frozen=True)
class _Split:
    node: int
    threshold: float
    true: Branch
    false: Branch
    missing_true: bool


@dataclass
class Splitter:
    """Collects splits on features, then fills the forest's nodes."""

    layout: Layout
    matrix: Matrix
    forest: Forest
    float32: bool
    """True if the model rounds features to float32 before it compares."""
    categorical: frozenset[int] = frozenset()
    """Features that are split by sets of values."""
    edges: dict[str, list[float]] = field(default_factory=dict)
    """Raw thresholds by column of numbers, for the comparison on edge rows."""
    _splits: dict[int, list[_Split]] = field(default_factory=dict)
    _coded: dict[str, bool] = field(default_factory=dict)
    _value_places: dict[int, int] = field(default_factory=dict)

    def less(
        self, node: int, feature: int, threshold: float, true: Branch, false: Branch, *, missing_true: bool
    ) -> None:
        """`feature <= threshold` goes to `true`."""
        self._splits.setdefault(feature, []).append(_Split(node, threshold, true, false, missing_true))

    def choose(self, node: int, feature: int, chooser: Chooser, true: Branch, false: Branch) -> None:
        """Values that `chooser` picks go to `true`; the feature must be a table."""
        found = self.layout.features[feature]
        if isinstance(found, Constant):
            self._always(node, true if chooser(np.array([found.value]))[0] else false)
            return
        if not isinstance(found, Table):
            raise Unsupported("a categorical split on a number that was not encoded")
        self._by_code(node, found, chooser(found.by_cell.astype(np.float64)), true, false)

    def finish(self) -> None:
        """Fill all nodes."""
        for feature, splits in sorted(self._splits.items()):
            found = self.layout.features[feature]
            if isinstance(found, Number):
                self._numbers(found, splits)
            elif isinstance(found, Constant):
                value = np.array([found.value])
                for s in splits:
                    left = (
                        s.missing_true
                        if np.isnan(found.value)
                        else goes_left(value, np.array([s.threshold]), float32=self.float32)[0]
                    )
                    self._always(s.node, s.true if left else s.false)
            elif self._wants_code(found):
                for s in splits:
                    values = found.by_cell.astype(np.float64)
                    chosen = goes_left(values, np.full(len(values), s.threshold), float32=self.float32)
                    self._by_code(s.node, found, np.where(np.isnan(values), s.missing_true, chosen), s.true, s.false)
            else:
                self._by_value(found, feature, splits)

    def _numbers(self, feature: Number, splits: list[_Split]) -> None:
        if not never_decreases(feature.steps):
            raise Unsupported(f"column {feature.column!r} is scaled by a negative number")
        thresholds = np.array([s.threshold for s in splits])
        raw = raw_thresholds(feature.steps, thresholds, float32=self.float32)
        of_missing = run(feature.steps, np.array([np.nan]))
        missing = goes_left(of_missing, thresholds, float32=self.float32)
        place = self.matrix.number(feature.column)
        for s, split, fallen in zip(splits, raw.tolist(), missing.tolist(), strict=True):
            to_true = s.missing_true if np.isnan(of_missing[0]) else fallen
            self.forest.less(s.node, place, split, s.true, s.false, missing_true=to_true)
        self.edges.setdefault(feature.column, []).extend(raw[np.abs(raw) < 1e300].tolist())

    def _wants_code(self, feature: Table) -> bool:
        """Say whether a column is split by codes: it has sets of values, or only features that are there or not."""
        if feature.column not in self._coded:
            tables = [
                (i, f.by_cell.astype(np.float64))
                for i, f in enumerate(self.layout.features)
                if isinstance(f, Table) and f.column == feature.column
            ]
            sets = any(i in self.categorical for i, _ in tables)
            self._coded[feature.column] = sets or all(len(np.unique(values)) <= 2 for _, values in tables)
        return self._coded[feature.column]

    def _by_code(self, node: int, feature: Table, chosen: NDArray[np.bool_], true: Branch, false: Branch) -> None:
        place, codes = self.matrix.code(feature.column)
        inside, outside = np.unique(codes[chosen]).tolist(), np.unique(codes[~chosen]).tolist()
        # Two cells with one code have equal values, so no code is on both sides.
        if len(inside) <= len(outside):
            self.forest.member(node, place, inside, true, false)
        else:
            self.forest.member(node, place, outside, false, true)

    def _by_value(self, feature: Table, index: int, splits: list[_Split]) -> None:
        values = feature.by_cell.astype(np.float64)
        if self.float32:
            values = values.astype(np.float32).astype(np.float64)
        if index not in self._value_places:
            self._value_places[index] = self.matrix.values(feature.column, values)
        for s in splits:
            self.forest.less(
                s.node, self._value_places[index], s.threshold, s.true, s.false, missing_true=s.missing_true
            )

    def _always(self, node: int, branch: Branch) -> None:
        self.forest.less(node, 0, 0.0, branch, branch, missing_true=False)
