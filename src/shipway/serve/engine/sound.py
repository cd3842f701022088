"""Whether what a model said may be passed on."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from shipway.terms import Signature

FEW = 16


def fault(signature: Signature, outputs: Mapping[str, np.ndarray[Any, Any]], rows: int) -> str:
    """Say what is wrong with the outputs, or return "".

    Wrong is an output that is missing, has another number of rows, or holds a NaN or an infinity.
    """
    for column in signature.outputs:
        values = outputs.get(column.name)
        if values is None:
            return f"the output {column.name!r} is missing"
        if len(values) != rows:
            return f"the output {column.name!r} has {len(values)} rows for {rows}"
        if values.dtype.kind == "f" and not finite(values):
            return f"the output {column.name!r} holds a number that is not finite"
    return ""


def finite(values: np.ndarray[Any, Any]) -> bool:
    """Return whether all numbers are finite; a finite sum proves it in half the time of a look at each."""
    if values.size <= FEW:  # a call of numpy costs more than a look at each
        return all(map(math.isfinite, values.ravel().tolist()))
    with np.errstate(all="ignore"):
        total = float(np.add.reduce(values, axis=None))
    return math.isfinite(total) or bool(np.isfinite(values).all())
