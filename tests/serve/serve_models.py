"""Tiny ONNX bundles with known manners: good, worse, raising, answering NaN, hanging."""

import hashlib
import json
import tempfile
from pathlib import Path

import msgspec
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from shipway.bundle import BundleStore
from shipway.terms import Column, File, Manifest, RuntimeSpec, Signature, Task

SIGNATURE = Signature(
    inputs=(Column("x", "FP64"), Column("y", "FP64")),
    outputs=(Column("label", "BYTES"), Column("probability", "FP64", shape=(2,))),
    classes=("no", "yes"),
)

EXAMPLES = [{"x": 1.0, "y": 2.0}, {"x": 3.0, "y": -1.0}]


def _const(name, array):
    return numpy_helper.from_array(np.asarray(array), name)


def _node(op, inputs, outputs, **attributes):
    return helper.make_node(op, inputs, outputs, **attributes)


def graph(manner, weight=1.0):
    """Softmax of a product, and one more node that misbehaves where `x` is out of its range."""
    nodes = [
        _node("MatMul", ["X", "W"], ["product"]),
        _node("Softmax", ["product"], ["good"], axis=1),
        _node("Slice", ["X", "zero", "one", "one"], ["first"]),
    ]
    inits = [_const("W", np.array([[-weight, weight], [0.0, 0.1]])), _const("zero", [0]), _const("one", [1])]
    if manner == "good":
        nodes.append(_node("Identity", ["good"], ["probability"]))
    elif manner == "raises":  # a Gather out of range from x = 100 on
        inits.append(_const("table", np.zeros(100)))
        nodes += [
            _node("Cast", ["first"], ["index"], to=TensorProto.INT64),
            _node("Gather", ["table", "index"], ["nothing"]),
            _node("Add", ["good", "nothing"], ["probability"]),
        ]
    elif manner == "nan":  # from x = 0 downwards
        inits.append(_const("no", np.array(0.0)))
        nodes += [
            _node("Log", ["first"], ["log"]),
            _node("Mul", ["log", "no"], ["nothing"]),
            _node("Add", ["good", "nothing"], ["probability"]),
        ]
    elif manner == "hangs":  # x rounds of a loop: a large x takes for ever
        body = helper.make_graph(
            [_node("Identity", ["more"], ["more_out"]), _node("Add", ["sum", "step"], ["sum_out"])],
            "body",
            [
                helper.make_tensor_value_info("i", TensorProto.INT64, []),
                helper.make_tensor_value_info("more", TensorProto.BOOL, []),
                helper.make_tensor_value_info("sum", TensorProto.DOUBLE, []),
            ],
            [
                helper.make_tensor_value_info("more_out", TensorProto.BOOL, []),
                helper.make_tensor_value_info("sum_out", TensorProto.DOUBLE, []),
            ],
            [_const("step", np.array(0.0))],
        )
        inits += [_const("true", np.array(True)), _const("start", np.array(0.0))]
        nodes += [
            _node("ReduceMax", ["first"], ["most"], keepdims=0),
            _node("Cast", ["most"], ["rounds"], to=TensorProto.INT64),
            _node("Loop", ["rounds", "true", "start"], ["nothing"], body=body),
            _node("Add", ["good", "nothing"], ["probability"]),
        ]
    model = helper.make_model(
        helper.make_graph(
            nodes,
            manner,
            [helper.make_tensor_value_info("X", TensorProto.DOUBLE, [None, 2])],
            [helper.make_tensor_value_info("probability", TensorProto.DOUBLE, [None, 2])],
            inits,
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    onnx.checker.check_model(model)
    return model.SerializeToString()


def add_bundle(home, manner="good", *, weight=1.0, inline=True, name="toy", examples=EXAMPLES):
    """Put a bundle into the store of a home folder; return its digest."""
    with tempfile.TemporaryDirectory() as name_of_folder:
        folder = Path(name_of_folder)
        files = {
            "model/model.onnx": graph(manner, weight),
            "reference/examples.json": json.dumps({"format": 1, "rows": examples, "outputs": []}).encode(),
        }
        for path, data in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(data)
        manifest = Manifest(
            format=1,
            model=name,
            task=Task.BINARY,
            signature=SIGNATURE,
            runtime=RuntimeSpec(
                "onnx",
                "model/model.onnx",
                {"matrix": {"input": "X", "columns": ["x", "y"], "type": "float64"}, "probability": "probability"},
                {"1": 8.0, "64": 50.0},
                inline,
            ),
            files=tuple(
                File(path, hashlib.sha256(data).hexdigest(), len(data), "application/octet-stream")
                for path, data in files.items()
            ),
            environment={},
            provenance={"weight": weight},
            parity={},
        )
        (folder / "manifest.json").write_bytes(msgspec.json.encode(manifest, order="sorted"))
        return BundleStore(home / "bundles").add(folder)
