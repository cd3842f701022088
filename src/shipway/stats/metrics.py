"""Metrics of classifiers and regressors, each with a bootstrap interval.

`measure` gives point and interval; `replicate` gives the bootstrap replicates themselves, so that two
models judged with the same seed on the same rows are compared pair by pair. A metric that the rows
cannot show (AUC with one class only) is absent from the answer, never a made-up number.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from shipway.errors import Rejected
from shipway.stats.evalue import Floats
from shipway.terms import Task

Metrics = dict[str, Floats]
"""Metric name -> one value per row of weights."""

HIGHER_IS_BETTER = {
    "accuracy": True,
    "balanced_accuracy": True,
    "auc": True,
    "macro_f1": True,
    "r2": True,
    "log_loss": False,
    "brier": False,
    "rmse": False,
    "mae": False,
}

_BATCH_CELLS = 2_000_000
"""Weights held at once; 16 MB."""


class Measured(Struct, frozen=True):
    """A metric with its bootstrap interval."""

    value: float
    low: float
    high: float


def _ratio(above: Floats, below: Floats) -> Floats:
    """Divide, giving NaN where nothing is below."""
    out = np.full(np.broadcast_shapes(above.shape, below.shape), np.nan)
    np.divide(above, below, out=out, where=below > 0)
    return out


def auc(positive: npt.NDArray[np.bool_], score: Floats, weights: Floats) -> Floats:
    """Return the chance that a positive row scores above a negative one, ties counting half.

    Args:
        positive: shape (n,).
        score: shape (n,).
        weights: shape (replicates, n).

    Returns:
        Shape (replicates,); NaN where one class has no weight.

    Source:
        Rank statistic of H. B. Mann, D. R. Whitney (1947), Ann. Math. Stat. 18(1), 50-60.

    >>> auc(np.array([False, True, True]), np.array([0.1, 0.1, 0.9]), np.ones((1, 3))).tolist()
    [0.75]
    """
    order = np.argsort(score, kind="stable")
    ordered = score[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    hit = np.add.reduceat(weights[:, order] * positive[order], starts, axis=1)
    miss = np.add.reduceat(weights[:, order] * ~positive[order], starts, axis=1)
    below = np.cumsum(miss, axis=1) - miss
    return _ratio((hit * (below + miss / 2)).sum(axis=1), hit.sum(axis=1) * miss.sum(axis=1))


def classification(
    truth: npt.NDArray[np.int64], label: npt.NDArray[np.int64], probability: Floats, weights: Floats
) -> Metrics:
    """Return the metrics of a classifier for each row of weights.

    Args:
        truth: index of the true class per row, -1 for a class that the model does not know; shape (n,).
        label: index of the answered class, likewise.
        probability: shape (n, K).
        weights: shape (replicates, n).
    """
    classes = probability.shape[1]
    total = weights.sum(axis=1)
    right = truth == label
    chosen = np.where(truth >= 0, probability[np.arange(len(truth)), np.maximum(truth, 0)], 0.0)
    # As scikit-learn clips: a certain and wrong answer costs 36, not infinity.
    surprise = -np.log(np.clip(chosen, np.finfo(np.float64).eps, 1.0))
    out: Metrics = {"accuracy": weights @ right / total, "log_loss": weights @ surprise / total}
    recalls, f1s = [], []
    for k in range(-1, classes):
        is_true, is_said = truth == k, label == k
        hit, true, said = weights @ (is_true & is_said), weights @ is_true, weights @ is_said
        recalls.append(_ratio(hit, true))
        f1s.append(_ratio(2 * hit, true + said))
    out["balanced_accuracy"] = _mean_known(recalls)
    if classes == 2:
        positive = truth == 1
        out["brier"] = weights @ (probability[:, 1] - positive) ** 2 / total
        out["auc"] = auc(positive, probability[:, 1], weights)
    else:
        out["macro_f1"] = _mean_known(f1s)
    return out


def _mean_known(columns: list[Floats]) -> Floats:
    stacked = np.stack(columns)
    known = ~np.isnan(stacked)
    return _ratio(np.where(known, stacked, 0.0).sum(axis=0), known.sum(axis=0).astype(np.float64))


def regression(truth: Floats, prediction: Floats, weights: Floats) -> Metrics:
    """Return the metrics of a regressor for each row of weights.

    >>> out = regression(np.array([0.0, 2.0]), np.array([0.0, 1.0]), np.ones((1, 2)))
    >>> {k: v.round(3).tolist() for k, v in out.items()}
    {'rmse': [0.707], 'mae': [0.5], 'r2': [0.5]}
    """
    total = weights.sum(axis=1)
    residual = truth - prediction
    # Spread is taken about the mean of all rows: of numbers like 1e9 +- 1 the plain squares keep no digit of it.
    centred = truth - truth.mean()
    mean = weights @ centred / total
    squared = weights @ residual**2
    around = weights @ centred**2
    spread = around - total * mean**2
    # Below this the spread is rounding noise: all rows drawn were equal, and there is nothing to explain.
    noise = 1e-12 * around + total * (4 * np.finfo(np.float64).eps * np.abs(truth).max()) ** 2
    spread = np.where(spread > noise, spread, 0.0)
    return {
        "rmse": np.sqrt(squared / total),
        "mae": weights @ np.abs(residual) / total,
        "r2": 1.0 - _ratio(squared, spread),
    }


def _indices(labels: npt.NDArray[np.generic], classes: Sequence[str], unknown: int) -> npt.NDArray[np.int64]:
    position = {name: i for i, name in enumerate(classes)}
    return np.array([position.get(str(v), unknown) for v in labels.tolist()], dtype=np.int64)


def _finite(numbers: Floats, what: str) -> None:
    # A NaN sorts above every score and would make an AUC up; the other metrics would just vanish.
    wrong = int(np.count_nonzero(~np.isfinite(numbers.reshape(len(numbers), -1)).all(axis=1)))
    if wrong:
        raise Rejected(
            f"{wrong} of {len(numbers)} {what} are not finite, so no metric can be measured",
            fix="leave out rows whose outcome is unknown; a model must answer a finite number to every row",
        )


def replicate(
    task: Task,
    classes: Sequence[str],
    truth: npt.NDArray[np.generic],
    outputs: dict[str, npt.NDArray[np.generic]],
    *,
    replicates: int = 500,
    seed: int = 1,
) -> Metrics:
    """Return every metric on the rows as they are, followed by its bootstrap replicates.

    The same seed and number of rows draw the same rows, so the replicates of two models subtract.

    Args:
        task: binary, multiclass or regression.
        classes: labels in the order of `probability`; () for regression.
        truth: labels as text, or numbers; shape (n,).
        outputs: `label` (n,) and `probability` (n, K), or `prediction` (n,).
        replicates: how often the rows are drawn again.
        seed: of the draw.

    Returns:
        Per metric an array of shape (1 + replicates,); the first element is the metric itself.

    Raises:
        Rejected: no rows, a task without metrics, or a number that is not finite.
    """
    rows = len(truth)
    if rows == 0:
        raise Rejected("there are no rows to measure on", fix="give at least one row with a known outcome")
    if task is Task.REGRESSION:
        numbers = np.asarray(truth, dtype=np.float64)
        predicted = np.asarray(outputs["prediction"], dtype=np.float64)
        _finite(numbers, "known outcomes")
        _finite(predicted, "predictions")
    elif task in (Task.BINARY, Task.MULTICLASS):
        # Two unknowns never agree: an answer outside the classes is wrong whatever the truth is.
        known, said = _indices(truth, classes, -1), _indices(outputs["label"], classes, -2)
        probability = np.asarray(outputs["probability"], dtype=np.float64)
        _finite(probability, "rows of probabilities")
    else:
        raise Rejected(
            f"no metric is defined for a model of task {task.value!r}",
            fix="judge it with your own evaluation, or pack it as binary, multiclass or regression",
        )

    def of(weights: Floats) -> Metrics:
        if task is Task.REGRESSION:
            return regression(numbers, predicted, weights)
        return classification(known, said, probability, weights)

    rng = np.random.default_rng(seed)
    parts = [of(np.ones((1, rows)))]
    batch = max(1, _BATCH_CELLS // rows)
    for start in range(0, replicates, batch):
        size = min(batch, replicates - start)
        drawn = [np.bincount(rng.integers(0, rows, rows), minlength=rows) for _ in range(size)]
        parts.append(of(np.array(drawn, dtype=np.float64)))
    joined = {k: np.concatenate([part[k] for part in parts]) for k in parts[0]}
    return {k: v for k, v in joined.items() if np.isfinite(v[0])}


def interval(values: Floats, *, confidence: float = 0.95) -> Measured:
    """Turn what `replicate` returned for one metric into the metric and its percentile interval.

    Replicates in which the metric does not exist (one class only was drawn) are left out.

    Source:
        B. Efron, R. J. Tibshirani (1993), An Introduction to the Bootstrap, chapter 13.

    >>> interval(np.arange(102.0), confidence=0.5)
    Measured(value=0.0, low=26.0, high=76.0)
    """
    drawn = values[1:][np.isfinite(values[1:])]
    if not len(drawn):
        return Measured(float(values[0]), float(values[0]), float(values[0]))
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(drawn, [tail, 1.0 - tail])
    return Measured(value=float(values[0]), low=float(low), high=float(high))


def measure(  # noqa: PLR0913  -- what is judged, and three options of the bootstrap
    task: Task,
    classes: Sequence[str],
    truth: npt.NDArray[np.generic],
    outputs: dict[str, npt.NDArray[np.generic]],
    *,
    replicates: int = 500,
    confidence: float = 0.95,
    seed: int = 1,
) -> dict[str, Measured]:
    """Measure a model on rows with known outcomes.

    Args:
        task: binary, multiclass or regression.
        classes: labels in the order of `probability`; () for regression.
        truth: labels as text, or numbers; shape (n,).
        outputs: as the model answered them.
        replicates: how often the rows are drawn again for the intervals.
        confidence: of the intervals.
        seed: of the draw.

    >>> said = {"prediction": np.array([1.0, 2.0, 3.0, 5.0])}
    >>> measure(Task.REGRESSION, (), np.array([1.0, 2.0, 3.0, 4.0]), said)["mae"]
    Measured(value=0.25, low=0.0, high=0.75)
    """
    drawn = replicate(task, classes, truth, outputs, replicates=replicates, seed=seed)
    return {k: interval(v, confidence=confidence) for k, v in drawn.items()}
