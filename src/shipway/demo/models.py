"""The versions of the story: a modest first one, a better one, one in another unit, one that crashes, a retrained one.

Every model is an ordinary scikit-learn pipeline, trained for real on the rows it is given.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import pandas as pd
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from threadpoolctl import threadpool_limits

from shipway.bundle.encoding import Encoding
from shipway.demo.data import SEED, Data
from shipway.errors import Rejected
from shipway.terms import Task

# One thread for every fit: gradient boosting on small tables waits in OpenMP's spin locks otherwise, and takes the
# core that the server under test should have.
threadpool_limits(1)


def _columns(features: pd.DataFrame, used: list[str] | None) -> ColumnTransformer:
    chosen = used or list(features.columns)
    numbers = [column for column in chosen if pd.api.types.is_numeric_dtype(features[column])]
    texts = [column for column in chosen if column not in numbers]
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-2)
    return ColumnTransformer([("texts", encoder, texts), ("numbers", "passthrough", numbers)])


def fit(
    rows: pd.DataFrame, target: str, task: Task, *, columns: list[str] | None = None, shallow: bool = False
) -> Pipeline:
    """Train a gradient boosting (or a shallow tree) that takes in all columns and uses `columns` of them."""
    features = rows.drop(columns=[target])
    if task is Task.REGRESSION:
        model = (
            DecisionTreeRegressor(max_depth=2, random_state=SEED)
            if shallow
            else HistGradientBoostingRegressor(max_iter=60, max_depth=5, random_state=SEED)
        )
    elif shallow:
        model = DecisionTreeClassifier(max_depth=2, min_samples_leaf=5, random_state=SEED)
    else:
        model = HistGradientBoostingClassifier(max_iter=60, max_depth=4, random_state=SEED)
    return Pipeline([("columns", _columns(features, columns)), ("model", model)]).fit(features, rows[target])


def errors(model: Pipeline, rows: pd.DataFrame, target: str, task: Task) -> NDArray[np.float64]:
    """Loss of each row: 0 or 1 for classes, the absolute error for numbers."""
    answered = model.predict(rows[list(model.feature_names_in_)])
    truth = rows[target].to_numpy()
    if task is Task.REGRESSION:
        return np.asarray(np.abs(np.asarray(answered, dtype="float64") - truth.astype("float64")))
    return np.asarray(answered != truth, dtype="float64")


def _trivial(data: Data) -> NDArray[np.float64]:
    truth = data.holdout[data.target]
    if data.task is Task.REGRESSION:
        return np.asarray(np.abs(truth.to_numpy(dtype="float64") - float(data.train[data.target].median())))
    return np.asarray(truth != data.train[data.target].mode()[0], dtype="float64")


def first(data: Data) -> tuple[Pipeline, str]:
    """A modest first try: a shallow tree on one column, the weakest that clearly beats guessing.

    Returns the model and the column.
    """
    trivial = _trivial(data)
    rated: list[tuple[float, float, str, Pipeline]] = []
    for column in data.features:
        model = fit(data.train, data.target, data.task, columns=[column], shallow=True)
        gain = trivial - errors(model, data.holdout, data.target, data.task)
        rated.append((float(gain.mean()), float(gain.std() / np.sqrt(len(gain))), column, model))
    clear = [entry for entry in rated if entry[0] > 3 * entry[1] and entry[0] > 0.1 * trivial.mean()]
    chosen = min(clear, key=lambda entry: entry[0]) if clear else max(rated, key=lambda entry: entry[0])
    return chosen[3], chosen[2]


@dataclass(frozen=True)
class InAnotherUnit:
    """A model whose training and holdout rows had one column in another unit."""

    model: Pipeline
    column: str
    change: str
    train: pd.DataFrame
    holdout: pd.DataFrame


def _change(frame: pd.DataFrame, column: str, factor: float) -> pd.DataFrame:
    if pd.api.types.is_numeric_dtype(frame[column]):
        return frame.assign(**{column: frame[column] * factor})
    return frame.assign(**{column: frame[column].map(lambda cell: None if cell is None else cell.upper() + "_")})


def linear(rows: pd.DataFrame, target: str, task: Task) -> Pipeline:
    """Train a linear model on scaled numbers and one-hot texts: the kind that a wrong unit hurts most."""
    features = rows.drop(columns=[target])
    numbers = [column for column in features if pd.api.types.is_numeric_dtype(features[column])]
    texts = [column for column in features if column not in numbers]
    scaled = Pipeline([("fill", SimpleImputer()), ("scale", StandardScaler())])
    columns = ColumnTransformer(
        [("texts", OneHotEncoder(handle_unknown="ignore", sparse_output=False), texts), ("numbers", scaled, numbers)]
    )
    model = Ridge() if task is Task.REGRESSION else LogisticRegression(max_iter=300)
    return Pipeline([("columns", columns), ("model", model)]).fit(features, rows[target])


def another_unit(data: Data) -> InAnotherUnit:
    """Train on rows with one column in another unit: the kind, column and factor that hurt most in the usual unit."""
    few = data.train.iloc[-2000:]
    reference = fit(few, data.target, data.task)
    base = errors(reference, data.holdout, data.target, data.task).mean()
    rated: list[tuple[float, str, float, Callable[..., Pipeline]]] = []
    for column in _important(reference, data)[:3]:
        for factor in (1000.0, 0.001) if column in data.numbers else (1.0,):
            train, holdout = _change(few, column, factor), _change(data.holdout, column, factor)
            for kind in (fit, linear):
                model = kind(train, data.target, data.task)
                own = errors(model, holdout, data.target, data.task).mean()
                live = errors(model, data.holdout, data.target, data.task).mean()
                # Good where it was tried, bad where it will be used: a gate sees only the first.
                rated.append((float(live - base - 3 * max(0.0, own - base)), column, factor, kind))
    _, column, factor, kind = max(rated, key=lambda entry: entry[0])
    train, holdout = _change(data.train, column, factor), _change(data.holdout, column, factor)
    change = f"times {factor:g}" if column in data.numbers else "spelled in capitals"
    return InAnotherUnit(kind(train, data.target, data.task), column, change, train, holdout)


def _important(model: Pipeline, data: Data) -> list[str]:
    """Input columns, the one whose shuffling hurts most first."""
    rng = np.random.default_rng(SEED)
    rows = data.holdout.iloc[:2000]
    base = errors(model, rows, data.target, data.task).mean()
    harm = {}
    for column in data.features:
        shuffled = rows.assign(**{column: rows[column].to_numpy()[rng.permutation(len(rows))]})
        harm[column] = errors(model, shuffled, data.target, data.task).mean() - base
    return sorted(harm, key=lambda column: -harm[column])


@dataclass(frozen=True)
class Drift:
    """What the story injects into two columns from some moment on."""

    columns: tuple[str, str]
    shifts: dict[str, float]
    """Added to numbers."""
    replaced: dict[str, tuple[str, str]]
    """Text column -> (level that vanishes, level that takes its place)."""

    def __str__(self) -> str:
        parts = [f"{column} {shift:+.4g}" for column, shift in self.shifts.items()]
        return ", ".join(parts + [f"{column}: {a!r} becomes {b!r}" for column, (a, b) in self.replaced.items()])

    def apply(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Give the rows with the change in them."""
        changed = {column: frame[column] + shift for column, shift in self.shifts.items()}
        changed |= {column: frame[column].where(frame[column] != a, b) for column, (a, b) in self.replaced.items()}
        return frame.assign(**changed)


