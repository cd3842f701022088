"""The inside of a runner: one model, one socket, no event loop.

It opens the bundle itself (read, audit, open, so that the bytes it runs are the bytes it hashed),
answers the bundle's own examples, says hello, and then answers frames until its worker goes away.
"""

import ctypes
import os
import signal
import socket
from pathlib import Path

from shipway.errors import ShipwayError
from shipway.serve.engine import wire
from shipway.serve.engine.open import open_bundle

PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Ask the kernel to end this process with its parent, where it can (Linux)."""
    try:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    except (AttributeError, OSError):
        return


def serve(fd: int, folder: Path, digest: str) -> int:
    """Answer frames on a socket until it closes; return the exit status."""
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's Ctrl-C is the supervisor's to handle
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with socket.socket(fileno=os.dup(fd)) as sock:
        os.close(fd)
        try:
            runtime = open_bundle(folder, digest)
        except (ShipwayError, OSError, RuntimeError, ValueError) as exc:
            sock.sendall(wire.frame(wire.HELLO, wire.SENTENCE, str(exc).encode()))
            return 1
        sock.sendall(wire.frame(wire.HELLO, wire.COLUMNS, b""))
        frames = wire.Frames()
        while data := sock.recv(1 << 20):
            for number, _, payload in frames.feed(data):
                try:
                    answer = wire.frame(number, wire.COLUMNS, wire.pack(runtime.predict(wire.unpack(payload))))
                except Exception as exc:  # noqa: BLE001 - a model may raise anything; its worker decides what that means
                    sentence = f"{type(exc).__name__}: {exc}"[:2000]
                    answer = wire.frame(number, wire.SENTENCE, sentence.encode("utf-8", "replace"))
                sock.sendall(answer)
    return 0
