"""Write layers of a linear or neural model over the features of a layout, in double.

Numbers are imputed and scaled in the graph by the same steps as in scikit-learn; tables are multiplied by
their weights while packing, so that an encoded text costs one look-up and one addition.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from shipway.pack.features import Constant, Number, Unsupported
from shipway.pack.graph import Graph, Matrix
from shipway.pack.layout import Layout

Floats = NDArray[np.float64]
_ACTIVATIONS = {"relu": "Relu", "tanh": "Tanh", "logistic": "Sigmoid"}
_BINARY = {"sub": "Sub", "div": "Div", "mul": "Mul", "add": "Add", "low": "Max", "high": "Min"}


def first_layer(graph: Graph, layout: Layout, matrix: Matrix, weights: Floats, bias: Floats) -> str:
    """Write `features @ weights + bias`.

    Args:
        graph: to write to.
        layout: the features.
        matrix: columns of X, extended as needed.
        weights: shape (features, outputs).
        bias: shape (outputs,).

    Returns:
        Name of the result, shape (rows, outputs).
    """
    if len(weights) != len(layout.features):
        raise Unsupported(f"the model has {len(weights)} weights for {len(layout.features)} features")
    bias = bias.astype(np.float64)
    numbers: list[tuple[Number, Floats]] = []
    tables: dict[str, Floats] = {}
    for feature, row in zip(layout.features, weights, strict=True):
        if isinstance(feature, Constant):
            bias = bias + feature.value * row
        elif isinstance(feature, Number):
            numbers.append((feature, row))
        else:
            given = np.outer(feature.by_cell.astype(np.float64), row)
            tables[feature.column] = tables.get(feature.column, 0.0) + given
    parts = []
    if weights.shape[1] == 1:
        sums = [(matrix.values(column, table[:, 0]), np.ones(1)) for column, table in tables.items()]
    else:
        sums = []
        if tables:
            parts.append(_gathered(graph, matrix, tables))
    if numbers or sums:
        parts.append(_weighted(graph, matrix, numbers, sums))
    total = parts[0]
    for part in parts[1:]:
        total = graph.add("Add", total, part)
    return graph.add("Add", total, graph.constant(bias[None, :])) if bias.any() else total


def next_layers(graph: Graph, x: str, model: Any) -> str:  # noqa: ANN401 - a fitted MLP
    """Write the layers of a multi-layer perceptron after its first."""
    for i, (weights, bias) in enumerate(zip(model.coefs_, model.intercepts_, strict=True)):
        if i:
            x = graph.add("Add", graph.add("MatMul", x, graph.constant(weights)), graph.constant(bias[None, :]))
        if i < len(model.coefs_) - 1 and model.activation != "identity":
            x = graph.add(_ACTIVATIONS[model.activation], x)
    return x


def _gathered(graph: Graph, matrix: Matrix, tables: dict[str, Floats]) -> str:
    """Look every coded column's contribution up in one stacked table and add them."""
    offset, places, stacked = 0, [], []
    for column, table in tables.items():
        places.append(matrix.values(column, offset + np.arange(len(table), dtype=np.float64)))
        offset += len(table)
        stacked.append(table)
    codes = graph.add("Cast", _columns(graph, places), to=7)
    looked = graph.add("Gather", graph.constant(np.concatenate(stacked)), codes, axis=0)
    return graph.add("ReduceSum", looked, graph.constant(np.array([1], np.int64)), keepdims=0)


def _weighted(
    graph: Graph, matrix: Matrix, numbers: list[tuple[Number, Floats]], sums: list[tuple[int, Floats]]
) -> str:
    groups: dict[tuple[str, ...], list[tuple[Number, Floats]]] = {}
    for feature, row in numbers:
        groups.setdefault(tuple(operation for operation, _ in feature.steps), []).append((feature, row))
    blocks, weights = [], []
    for operations, members in groups.items():
        block = _columns(graph, [matrix.number(f.column) for f, _ in members])
        for depth, operation in enumerate(operations):
            block = _step(graph, operation, block, np.array([[f.steps[depth][1] for f, _ in members]]))
        blocks.append(block)
        weights += [row for _, row in members]
    if sums:
        blocks.append(_columns(graph, [place for place, _ in sums]))
        weights += [row for _, row in sums]
    joined = graph.add("Concat", *blocks, axis=1) if len(blocks) > 1 else blocks[0]
    return graph.add("MatMul", joined, graph.constant(np.stack(weights)))


def _columns(graph: Graph, places: list[int]) -> str:
    if places == list(range(len(places))):
        ends = [graph.constant(np.array([v], np.int64)) for v in (0, len(places), 1)]
        return graph.add("Slice", "X", *ends)
    return graph.add("Gather", "X", graph.constant(np.array(places, np.int64)), axis=1)


def _step(graph: Graph, operation: str, x: str, constants: Floats) -> str:
    if operation == "fill":
        return graph.add("Where", graph.add("IsNaN", x), graph.constant(constants), x)
    if operation == "isnan":
        return graph.add("Cast", graph.add("IsNaN", x), to=11)
    if operation in ("sub", "add") and not constants.any():
        return x
    if operation in ("div", "mul") and (constants == 1.0).all():
        return x
    return graph.add(_BINARY[operation], x, graph.constant(constants))
