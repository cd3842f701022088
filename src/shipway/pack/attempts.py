"""Ways to convert a model, in the order in which they are tried; the first that passes parity wins.

scikit-learn: our own converter in double, then skl2onnx in double, then skl2onnx in float32. LightGBM: our
own converter, then the model as it is on LightGBM's C library (or the other way round, if preferred).
Plug-ins come last. Whatever a converter claims, `shipway.pack.parity` decides.
"""

import copy
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from shipway.bundle.encoding import Encoding
from shipway.pack.features import Unsupported
from shipway.pack.graph import Matrix
from shipway.pack.layout import Layout, kinds_of
from shipway.pack.native import convert, lightgbm_tables
from shipway.pack.original import Original, parts
from shipway.pack.parity import DOUBLE, FLOAT32


@dataclass(frozen=True)
class Candidate:
    """A model in a form that a runtime opens."""

    converter: str
    kind: str
    """Of the runtime."""
    content: bytes
    options: dict[str, Any]
    """Of the runtime, without the path of the encoding."""
    encoding: Encoding | None = None
    tolerance: float = DOUBLE
    edges: dict[str, list[float]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


Packer = Callable[[Original, dict[str, list[str]]], Candidate]
"""Converts a model, given the levels of its text columns; raises whatever it likes if it cannot."""


def packers(original: Original, prefer: str, plugins: Mapping[str, Packer]) -> dict[str, Packer]:
    """Return the converters to try, in order, by name."""
    if original.flavour == "lightgbm":
        own: dict[str, Packer] = {"shipway, double": own_double}
        native: dict[str, Packer] = {"lightgbm, C library": lightgbm_library}
        return {**native, **own, **plugins} if prefer == "lightgbm" else {**own, **native, **plugins}
    return {
        "shipway, double": own_double,
        "skl2onnx, double": lambda o, levels: skl2onnx_graph(o, levels, double=True),
        "skl2onnx, float32": lambda o, levels: skl2onnx_graph(o, levels, double=False),
        **plugins,
    }


def own_double(original: Original, levels: dict[str, list[str]]) -> Candidate:
    """Convert with `shipway.pack.native`."""
    made = convert(original, levels)
    options: dict[str, Any] = {"input": "X", made.output: made.output}
    if made.threshold is not None:
        options["threshold"] = made.threshold
    return Candidate("shipway, double", "onnx", made.graph, options, made.encoding, edges=made.edges, notes=made.notes)


def lightgbm_library(original: Original, levels: dict[str, list[str]]) -> Candidate:  # noqa: ARG001 - a Packer
    """Keep a LightGBM model as it is."""
    features, tables = lightgbm_tables(original)
    matrix = Matrix(Layout(original.model, [], tables), original.specs)
    for spec, feature in zip(original.specs, features, strict=True):
        if spec.name in tables:
            matrix.values(spec.name, feature.by_cell)  # type: ignore[union-attr]
        else:
            matrix.number(spec.name)
    booster = getattr(original.model, "booster_", original.model)
    return Candidate("lightgbm, C library", "lightgbm", booster.model_to_string().encode(), {}, matrix.encoding())


def skl2onnx_graph(original: Original, levels: dict[str, list[str]], *, double: bool) -> Candidate:  # noqa: ARG001
    """Convert with skl2onnx, in the precision asked for."""
    import skl2onnx  # noqa: PLC0415 - an extra, needed by this attempt alone
    from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType, StringTensorType  # noqa: PLC0415

    number = DoubleTensorType if double else FloatTensorType
    specs = original.specs
    by_name = original.named and any("ColumnTransformer" in kinds_of(p) for p in parts(original.model))
    if by_name:
        types = [(s.name, StringTensorType([None, 1]) if s.datatype == "BYTES" else number([None, 1])) for s in specs]
    elif any(s.datatype == "BYTES" for s in specs):
        raise Unsupported("it was fitted on a matrix of texts")
    else:
        types = [("X", number([None, len(specs)]))]
    model = original.model
    if "VotingClassifier" in kinds_of(model):
        model = copy.copy(model)
        model.flatten_transform = False  # changes no prediction, and the converter refuses the other value
    options: dict[int, dict[str, Any]] = {id(model): {"zipmap": False}} if original.classes else {}
    # The default locale is absent from small images, where the graph would fail to load.
    options |= {id(p): {"locale": "C"} for p in parts(model) if kinds_of(p) & {"TfidfVectorizer", "CountVectorizer"}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = skl2onnx.convert_sklearn(model, initial_types=types, options=options or None)
    kind = "float64" if double else "float32"
    inputs = [i.name for i in made.graph.input]
    if by_name:
        feeds = [
            {"input": name, "column": spec.name, "type": "object" if spec.datatype == "BYTES" else kind}
            for name, spec in zip(inputs, specs, strict=True)
        ]
        fed: dict[str, Any] = {"feeds": feeds}
    else:
        fed = {"matrix": {"input": inputs[0], "columns": [s.name for s in specs], "type": kind}}
    name = f"skl2onnx, {'double' if double else 'float32'}"
    return Candidate(
        name, "onnx", made.SerializeToString(), fed | _outputs(original, made), tolerance=DOUBLE if double else FLOAT32
    )


def _outputs(original: Original, made: Any) -> dict[str, Any]:  # noqa: ANN401 - a ModelProto
    names = [o.name for o in made.graph.output]
    if not original.classes:
        return {"prediction": names[0]}
    spelled = {"label": names[0]} if not isinstance(np.asarray(original.model.classes_).tolist()[0], bool) else {}
    return {**spelled, "probability": names[1]}
