"""Run LightGBM models through their C library alone: bit for bit what `Booster.predict` gives.

`import lightgbm` costs 91 MB and seconds; the shared library beside it costs neither, so only that is
loaded, found without importing the package. Columns become one float64 matrix as for ONNX
(`shipway.bundle.encoding`), levels of pandas categoricals looked up in the order the model knows.
"""

import ctypes
import importlib.util
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shipway.bundle import encoding
from shipway.bundle.runtime import answers
from shipway.bundle.stages import AuditedBundle
from shipway.errors import Rejected, Unavailable
from shipway.terms import Manifest, Task

_FLOAT64, _NORMAL, _ROW_MAJOR = 1, 0, 1
_PARAMETERS = b"num_threads=1"


class LightgbmRuntime:
    """An open LightGBM model; a `Runtime`."""

    def __init__(self, manifest: Manifest, digest: str, booster: "Booster", tables: encoding.Encoding) -> None:
        self.manifest = manifest
        self.digest = digest
        self._booster: Booster | None = booster
        self._matrix = encoding.encoder(tables)
        self._classes = np.array(manifest.signature.classes, object)

    def predict(self, columns: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Answer rows."""
        if self._booster is None:
            raise Unavailable("this model was closed", fix="open its bundle again")
        values = self._booster.predict(self._matrix(columns))
        if self.manifest.task is Task.REGRESSION:
            return answers.predicted(values)
        return answers.classified(values, self._classes)

    def close(self) -> None:
        """Free the model."""
        if self._booster is not None:
            self._booster.close()
            self._booster = None


class Booster:
    """One model inside the C library; must be closed."""

    def __init__(self, text: bytes) -> None:
        self._library = library()
        self._handle = ctypes.c_void_p()
        iterations, outputs = ctypes.c_int(), ctypes.c_int()
        self._call("LGBM_BoosterLoadModelFromString", text, ctypes.byref(iterations), ctypes.byref(self._handle))
        self._call("LGBM_BoosterGetNumClasses", self._handle, ctypes.byref(outputs))
        self._width = outputs.value

    def predict(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the model's output for rows of x, shape (rows, outputs)."""
        x = np.ascontiguousarray(x, np.float64)
        out = np.empty((len(x), self._width))
        if not len(x):
            return out
        written = ctypes.c_int64()
        self._call(
            "LGBM_BoosterPredictForMat", self._handle, x.ctypes.data_as(ctypes.c_void_p), _FLOAT64,
            ctypes.c_int32(x.shape[0]), ctypes.c_int32(x.shape[1]), _ROW_MAJOR, _NORMAL, 0, -1, _PARAMETERS,
            ctypes.byref(written), out.ctypes.data_as(ctypes.c_void_p),
        )  # fmt: skip
        return out

    def close(self) -> None:
        """Free the model."""
        if self._handle.value is not None:
            self._library.LGBM_BoosterFree(self._handle)
            self._handle = ctypes.c_void_p()

    def _call(self, name: str, *arguments: Any) -> None:  # noqa: ANN401 - whatever the C function takes
        if getattr(self._library, name)(*arguments):
            message = self._library.LGBM_GetLastError().decode(errors="replace")
            raise Rejected(f"LightGBM refuses: {message[:300]}", fix="pack the model again with this LightGBM version")


def load(audited: AuditedBundle) -> LightgbmRuntime:
    """Open a LightGBM bundle.

    Raises:
        Unavailable: the LightGBM library is not installed.
        Rejected: it cannot read the model.
    """
    manifest = audited.manifest
    tables = encoding.decode(audited.content(str(manifest.runtime.options["encoding"])))
    return LightgbmRuntime(manifest, audited.digest, Booster(audited.content(manifest.runtime.entry)), tables)


@cache
def library() -> ctypes.CDLL:
    """Load the shared library of the installed lightgbm package, without importing the package.

    Raises:
        Unavailable: it is not installed.
    """
    spec = importlib.util.find_spec("lightgbm")
    folders = list(spec.submodule_search_locations or []) if spec is not None else []
    for folder in folders:
        for place in ("lib/lib_lightgbm.so", "lib/lib_lightgbm.dylib", "bin/lib_lightgbm.dll"):
            path = Path(folder) / place
            if path.is_file():
                loaded = ctypes.CDLL(str(path))
                loaded.LGBM_GetLastError.restype = ctypes.c_char_p
                return loaded
    raise Unavailable(
        "this bundle runs on LightGBM, whose library is not installed here",
        fix="pip install 'shipway[lightgbm]', or pack the model for onnx",
    )
