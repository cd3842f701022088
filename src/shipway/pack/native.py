"""Convert scikit-learn and LightGBM models to ONNX in double, exactly: the first converter that is tried.

Linear models, perceptrons, trees, forests and boosted trees, alone or behind column-wise preprocessing. Each
agrees with its original to about 1e-15 on every input, because nothing is rounded to float32 on the way
and splits are moved to raw columns exactly (`shipway.pack.numbers`).
"""

import math
import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shipway.bundle.encoding import Encoding
from shipway.pack.features import Feature, Levels, Number, Table, Unsupported
from shipway.pack.forest import Forest, emit
from shipway.pack.graph import Graph, Matrix
from shipway.pack.layout import Layout, kinds_of, read_layout
from shipway.pack.linear import first_layer, next_layers
from shipway.pack.original import Original
from shipway.pack.splits import Splitter
from shipway.pack.trees import add_histogram_trees, add_lightgbm_trees, add_sklearn_tree
from shipway.terms import Task

Floats = NDArray[np.float64]
_SINGLE = {"DecisionTreeClassifier", "DecisionTreeRegressor"}
_AVERAGED = {"RandomForestClassifier", "RandomForestRegressor", "ExtraTreesClassifier", "ExtraTreesRegressor"}
_LOG_LINK = {"PoissonRegressor", "GammaRegressor"}


@dataclass(frozen=True)
class Graphed:
    """A converted model."""

    graph: bytes
    encoding: Encoding
    output: str
    """`probability` or `prediction`."""
    threshold: float | None = None
    edges: dict[str, list[float]] = field(default_factory=dict)
    """Raw thresholds by column, where rows nearby must be compared."""
    notes: tuple[str, ...] = ()
    """What the conversion cannot promise."""


@dataclass
class _Draft:
    """A model being converted."""

    graph: Graph
    layout: Layout
    matrix: Matrix
    task: Task
    classes: tuple[str, ...]
    edges: dict[str, list[float]] = field(default_factory=dict)
    threshold: float | None = None


def convert(original: Original, levels: dict[str, list[str]]) -> Graphed:
    """Convert a model.

    Args:
        original: the model, knowing its columns.
        levels: levels of its text columns, as far as the data show them.

    Raises:
        Unsupported: it is not of a kind read here.
    """
    specs = original.specs
    if original.flavour == "lightgbm":
        layout = _lightgbm_layout(original)
    else:
        layout = read_layout(original.model, specs, levels, original.missing_text)
    draft = _Draft(Graph(), layout, Matrix(layout, specs), original.task, original.classes)
    raw = _lightgbm(draft, original) if original.flavour == "lightgbm" else _sklearn(draft)
    output = _wrapped(draft, raw)
    called = "prediction" if draft.task is Task.REGRESSION else "probability"
    if not draft.matrix.columns:
        raise Unsupported("the model looks at no column")
    facts: dict[str, Any] = {
        "task": draft.task.value,
        "classes": list(draft.classes),
        "output": called,
        "inputs": [s.name for s in specs],
    }
    if draft.threshold is not None:
        facts["threshold"] = draft.threshold
    width = len(draft.classes) if draft.task is Task.MULTICLASS else 1
    made = draft.graph.model(output, called, width=width, columns=len(draft.matrix.columns), facts=facts)
    return Graphed(made, draft.matrix.encoding(), called, draft.threshold, draft.edges, tuple(layout.notes))


def _sklearn(draft: _Draft) -> str:
    model = draft.layout.estimator
    kinds = kinds_of(model)
    if kinds & _SINGLE:
        return _averaged(draft, [model])
    if kinds & _AVERAGED:
        return _averaged(draft, list(model.estimators_))
    if kinds & {"GradientBoostingClassifier", "GradientBoostingRegressor"}:
        return _boosted(draft, model)
    if kinds & {"HistGradientBoostingClassifier", "HistGradientBoostingRegressor"}:
        return _histogram(draft, model)
    if kinds & {"MLPClassifier", "MLPRegressor"}:
        return _perceptron(draft, model)
    if kinds and hasattr(model, "coef_") and hasattr(model, "intercept_"):
        return _linear(draft, model, kinds)
    raise Unsupported(f"{type(model).__name__} is not read here")


