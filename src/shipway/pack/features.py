"""What a feature of a model can be: a function of one input column.

A `Number` is a column of numbers and a few exact steps. A `Table` holds one value for each cell that a
column's `Levels` lists: its known levels, some it has never seen, and a missing one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shipway.pack.numbers import Step

UNSEEN = ("\x00unseen", "Martian 12", "zz", "UNSEEN, by the model")
"""Texts that stand for any level never seen: an encoder must answer them alike."""


class Unsupported(Exception):
    """This converter cannot read the model; the message says why."""


@dataclass(frozen=True)
class Number:
    """A feature made of a column of numbers."""

    column: str
    steps: tuple[Step, ...] = ()


@dataclass(frozen=True, eq=False)
class Table:
    """A feature made of a column's level: `by_cell[i]` belongs to cell i of the column's `Levels`."""

    column: str
    by_cell: NDArray[Any]


@dataclass(frozen=True, eq=False)
class Constant:
    """A feature that no column moves."""

    value: float


Feature = Number | Table | Constant


@dataclass
class Levels:
    """The cells that a column can hold: its known levels, some it has never seen, and a missing one."""

    column: str
    text: bool
    known: list[Any]
    unseen: list[Any]
    missing: Any
    refuses: set[str] = field(default_factory=set)
    """`unknown` or `missing`, where the model raises on such a cell."""

    @property
    def cells(self) -> list[Any]:
        """Known levels, then unseen ones, then the missing cell."""
        return [*self.known, *self.unseen, self.missing]

    def kinds(self) -> list[str]:
        """Say of each cell what it is."""
        return ["known"] * len(self.known) + ["unknown"] * len(self.unseen) + ["missing"]


def text_levels(name: str, known: Sequence[str], missing: Any) -> Levels:  # noqa: ANN401
    """List the cells of a text column."""
    unseen = [u for u in UNSEEN if u not in known]
    return Levels(name, True, list(dict.fromkeys(known)), unseen, missing)


def number_levels(name: str, known: Sequence[float]) -> Levels:
    """List the cells of a column of numbers that an encoder reads as levels."""
    levels = sorted({float(v) for v in known if v == v})  # noqa: PLR0124 - not NaN
    top = max(levels, default=0.0)
    return Levels(name, False, levels, [top + 1.0, top + 1.5, min(levels, default=0.0) - 1.0], np.nan)


def same(a: NDArray[Any], b: Any) -> NDArray[np.bool_]:  # noqa: ANN401 - an array or a scalar
    """Compare cell by cell, NaN being equal to NaN."""
    return np.asarray((a == b) | ((a != a) & (b != b)), np.bool_)  # noqa: PLR0124 - NaN equals NaN here
