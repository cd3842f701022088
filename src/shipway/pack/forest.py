"""Trees of any library as one list of nodes, and that list as one ONNX operator.

`TreeEnsemble` (ai.onnx.ml 5) has what exactness needs: double thresholds and sums, set membership, and a
direction for missing values. A `Forest` is built by the readers in `shipway.pack.trees`, each split already over
a column of X; `emit` checks it (children exist, nothing is its own ancestor) and writes the operator.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import TensorProto, helper

from shipway.errors import Broken

LEQ, MEMBER = 0, 6
Branch = tuple[int, bool]
"""(index, is it a leaf)."""


@dataclass
class Forest:
    """Nodes and leaves of many trees. A leaf adds a weight to one target."""

    targets: int
    modes: list[int] = field(default_factory=list)
    columns: list[int] = field(default_factory=list)
    splits: list[float] = field(default_factory=list)
    members: list[list[float]] = field(default_factory=list)
    true: list[Branch] = field(default_factory=list)
    false: list[Branch] = field(default_factory=list)
    missing_true: list[bool] = field(default_factory=list)
    roots: list[int] = field(default_factory=list)
    leaf_targets: list[int] = field(default_factory=list)
    leaf_weights: list[float] = field(default_factory=list)

    def leaf(self, target: int, weight: float) -> Branch:
        """Add a leaf."""
        self.leaf_targets.append(target)
        self.leaf_weights.append(float(weight))
        return len(self.leaf_targets) - 1, True

    def node(self) -> int:
        """Make room for a node, to be filled by `less` or `member`."""
        self.modes.append(LEQ)
        self.columns.append(0)
        self.splits.append(0.0)
        self.members.append([])
        self.true.append((-1, False))
        self.false.append((-1, False))
        self.missing_true.append(False)
        return len(self.modes) - 1

    def less(self, node: int, column: int, split: float, true: Branch, false: Branch, *, missing_true: bool) -> None:
        """Fill a node: `X[column] <= split` goes to `true`."""
        self.modes[node], self.columns[node], self.splits[node] = LEQ, column, float(split)
        self.true[node], self.false[node], self.missing_true[node] = true, false, bool(missing_true)

    def member(self, node: int, column: int, members: Sequence[float], true: Branch, false: Branch) -> None:
        """Fill a node: `X[column]` among `members` goes to `true`; a missing value never is."""
        if not members:  # a set of nothing: everything goes to `false`
            true = false
        self.modes[node], self.columns[node] = (MEMBER if members else LEQ), column
        self.members[node] = [float(m) for m in members]
        self.true[node], self.false[node], self.missing_true[node] = true, false, False

    def root(self, branch: Branch) -> None:
        """Add a tree. One that is a single leaf gets a node whose two branches are that leaf."""
        index, is_leaf = branch
        if is_leaf:
            index = self.node()
            self.less(index, 0, 0.0, branch, branch, missing_true=False)
        self.roots.append(index)


def emit(forest: Forest, x: str, output: str) -> onnx.NodeProto:
    """Write a forest as one operator from X, float64, to sums of shape (rows, targets)."""
    _check(forest)
    membership = [value for members in forest.members if members for value in (*members, np.nan)]
    extra = {}
    if membership:
        extra["membership_values"] = _doubles("members", membership)
    return helper.make_node(
        "TreeEnsemble",
        [x],
        [output],
        domain="ai.onnx.ml",
        n_targets=forest.targets,
        aggregate_function=1,
        post_transform=0,
        tree_roots=forest.roots,
        nodes_modes=helper.make_tensor("modes", TensorProto.UINT8, [len(forest.modes)], forest.modes),
        nodes_featureids=forest.columns,
        nodes_splits=_doubles("splits", forest.splits),
        nodes_truenodeids=[i for i, _ in forest.true],
        nodes_trueleafs=[int(leaf) for _, leaf in forest.true],
        nodes_falsenodeids=[i for i, _ in forest.false],
        nodes_falseleafs=[int(leaf) for _, leaf in forest.false],
        nodes_missing_value_tracks_true=[int(m) for m in forest.missing_true],
        leaf_targetids=forest.leaf_targets,
        leaf_weights=_doubles("weights", forest.leaf_weights),
        **extra,
    )


def _doubles(name: str, values: Sequence[float]) -> onnx.TensorProto:
    return helper.make_tensor(
        name, TensorProto.DOUBLE, [len(values)], np.asarray(values, np.float64).tobytes(), raw=True
    )


def _check(forest: Forest) -> None:
    """Refuse a forest that would make the operator read out of bounds or run for ever."""
    nodes, leaves = len(forest.modes), len(forest.leaf_weights)
    parents = np.zeros(nodes, np.int64)
    for index, is_leaf in (*forest.true, *forest.false):
        if not 0 <= index < (leaves if is_leaf else nodes):
            raise Broken("a tree points to a node that does not exist", fix="report this model: its trees are damaged")
    for branch, other in zip(forest.true, forest.false, strict=True):
        for index, is_leaf in {branch, other}:
            if not is_leaf:
                parents[index] += 1
    for root in forest.roots:
        parents[root] += 1
    if (parents > 1).any() or not all(0 <= t < forest.targets for t in forest.leaf_targets):
        raise Broken("a tree has a loop or an unknown target", fix="report this model: its trees are damaged")
