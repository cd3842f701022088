"""Follow the captures of a server while they are written, without slowing a writer and without losing one.

While a tail exists, every new segment is linked into its folder, so the collector may take a segment away
before the tail has read it. `commit` remembers how far it came: after a kill, records that were read and
not committed are read again.

Shadow records are left out: they are what the reader itself writes.
"""

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from shipway.capture.record import SHADOW, CaptureRecord
from shipway.capture.segment import Scanner, read
from shipway.capture.spool import OPEN, TAILS
from shipway.errors import Rejected

_PIECE = 1 << 20


@dataclass
class _Followed:
    """A segment that is being read."""

    fd: int
    start: int
    """Records that end at or before this offset were done in an earlier life."""
    scanner: Scanner = field(default_factory=Scanner)


class Tail:
    """Reads new records of a spool as they are written; one per `name` at a time."""

    def __init__(self, folder: Path, name: str = "shadow") -> None:
        """Follow the spool in `folder` from now on, or from where the last tail of this name had committed."""
        self._home = folder / TAILS / name
        fresh = not self._home.is_dir()
        self._home.mkdir(parents=True, exist_ok=True)
        self._followed: dict[str, _Followed] = {}
        self._last_at_ns = 0
        self.unread = False
        """True if the last poll stopped at its limit with more to read."""
        if fresh:
            self._start_at_the_end(folder)

    def _start_at_the_end(self, folder: Path) -> None:
        for path in folder.glob(f"[!.]*{OPEN}"):
            link = self._home / path.stem
            with contextlib.suppress(FileExistsError, FileNotFoundError):
                os.link(path, link)
                _remember(link, link.stat().st_size)

    def poll(self, limit: int = 1000) -> Iterator[CaptureRecord]:
        """Yield up to `limit` records that were written since the last poll, segment by segment in order."""
        left = limit
        self.unread = False
        for link in sorted(p for p in self._home.iterdir() if p.suffix != ".at"):
            for record in self._read(link):
                self._last_at_ns = record.at_ns
                yield record
                left -= 1
                if not left:
                    self.unread = True
                    return

    def lag_s(self, now: float) -> float:
        """Return how many seconds behind the newest read record is, or 0 if everything was read."""
        return max(0.0, now - self._last_at_ns / 1e9) if self.unread and self._last_at_ns else 0.0

    def commit(self) -> None:
        """Remember that everything yielded so far is done, and let go of segments that were read to their end."""
        for name, followed in list(self._followed.items()):
            link = self._home / name
            final = _is_final(followed.fd)
            if final and followed.scanner.end >= os.fstat(followed.fd).st_size:
                self._forget(link, followed)
            elif followed.scanner.end > followed.start:
                followed.start = followed.scanner.end
                _remember(link, followed.start)

    def close(self, *, forget: bool = False) -> None:
        """Stop following; with `forget` no further segments are kept for this tail."""
        for followed in self._followed.values():
            os.close(followed.fd)
        self._followed.clear()
        if forget:
            shutil.rmtree(self._home, ignore_errors=True)

    def _read(self, link: Path) -> Iterator[CaptureRecord]:
        followed = self._followed.get(link.name)
        if followed is None:
            followed = self._followed[link.name] = _Followed(
                os.open(link, os.O_RDONLY | os.O_CLOEXEC), _remembered(link)
            )
        scanner = followed.scanner
        size = _PIECE
        while True:
            data = os.pread(followed.fd, size, scanner.end)
            before = scanner.end
            try:
                for raw in scanner.feed(data):
                    if scanner.end > followed.start and not raw.flags & SHADOW:
                        yield read(raw)
            except Rejected:
                self._forget(link, followed)
                return
            if scanner.end == before and len(data) < size:
                return
            size = _PIECE if scanner.end > before else size * 4  # one frame longer than a piece

    def _forget(self, link: Path, followed: _Followed) -> None:
        os.close(followed.fd)
        self._followed.pop(link.name, None)
        link.unlink(missing_ok=True)
        _place(link).unlink(missing_ok=True)


def drop_tails(folder: Path) -> None:
    """Forget all tails of a spool, when nobody is going to follow it; frees the segments kept for them."""
    shutil.rmtree(folder / TAILS, ignore_errors=True)


def _is_final(fd: int) -> bool:
    """Tell whether the writer of the segment is done with it: it holds the lock as long as it may write."""
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    fcntl.flock(fd, fcntl.LOCK_UN)
    return True


def _place(link: Path) -> Path:
    return link.with_name(f"{link.name}.at")


def _remember(link: Path, offset: int) -> None:
    # Eight bytes in one write: a kill leaves the old or the new place.
    fd = os.open(_place(link), os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    try:
        os.pwrite(fd, offset.to_bytes(8, "little"), 0)
    finally:
        os.close(fd)


def _remembered(link: Path) -> int:
    try:
        return int.from_bytes(_place(link).read_bytes()[:8], "little")
    except FileNotFoundError:
        return 0
