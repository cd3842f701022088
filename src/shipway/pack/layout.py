"""See every feature of a model as a function of one input column, whatever preprocessing lies between.

A feature is either a `Number` (a column of numbers and a few exact steps) or a `Table` (one value for each
level of a column, one for a level never seen, one for a missing cell). Tables need no converter per encoder:
the fitted encoder itself is run on every level, and what it answers is the table. It covers one-hot and
ordinal encoders, target encoders, imputers of text and functions of the user's own, as long as each output
depends on one column; where it does not, `Unsupported` says so, and another converter may try.

`read_layout` walks a pipeline and returns its last step with the features that reach it.
"""

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from shipway.pack.numbers import Step, run
from shipway.terms import Column

MAX_LEVELS = 20_000
UNSEEN = ("\x00unseen", "Martian 12", "zz", "UNSEEN, by the model")
"""Texts that stand for any level never seen: an encoder must answer them alike."""

_READS_TEXT = {"CountVectorizer", "TfidfVectorizer", "HashingVectorizer", "FeatureHasher"}


class Unsupported(Exception):  # noqa: N818 - internal control flow: this converter gives up, the next one tries
    """This converter cannot read the model; the message says why."""


class _NeedLevels(Exception):  # noqa: N818 - internal control flow
    def __init__(self, levels: dict[str, list[Any]]) -> None:
        super().__init__("levels")
        self.levels = levels


@dataclass(frozen=True)
class Number:
    """A feature made of a column of numbers."""

    column: str
    steps: tuple[Step, ...] = ()


@dataclass(frozen=True, eq=False)
class Table:
    """A feature made of a column's level: `values[i]` belongs to cell i of the column's `Levels`."""

    column: str
    values: NDArray[Any]


@dataclass(frozen=True, eq=False)
class Constant:
    """A feature that no column moves."""

    value: float


Feature = Number | Table | Constant


@dataclass
class Levels:
    """The cells that a column can hold: its known levels, some it has never seen, and a missing one."""

    column: str
    text: bool
    known: list[Any]
    unseen: list[Any]
    missing: Any
    refuses: set[str] = field(default_factory=set)
    """`unknown` or `missing`, where the model raises on such a cell."""

    @property
    def cells(self) -> list[Any]:
        """Known levels, then unseen ones, then the missing cell."""
        return [*self.known, *self.unseen, self.missing]

    def kinds(self) -> list[str]:
        """Say of each cell what it is."""
        return ["known"] * len(self.known) + ["unknown"] * len(self.unseen) + ["missing"]


@dataclass
class Layout:
    """The last step of a pipeline, and the features that reach it."""

    estimator: Any
    features: list[Feature]
    levels: dict[str, Levels]
    wrappers: list[Any] = field(default_factory=list)
    """What stands around the last step: a transformed target, a moved threshold; outermost first."""


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
    for _ in range(20):
        walk = _Walk(specs, asked, missing)
        try:
            estimator, features = walk.through(model, walk.raw())
        except _NeedLevels as more:
            for column, values in more.levels.items():
                asked.setdefault(column, []).extend(values)
                if len(asked[column]) > MAX_LEVELS:
                    raise Unsupported(f"column {column!r} has more than {MAX_LEVELS:,} levels") from None
            continue
        return Layout(estimator, [_settled(f, walk.levels) for f in features], walk.levels, walk.wrappers)
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
    if feature.values.dtype == object:
        raise Unsupported(f"text of column {feature.column!r} reaches the model itself")
    kinds = np.array(levels[feature.column].kinds())
    unseen = feature.values[kinds == "unknown"]
    if not _same(unseen, np.full(len(unseen), unseen[0])).all():
        raise Unsupported(f"the answer depends on the letters of {feature.column!r}, not only on its level")
    return feature