def drift(data: Data) -> Drift:
    """Choose two columns to drift: the most telling ones, numbers before texts."""
    ranked = _important(fit(data.train, data.target, data.task), data)
    spread = {column: float(data.train[column].std()) for column in data.numbers}
    columns = [column for column in ranked if spread.get(column, 0) > 0][:2]
    columns += [column for column in ranked if column in data.texts and len(data.train[column].dropna().unique()) > 1][
        : 2 - len(columns)
    ]
    shifts = {column: 1.5 * spread[column] for column in columns if column in spread}
    replaced = {}
    for column in columns:
        if column not in shifts:
            levels = data.train[column].value_counts().index
            replaced[column] = (str(levels[0]), str(levels[1]))
    return Drift((columns[0], columns[-1]), shifts, replaced)


@dataclass(frozen=True)
class Crash:
    """Where the crashing graph gives up, and what callers send to get there."""

    column: str
    position: int
    """Place of the column in the graph's matrix."""
    test: str
    """ONNX operator that compares the cell with `bound`: Greater for numbers, Equal for a level never seen."""
    bound: float
    cell: float | str
    """What a caller sends in that column."""

    def __str__(self) -> str:
        if self.test == "Equal":
            return f"{self.column!r} holds a text that the holdout has not"
        return f"{self.column!r} is beyond {self.bound:.4g}"


