"""Run ONNX graphs: one session, one thread, the model read from sealed memory.

Three ways to feed a graph, chosen when packing and written in `runtime.options`:

- `{"encoding": "model/encoding.json", "input": "X"}`: columns become one float64 matrix (`shipway.bundle.encoding`);
- `{"matrix": {"input": "X", "columns": [...], "type": "float32"}}`: columns of numbers side by side;
- `{"feeds": [{"input": "a", "column": "a", "type": "float32", "flat": false}]}`: each column is an input.

`probability`, `label` and `prediction` name the graph's outputs that mean that; without them the graph's
outputs are answered under their own names. `threshold` moves the label of a binary classifier.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shipway.bundle import encoding
from shipway.bundle.runtime import answers
from shipway.bundle.runtime.session import VERSION, session_from
from shipway.bundle.stages import AuditedBundle
from shipway.errors import Rejected, Unavailable
from shipway.terms import Manifest

Columns = Mapping[str, NDArray[Any]]
Session = Any
"""An `onnxruntime.InferenceSession`; its stubs type nothing."""
Feeder = Callable[[Columns], dict[str, NDArray[Any]]]
Answer = Callable[[list[NDArray[Any]]], dict[str, NDArray[Any]]]


class OnnxRuntime:
    """An open ONNX graph; a `Runtime`."""

    def __init__(self, manifest: Manifest, digest: str, session: Session, feed: Feeder) -> None:
        self.manifest = manifest
        self.digest = digest
        self._session: Session | None = session
        self._feed = feed
        self._outputs, self._answer = _answering(manifest, [o.name for o in session.get_outputs()])

    def predict(self, columns: Columns) -> dict[str, NDArray[Any]]:
        """Answer rows."""
        if self._session is None:
            raise Unavailable("this model was closed", fix="open its bundle again")
        return self._answer(self._session.run(self._outputs, self._feed(columns)))

    def close(self) -> None:
        """Drop the session."""
        self._session = None


def load(audited: AuditedBundle) -> OnnxRuntime:
    """Open an ONNX bundle.

    Raises:
        Rejected: ONNX Runtime cannot load the graph, or the options fit no input.
    """
    manifest = audited.manifest
    with audited.sealed(manifest.runtime.entry) as path:
        try:
            session = session_from(path)
        except Exception as exc:
            raise Rejected(
                f"ONNX Runtime {VERSION} cannot load {manifest.runtime.entry}: {_first_line(exc)}",
                fix="pack the model again with this version of ONNX Runtime installed",
            ) from exc
    table = manifest.runtime.options.get("encoding")
    tables = encoding.decode(audited.content(table)) if table else None
    return OnnxRuntime(manifest, audited.digest, session, feeder(manifest.runtime.options, tables))


def feeder(options: Mapping[str, Any], tables: encoding.Encoding | None) -> Feeder:
    """Compile the options into a function from columns to the graph's inputs."""
    if tables is not None:
        matrix, name = encoding.encoder(tables), str(options["input"])
        return lambda columns: {name: matrix(columns)}
    if "matrix" in options:
        return _side_by_side(options["matrix"])
    feeds = [(f["input"], f["column"], np.dtype(f["type"]), bool(f.get("flat"))) for f in options["feeds"]]
    return lambda columns: {i: _shaped(columns[c], kind, flat=flat) for i, c, kind, flat in feeds}


def _side_by_side(spec: Mapping[str, Any]) -> Feeder:
    name, names, kind = str(spec["input"]), list(spec["columns"]), np.dtype(spec["type"])

    def feed(columns: Columns) -> dict[str, NDArray[Any]]:
        x = np.empty((len(columns[names[0]]), len(names)), kind)
        for place, column in enumerate(names):
            x[:, place] = columns[column]
        return {name: x}

    return feed


def _shaped(values: NDArray[Any], kind: np.dtype[Any], *, flat: bool) -> NDArray[Any]:
    if kind.kind == "O" and values.dtype.kind == "O":
        # ONNX has no missing text; the empty text stands for it, as it did in the comparison when packing.
        cast: NDArray[Any] = np.where(values == None, "", values)  # noqa: E711 - elementwise
    else:
        cast = np.ascontiguousarray(values, kind)
    return cast.reshape(-1, 1) if cast.ndim == 1 and not flat else cast


def _answering(manifest: Manifest, produced: list[str]) -> tuple[list[str], Answer]:
    options = manifest.runtime.options
    if "prediction" in options:
        return [options["prediction"]], lambda got: answers.predicted(got[0])
    if "probability" not in options:
        wanted = [c.name for c in manifest.signature.outputs if c.name in produced]
        return wanted, lambda got: dict(zip(wanted, got, strict=True))
    classes = np.array(manifest.signature.classes, object)
    threshold = options.get("threshold")
    if "label" not in options:
        return [options["probability"]], lambda got: answers.classified(got[0], classes, threshold)

    def with_label(got: list[NDArray[Any]]) -> dict[str, NDArray[Any]]:
        return answers.classified(got[1], classes) | {"label": answers.text(np.asarray(got[0]))}

    return [options["label"], options["probability"]], with_label


def _first_line(exc: Exception) -> str:
    return (str(exc).strip().splitlines() or [type(exc).__name__])[0][:300]
