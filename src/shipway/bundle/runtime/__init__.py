"""Runtimes: what turns columns into a model's answers, one file each, no event loop.

A `Runtime` is the open form of a bundle; a `Loader` makes one from an audited bundle. `DEFAULT` holds
the loaders of this room by kind, and imports none of them until a bundle asks. More come from
entry points (see `shipway.plugins`) and are handed in the same way.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Protocol

from numpy.typing import NDArray

from shipway.terms import Manifest


class Runtime(Protocol):
    """An open model. Not thread-safe: one per thread that calls it.

    Its laws: `predict` of the same columns gives the same answer, bit for bit; a batch gives what its rows
    give alone, to the manifest's tolerance; it never changes its inputs; after `close` it is not called.
    """

    manifest: Manifest
    digest: str

    def predict(self, columns: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Answer rows: columns named by the signature's inputs in, columns named by its outputs out."""
        ...

    def close(self) -> None:
        """Give back memory and handles; once is enough, twice does no harm."""
        ...


Loader = Callable[[Any], Runtime]
"""Takes an `AuditedBundle` and constructs its runtime."""

NATIVE = ("onnx", "lightgbm")
"""Kinds of this room; they run no code of the bundle."""


def _onnx(audited: Any) -> Runtime:  # noqa: ANN401 - an AuditedBundle; naming it would be a cycle
    from shipway.bundle.runtime import onnx

    return onnx.load(audited)


def _lightgbm(audited: Any) -> Runtime:  # noqa: ANN401 - as above
    from shipway.bundle.runtime import lightgbm

    return lightgbm.load(audited)


DEFAULT: Mapping[str, Loader] = MappingProxyType({"onnx": _onnx, "lightgbm": _lightgbm})
"""The loaders of this room by kind."""

__all__ = ["DEFAULT", "NATIVE", "Loader", "Runtime"]
