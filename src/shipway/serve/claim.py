"""One server per name: two that share a spool and counts would shadow each request twice.

The claim ends with its process, however that ends, so a killed server can be started again at once.
"""

import contextlib
import fcntl
import os
from pathlib import Path
from typing import IO

from shipway.errors import Conflict


def claim(folder: Path, name: str) -> IO[str]:
    """Claim the folder of a server; the claim holds until the returned file is closed.

    Raises:
        Conflict: another server holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = (folder / "lock").open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        pid = file.read().strip() or "unknown"
        file.close()
        raise Conflict(
            f"a server called {name} is already running here (process {pid})",
            fix="use it, stop it first, or give this one another name with --name",
        ) from None
    with contextlib.suppress(OSError):  # the number is for people; a full disk must not keep a server from starting
        os.ftruncate(file.fileno(), 0)
        os.write(file.fileno(), str(os.getpid()).encode())
    return file
