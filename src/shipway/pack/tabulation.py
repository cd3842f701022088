"""Run a fitted transformer on every level of each column, and keep what it answers as tables.

No converter per encoder is needed: the encoder itself says what it makes of each level, of a level it
has never seen, and of a missing cell. It must treat columns one by one, and this is checked.
"""

import contextlib
import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from shipway.pack.features import Constant, Feature, Levels, Table, Unsupported, same
from shipway.terms import Column

_ENCODER_FAILURES = (ValueError, TypeError, KeyError, AttributeError, IndexError)
"""What encoders raise on a level or a missing cell that they do not take."""


class Probe:
    """Run one fitted transformer on every cell of each column in turn, the others standing still."""

    def __init__(
        self,
        step: Any,  # noqa: ANN401
        tables: Sequence[Table | Constant],
        levels: dict[str, Levels],
        specs: dict[str, Column],
        missing: Any,  # noqa: ANN401
    ) -> None:
        self.step, self.tables, self.levels, self.specs, self.missing = step, tables, levels, specs, missing
        self.columns = list(dict.fromkeys(t.column for t in tables if isinstance(t, Table)))
        self.base = [t.by_cell[0] if isinstance(t, Table) else t.value for t in tables]

    def features(self) -> list[Feature]:
        """Return what the transformer makes of the tables."""
        still = self._transform([self.base])[0]
        moved = {column: self._moved(column) for column in self.columns}
        made: list[Feature] = []
        for place, value in enumerate(still):
            movers = [c for c in self.columns if not same(moved[c][:, place], value).all()]
            if len(movers) > 1:
                raise Unsupported(f"{type(self.step).__name__} mixes columns {movers[0]!r} and {movers[1]!r}")
            if movers:
                made.append(Table(movers[0], moved[movers[0]][:, place]))
            elif still.dtype == object and self.columns:
                made.append(Table(self.columns[0], moved[self.columns[0]][:, place]))
            else:
                made.append(Constant(float(value)))
        return made

    def _moved(self, column: str) -> NDArray[Any]:
        """Answer for every cell of one column; refused cells are noted, and answered like the first."""
        levels = self.levels[column]
        rows = self._rows(column, range(len(levels.cells)))
        with contextlib.suppress(*_ENCODER_FAILURES):
            return self._transform(rows)
        kinds = np.array(levels.kinds())
        answered = self._transform([r for r, kind in zip(rows, kinds, strict=True) if kind == "known"])
        result = np.repeat(answered[:1], len(rows), axis=0)
        result[kinds == "known"] = answered
        for kind in ("unknown", "missing"):
            chosen = [r for r, k in zip(rows, kinds, strict=True) if k == kind]
            try:
                result[kinds == kind] = self._transform(chosen)
            except _ENCODER_FAILURES:
                levels.refuses.add(kind)
        return result

    def _rows(self, column: str, places: Iterable[int]) -> list[list[Any]]:
        return [
            [
                t.by_cell[i] if isinstance(t, Table) and t.column == column else b
                for t, b in zip(self.tables, self.base, strict=True)
            ]
            for i in places
        ]

    def _transform(self, rows: list[list[Any]]) -> NDArray[Any]:
        text = [isinstance(t, Table) and t.by_cell.dtype == object for t in self.tables]
        names = getattr(self.step, "feature_names_in_", None)
        fed: Any
        if names is not None:
            series = {n: self._series([r[i] for r in rows], text=text[i]) for i, n in enumerate(names)}
            fed = pd.DataFrame(series)
        elif any(text):
            fed = np.array(rows, object)
        else:
            fed = np.array(rows, np.float64)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            out = self.step.transform(fed)
        out = out.toarray() if hasattr(out, "toarray") else np.asarray(out)
        if out.ndim != 2 or len(out) != len(rows):
            raise Unsupported(f"{type(self.step).__name__} does not make one row of each row")
        return out if out.dtype.kind in "OUT" or out.dtype == object else out.astype(np.float64)

    def _series(self, values: list[Any], *, text: bool) -> "pd.Series[Any]":
        if not text:
            numbers = np.array(values, np.float64)
            whole = np.isfinite(numbers).all() and (numbers % 1 == 0).all()
            return pd.Series(numbers.astype(np.int64) if whole else numbers)
        return pd.Series(values, dtype=object if self.missing is None else pd.Series(["a"]).dtype)
