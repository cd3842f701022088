"""Ask the original model: what conversions are compared with, and the only truth about it.

An `Original` hides how a model wants to be fed (a frame with the columns it was fitted on, a matrix, frames
with pandas categories) and answers in the form of a signature: `label` and `probability`, or `prediction`.
Classes are text from here on: "1" for 1 and 1.0, "True" for true.
"""

import math
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from shipway.bundle.runtime import answers
from shipway.errors import Rejected
from shipway.terms import Column, Task

Columns = dict[str, NDArray[Any]]
FLAVOURS = ("sklearn", "lightgbm")


@dataclass(frozen=True)
class Original:
    """A fitted model as the data see it."""

    model: Any
    flavour: str
    names: tuple[str, ...]
    """Input columns, in the order of the model."""
    task: Task
    classes: tuple[str, ...]
    """Labels as text, in the order of the probabilities."""
    named: bool
    """True if the model was fitted on a frame and selects columns by name."""
    missing_text: float | None = math.nan
    """What stands for a missing text in the frames the model was fitted on."""
    categories: dict[str, list[Any]] | None = None
    """LightGBM: categories of each pandas categorical, in the model's order."""
    specs: tuple[Column, ...] = ()
    """Signature columns of `names`, once they are known."""

    def with_specs(self, specs: Iterable[Column]) -> "Original":
        """Return the same model, knowing the types of its columns."""
        return replace(self, specs=tuple(specs))

    def feed(self, columns: Columns) -> Any:  # noqa: ANN401 - a frame or a matrix
        """Build what the model is called with."""
        text = any(spec.datatype == "BYTES" for spec in self.specs)
        if self.named or self.categories:
            return pd.DataFrame({spec.name: self._series(spec, columns[spec.name]) for spec in self.specs})
        return np.column_stack([columns[s.name].astype(object if text else np.float64) for s in self.specs])

    def answer(self, columns: Columns) -> Columns:
        """Return the model's own labels and probabilities, or predictions.

        Whatever the model raises, it raises.
        """
        fed = self.feed(columns)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if self.flavour == "lightgbm" and not hasattr(self.model, "booster_"):
                return self._from_booster(np.asarray(self.model.predict(fed, num_threads=1)))
            if self.task is Task.REGRESSION:
                return answers.predicted(np.asarray(self.model.predict(fed)))
            probability = np.asarray(self.model.predict_proba(fed), np.float64)
            return {"label": answers.text(np.asarray(self.model.predict(fed))), "probability": probability}

    def _from_booster(self, raw: NDArray[np.float64]) -> Columns:
        if self.task is Task.REGRESSION:
            return answers.predicted(raw)
        return answers.classified(raw, np.array(self.classes, object))

    def _series(self, spec: Column, values: NDArray[Any]) -> "pd.Series[Any]":
        if self.categories and spec.name in self.categories:
            kind = pd.CategoricalDtype(self.categories[spec.name])
            return pd.Series(pd.Categorical(_like(values, self.categories[spec.name]), dtype=kind))
        if spec.datatype == "BYTES":
            token = self.missing_text
            filled = np.array([token if v is None else v for v in values.tolist()], object)
            return pd.Series(filled, dtype=object if token is None else _text_dtype())
        if spec.integral and np.isfinite(values).all() and (np.abs(values) < 2**53).all() and (values % 1 == 0).all():
            return pd.Series(values.astype(np.int64))
        return pd.Series(values)


def original(model: Any, names: list[str], *, target: str | None, labels: list[Any], task: Task | None) -> Original:  # noqa: ANN401 - any fitted model
    """Find out what a model takes and answers.

    Args:
        model: a fitted scikit-learn or LightGBM model.
        names: columns of the data, the target left out.
        target: name of the target column, only for messages.
        labels: the sorted distinct values of the target, for models that do not know their classes; [] if unknown.
        task: what the model predicts, if the caller knows better than the model.

    Raises:
        Rejected: it is not a fitted model of a kind that can be packed, or the data lack its columns.
    """
    module = type(model).__module__.split(".")[0]
    if hasattr(model, "predict") and (module == "lightgbm" or hasattr(model, "booster_")):
        return _lightgbm(model, names, labels=labels, task=task)
    if not hasattr(model, "predict") or not hasattr(model, "get_params"):
        raise Rejected(
            f"a {type(model).__module__}.{type(model).__name__} cannot be packed",
            fix="give a fitted scikit-learn or LightGBM model, or an ONNX file",
        )
    model = unwrapped(model)
    takes = getattr(model, "n_features_in_", None)
    if takes is None:
        raise Rejected(f"this {type(model).__name__} was not fitted", fix="call fit on it, then pack it")
    fitted = getattr(model, "feature_names_in_", None)
    columns = _select(names, list(fitted) if fitted is not None else None, int(takes), target)
    if hasattr(model, "classes_") and task is not Task.REGRESSION:
        _need_probabilities(model)
        classes = tuple(answers.label(c) for c in np.asarray(model.classes_).tolist())
        return Original(
            model, "sklearn", columns, _classification(classes), classes, fitted is not None, _missing(model)
        )
    if getattr(model, "_estimator_type", "regressor") != "regressor" and not _is_regressor(model):
        raise Rejected(
            f"{type(model).__name__} is neither a classifier nor a regressor",
            fix="export it as ONNX yourself and pack that file, or pack a model that predicts a class or a number",
        )
    return Original(model, "sklearn", columns, Task.REGRESSION, (), fitted is not None, _missing(model))


