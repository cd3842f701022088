"""The event loop of a server process: uvloop where it is installed, plain asyncio elsewhere."""

import asyncio
from collections.abc import Coroutine
from typing import Any


def run(main: Coroutine[Any, Any, int]) -> int:
    """Run a process's main coroutine to its end and return its exit status."""
    try:
        import uvloop  # noqa: PLC0415 - absent on Windows, where asyncio does the same more slowly
    except ImportError:
        return asyncio.run(main)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)
