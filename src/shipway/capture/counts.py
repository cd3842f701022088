"""Count answers in mapped memory that outlives the worker: what rollouts need within a second.

One file per worker incarnation, one writer per file. Cells are 64-bit, only grow, and are disjoint, so no
lock is needed: a reader that comes in between sees one request one poll later. The writer holds a file lock
while it lives; who can take it knows that what it reads then is final.

A slot is the JSON of a `terms.Cell` (its length is written last and publishes it), the count, and the
latency bins.
"""

import fcntl
import mmap
import os
from bisect import bisect_right
from pathlib import Path
from struct import Struct as Layouted
from types import TracebackType
from typing import Self

import msgspec
import numpy as np

from shipway.errors import Missing, Rejected, Unavailable
from shipway.terms import FORMAT, Cell

BINS = 108
"""Latency bins: 4 an octave from 1 us to 134 s."""

EDGES_US = tuple(2 ** (k / 4) for k in range(BINS))
"""Lower edge of each bin, microseconds; the last bin has no upper edge."""

_MAGIC = b"SHIPCNT" + bytes([FORMAT])
_KEY = 640
_SLOT = 1536
_CELL = _KEY // 8
_LENGTH = Layouted("<H")
_HEADER = 64
SUFFIX = ".counts"


def latency_bin(latency_us: float) -> int:
    """Return the bin of a latency in microseconds.

    >>> latency_bin(1), latency_bin(2), latency_bin(1000), latency_bin(0)
    (0, 4, 39, 0)
    """
    return max(0, bisect_right(EDGES_US, latency_us) - 1)


class CountsFile:
    """The cells of one worker incarnation; made after the fork, closed in children."""

    def __init__(self, folder: Path, incarnation: str, slots: int = 2048, *, or_memory: bool = False) -> None:
        """Make `<incarnation>.counts`: hidden and locked first, then renamed into sight.

        Args:
            folder: where.
            incarnation: of the writer.
            slots: how many cells it has room for.
            or_memory: where there is no room on the disk, count in memory that nobody reads.

        Raises:
            Unavailable: the disk has no room for it, or the folder cannot be written.
        """
        self.path = folder / f"{incarnation}{SUFFIX}"
        size = _HEADER + slots * _SLOT
        self.is_kept = True
        """False if these counts are in memory alone and end with this process."""
        try:
            self._fd, self._map = self._made(folder / f".{incarnation}{SUFFIX}", size)
        except OSError as exc:
            if not or_memory:
                raise Unavailable(
                    f"counts of this worker need {size >> 10} kB in {folder}: {exc.strerror}",
                    fix="free disk space or choose another home folder",
                ) from exc
            self.is_kept, self._fd, self._map = False, -1, mmap.mmap(-1, size)
        self._words = memoryview(self._map)[_HEADER:].cast("Q")
        self._indices: dict[bytes, int] = {}
        self._slots = slots

    def _made(self, hidden: Path, size: int) -> tuple[int, mmap.mmap]:
        hidden.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(hidden, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            _reserve(fd, size)
            mapped = mmap.mmap(fd, size)
            mapped[: len(_MAGIC)] = _MAGIC
            hidden.rename(self.path)
        except BaseException:
            os.close(fd)
            hidden.unlink(missing_ok=True)
            raise
        return fd, mapped

    def cell(self, key: Cell) -> int:
        """Return the index of the cell for `key`, whose `n` and `latency_us` are ignored; make it if it is new.

        Raises:
            Unavailable: all slots are taken.
        """
        text = msgspec.json.encode(msgspec.structs.replace(key, n=0, latency_us=()))
        index = self._indices.get(text)
        if index is None:
            index = self._indices[text] = self._publish(text)
        return index

    def _publish(self, text: bytes) -> int:
        slot = len(self._indices)
        if slot >= self._slots or len(text) > _KEY - _LENGTH.size:
            raise Unavailable(
                f"all {self._slots} count cells of this worker are in use", fix="restart the server's workers"
            )
        at = _HEADER + slot * _SLOT
        self._map[at + _LENGTH.size : at + _LENGTH.size + len(text)] = text
        _LENGTH.pack_into(self._map, at, len(text))
        return slot * (_SLOT // 8) + _CELL

    def add(self, index: int, latency_us: int | None = None) -> None:
        """Count one outcome in a cell; with its latency for an answer."""
        words = self._words
        words[index] += 1
        if latency_us is not None:
            words[index + max(1, bisect_right(EDGES_US, latency_us))] += 1

    def close(self) -> None:
        """Let go: the counts stay for the supervisor to read a last time."""
        self._words.release()
        self._map.close()
        if self.is_kept:
            os.close(self._fd)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()


def _reserve(fd: int, size: int) -> None:
    # A sparse mapping on a full disk kills the process with SIGBUS; reserved blocks cannot.
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(fd, 0, size)
    else:
        os.write(fd, bytes(size))


def read_counts(path: Path) -> tuple[tuple[Cell, ...], bool]:
    """Return the cells of one incarnation so far, and whether its writer is dead and they are final.

    Raises:
        Missing: no such file.
        Rejected: it is not a counts file of this format.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError as exc:
        raise Missing(f"{path.name} is not there", fix="list the counts folder again") from exc
    try:
        finished = _is_unlocked(fd)  # before the read: then nothing can come after it
        with mmap.mmap(fd, 0, prot=mmap.PROT_READ) as mapped:
            return _cells(mapped, path), finished
    finally:
        os.close(fd)


def _is_unlocked(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _cells(mapped: mmap.mmap, path: Path) -> tuple[Cell, ...]:
    if mapped[: len(_MAGIC)] != _MAGIC:
        raise Rejected(
            f"{path.name} is not a counts file of format {FORMAT}", fix="remove it if no server of another version runs"
        )
    cells = []
    for at in range(_HEADER, len(mapped), _SLOT):
        (length,) = _LENGTH.unpack_from(mapped, at)
        if not length:
            break
        key = msgspec.json.decode(mapped[at + _LENGTH.size : at + _LENGTH.size + length], type=Cell)
        words = np.frombuffer(mapped, "<u8", 1 + BINS, at + _KEY).tolist()
        bins = words[1:]
        while bins and not bins[-1]:
            bins.pop()
        if words[0] or bins:
            cells.append(msgspec.structs.replace(key, n=words[0], latency_us=tuple(bins)))
    return tuple(cells)
