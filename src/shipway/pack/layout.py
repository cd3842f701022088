"""See every feature of a model as a function of one input column, whatever preprocessing lies between.

A feature is either a `Number` (a column of numbers and a few exact steps) or a `Table` (one value for each
level of a column, one for a level never seen, one for a missing cell). Tables need no converter per encoder:
the fitted encoder itself is run on every level, and what it answers is the table. It covers one-hot and
ordinal encoders, target encoders, imputers of text and functions of the user's own, as long as each output
depends on one column; where it does not, `Unsupported` says so, and another converter may try.

`read_layout` walks a pipeline and returns its last step with the features that reach it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from shipway.pack.features import (
    Constant,
    Feature,
    Levels,
    Number,
    Table,
    Unsupported,
    number_levels,
    same,
    text_levels,
)
from shipway.pack.numbers import Step, run
from shipway.pack.tabulation import Probe
from shipway.terms import Column

MAX_LEVELS = 20_000
"""A column with more levels is free text: its cells are not tabulated."""

_READS_TEXT = {"CountVectorizer", "TfidfVectorizer", "HashingVectorizer", "FeatureHasher"}


class _NeedLevels(Exception):
    def __init__(self, levels: dict[str, list[Any]]) -> None:
        super().__init__("levels")
        self.levels = levels


@dataclass
class Layout:
    """The last step of a pipeline, and the features that reach it."""

    estimator: Any
    features: list[Feature]
    levels: dict[str, Levels]
    wrappers: list[Any] = field(default_factory=list)
    """What stands around the last step: a transformed target, a moved threshold; outermost first."""
    notes: list[str] = field(default_factory=list)
    """What tabulation cannot promise."""


def read_layout(model: Any, specs: Sequence[Column], levels: dict[str, list[str]], missing: Any) -> Layout:  # noqa: ANN401
    """Walk a fitted model.

    Args:
        model: fitted, alone or a pipeline.
        specs: its input columns, in its order.
        levels: known levels of the text columns.
        missing: what stands for a missing text in the model's frames, None or NaN.

    Raises:
        Unsupported: a step mixes columns, or is of a kind not known here.
    """
    asked: dict[str, list[Any]] = {column: list(known) for column, known in levels.items()}
    spelled: set[str] = set()
    for _ in range(20):
        walk = _Walk(specs, asked, missing, spelled)
        try:
            estimator, features = walk.through(model, walk.raw())
        except _NeedLevels as more:
            for column, values in more.levels.items():
                asked.setdefault(column, []).extend(values)
                if len(asked[column]) > MAX_LEVELS:
                    raise Unsupported(f"column {column!r} has more than {MAX_LEVELS:,} levels") from None
            continue
        return Layout(
            estimator, [_settled(f, walk.levels) for f in features], walk.levels, walk.wrappers, _notes(spelled)
        )
    raise Unsupported("the encoders ask for ever more levels")


def kinds_of(thing: Any) -> set[str]:  # noqa: ANN401 - any object
    """Return the names of the scikit-learn classes that something is an instance of."""
    return {c.__name__ for c in type(thing).__mro__ if c.__module__.split(".")[0] == "sklearn"}


def _inside(model: Any) -> Any:  # noqa: ANN401 - any fitted model
    """Return the model inside a wrapper that is read here, or None."""
    kinds = kinds_of(model)
    if "TransformedTargetRegressor" in kinds:
        return model.regressor_
    if kinds & {"TunedThresholdClassifierCV", "FixedThresholdClassifier"}:
        return model.estimator_
    return getattr(model, "best_estimator_", None) if "BaseSearchCV" in kinds else None


def _settled(feature: Feature, levels: dict[str, Levels]) -> Feature:
    if not isinstance(feature, Table):
        return feature
    if feature.by_cell.dtype == object:
        raise Unsupported(f"text of column {feature.column!r} reaches the model itself")
    unseen = feature.by_cell[len(levels[feature.column].known) : -1]
    if not same(unseen, np.full(len(unseen), unseen[0])).all():
        raise Unsupported(f"the answer depends on the letters of {feature.column!r}, not only on its level")
    return feature


class _Walk:
    """One pass through a pipeline with a given set of levels."""

    def __init__(
        self,
        specs: Sequence[Column],
        asked: dict[str, list[Any]],
        missing: Any,  # noqa: ANN401
        spelled: set[str],
    ) -> None:
        self.spelled = spelled
        self.specs = {s.name: s for s in specs}
        self.levels: dict[str, Levels] = {}
        self.missing = missing
        self.wrappers: list[Any] = []
        self.free: set[str] = set()
        for name, known in asked.items():
            text = self.specs[name].datatype == "BYTES"
            self.levels[name] = text_levels(name, known, missing) if text else number_levels(name, known)

    def raw(self) -> list[Feature]:
        """Return the input columns as features."""
        return [self._raw(spec) for spec in self.specs.values()]

    def _raw(self, spec: Column) -> Feature:
        if spec.shape:
            raise Unsupported(f"column {spec.name!r} holds lists")
        if spec.datatype != "BYTES":
            return Number(spec.name)
        if spec.name not in self.levels:
            # Too many to tabulate; no harm as long as no step looks at the column.
            self.free.add(spec.name)
            self.levels[spec.name] = text_levels(spec.name, [], self.missing)
        return Table(spec.name, np.array(self.levels[spec.name].cells, object))

    def through(self, model: Any, features: list[Feature]) -> tuple[Any, list[Feature]]:  # noqa: ANN401
        """Return the last step and its features."""
        if "Pipeline" in kinds_of(model):
            for _, step in model.steps[:-1]:
                features = self.apply(step, features)
            return self.through(model.steps[-1][1], features)
        inner = _inside(model)
        if inner is not None:
            if not hasattr(model, "best_estimator_"):
                self.wrappers.append(model)
            return self.through(inner, features)
        own = getattr(model, "_preprocessor", None)
        if own is not None and hasattr(model, "is_categorical_"):
            features = self.apply(own, features)
        return model, features

    def apply(self, step: Any, features: list[Feature]) -> list[Feature]:  # noqa: ANN401
        """Return the features that a fitted transformer makes of features."""
        if step is None or isinstance(step, str):
            return [] if step == "drop" else features
        kinds = kinds_of(step)
        joined = self._joined(step, kinds, features)
        return self._single(step, kinds, features) if joined is None else joined

    def _joined(self, step: Any, kinds: set[str], features: list[Feature]) -> list[Feature] | None:  # noqa: ANN401
        """Apply a transformer made of others; None if it is not one."""
        if "Pipeline" in kinds:
            for _, inner in step.steps:
                features = self.apply(inner, features)
            return features
        if "ColumnTransformer" in kinds:
            return self._column_wise(step, features)
        if "FeatureUnion" in kinds:
            return [f for _, inner in step.transformer_list for f in self.apply(inner, features)]
        return None

    def _single(self, step: Any, kinds: set[str], features: list[Feature]) -> list[Feature]:  # noqa: ANN401
        if "SelectorMixin" in kinds:
            return [features[i] for i in step.get_support(indices=True)]
        if "FunctionTransformer" in kinds and (step.func is None or _only_checks(step.func)):
            return features
        if all(not isinstance(f, Table) or f.by_cell.dtype != object for f in features):
            by_column = _elementwise(step, kinds, len(features))
            if by_column is not None:
                return [_with_steps(features[i], steps) for i, steps in by_column]
        return self._tabulate(step, kinds, features)

    def _column_wise(self, step: Any, features: list[Feature]) -> list[Feature]:  # noqa: ANN401
        made: dict[int, Feature] = {}
        for name, inner, _ in step.transformers_:
            if isinstance(inner, str) and inner == "drop":
                continue
            taken = [features[i] for i in step._transformer_to_input_indices[name]]  # noqa: SLF001 - no public form
            given = self.apply(inner, taken)
            place = step.output_indices_[name]
            if place.stop - place.start != len(given):
                raise Unsupported(f"transformer {name!r} makes {place.stop - place.start} features, not {len(given)}")
            made.update(zip(range(place.start, place.stop), given, strict=True))
        return [made[i] for i in sorted(made)]

    def _tabulate(self, step: Any, kinds: set[str], features: list[Feature]) -> list[Feature]:  # noqa: ANN401
        what = type(step).__name__
        if not features:
            return []
        if not hasattr(step, "transform") or kinds & _READS_TEXT:
            raise Unsupported(f"{what} is not read here")
        for f in features:
            if isinstance(f, Table) and f.column in self.free:
                raise Unsupported(f"column {f.column!r} has more than {MAX_LEVELS:,} levels")
        if "FunctionTransformer" in kinds:
            self._need_spellings(features)
        known = list(getattr(step, "categories_", ()))
        tables = [self._as_table(f, known[i] if i < len(known) else None, what) for i, f in enumerate(features)]
        self._need(tables, known)
        probe = Probe(step, tables, self.levels, self.specs, self.missing)
        return probe.features()

    def _as_table(self, feature: Feature, known: Any, what: str) -> Table | Constant:  # noqa: ANN401
        if not isinstance(feature, Number):
            return feature
        if known is None:
            raise Unsupported(f"{what} of numbers is not read here")
        if any(operation != "fill" for operation, _ in feature.steps):
            raise Unsupported(f"{what} of scaled numbers is not read here")
        if feature.column not in self.levels:
            raise _NeedLevels({feature.column: _floats(known)})
        return Table(feature.column, run(feature.steps, np.array(self.levels[feature.column].cells, np.float64)))

    def _need_spellings(self, features: Sequence[Feature]) -> None:
        """Ask for other spellings of known levels: a function of the user's own often makes them one."""
        texts = {f.column for f in features if isinstance(f, Table) and f.by_cell.dtype == object}
        new = texts - self.spelled
        if new:
            self.spelled |= new
            raise _NeedLevels({column: _spellings(self.levels[column].known) for column in new})

    def _need(self, tables: Sequence[Table | Constant], known: Sequence[Any]) -> None:
        """Ask for the levels that an encoder knows and the tables lack."""
        asked: dict[str, list[Any]] = {}
        for feature, categories in zip(tables, known, strict=False):
            if not isinstance(feature, Table):
                continue
            held = {v for v in feature.by_cell.tolist() if v == v}  # noqa: PLR0124 - not NaN
            text = self.levels[feature.column].text
            plain = categories.tolist() if text else _floats(categories)
            lacking = [v for v in plain if v is not None and v == v and v not in held and isinstance(v, str) == text]  # noqa: PLR0124
            new = [v for v in lacking if v not in set(self.levels[feature.column].known)]
            if new:
                asked.setdefault(feature.column, []).extend(new)
        if asked:
            raise _NeedLevels(asked)


