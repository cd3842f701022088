"""The spool: a worker's local segments of captures.

One open segment per incarnation of a process, `<incarnation>-<number>.open`, locked while its writer
lives, renamed to `.sealed` by size or age. A block given to `write` is one system call and is the kernel's
when it returns: a killed process cannot lose it. Nothing is ever appended to another incarnation's segment.

A full disk never raises into the caller: the block is dropped whole, the torn half is cut off, the drop is
counted, and writing is tried again each second.
"""

import contextlib
import fcntl
import os
import threading
from collections.abc import Callable
from errno import ENOSPC
from pathlib import Path

from shipway.capture.record import MAGIC
from shipway.capture.segment import Scanner
from shipway.errors import Rejected, Unavailable

OPEN, SEALED = ".open", ".sealed"
TAILS = "tails"
"""Folder inside a spool: one folder per follower, into which new segments are linked."""

_RETRY_S = 1.0


class Spool:
    """Owns the open segment of one incarnation; not shared between threads, except `sync`."""

    def __init__(
        self,
        folder: Path,
        incarnation: str,
        segment_bytes: int = 8 << 20,
        seal_after_s: float = 5.0,
        *,
        os_write: Callable[[int, bytes], int] = os.write,
    ) -> None:
        """Prepare to write segments into `folder`; the first is made by the first write.

        Raises:
            Unavailable: the folder cannot be made.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise Unavailable(
                f"the spool {folder} cannot be made: {exc.strerror}", fix="give the server a folder it may write"
            ) from exc
        self.folder = folder
        self.incarnation = incarnation
        self.segment = 0
        """Number of the segment that the next block goes to; contexts must be announced once in each."""
        self.stopped = ""
        """Why writing stopped (`disk_full` or the name of the error), or "" while it works."""
        self.dropped = 0
        """Records that could not be written."""
        self.written = 0
        """Bytes written, all segments."""
        self._segment_bytes = segment_bytes
        self._seal_after_s = seal_after_s
        self._os_write = os_write
        self._fd = -1
        self._size = 0
        self._since: float | None = None
        self._stopped_at: float | None = None
        self._dirty = False
        self._synced = False
        self._unsynced: list[int] = []
        self._lock = threading.Lock()

    def write(self, block: bytes, records: int = 1) -> bool:
        """Append whole frames in one system call; True if all of them are now safe from a kill of this process.

        False means that the disk is full or broken: nothing of the block is in the segment, and `records`
        were added to `dropped`.
        """
        if self.stopped:
            self.dropped += records
            return False
        try:
            if self._fd < 0:
                self._open()
            self._put(self._fd, block)
        except OSError as exc:
            self._cut_back()
            self.stopped = "disk_full" if exc.errno == ENOSPC else f"errno_{exc.errno}"
            self.dropped += records
            return False
        self._size += len(block)
        self.written += len(block)
        self._dirty = True
        if self._size >= self._segment_bytes:
            self.seal()
        return True

    def tick(self, now: float) -> None:
        """Seal a segment that is `seal_after_s` old, and try a full disk again; call about once a second.

        Ages are counted from the first tick that sees the segment or the fault.
        """
        if self.stopped:
            if self._stopped_at is None:
                self._stopped_at = now
            elif now - self._stopped_at >= _RETRY_S:
                self.stopped, self._stopped_at = "", None
        if self._fd < 0:
            return
        if self._since is None:
            self._since = now
        elif now - self._since >= self._seal_after_s:
            self.seal()

    def seal(self) -> None:
        """Hand the open segment over to the collector; the next block opens another."""
        if self._fd < 0:
            return
        path = self._path()
        if self._size > len(MAGIC):
            path.rename(path.with_suffix(SEALED))
        else:
            path.unlink()
        with self._lock:
            self._unsynced.append(self._fd)
            self._fd = -1
        self._since = None
        self.segment += 1
        if not self._synced:
            self._close_old(sync=False)

    def sync(self) -> None:
        """Wait until everything written so far is safe from a power cut too; may run in another thread.

        The first call switches this on for sealed segments as well: their descriptors are then kept for it.
        """
        with self._lock:
            self._synced = True
            fd = os.dup(self._fd) if self._fd >= 0 and self._dirty else -1
            self._dirty = False
        self._close_old(sync=True)
        if fd >= 0:
            try:
                _flush(fd)
            finally:
                os.close(fd)

    def close(self) -> None:
        """Seal what is open."""
        self.seal()
        self._close_old(sync=self._synced)

    def _close_old(self, *, sync: bool) -> None:
        with self._lock:
            old, self._unsynced = self._unsynced, []
        for fd in old:
            try:
                if sync:
                    _flush(fd)
            finally:
                os.close(fd)

    def _path(self) -> Path:
        return self.folder / f"{self.incarnation}-{self.segment:06d}{OPEN}"

    def _open(self) -> None:
        """Make the next segment: hidden, locked, then renamed into sight, so that nobody takes it for a dead one."""
        path = self._path()
        hidden = path.with_name(f".{path.name}")
        fd = os.open(hidden, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            self._put(fd, MAGIC)
            hidden.rename(path)
        except FileNotFoundError:  # a recovery came between making and locking, and took it for a dead one
            os.close(fd)
            self._open()
            return
        except BaseException:
            os.close(fd)
            hidden.unlink(missing_ok=True)
            raise
        for tail in _tails(self.folder):
            with contextlib.suppress(OSError):  # the follower left in this moment
                os.link(path, tail / path.stem)
        with self._lock:
            self._fd = fd
        self._size = len(MAGIC)

    def _put(self, fd: int, data: bytes) -> None:
        done = self._os_write(fd, data)
        if done < len(data):
            done += self._os_write(fd, data[done:])  # a full disk writes short once, then raises
        if done < len(data):
            raise OSError(ENOSPC, "short write")

    def _cut_back(self) -> None:
        if self._fd >= 0:
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, self._size)


def _flush(fd: int) -> None:
    # macOS has no fdatasync
    getattr(os, "fdatasync", os.fsync)(fd)


def _tails(folder: Path) -> list[Path]:
    try:
        return [Path(entry.path) for entry in os.scandir(folder / TAILS) if entry.is_dir()]
    except FileNotFoundError:
        return []


def recover(folder: Path) -> list[Path]:
    """Seal the segments that dead processes left open, without their torn ends; return the sealed paths.

    A segment whose writer lives is locked and left alone. Safe to call at any time, by several at once.
    """
    sealed: list[Path] = []
    for path in sorted(folder.glob(f".*{OPEN}")):
        _if_dead(path, lambda _fd, path=path: path.unlink(missing_ok=True))  # type: ignore[misc]
    for path in sorted(folder.glob(f"[!.]*{OPEN}")):
        _if_dead(path, lambda fd, path=path: _seal_dead(fd, path, sealed))  # type: ignore[misc]
    return sealed


def _if_dead(path: Path, act: Callable[[int], None]) -> None:
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        act(fd)
    except BlockingIOError:
        return
    except FileNotFoundError:
        return  # another recovery, or the writer itself, sealed it first
    finally:
        os.close(fd)


def _seal_dead(fd: int, path: Path, sealed: list[Path]) -> None:
    data = path.read_bytes()
    scanner = Scanner()
    try:
        records = sum(1 for _ in scanner.feed(data))
    except Rejected:
        path.rename(path.with_suffix(".foreign"))
        return
    if not records:
        path.unlink()
        return
    if scanner.end < len(data):
        os.ftruncate(fd, scanner.end)
    path.rename(path.with_suffix(SEALED))
    sealed.append(path.with_suffix(SEALED))
