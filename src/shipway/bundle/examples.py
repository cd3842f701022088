"""A few rows that travel with a bundle, and what the model answers to them.

They warm a new runtime up, prove that it answers as it did when packed, and fill the form in which a
person tries the model. `reference/examples.json` is `{"format": 1, "rows": [...], "outputs": [...]}`.
"""

from typing import Any

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from shipway.bundle.stages import AuditedBundle
from shipway.terms import FORMAT

PATH = "reference/examples.json"


class Examples(Struct, frozen=True):
    """Rows as records, and the expected answer to each, in the form of the record dialect."""

    rows: list[dict[str, Any]]
    outputs: list[dict[str, Any]]
    format: int = FORMAT


def examples(bundle: AuditedBundle) -> Examples:
    """Return the example rows of a bundle; none if it carries none."""
    if not bundle.has(PATH):
        return Examples([], [])
    return msgspec.json.decode(bundle.content(PATH), type=Examples)


def differs(expected: list[dict[str, Any]], got: list[dict[str, Any]], tolerance: float) -> bool:
    """Say whether two lists of answers differ by more than `tolerance`, relative to numbers above one."""
    return len(expected) != len(got) or any(_apart(a, b, tolerance) for a, b in zip(expected, got, strict=True))


def _apart(a: Any, b: Any, tolerance: float) -> bool:  # noqa: ANN401 - any JSON value
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() != b.keys() or any(_apart(a[key], b[key], tolerance) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) != len(b) or any(_apart(x, y, tolerance) for x, y in zip(a, b, strict=True))
    if isinstance(a, (int, float)) and isinstance(b, (int, float)):
        one: NDArray[np.float64] = np.array(a, np.float64)
        return not bool(np.isclose(one, b, rtol=tolerance, atol=tolerance, equal_nan=True))
    return bool(a != b)
