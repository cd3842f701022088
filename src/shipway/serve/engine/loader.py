"""Load models beside the loop, one at a time, and give their memory back.

One long-lived thread does all loading and unloading: it keeps the allocator to one arena, and after
an unload it hands freed pages back to the system (`malloc_trim`), without which forty swaps of a
50 MB model triple a worker's size.
"""

import asyncio
import ctypes
import gc
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from shipway import bundle
from shipway.serve.engine.open import open_bundle
from shipway.serve.engine.runner import RunnerEngine
from shipway.terms import Manifest

SLICE_S = 0.005
"""A prediction that should take longer than this is cut into slices, between which the loop does other work."""


class InlineEngine:
    """A model that runs in the worker's loop."""

    inline = True

    def __init__(self, runtime: bundle.Runtime) -> None:
        self._runtime = runtime
        self.manifest: Manifest = runtime.manifest
        self.digest = runtime.digest
        self.predict: Callable[[dict[str, np.ndarray[Any, Any]]], Mapping[str, np.ndarray[Any, Any]]] = runtime.predict
        self.slow_s = 0.0
        """A decaying maximum of how long answers took: above the p99."""
        self.slice_rows = _slice_rows(self.manifest)
        """More rows than this are predicted in slices."""

    def close(self) -> None:
        """Let go of the model."""
        self._runtime.close()


Engine = InlineEngine | RunnerEngine


def _slice_rows(manifest: Manifest) -> int:
    cost = manifest.runtime.cost_us
    per_row_us = max(cost["64"] / 64 if "64" in cost else cost.get("1", 10.0), 0.1)
    return max(1, int(SLICE_S * 1e6 / per_row_us))


class Loader:
    """Opens bundles by digest. `load` is awaited in the loop; the work is done in the loader's thread."""

    def __init__(
        self,
        store: bundle.BundleStore,
        runner_command: Sequence[str],
        on_crash_loop: Callable[[str, str], None],
        *,
        spare: bool = True,
    ) -> None:
        self._store = store
        self._runner_command = tuple(runner_command)
        self._on_crash_loop = on_crash_loop
        self._spare = spare
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="loader")

    async def load(self, digest: str, *, isolated: bool) -> Engine:
        """Open a bundle, inline if it may run there and nobody asked for isolation.

        Raises:
            Missing: it is not in the store.
            Tampered, Rejected, Broken, Unavailable: it is not fit to run; see `open_bundle`.
        """
        loop = asyncio.get_running_loop()
        folder = self._store.path(digest)
        read = await loop.run_in_executor(self._thread, bundle.read, folder)
        if not isolated and read.manifest.runtime.inline:
            return InlineEngine(await loop.run_in_executor(self._thread, open_bundle, folder, digest))
        engine = RunnerEngine(
            self._runner_command,
            read.manifest,
            digest,
            folder=folder,
            spare=self._spare,
            on_crash_loop=lambda why: self._on_crash_loop(digest, why),
        )
        try:
            await engine.start()
        except BaseException:
            engine.close()
            raise
        return engine

    async def unload(self, engine: Engine) -> None:
        """Close an engine that nobody uses any more and give its memory back."""
        if isinstance(engine, RunnerEngine):
            engine.close()
            return
        await asyncio.get_running_loop().run_in_executor(self._thread, _close_and_trim, engine)

    def close(self) -> None:
        """Stop the thread, without waiting for a load that runs."""
        self._thread.shutdown(wait=False, cancel_futures=True)


def _close_and_trim(engine: InlineEngine) -> None:
    engine.close()
    gc.collect()
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (AttributeError, OSError):  # glibc only
        return
