"""The versions of the story: a modest first one, a better one, one in another unit, one that crashes, a retrained one.

Every model is an ordinary scikit-learn pipeline, trained for real on the rows it is given.
"""

from dataclasses import dataclass

import numpy as np
import onnx
import pandas as pd
from onnx import TensorProto, helper, numpy_helper
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OrdinalEncoder
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from shipway.demo.data import SEED, Data
from shipway.terms import Task


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


def errors(model: Pipeline, rows: pd.DataFrame, target: str, task: Task) -> np.ndarray:
    """Loss of each row: 0 or 1 for classes, the absolute error for numbers."""
    answered = model.predict(rows[list(model.feature_names_in_)])
    truth = rows[target].to_numpy()
    if task is Task.REGRESSION:
        return np.abs(np.asarray(answered, dtype="float64") - truth.astype("float64"))
    return (answered != truth).astype("float64")


def _trivial(data: Data) -> np.ndarray:
    truth = data.holdout[data.target]
    if data.task is Task.REGRESSION:
        return np.abs(truth.to_numpy(dtype="float64") - float(data.train[data.target].median()))
    return (truth != data.train[data.target].mode()[0]).to_numpy().astype("float64")


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


def another_unit(data: Data) -> InAnotherUnit:
    """Train on rows with one column in another unit: the column and factor that hurt most on rows in the usual unit."""
    rated: list[tuple[float, InAnotherUnit]] = []
    reference = fit(data.train, data.target, data.task)
    base = errors(reference, data.holdout, data.target, data.task).mean()
    for column in _important(reference, data)[:3]:
        for factor in (1000.0, 0.001) if column in data.numbers else (1.0,):
            train, holdout = _change(data.train, column, factor), _change(data.holdout, column, factor)
            model = fit(train, data.target, data.task)
            harm = errors(model, data.holdout, data.target, data.task).mean() - base
            change = f"times {factor:g}" if column in data.numbers else "spelled in capitals"
            rated.append((float(harm), InAnotherUnit(model, column, change, train, holdout)))
    return max(rated, key=lambda entry: entry[0])[1]


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
    """Where the crashing graph gives up."""

    column: str
    bound: float
    """Values of the column above this make the graph raise."""


def crash_bound(data: Data) -> Crash:
    """Choose a numeric column and a bound beyond all rows of the holdout and of ordinary traffic."""
    best = max(
        data.numbers,
        key=lambda column: float(data.holdout[column].notna().mean()) + (float(data.holdout[column].std()) > 0),
    )
    seen = pd.concat([data.train[best], data.holdout[best], data.stream[best]]).dropna()
    return Crash(best, float(seen.max()) + max(1.0, float(seen.max() - seen.min())))


def with_crash(graph: bytes, position: int, bound: float) -> bytes:
    """Put a table look-up into a converted graph that reads out of its range for one input column above `bound`.

    The look-up adds zero to the answer, so on every other row the graph answers as before. The graph's one
    input is the float64 matrix of all columns; `position` is the column's place in it.
    """
    model = onnx.load_from_string(graph)
    g = model.graph
    matrix = g.input[0].name
    output = next(o for o in g.output if o.type.tensor_type.elem_type in (TensorProto.DOUBLE, TensorProto.FLOAT))
    element = output.type.tensor_type.elem_type
    kept = f"{output.name}__kept"
    for node in g.node:
        node.output[:] = [kept if name == output.name else name for name in node.output]
        node.input[:] = [kept if name == output.name else name for name in node.input]
    g.initializer.extend(
        [
            numpy_helper.from_array(np.array([position], dtype=np.int64), "crash_column"),
            numpy_helper.from_array(np.array(bound, dtype=np.float64), "crash_bound"),
            numpy_helper.from_array(
                np.zeros(1, dtype=np.float64 if element == TensorProto.DOUBLE else np.float32), "crash_table"
            ),
        ]
    )
    g.node.extend(
        [
            helper.make_node("Gather", [matrix, "crash_column"], ["crash_value"], axis=1),
            helper.make_node("Greater", ["crash_value", "crash_bound"], ["crash_beyond"]),
            helper.make_node("Cast", ["crash_beyond"], ["crash_index"], to=TensorProto.INT64),
            helper.make_node("Gather", ["crash_table", "crash_index"], ["crash_zero"], axis=0),
            helper.make_node("Add", [kept, "crash_zero"], [output.name]),
        ]
    )
    return bytes(model.SerializeToString())
