"""Small pieces of the sentences on a card: numbers, intervals, lists, entries of the ledger. Pure."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

from shipway.ledger import Entry
from shipway.terms import Column

METRICS = {
    "auc": "AUC (chance to rank a positive row above a negative one)",
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "macro_f1": "Macro F1",
    "log_loss": "Log loss (lower is better)",
    "brier": "Brier score (lower is better)",
    "r2": "R² (share of variance explained)",
    "rmse": "Root mean squared error (lower is better)",
    "mae": "Mean absolute error (lower is better)",
}


def metric_name(name: str) -> str:
    """Say which way a metric points.

    >>> metric_name("log_loss"), metric_name("hits_at_3")
    ('Log loss (lower is better)', 'Hits at 3')
    """
    return METRICS.get(name) or name.replace("_", " ").capitalize()


def number(value: float) -> str:
    """Write a number with four significant figures.

    >>> number(0.84213), number(1.2e-9), number(3)
    ('0.8421', '1.2e-09', '3')
    """
    return f"{value:.4g}"


def thousands(value: Any) -> str:  # noqa: ANN401 - from JSON
    """Write a count with thousands separated, anything else as it is.

    >>> thousands(412306), thousands("many")
    ('412,306', 'many')
    """
    return f"{value:,}" if isinstance(value, int) else str(value)


def measured(value: Any) -> str:  # noqa: ANN401 - from JSON
    """Write a metric with its interval; "" for what is none.

    >>> measured({"value": 0.849, "low": 0.843, "high": 0.855}), measured(0.5), measured("x")
    ('is 0.849 (95 % interval 0.843 to 0.855)', 'is 0.5, without an interval', '')
    """
    if isinstance(value, Mapping):
        point, low, high = value.get("value"), value.get("low"), value.get("high")
        if not _is_number(point):
            return ""
        if _is_number(low) and low == high == point:
            return f"is {number(point)} (no interval: all rows agree)"
        if _is_number(low) and _is_number(high):
            return f"is {number(point)} (95 % interval {number(low)} to {number(high)})"
        return f"is {number(point)}, without an interval"
    return f"is {number(value)}, without an interval" if _is_number(value) else ""


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def listed(names: Sequence[str], limit: int = 8) -> str:
    """Join names, the rest as a number.

    >>> listed(["a", "b", "c"]), listed(["a", "b", "c"], 2)
    ('a, b and c', 'a, b and 1 more')
    """
    if len(names) > limit:
        return f"{', '.join(names[:limit])} and {len(names) - limit} more"
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else ""


def figure(value: float, column: Column) -> str:
    """Write a bound of a column in the column's own kind.

    >>> figure(240.0, Column("tenure", "FP64", integral=True)), figure(0.25, Column("fee", "FP64"))
    ('240', '0.25')
    """
    return f"{value:.0f}" if column.integral or column.datatype.startswith("INT") else number(value)


def plural(n: int, noun: str) -> str:
    """Write a number with its noun.

    >>> plural(0, "label"), plural(1, "label"), plural(2000, "label")
    ('no label', '1 label', '2,000 labels')
    """
    return f"no {noun}" if n == 0 else f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def dataset(value: Any) -> str:  # noqa: ANN401 - from JSON
    """Describe rows by how many there are and by their digest; "" where they are not known.

    >>> dataset({"rows": 412306, "columns": 18, "sha256": "7be1a0" * 10})
    '412,306 rows of 18 columns (sha256 7be1a07be1a0…)'
    """
    if not isinstance(value, Mapping) or "rows" not in value:
        return ""
    columns = f" of {value['columns']} columns" if "columns" in value else ""
    return f"{thousands(value['rows'])} rows{columns} (sha256 {str(value.get('sha256', 'not recorded'))[:12]}…)"


ROLLOUT = re.compile(r"[a-z0-9._-]+-\d+")
"""What names a rollout."""


def change(entry: Entry) -> str:
    """Say what an entry of the ledger records about a version."""
    payload = entry.payload
    said = {
        "version.registered": "Registered",
        "alias.moved": f"The alias {payload.get('alias', '')} was pointed at it",
        "gate.judged": f"Judged by the gate: {payload.get('verdict', '')}",
        "evidence.attached": f"Evidence was attached ({payload.get('kind')}: {payload.get('verdict') or 'no verdict'})",
        "gate.attached": f"The gate's verdict, {payload.get('verdict', '')}, was attached",
    }.get(entry.kind) or entry.kind.replace(".", " ").replace("_", " ").capitalize()
    why = str(payload.get("why") or "").rstrip(".")
    if entry.kind == "alias.moved" and ROLLOUT.fullmatch(why):
        return f"{said} by {entry.actor} for rollout {why}."
    if entry.kind == "retrain.done":
        return _trained(entry, why)
    return f"{said} by {entry.actor}" + (f": {why}." if why else ".")


def _trained(entry: Entry, why: str) -> str:
    payload = entry.payload
    rows, parent = payload.get("rows"), payload.get("parent")
    model = f" while version {parent} was champion" if parent else ""
    data = f" on {thousands(rows)} labelled rows of {entry.subject.partition(':')[2]}" if rows else ""
    return f"Trained by the platform{data}{model}" + (f", because of {why}." if why else ".")