def _averaged(draft: _Draft, trees: list[Any]) -> str:
    binary = draft.task is Task.BINARY
    targets = 1 if draft.task is not Task.MULTICLASS else len(draft.classes)
    splitter = Splitter(draft.layout, draft.matrix, Forest(targets), float32=True)
    for tree in trees:
        values = tree.tree_.value
        if values.shape[1] != 1:
            raise Unsupported("it predicts several targets at once")
        leaf = values[:, 0, :]
        if draft.task is not Task.REGRESSION:
            leaf = leaf / leaf.sum(axis=1, keepdims=True)
            leaf = leaf[:, 1:2] if binary else leaf
        add_sklearn_tree(splitter, tree.tree_, leaf, 0)
    total = _grown(draft, splitter)
    return (
        draft.graph.add("Div", total, draft.graph.constant(np.array([[float(len(trees))]])))
        if len(trees) > 1
        else total
    )


def _boosted(draft: _Draft, model: Any) -> str:  # noqa: ANN401 - a fitted model
    targets = model.estimators_.shape[1]
    init = model.init_
    if not (isinstance(init, str) or kinds_of(init) & {"DummyClassifier", "DummyRegressor"}):
        raise Unsupported("it starts from another model")
    splitter = Splitter(draft.layout, draft.matrix, Forest(targets), float32=True)
    for stage in model.estimators_:
        for target, tree in enumerate(stage):
            add_sklearn_tree(splitter, tree.tree_, tree.tree_.value[:, 0, :] * model.learning_rate, target)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        start = model._raw_predict_init(np.zeros((1, model.n_features_in_), np.float32))  # noqa: SLF001 - no public form
    raw = _add(draft, _grown(draft, splitter), np.asarray(start, np.float64).ravel())
    if draft.task is Task.BINARY and model.loss == "exponential":
        raw = draft.graph.add("Mul", raw, draft.graph.constant(np.array([[2.0]])))
    return _linked(draft, raw)


def _histogram(draft: _Draft, model: Any) -> str:  # noqa: ANN401 - a fitted model
    remapped = model._is_categorical_remapped  # noqa: SLF001 - no public form
    categorical = frozenset(np.flatnonzero(remapped).tolist()) if remapped is not None else frozenset()
    forest = Forest(model.n_trees_per_iteration_)
    splitter = Splitter(draft.layout, draft.matrix, forest, float32=False, categorical=categorical)
    add_histogram_trees(splitter, model)
    raw = _add(draft, _grown(draft, splitter), np.asarray(model._baseline_prediction, np.float64).ravel())  # noqa: SLF001
    if draft.task is Task.REGRESSION:
        return draft.graph.add("Exp", raw) if type(model._loss.link).__name__ == "LogLink" else raw  # noqa: SLF001
    return _linked(draft, raw)


def _grown(draft: _Draft, splitter: Splitter) -> str:
    splitter.finish()
    output = draft.graph.name("forest")
    draft.graph.nodes.append(emit(splitter.forest, "X", output))
    draft.edges = splitter.edges
    if not draft.matrix.columns:  # a forest of single leaves still needs a column to ignore
        for feature in draft.layout.features:
            if isinstance(feature, Table):
                draft.matrix.code(feature.column)
    return output


def _perceptron(draft: _Draft, model: Any) -> str:  # noqa: ANN401 - a fitted model
    first = first_layer(
        draft.graph, draft.layout, draft.matrix, np.asarray(model.coefs_[0], np.float64), model.intercepts_[0]
    )
    raw = next_layers(draft.graph, first, model)
    match model.out_activation_:
        case "logistic":
            return draft.graph.add("Sigmoid", raw)
        case "softmax":
            return draft.graph.add("Softmax", raw, axis=1)
        case "identity":
            return raw
        case other:
            raise Unsupported(f"its output activation is {other}")


def _linear(draft: _Draft, model: Any, kinds: set[str]) -> str:  # noqa: ANN401 - a fitted model
    coefficients = model.coef_.toarray() if hasattr(model.coef_, "toarray") else np.asarray(model.coef_, np.float64)
    weights = np.atleast_2d(coefficients).T
    outputs = weights.shape[1]
    expected = len(draft.classes) if draft.task is Task.MULTICLASS else 1
    if outputs != expected:
        raise Unsupported(f"it has {outputs} rows of coefficients instead of {expected}")
    bias = np.broadcast_to(np.asarray(model.intercept_, np.float64).ravel(), (outputs,))
    raw = first_layer(draft.graph, draft.layout, draft.matrix, weights, bias)
    if draft.task is Task.REGRESSION:
        tweedie = "TweedieRegressor" in kinds and (model.link == "log" or (model.link == "auto" and model.power > 0))
        return draft.graph.add("Exp", raw) if kinds & _LOG_LINK or tweedie else raw
    if draft.task is Task.MULTICLASS and "SGDClassifier" in kinds:
        # The operator Sigmoid is not exact to the last digits where it is tiny, and here tiny numbers are divided.
        odds = draft.graph.add("Exp", draft.graph.add("Neg", raw))
        each = draft.graph.add("Reciprocal", draft.graph.add("Add", odds, draft.graph.constant(np.array([[1.0]]))))
        axes = draft.graph.constant(np.array([1], np.int64))
        return draft.graph.add("Div", each, draft.graph.add("ReduceSum", each, axes, keepdims=1))
    return _linked(draft, raw)


