"""Write a small ONNX graph over the matrix X, and decide what X holds.

`Matrix` hands out columns of X: numbers as they are, and looked-up columns for tables, either as a code
(one whole number per group of levels that no feature tells apart) or as values. `Graph` collects nodes.
"""

import json
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from shipway.bundle.encoding import Encoding, TableColumn
from shipway.pack.features import Levels, Number, Table
from shipway.pack.layout import Layout
from shipway.terms import Column

OPSET, ML_OPSET, IR = 21, 5, 10
Floats = NDArray[np.float64]


class Matrix:
    """What the columns of X are."""

    def __init__(self, layout: Layout, specs: Sequence[Column]) -> None:
        self.layout = layout
        self.columns: list[TableColumn] = []
        self._numbers: dict[str, int] = {}
        self._codes: dict[str, tuple[int, NDArray[np.intp]]] = {}
        used = {f.column for f in layout.features if isinstance(f, Number)}
        for spec in specs:
            if spec.name in used:
                self.number(spec.name)

    def number(self, column: str) -> int:
        """Return the place of a column of numbers."""
        if column not in self._numbers:
            self._numbers[column] = self._add(TableColumn(column, "number"))
        return self._numbers[column]

    def values(self, column: str, values: Floats) -> int:
        """Return the place of a looked-up column: one value per cell of the column's levels."""
        return self._add(looked_up(self.layout.levels[column], values))

    def code(self, column: str) -> tuple[int, NDArray[np.intp]]:
        """Return the place of a column's code, and the code of each of its cells."""
        if column not in self._codes:
            tables = [f.by_cell for f in self.layout.features if isinstance(f, Table) and f.column == column]
            rows = np.stack([t.astype(np.float64) for t in tables], axis=1)
            # NaN cells must count as equal, which numpy's unique does for rows only as bytes.
            keys = [row.tobytes() for row in np.where(np.isnan(rows), np.nan, rows) + 0.0]
            order = {key: i for i, key in enumerate(dict.fromkeys(keys))}
            codes = np.array([order[key] for key in keys], np.intp)
            self._codes[column] = self.values(column, codes.astype(np.float64)), codes
        return self._codes[column]

    def encoding(self) -> Encoding:
        """Return the finished encoding."""
        return Encoding(tuple(self.columns))

    def _add(self, entry: TableColumn) -> int:
        self.columns.append(entry)
        return len(self.columns) - 1


def looked_up(levels: Levels, values: Floats) -> TableColumn:
    """Write a table of values as a column of an encoding."""
    known = [None if v != v else float(v) for v in values[: len(levels.known)].tolist()]  # noqa: PLR0124 - NaN
    unknown, missing = (None if v != v else float(v) for v in (values[len(levels.known)], values[-1]))  # noqa: PLR0124
    pairs = sorted(zip(levels.known, known, strict=True))
    return TableColumn(
        levels.column,
        "text" if levels.text else "level",
        dict(pairs) if levels.text else pairs,
        msgspec.UNSET if "unknown" in levels.refuses else unknown,
        msgspec.UNSET if "missing" in levels.refuses else missing,
    )


class Graph:
    """Nodes and constants of a graph whose only input is X, float64 of shape (rows, columns)."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def name(self, stem: str) -> str:
        """Return a name not used yet."""
        return f"{stem}_{len(self.nodes) + len(self.constants)}"

    def constant(self, value: Any) -> str:  # noqa: ANN401 - array-like
        """Add a constant; floats are kept in double."""
        array = np.ascontiguousarray(value)
        name = self.name("c")
        self.constants.append(numpy_helper.from_array(array.reshape(np.shape(value)), name))
        return name

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:  # noqa: ANN401 - ONNX attributes
        """Add a node with one output; return the output's name."""
        output = self.name(operator.lower())
        self.nodes.append(helper.make_node(operator, list(inputs), [output], **attributes))
        return output

    def model(self, output: str, called: str, *, width: int, columns: int, facts: dict[str, Any]) -> bytes:
        """Finish the graph: `output` becomes its only output, float64 of shape (rows, width), named `called`."""
        self.nodes.append(helper.make_node("Identity", [output], [called]))
        if self.nodes[-2].output[0] == output:  # spare the copy
            self.nodes.pop()
            self.nodes[-1].output[0] = called
        graph = helper.make_graph(
            self.nodes,
            "shipway",
            [helper.make_tensor_value_info("X", TensorProto.DOUBLE, ["rows", columns])],
            [helper.make_tensor_value_info(called, TensorProto.DOUBLE, ["rows", width])],
            self.constants,
        )
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", ML_OPSET)]
        made = helper.make_model(graph, opset_imports=opsets, producer_name="shipway")
        made.ir_version = IR
        entry = made.metadata_props.add()
        entry.key, entry.value = FACTS, json.dumps(facts, sort_keys=True)
        return bytes(made.SerializeToString(deterministic=True))


FACTS = "shipway"
"""Key of the graph's metadata under which its task, classes and output are written."""
