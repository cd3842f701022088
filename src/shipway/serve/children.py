"""The processes of one server, as their supervisor sees them."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Sequence
from typing import Any

from shipway.serve.flight import Flight, shared
from shipway.serve.messages import Line, converse


class Child:
    """A worker or a shadow: a process, a line to it, and what it last said.

    Made by `start`. `gone` is called once, when its line ends, which is when it exits, however it exits.
    """

    def __init__(self, process: "subprocess.Popen[bytes]", index: int, incarnation: str, flight: Flight) -> None:
        self.process = process
        self.index = index
        self.incarnation = incarnation
        self.flight = flight
        self.ready = asyncio.get_running_loop().create_future()
        self.epoch = -1
        self.health: dict[str, Any] = {}
        self.began = self.heard = asyncio.get_running_loop().time()
        self.leaving = False
        """True once it was told to drain; its end is then no accident."""
        self.line: Line | None = None

    @property
    def serving(self) -> bool:
        """True if it answers and was not told to leave."""
        return self.ready.done() and not self.ready.cancelled() and bool(self.ready.result()) and not self.leaving

    def tell(self, message: dict[str, Any]) -> None:
        """Send it a message."""
        if self.line is not None:
            self.line.send(message)

    def told(self, message: dict[str, Any]) -> None:
        """Take what it said."""
        self.heard = asyncio.get_running_loop().time()
        self.epoch = message.get("epoch", self.epoch)
        self.health = message.get("health", self.health)
        if message.get("is") == "ready" and not self.ready.done():
            self.ready.set_result(True)

    def leave(self) -> None:
        """Tell it to drain and exit."""
        self.leaving = True
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it now."""
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()


async def start(
    command: Sequence[str], *, index: int, incarnation: str, sockets: Sequence[int], gone: Callable[[Child], None]
) -> Child:
    """Start a child with a line, a flight note and listening sockets; it inherits no other descriptor."""
    ours, theirs = socket.socketpair()
    note = shared()
    try:
        process = subprocess.Popen(  # noqa: ASYNC220, S603 - milliseconds; our own interpreter and arguments
            [*command, "--control", str(theirs.fileno()), "--flight", str(note), "--incarnation", incarnation],
            pass_fds=(theirs.fileno(), note, *sockets),
            stdin=subprocess.DEVNULL,
        )
        child = Child(process, index, incarnation, Flight(note))
    finally:
        theirs.close()
        with contextlib.suppress(OSError):
            os.close(note)
    loop = asyncio.get_running_loop()

    def ended() -> None:
        if not child.ready.done():
            child.ready.set_result(False)
        _reap(loop, child, gone)

    child.line = await converse(ours, child.told, ended)
    return child


def _reap(loop: asyncio.AbstractEventLoop, child: Child, gone: Callable[[Child], None]) -> None:
    if child.process.poll() is None:
        loop.call_later(0.01, _reap, loop, child, gone)
        return
    gone(child)
    child.flight.close()