class _Walk:
    """One pass through a pipeline with a given set of levels."""

    def __init__(self, specs: Sequence[Column], asked: dict[str, list[Any]], missing: Any) -> None:  # noqa: ANN401
        self.specs = {s.name: s for s in specs}
        self.levels: dict[str, Levels] = {}
        self.missing = missing
        self.wrappers: list[Any] = []
        self.free: set[str] = set()
        for name, known in asked.items():
            text = self.specs[name].datatype == "BYTES"
            self.levels[name] = _text_levels(name, known, missing) if text else _number_levels(name, known)

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
            self.levels[spec.name] = _text_levels(spec.name, [], self.missing)
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
        kinds = kinds_of(step)
        if step is None or (isinstance(step, str) and step == "passthrough"):
            return features
        if isinstance(step, str):
            return []
        if "Pipeline" in kinds:
            for _, inner in step.steps:
                features = self.apply(inner, features)
            return features
        if "ColumnTransformer" in kinds:
            return self._column_wise(step, features)
        if "FeatureUnion" in kinds:
            return [f for _, inner in step.transformer_list for f in self.apply(inner, features)]
        if "SelectorMixin" in kinds:
            return [features[i] for i in step.get_support(indices=True)]
        if "FunctionTransformer" in kinds and (step.func is None or _only_checks(step.func)):
            return features
        if all(not isinstance(f, Table) or f.values.dtype != object for f in features):
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
        known = list(getattr(step, "categories_", ()))
        tables = [self._as_table(f, known[i] if i < len(known) else None, what) for i, f in enumerate(features)]
        self._need(tables, known)
        probe = _Probe(step, tables, self.levels, self.specs, self.missing)
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

    def _need(self, tables: Sequence[Table | Constant], known: Sequence[Any]) -> None:
        """Ask for the levels that an encoder knows and the tables lack."""
        asked: dict[str, list[Any]] = {}
        for feature, categories in zip(tables, known, strict=False):
            if not isinstance(feature, Table):
                continue
            held = {v for v in feature.values.tolist() if v == v}  # noqa: PLR0124 - not NaN
            text = self.levels[feature.column].text
            plain = categories.tolist() if text else _floats(categories)
            lacking = [v for v in plain if v is not None and v == v and v not in held and isinstance(v, str) == text]  # noqa: PLR0124
            new = [v for v in lacking if v not in set(self.levels[feature.column].known)]
            if new:
                asked.setdefault(feature.column, []).extend(new)
        if asked:
            raise _NeedLevels(asked)


class _Probe:
    """Run one fitted transformer on every cell of each column in turn, the others standing still."""

    def __init__(
        self, step: Any, tables: Sequence[Table | Constant], levels: dict[str, Levels], specs: dict[str, Column], missing: Any  # noqa: ANN401
    ) -> None:
        self.step, self.tables, self.levels, self.specs, self.missing = step, tables, levels, specs, missing
        self.columns = list(dict.fromkeys(t.column for t in tables if isinstance(t, Table)))
        self.base = [t.values[0] if isinstance(t, Table) else t.value for t in tables]

    def features(self) -> list[Feature]:
        """Return what the transformer makes of the tables."""
        still = self._transform([self.base])[0]
        moved = {column: self._moved(column) for column in self.columns}
        made: list[Feature] = []
        for place, value in enumerate(still):
            movers = [c for c in self.columns if not _same(moved[c][:, place], still[place]).all()]
            if len(movers) > 1:
                raise Unsupported(f"{type(self.step).__name__} mixes columns {movers[0]!r} and {movers[1]!r}")
            if movers:
                made.append(Table(movers[0], moved[movers[0]][:, place]))
            elif still.dtype == object and self.columns:
                made.append(Table(self.columns[0], moved[self.columns[0]][:, place]))
            else:
                made.append(Constant(float(value)))
        return made

    def _moved(self, column: str) -> NDArray[Any]:
        """Answer for every cell of one column; cells that the transformer refuses are noted, and answered like the first."""
        levels = self.levels[column]
        rows = self._rows(column, range(len(levels.cells)))
        try:
            return self._transform(rows)
        except Unsupported:
            raise
        except Exception:  # noqa: BLE001 - whatever an encoder raises on a level it does not know
            pass
        kinds = np.array(levels.kinds())
        answered = self._transform([r for r, kind in zip(rows, kinds, strict=True) if kind == "known"])
        result = np.repeat(answered[:1], len(rows), axis=0)
        result[kinds == "known"] = answered
        for kind in ("unknown", "missing"):
            chosen = [r for r, k in zip(rows, kinds, strict=True) if k == kind]
            try:
                result[kinds == kind] = self._transform(chosen)
            except Exception:  # noqa: BLE001 - as above
                levels.refuses.add(kind)
        return result

    def _rows(self, column: str, places: Iterable[int]) -> list[list[Any]]:
        return [
            [t.values[i] if isinstance(t, Table) and t.column == column else b for t, b in zip(self.tables, self.base, strict=True)]
            for i in places
        ]

    def _transform(self, rows: list[list[Any]]) -> NDArray[Any]:
        text = [isinstance(t, Table) and t.values.dtype == object for t in self.tables]
        names = getattr(self.step, "feature_names_in_", None)
        fed: Any
        if names is not None:
            series = {n: self._series([r[i] for r in rows], text=text[i]) for i, n in enumerate(names)}
            fed = pd.DataFrame(series)
        elif any(text):
            fed = np.array(rows, object)
        else:
            fed = np.array(rows, np.float64)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            out = self.step.transform(fed)
        out = out.toarray() if hasattr(out, "toarray") else np.asarray(out)
        if out.ndim != 2 or len(out) != len(rows):
            raise Unsupported(f"{type(self.step).__name__} does not make one row of each row")
        return out if out.dtype.kind in "OUT" or out.dtype == object else out.astype(np.float64)

    def _series(self, values: list[Any], *, text: bool) -> "pd.Series[Any]":
        if not text:
            numbers = np.array(values, np.float64)
            whole = np.isfinite(numbers).all() and (numbers % 1 == 0).all()
            return pd.Series(numbers.astype(np.int64) if whole else numbers)
        return pd.Series(values, dtype=object if self.missing is None else pd.Series(["a"]).dtype)