def _linked(draft: _Draft, raw: str) -> str:
    if draft.task is Task.REGRESSION:
        return raw
    return draft.graph.add("Sigmoid", raw) if draft.task is Task.BINARY else draft.graph.add("Softmax", raw, axis=1)


def _add(draft: _Draft, raw: str, base: Floats) -> str:
    return draft.graph.add("Add", raw, draft.graph.constant(base[None, :])) if base.any() else raw


def _wrapped(draft: _Draft, output: str) -> str:
    """Apply what stands around the last step: a transformed target, a moved threshold."""
    for wrapper in reversed(draft.layout.wrappers):
        if "TransformedTargetRegressor" not in kinds_of(wrapper):
            draft.threshold = _threshold(wrapper)
            continue
        inverse = wrapper.inverse_func
        if inverse is np.exp:
            output = draft.graph.add("Exp", output)
        elif inverse is np.expm1:
            output = draft.graph.add("Sub", draft.graph.add("Exp", output), draft.graph.constant(np.array([[1.0]])))
        else:
            raise Unsupported("its target was transformed by a function not read here")
    return output


def _threshold(wrapper: Any) -> float:  # noqa: ANN401 - a threshold classifier
    method = wrapper.response_method
    if method not in ("auto", "predict_proba") or not hasattr(wrapper.estimator_, "predict_proba"):
        raise Unsupported("its threshold is not on the probability")
    found = getattr(wrapper, "best_threshold_", None)
    if found is None:
        found = 0.5 if wrapper.threshold == "auto" else wrapper.threshold
    return float(found)


def lightgbm_tables(original: Original) -> tuple[list[Feature], dict[str, Levels]]:
    """Return the features of a LightGBM model: numbers as they are, pandas categoricals as their code or NaN."""
    features: list[Feature] = []
    levels: dict[str, Levels] = {}
    for spec in original.specs:
        known = (original.categories or {}).get(spec.name)
        if known is None:
            if spec.datatype == "BYTES":
                raise Unsupported(f"column {spec.name!r} is text and no category of the model")
            features.append(Number(spec.name))
            continue
        text = spec.datatype == "BYTES"
        names = list(known) if text else [float(v) for v in known]
        levels[spec.name] = Levels(
            spec.name, text, names, ["\x00unseen"] if text else [math.inf], None if text else math.nan
        )
        features.append(Table(spec.name, np.array([*map(float, range(len(names))), math.nan, math.nan])))
    return features, levels


def _lightgbm_layout(original: Original) -> Layout:
    features, levels = lightgbm_tables(original)
    return Layout(original.model, features, levels)


def _lightgbm(draft: _Draft, original: Original) -> str:
    dump = getattr(original.model, "booster_", original.model).dump_model()
    targets = int(dump["num_tree_per_iteration"])
    categorical = frozenset(i for i, f in enumerate(draft.layout.features) if isinstance(f, Table))
    splitter = Splitter(draft.layout, draft.matrix, Forest(targets), float32=False, categorical=categorical)
    add_lightgbm_trees(splitter, dump)
    raw = _grown(draft, splitter)
    if dump.get("average_output"):
        raw = draft.graph.add("Div", raw, draft.graph.constant(np.array([[len(dump["tree_info"]) / targets]])))
    words = str(dump.get("objective", "")).split()
    return _lightgbm_link(draft, raw, words)


def _lightgbm_link(draft: _Draft, raw: str, words: list[str]) -> str:
    objective = words[0] if words else ""
    if draft.task is Task.REGRESSION:
        if "sqrt" in words or not words:
            raise Unsupported("its target was transformed")
        return draft.graph.add("Exp", raw) if objective in ("poisson", "gamma", "tweedie") else raw
    if objective == "multiclass":
        return draft.graph.add("Softmax", raw, axis=1)
    if objective == "binary":
        slope = next((float(w.split(":")[1]) for w in words if w.startswith("sigmoid:")), 1.0)
        scaled = raw if slope == 1.0 else draft.graph.add("Mul", raw, draft.graph.constant(np.array([[slope]])))
        return draft.graph.add("Sigmoid", scaled)
    raise Unsupported(f"its objective {objective!r} is not read here")