def _spellings(known: Sequence[str]) -> list[str]:
    made = [f(v) for v in known for f in (str.lower, str.upper, str.title, str.strip, " {}".format, "{} ".format)]
    return sorted(set(made) - set(known))


def _notes(spelled: set[str]) -> list[str]:
    if not spelled:
        return []
    columns = ", ".join(sorted(spelled))
    ran = "it was run on all known levels, in capitals and not, with spaces around"
    return [f"a function of your own reads the text of {columns}: {ran}; any other spelling counts as never seen"]


def _floats(values: Any) -> list[float]:  # noqa: ANN401 - an array of categories
    try:
        return [float(v) for v in np.asarray(values, object).tolist() if v is not None]
    except (TypeError, ValueError):
        raise Unsupported("an encoder of numbers knows levels that are not numbers") from None


def _only_checks(func: Any) -> bool:  # noqa: ANN401 - any callable
    return getattr(getattr(func, "func", func), "__name__", "") == "check_array"


def _with_steps(feature: Feature, steps: tuple[Step, ...]) -> Feature:
    if isinstance(feature, Number):
        return replace(feature, steps=feature.steps + steps)
    if isinstance(feature, Constant):
        return Constant(float(run(steps, np.array([feature.value]))[0]))
    return Table(feature.column, run(steps, feature.by_cell.astype(np.float64)))


