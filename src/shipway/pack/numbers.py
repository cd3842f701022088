"""What preprocessing does to one number, as a short list of exact steps.

A step is (operation, constant). The same list is run three ways, all in IEEE double: here with numpy, in
the graph as ONNX nodes, and backwards. Backwards is what trees need: imputing and scaling never decrease, so
`scaled(x) <= t` is the same as `x <= t'` for exactly one double t', found by bisection over all doubles.
A forest behind a scaler therefore becomes a forest over raw numbers, and answers alike on every input.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Step = tuple[str, float]
"""fill (a missing number by), sub, div, mul, add, low (at least), high (at most), isnan."""

_SIGN = np.uint64(1 << 63)
_GREATEST = np.finfo(np.float64).max


def run(steps: Sequence[Step], x: Floats) -> Floats:
    """Apply the steps to numbers.

    >>> run([("fill", 2.0), ("sub", 1.0)], np.array([5.0, np.nan])).tolist()
    [4.0, 1.0]
    """
    with np.errstate(all="ignore"):
        for operation, constant in steps:
            x = _OPERATIONS[operation](x, constant)
    return x


_OPERATIONS: dict[str, Callable[[Floats, float], Floats]] = {
    "fill": lambda x, constant: np.where(np.isnan(x), constant, x),
    "sub": lambda x, constant: x - constant,
    "div": lambda x, constant: x / constant,
    "mul": lambda x, constant: x * constant,
    "add": lambda x, constant: x + constant,
    "low": np.maximum,
    "high": np.minimum,
    "isnan": lambda x, _: np.isnan(x).astype(np.float64),
}


def never_decreases(steps: Sequence[Step]) -> bool:
    """Say whether a larger number always gives a larger or equal result."""
    return all(constant > 0 for operation, constant in steps if operation in ("div", "mul"))


def raw_thresholds(steps: Sequence[Step], thresholds: Floats, *, float32: bool) -> Floats:
    """Find for each threshold t the greatest double x with `run(steps, x) <= t`; -inf if there is none.

    Args:
        steps: never decreasing.
        thresholds: of the processed number, shape (n,).
        float32: True if the model rounds the processed number to float32 before comparing.

    >>> raw_thresholds([("sub", 1.0), ("div", 2.0)], np.array([3.0]), float32=False).tolist()
    [7.0]
    """
    if not steps and not float32:
        return thresholds.astype(np.float64)
    low = np.full(thresholds.shape, _ordinal(np.array([-_GREATEST]))[0])
    high = np.full(thresholds.shape, _ordinal(np.array([_GREATEST]))[0])

    def passes(places: NDArray[np.uint64]) -> NDArray[np.bool_]:
        return goes_left(run(steps, _double(places)), thresholds, float32=float32)

    none, every = ~passes(low), passes(high)
    while (low + np.uint64(1) < high).any():
        middle = low + (high - low) // np.uint64(2)
        good = passes(middle)
        low, high = np.where(good, middle, low), np.where(good, high, middle)
    return np.where(none, -np.inf, np.where(every, _GREATEST, _double(low)))


def goes_left(values: Floats, thresholds: Floats, *, float32: bool) -> NDArray[np.bool_]:
    """Compare processed numbers with thresholds as a tree does."""
    if float32:
        with np.errstate(over="ignore"):
            values = values.astype(np.float32).astype(np.float64)
    return np.asarray(values <= thresholds)


def _ordinal(x: Floats) -> NDArray[np.uint64]:
    """Number all doubles in their order."""
    bits = x.view(np.uint64)
    return np.where(bits & _SIGN, ~bits, bits | _SIGN)


def _double(ordinal: NDArray[np.uint64]) -> Floats:
    bits = np.where(ordinal & _SIGN, ordinal ^ _SIGN, ~ordinal)
    return bits.view(np.float64)