def unwrapped(model: Any) -> Any:  # noqa: ANN401 - any fitted model
    """Return the model that a finished search found best, or the model itself."""
    while hasattr(model, "best_estimator_") and hasattr(model, "cv_results_"):
        model = model.best_estimator_
    return model


def parts(model: Any, seen: set[int] | None = None) -> Iterator[Any]:  # noqa: ANN401 - any fitted model
    """Yield a model and everything fitted inside it."""
    seen = set() if seen is None else seen
    if id(model) in seen or not hasattr(model, "get_params"):
        return
    seen.add(id(model))
    yield model
    for value in list(vars(model).values()):
        for inner in _inner(value):
            yield from parts(inner, seen)


def _inner(value: Any) -> Iterator[Any]:  # noqa: ANN401 - any attribute
    if hasattr(value, "get_params"):
        yield value
    elif isinstance(value, dict):
        for one in value.values():
            yield from _inner(one)
    elif isinstance(value, (list, tuple)):
        for one in value:
            yield from _inner(one)


def _missing(model: Any) -> float | None:  # noqa: ANN401 - any fitted model
    for part in parts(model):
        for known in getattr(part, "categories_", ()):
            if any(v is None for v in np.asarray(known, object).tolist()):
                return None
        if hasattr(part, "statistics_") and getattr(part, "missing_values", math.nan) is None:
            return None
    return math.nan


def _select(names: list[str], fitted: list[str] | None, takes: int, target: str | None) -> tuple[str, ...]:
    if fitted is not None:
        lacking = [name for name in fitted if name not in names]
        if not lacking:
            return tuple(map(str, fitted))
        hint = f"{target!r} is the target" if target in lacking else f"the data have {', '.join(names[:20])}"
        raise Rejected(
            f"the model was fitted on column {', '.join(map(repr, lacking[:5]))}, which the data lack",
            fix=f"give the data that the model was fitted on; {hint}",
        )
    if takes != len(names):
        beside = f" besides the target {target!r}" if target else ""
        raise Rejected(
            f"the model takes {takes} columns and the data have {len(names)}{beside}",
            fix="give exactly the columns that the model was fitted on, in the same order"
            + ("" if target else ", and name the target if the data hold it"),
        )
    return tuple(names)


def _classification(classes: tuple[str, ...]) -> Task:
    if len(set(classes)) != len(classes):
        raise Rejected(f"two classes are written the same way: {', '.join(classes)}", fix="rename the classes")
    if len(classes) < 2:
        raise Rejected(
            f"the model knows only one class, {classes[0]!r}", fix="train it on rows of at least two classes"
        )
    return Task.BINARY if len(classes) == 2 else Task.MULTICLASS


def _need_probabilities(model: Any) -> None:  # noqa: ANN401 - any fitted model
    if np.ndim(model.classes_[0]) or isinstance(model.classes_, list):
        raise Rejected("the model answers several targets at once", fix="train and pack one model per target")
    if not hasattr(model, "predict_proba"):
        raise Rejected(
            f"{type(model).__name__} answers labels without probabilities",
            fix="wrap it in sklearn.calibration.CalibratedClassifierCV, or train one that has predict_proba",
        )


def _is_regressor(model: Any) -> bool:  # noqa: ANN401 - any fitted model
    tags: Callable[[], Any] | None = getattr(model, "__sklearn_tags__", None)
    return tags is not None and getattr(tags(), "estimator_type", None) == "regressor"


def _text_dtype() -> Any:  # noqa: ANN401 - a pandas dtype
    return pd.Series(["a"]).dtype


def _like(values: NDArray[Any], categories: list[Any]) -> list[Any]:
    if categories and isinstance(categories[0], str):
        return list(values)
    return [None if v != v else v for v in values.tolist()]  # noqa: PLR0124 - NaN alone differs from itself


def _lightgbm(model: Any, names: list[str], *, labels: list[Any], task: Task | None) -> Original:  # noqa: ANN401
    booster = getattr(model, "booster_", model)
    features = [str(name) for name in booster.feature_name()]
    written = {name.replace(" ", "_"): name for name in names}
    if all(feature in written for feature in features):
        columns = tuple(written[feature] for feature in features)
    elif all(feature == f"Column_{i}" for i, feature in enumerate(features)):
        columns = _select(names, None, len(features), None)
    else:
        columns = _select(names, features, len(features), None)
    objective = str(booster.params.get("objective", "")) or booster.model_to_string(num_iteration=1)
    known = getattr(model, "classes_", None)
    outputs = booster.num_model_per_iteration()
    if known is not None:
        classes = tuple(answers.label(c) for c in np.asarray(known).tolist())
    elif task is Task.REGRESSION or not (outputs > 1 or _is_binary(objective)):
        classes = ()
    else:
        classes = tuple(answers.label(c) for c in labels) or tuple(map(str, range(max(2, outputs))))
    found = _classification(classes) if classes else Task.REGRESSION
    return Original(model, "lightgbm", columns, found, classes, named=False)


def _is_binary(objective: str) -> bool:
    if "\n" in objective:
        objective = next((line for line in objective.splitlines() if line.startswith("objective=")), "")
    return any(word in objective for word in ("binary", "cross_entropy", "xentropy"))