def _text_levels(name: str, known: Sequence[str], missing: Any) -> Levels:  # noqa: ANN401
    unseen = [u for u in UNSEEN if u not in known]
    return Levels(name, True, list(dict.fromkeys(known)), unseen, missing)


def _number_levels(name: str, known: Sequence[float]) -> Levels:
    levels = sorted({float(v) for v in known if v == v})  # noqa: PLR0124 - not NaN
    top = max(levels, default=0.0)
    return Levels(name, False, levels, [top + 1.0, top + 1.5, min(levels, default=0.0) - 1.0], np.nan)


def _floats(values: Any) -> list[float]:  # noqa: ANN401 - an array of categories
    try:
        return [float(v) for v in np.asarray(values, object).tolist() if v is not None]
    except (TypeError, ValueError):
        raise Unsupported("an encoder of numbers knows levels that are not numbers") from None


def _same(a: NDArray[Any], b: Any) -> NDArray[np.bool_]:  # noqa: ANN401 - an array or a scalar
    return np.asarray((a == b) | ((a != a) & (b != b)), np.bool_)  # noqa: PLR0124 - NaN equals NaN here


def _only_checks(func: Any) -> bool:  # noqa: ANN401 - any callable
    return getattr(getattr(func, "func", func), "__name__", "") == "check_array"


def _with_steps(feature: Feature, steps: tuple[Step, ...]) -> Feature:
    if isinstance(feature, Number):
        return replace(feature, steps=feature.steps + steps)
    if isinstance(feature, Constant):
        return Constant(float(run(steps, np.array([feature.value]))[0]))
    return Table(feature.column, run(steps, feature.values.astype(np.float64)))


def _elementwise(step: Any, kinds: set[str], width: int) -> list[tuple[int, tuple[Step, ...]]] | None:  # noqa: ANN401
    """Return (input feature, steps) of each output, for transformers that treat each number on its own."""
    if "SimpleImputer" in kinds:
        return _imputed(step)
    vectors: list[tuple[str, Any]]
    if "StandardScaler" in kinds:
        vectors = [("sub", step.mean_ if step.with_mean else None), ("div", step.scale_ if step.with_std else None)]
    elif "RobustScaler" in kinds:
        vectors = [("sub", step.center_ if step.with_centering else None), ("div", step.scale_ if step.with_scaling else None)]
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
    if step.missing_values == step.missing_values:  # noqa: PLR0124 - it fills something else than NaN
        return None
    fills = np.asarray(step.statistics_, np.float64)
    outputs = [(i, (("fill", float(v)),)) for i, v in enumerate(fills) if not np.isnan(v)]
    if step.indicator_ is not None:
        outputs += [(int(i), (("isnan", 0.0),)) for i in step.indicator_.features_]
    return outputs
