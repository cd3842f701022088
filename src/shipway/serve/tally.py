"""The counts of one server: read every incarnation's file, fold those whose writer is dead.

A worker's counts outlive it. What a dead worker counted is final; it is kept until the control plane
has it, then folded into a base, so that metrics never go back, and the file is removed.
"""

import contextlib
import logging
from collections.abc import Iterable
from pathlib import Path

from shipway.capture.counts import SUFFIX, read_counts
from shipway.errors import ShipwayError
from shipway.serve.metrics import Key, fold
from shipway.terms import Cell

logger = logging.getLogger("shipway.serve.tally")


class Tally:
    """Counts of all incarnations of one server."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._base: dict[Key, Cell] = {}
        self._done: dict[str, tuple[Cell, ...]] = {}
        self._live: dict[str, tuple[Cell, ...]] = {}

    def read(self) -> None:
        """Read the files as they are now."""
        self._live.clear()
        for path in sorted(self._folder.glob(f"[!.]*{SUFFIX}")):
            name = path.name.removesuffix(SUFFIX)
            if name in self._done:
                continue
            try:
                cells, finished = read_counts(path)
            except (ShipwayError, OSError, ValueError) as exc:
                logger.warning("counts of %s cannot be read: %s", name, exc)
                continue
            (self._done if finished else self._live)[name] = cells

    def incarnations(self) -> dict[str, tuple[Cell, ...]]:
        """Return the cells of each incarnation that the control plane may not have in full."""
        return {**self._done, **self._live}

    def finished(self) -> tuple[str, ...]:
        """Return the incarnations whose cells are final."""
        return tuple(self._done)

    def acknowledge(self, finished: Iterable[str]) -> None:
        """Fold what the control plane has for good into the base, and remove its files."""
        for name in finished:
            cells = self._done.pop(name, None)
            if cells is not None:
                fold(self._base, cells)
                with contextlib.suppress(OSError):
                    (self._folder / f"{name}{SUFFIX}").unlink()

    def total(self) -> list[Cell]:
        """Return one cell per key: everything this server has counted since its supervisor started."""
        sums = dict(self._base)
        for cells in self.incarnations().values():
            fold(sums, cells)
        return list(sums.values())
