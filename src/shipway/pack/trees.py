"""Read forests of scikit-learn and LightGBM into the one form of `shipway.pack.forest`.

What each library does at a node (all compare in double):

| | goes left if | missing | category |
|---|---|---|---|
| scikit-learn trees | float32(x) <= t | `missing_go_to_left` | |
| HistGradientBoosting | x <= t | `missing_go_to_left` | in the set; unknown counts as missing |
| LightGBM | x <= t | by `missing_type`: NaN to `default_left`, None reads 0.0 | in the set; missing never |
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from shipway.pack.features import Number, Unsupported
from shipway.pack.forest import Branch
from shipway.pack.splits import Splitter

Floats = NDArray[np.float64]


def add_sklearn_tree(splitter: Splitter, tree: Any, values: Floats, target: int) -> None:  # noqa: ANN401 - a Tree
    """Add a tree; a leaf with k values becomes k trees of one value each, for the targets from `target` on."""
    left, right = tree.children_left.tolist(), tree.children_right.tolist()
    features, thresholds = tree.feature.tolist(), tree.threshold.tolist()
    missing = np.asarray(getattr(tree, "missing_go_to_left", np.zeros(tree.node_count, bool)), bool).tolist()
    forest = splitter.forest
    for k in range(values.shape[1]):
        at: list[Branch] = [
            forest.leaf(target + k, values[i, k]) if left[i] < 0 else (forest.node(), False)
            for i in range(tree.node_count)
        ]
        for i in range(tree.node_count):
            if left[i] >= 0:
                splitter.less(at[i][0], features[i], thresholds[i], at[left[i]], at[right[i]], missing_true=missing[i])
        forest.root(at[0])


def add_histogram_trees(splitter: Splitter, model: Any) -> None:  # noqa: ANN401 - a HistGradientBoosting model
    """Add all trees of a fitted HistGradientBoosting model, whose features are those after its own preprocessor."""
    known: Any = None
    if model.is_categorical_ is not None:
        known = model._bin_mapper.make_known_categories_bitsets()  # noqa: SLF001 - no public form
    for iteration in model._predictors:  # noqa: SLF001 - no public form
        for target, predictor in enumerate(iteration):
            _add_histogram_tree(splitter, predictor, target, known)


def _add_histogram_tree(splitter: Splitter, predictor: Any, target: int, known: Any) -> None:  # noqa: ANN401
    nodes = predictor.nodes
    forest = splitter.forest
    at: list[Branch] = [forest.leaf(target, n["value"]) if n["is_leaf"] else (forest.node(), False) for n in nodes]
    for i, n in enumerate(nodes):
        if n["is_leaf"]:
            continue
        true, false = at[int(n["left"])], at[int(n["right"])]
        feature, missing = int(n["feature_idx"]), bool(n["missing_go_to_left"])
        if n["is_categorical"]:
            sets, places = known
            left = _bits(predictor.raw_left_cat_bitsets[n["bitset_idx"]])
            splitter.choose(
                at[i][0], feature, _Ranked(left, _bits(sets[places[feature]]), missing=missing), true, false
            )
        else:
            splitter.less(at[i][0], feature, float(n["num_threshold"]), true, false, missing_true=missing)
    forest.root(at[0])


class _Ranked:
    """Choose by the rank of a category: known ones by the set, all others like missing ones."""

    def __init__(self, left: frozenset[int], known: frozenset[int], *, missing: bool) -> None:
        self.left, self.known, self.missing = left, known, missing

    def __call__(self, values: Floats) -> NDArray[np.bool_]:
        ranks = [-1 if v != v else int(v) for v in values.tolist()]  # noqa: PLR0124 - NaN
        return np.array([r in self.left if r in self.known else self.missing for r in ranks], bool)


def _bits(words: Any) -> frozenset[int]:  # noqa: ANN401 - eight uint32
    return frozenset(i for i in range(256) if (int(words[i // 32]) >> (i % 32)) & 1)


def add_lightgbm_trees(splitter: Splitter, dump: dict[str, Any]) -> None:
    """Add all trees of a LightGBM model, as `Booster.dump_model` tells them.

    Raises:
        Unsupported: it has linear leaves, or treats zero as missing.
    """
    targets = int(dump["num_tree_per_iteration"])
    for i, tree in enumerate(dump["tree_info"]):
        splitter.forest.root(_lightgbm_node(splitter, tree["tree_structure"], i % targets))


def _lightgbm_node(splitter: Splitter, told: dict[str, Any], target: int) -> Branch:
    if "leaf_value" in told:
        if told.get("leaf_coeff"):
            raise Unsupported("its leaves are linear models")
        return splitter.forest.leaf(target, told["leaf_value"])
    node = splitter.forest.node()
    true = _lightgbm_node(splitter, told["left_child"], target)
    false = _lightgbm_node(splitter, told["right_child"], target)
    feature, missing = int(told["split_feature"]), told["missing_type"]
    if missing == "Zero":
        raise Unsupported("it treats zero as missing")
    if told["decision_type"] == "==":
        members = frozenset(int(c) for c in told["threshold"].split("||"))
        if isinstance(splitter.layout.features[feature], Number):
            raise Unsupported("a categorical split on a number that was not encoded")
        splitter.choose(node, feature, _Coded(members), true, false)
    else:
        threshold = float(told["threshold"])
        to_true = bool(told["default_left"]) if missing == "NaN" else threshold >= 0.0
        splitter.less(node, feature, threshold, true, false, missing_true=to_true)
    return node, False


class _Coded:
    """Choose by the code of a category; a missing one is in no set."""

    def __init__(self, members: frozenset[int]) -> None:
        self.members = members

    def __call__(self, values: Floats) -> NDArray[np.bool_]:
        return np.array([v == v and int(v) in self.members for v in values.tolist()], bool)  # noqa: PLR0124 - not NaN