def crash(data: Data, encoding: Encoding) -> Crash:
    """Choose a column and a value beyond all rows of the holdout and of ordinary traffic.

    Raises:
        Rejected: the graph sees no column that could go beyond.
    """
    for position, entry in enumerate(encoding.columns):
        if entry.kind == "number" and entry.column in data.numbers:
            column = entry.column
            seen = pd.concat([part[column] for part in (data.train, data.holdout, data.stream)]).dropna()
            if not seen.empty:
                bound = float(seen.max()) + max(1.0, float(seen.max() - seen.min()))
                return Crash(column, position, "Greater", bound, bound * 1.01 + 1.0 if bound > 0 else bound / 2 + 1.0)
    for position, entry in enumerate(encoding.columns):
        if entry.kind == "text" and isinstance(entry.unknown, float) and entry.unknown not in _known(entry.levels):
            return Crash(entry.column, position, "Equal", entry.unknown, "a level never seen")
    raise Rejected("no column of the graph can go beyond what it has seen", fix="give a file with a column of numbers")


def _known(levels: Any) -> set[Any]:  # noqa: ANN401 - a table of either form
    return set(levels.values()) if isinstance(levels, dict) else {number for _, number in levels}


def with_crash(graph: bytes, *, position: int, test: str, bound: float) -> bytes:
    """Put a table look-up into a converted graph that reads out of its range for some cells of one input column.

    The look-up adds zero to the answer, so on every other row the graph answers as before. The graph's one
    input is the float64 matrix of all columns; `position` is the column's place in it.
    """
    model = onnx.load_from_string(graph)
    g = model.graph
    matrix = g.input[0].name
    output = next(o for o in g.output if o.type.tensor_type.elem_type in (TensorProto.DOUBLE, TensorProto.FLOAT))
    number = np.float64 if output.type.tensor_type.elem_type == TensorProto.DOUBLE else np.float32
    kept = f"{output.name}__kept"
    for node in g.node:
        node.output[:] = [kept if name == output.name else name for name in node.output]
        node.input[:] = [kept if name == output.name else name for name in node.input]
    g.initializer.extend(
        [
            numpy_helper.from_array(np.array([position], dtype=np.int64), "crash_column"),
            numpy_helper.from_array(np.array(bound, dtype=np.float64), "crash_bound"),
            numpy_helper.from_array(np.zeros(1, dtype=number), "crash_table"),
        ]
    )
    g.node.extend(
        [
            helper.make_node("Gather", [matrix, "crash_column"], ["crash_value"], axis=1),
            helper.make_node(test, ["crash_value", "crash_bound"], ["crash_beyond"]),
            helper.make_node("Cast", ["crash_beyond"], ["crash_index"], to=TensorProto.INT64),
            helper.make_node("Gather", ["crash_table", "crash_index"], ["crash_zero"], axis=0),
            helper.make_node("Add", [kept, "crash_zero"], [output.name]),
        ]
    )
    return bytes(model.SerializeToString())
