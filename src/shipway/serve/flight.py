"""A note that survives its writer: which inline challenger a worker is running right now.

Nothing in a worker can report that native code hangs it. So it writes the challenger's digest into
memory that it shares with its supervisor before it calls the model, and wipes it after; when the
supervisor has to kill the worker, or finds it dead, it reads whom to blame and opens that fuse
everywhere.
"""

import mmap
import os
import tempfile

SIZE = 128
_NOBODY = bytes(SIZE)


def shared() -> int:
    """Make the memory; return a descriptor to pass to the worker."""
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("shipway-flight", os.MFD_CLOEXEC)
    else:
        with tempfile.TemporaryFile() as file:
            fd = os.dup(file.fileno())
    os.ftruncate(fd, SIZE)
    return fd


class Flight:
    """The note. The worker writes it, the supervisor reads it."""

    def __init__(self, fd: int) -> None:
        self._map = mmap.mmap(fd, SIZE)

    def mark(self, digest: str) -> None:
        """Say that this challenger runs now."""
        text = digest.encode()
        self._map[: len(text)] = text

    def clear(self) -> None:
        """Say that none runs."""
        self._map[:SIZE] = _NOBODY

    def running(self) -> str:
        """Return the digest of the challenger that runs, or ""."""
        return self._map[:SIZE].rstrip(b"\0").decode("ascii", "replace")

    def close(self) -> None:
        """Let go of the memory."""
        self._map.close()
