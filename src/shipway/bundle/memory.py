"""Hold the bytes of one file so that what was hashed is what is loaded.

A file is copied once into anonymous memory, sealed against writing and resizing, hashed there, and
loaded under the path `/proc/self/fd/N`. ONNX Runtime then reads a path, which does not hold the
interpreter while it parses (bytes would, for tens of milliseconds). Where the kernel has no sealed
memory, a private copy only we can read takes its place.
"""

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:  # pragma: no cover - the branch taken depends on the platform
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

BLOCK = 1 << 20


def open_plain(path: Path) -> int:
    """Open a regular file for reading, following no link in its last part."""
    return os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0))


@contextmanager
def sealed(source: Path) -> Iterator[tuple[str, str]]:
    """Give (path to load from, sha256 in hexadecimal) of an unchangeable copy, for as long as the block lasts."""
    if hasattr(os, "memfd_create") and hasattr(fcntl, "F_ADD_SEALS"):
        with _in_memory(source) as pair:
            yield pair
    else:
        with _private_copy(source) as pair:
            yield pair


@contextmanager
def _in_memory(source: Path) -> Iterator[tuple[str, str]]:
    held = os.memfd_create("shipway-bundle", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        _copy(source, held)
        seals = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
        fcntl.fcntl(held, fcntl.F_ADD_SEALS, seals)
        yield f"/proc/self/fd/{held}", _hash(held)
    finally:
        os.close(held)


@contextmanager
def _private_copy(source: Path) -> Iterator[tuple[str, str]]:
    held, name = tempfile.mkstemp(prefix="shipway-", suffix=source.suffix)
    try:
        _copy(source, held)
        yield name, _hash(held)
    finally:
        os.close(held)
        Path(name).unlink()


def _copy(source: Path, held: int) -> None:
    reading = open_plain(source)
    try:
        while block := os.read(reading, BLOCK):
            view = memoryview(block)
            while view:
                view = view[os.write(held, view) :]
    finally:
        os.close(reading)


def _hash(held: int) -> str:
    os.lseek(held, 0, os.SEEK_SET)
    digest = hashlib.sha256()
    while block := os.read(held, BLOCK):
        digest.update(block)
    os.lseek(held, 0, os.SEEK_SET)
    return digest.hexdigest()