def _elementwise(step: Any, kinds: set[str], width: int) -> list[tuple[int, tuple[Step, ...]]] | None:  # noqa: ANN401
    """Return (input feature, steps) of each output, for transformers that treat each number on its own."""
    if "SimpleImputer" in kinds:
        return _imputed(step)
    vectors: list[tuple[str, Any]]
    if "StandardScaler" in kinds:
        vectors = [("sub", step.mean_ if step.with_mean else None), ("div", step.scale_ if step.with_std else None)]
    elif "RobustScaler" in kinds:
        vectors = [
            ("sub", step.center_ if step.with_centering else None),
            ("div", step.scale_ if step.with_scaling else None),
        ]
    elif "MinMaxScaler" in kinds:
        clip = step.feature_range if step.clip else (None, None)
        low, high = (None if c is None else np.full(width, float(c)) for c in clip)
        vectors = [("mul", step.scale_), ("add", step.min_), ("low", low), ("high", high)]
    elif "MaxAbsScaler" in kinds:
        vectors = [("div", step.scale_)]
    else:
        return None
    used = [(operation, np.asarray(v, np.float64)) for operation, v in vectors if v is not None]
    return [(i, tuple((operation, float(v[i])) for operation, v in used)) for i in range(width)]


def _imputed(step: Any) -> list[tuple[int, tuple[Step, ...]]] | None:  # noqa: ANN401
    if step.missing_values == step.missing_values:
        return None
    fills = np.asarray(step.statistics_, np.float64)
    outputs: list[tuple[int, tuple[Step, ...]]] = [
        (i, (("fill", float(v)),)) for i, v in enumerate(fills) if not np.isnan(v)
    ]
    if step.indicator_ is not None:
        outputs += [(int(i), (("isnan", 0.0),)) for i in step.indicator_.features_]
    return outputs
