"""Find where a model may change its answer, even one that our own converter does not read.

Any tree inside a model, however deep in votes, bags or stacks, has thresholds; moved to raw columns they say
which rows a converter must get right.
"""

from typing import Any

import numpy as np

from shipway.pack.features import Number, Unsupported
from shipway.pack.layout import Layout, read_layout
from shipway.pack.numbers import never_decreases, raw_thresholds
from shipway.pack.original import Original, parts


def edges_of(original: Original, levels: dict[str, list[str]]) -> dict[str, list[float]]:
    """Return raw thresholds by column of numbers; {} if the model has none that can be traced to a column."""
    if original.flavour != "sklearn":
        return {}
    try:
        layout = read_layout(original.model, original.specs, levels, original.missing_text)
    except Unsupported:
        return {}
    found: dict[str, list[float]] = {}
    for part in parts(layout.estimator):
        tree = getattr(part, "tree_", None)
        if tree is not None and getattr(part, "n_features_in_", -1) == len(layout.features):
            _add(found, layout, tree)
    return found


def _add(found: dict[str, list[float]], layout: Layout, tree: Any) -> None:  # noqa: ANN401 - a Tree
    for index in np.unique(tree.feature[tree.children_left >= 0]):
        feature = layout.features[int(index)]
        if isinstance(feature, Number) and never_decreases(feature.steps):
            thresholds = tree.threshold[(tree.feature == index) & (tree.children_left >= 0)]
            raw = raw_thresholds(feature.steps, np.asarray(thresholds, np.float64), float32=True)
            found.setdefault(feature.column, []).extend(raw[np.abs(raw) < 1e300].tolist())
