"""Turn what a model computes into what a signature promises: labels, probabilities, predictions."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def classified(probability: Array, classes: NDArray[np.object_], threshold: float | None = None) -> dict[str, Array]:
    """Answer a classifier's rows: the label of the largest probability, and all of them.

    Args:
        probability: shape (rows, K), or (rows,) and (rows, 1) for the second of two classes.
        classes: K labels as text.
        threshold: of two classes, the second is answered from this probability on; None means the larger one.
    """
    p = np.asarray(probability, np.float64)
    if p.ndim == 1 or p.shape[1] == 1:
        second = p.reshape(-1)
        p = np.empty((len(second), 2))
        p[:, 1] = second
        np.subtract(1.0, second, out=p[:, 0])
    chosen = p.argmax(axis=1) if threshold is None else (p[:, 1] >= threshold).astype(np.intp)
    return {"label": classes[chosen], "probability": p}


def predicted(values: Array) -> dict[str, Array]:
    """Answer a regressor's rows."""
    return {"prediction": np.asarray(values, np.float64).reshape(-1)}


def text(values: Array) -> NDArray[np.object_]:
    """Write labels as text: whole numbers without a point.

    >>> text(np.array([0.0, 1.0])).tolist()
    ['0', '1']
    """
    made = np.empty(values.size, object)
    made[:] = [label(v) for v in values.reshape(-1).tolist()]
    return made


def label(value: Any) -> str:  # noqa: ANN401 - a class label of any type
    """Write one class label as text.

    >>> label(1.0), label("yes"), label(True), label(2.5)
    ('1', 'yes', 'True', '2.5')
    """
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)
