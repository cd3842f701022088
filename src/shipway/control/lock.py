"""One process per home: a file lock that ends with its process, and says who holds it."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shipway.errors import Conflict


@contextmanager
def hold(path: Path, what: str) -> Iterator[None]:
    """Hold a lock file for as long as the block runs; a kill releases it.

    Raises:
        Conflict: another process holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            raise Conflict(
                f"{what} is already running (process {file.read().strip() or 'unknown'})",
                fix="use it, stop it with `shipway down`, or set another SHIPWAY_HOME",
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def holder(path: Path) -> int:
    """Process id of whoever holds a lock file, 0 if nobody does."""
    try:
        with path.open("r+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError:
                return int(file.read().strip() or 0)
    except FileNotFoundError:
        pass
    return 0
