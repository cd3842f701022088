import numpy as np
import onnx
import pandas as pd
import pyarrow as pa
import pytest
import skl2onnx
from onnx import TensorProto, helper
from skl2onnx.common.data_types import FloatTensorType
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeRegressor

from shipway import bundle, pack
from shipway.errors import Rejected
from shipway.terms import Task


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.normal(size=100), "b c": rng.normal(size=100)})
    return frame.assign(y=np.where(frame.a > 0, "up", "down"))


def graph(nodes, inputs, outputs, initializers=()):
    made = helper.make_graph(nodes, "g", inputs, outputs, list(initializers))
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    return model.SerializeToString()


def value(name, kind, shape):
    return helper.make_tensor_value_info(name, kind, shape)


def opened(packed):
    return bundle.open(bundle.audit(bundle.read(packed.folder), packed.digest), bundle.DEFAULT)


def packing(model, data, target, folder, **options):
    return pack.pack(model, name="m", data=data, target=target, out=folder / "m", now=0.0, **options)


def test_a_converted_graph_can_be_altered_and_packed_with_its_encoding(data, tmp_path):
    model = LogisticRegression().fit(data[["a", "b c"]], data.y)
    converted = pack.convert(model, data, target="y")
    altered = onnx.load_from_string(converted.graph)
    place = converted.position("a")
    altered.graph.initializer.extend([
        onnx.numpy_helper.from_array(np.array([place]), "place"),
        onnx.numpy_helper.from_array(np.array(100.0), "bound"),
        onnx.numpy_helper.from_array(np.zeros(1), "table"),
    ])  # fmt: skip
    altered.graph.node[-1].output[0] = "kept"
    altered.graph.node.extend([
        helper.make_node("Gather", ["X", "place"], ["cell"], axis=1),
        helper.make_node("Greater", ["cell", "bound"], ["beyond"]),
        helper.make_node("Cast", ["beyond"], ["index"], to=TensorProto.INT64),
        helper.make_node("Gather", ["table", "index"], ["zero"]),
        helper.make_node("Add", ["kept", "zero"], ["probability"]),
    ])  # fmt: skip

    packed = packing(pack.OnnxModel(altered.SerializeToString(), encoding=converted.encoding), data, "y", tmp_path)

    runtime, signature = opened(packed), packed.manifest.signature
    assert signature.classes == ("down", "up")
    assert "itself" in packed.manifest.parity["compared_with"]
    answer = runtime.predict(bundle.coerce(signature, [{"a": 2.0, "b c": 0.0}]))
    np.testing.assert_allclose(answer["probability"], model.predict_proba(pd.DataFrame({"a": [2.0], "b c": [0.0]})))
    with pytest.raises(Exception, match="Gather"):
        runtime.predict(bundle.coerce(signature, [{"a": 101.0, "b c": 0.0}]))


def test_inputs_are_found_by_name_also_where_a_converter_spelled_them_otherwise(data, tmp_path):
    content = graph(
        [helper.make_node("Sub", ["b_c", "a"], ["out"])],
        [value("b_c", TensorProto.FLOAT, [None, 1]), value("a", TensorProto.FLOAT, [None, 1])],
        [value("out", TensorProto.FLOAT, [None, 1])],
    )

    packed = packing(content, data.assign(y=1.5), "y", tmp_path)

    assert packed.manifest.task is Task.REGRESSION
    answer = opened(packed).predict(bundle.coerce(packed.manifest.signature, [{"a": 1, "b c": 3.0}]))
    assert answer["prediction"].tolist() == [2.0]


def test_a_tensor_input_takes_a_column_of_nested_lists(tmp_path):
    content = graph(
        [helper.make_node("ReduceMean", ["image"], ["mean"], axes=[1, 2], keepdims=0)],
        [value("image", TensorProto.FLOAT, [None, 2, 3])],
        [value("mean", TensorProto.FLOAT, [None])],
    )
    table = pa.table({"image": [[[float(i)] * 3] * 2 for i in range(10)], "y": np.arange(10.0)})

    packed = packing(content, table, "y", tmp_path)

    assert packed.manifest.signature.inputs[0].shape == (2, 3)
    answer = opened(packed).predict(bundle.coerce(packed.manifest.signature, [{"image": [[1, 2, 3], [4, 5, 6]]}]))
    assert answer["prediction"].tolist() == [3.5]


def test_a_zipmap_is_cut_off(data, tmp_path):
    model = LogisticRegression().fit(data[["a", "b c"]], data.y)
    content = skl2onnx.convert_sklearn(model, initial_types=[("X", FloatTensorType([None, 2]))]).SerializeToString()

    packed = packing(content, data, "y", tmp_path)

    assert packed.manifest.signature.classes == ("down", "up")
    assert opened(packed).predict(bundle.coerce(packed.manifest.signature, [{"a": 9, "b c": 0}]))["label"].tolist() == [
        "up"
    ]


def test_outputs_without_an_agreed_meaning_keep_their_names(tmp_path):
    content = graph(
        [helper.make_node("Add", ["a", "a"], ["twice"])],
        [value("a", TensorProto.INT64, [None])],
        [value("twice", TensorProto.INT64, [None])],
    )

    packed = packing(content, pa.table({"a": [1, 2, 3]}), None, tmp_path)

    assert packed.manifest.task is Task.OTHER
    assert opened(packed).predict(bundle.coerce(packed.manifest.signature, [{"a": 21}]))["twice"].tolist() == [42]


def test_a_graph_with_a_loop_may_not_run_inside_a_worker(tmp_path):
    branch = helper.make_graph(
        [helper.make_node("Identity", ["a"], ["b"])], "g", [], [value("b", TensorProto.FLOAT, None)]
    )
    condition = onnx.numpy_helper.from_array(np.array([True]), "always")
    content = graph(
        [helper.make_node("If", ["always"], ["out"], then_branch=branch, else_branch=branch)],
        [value("a", TensorProto.FLOAT, [None, 1])],
        [value("out", TensorProto.FLOAT, [None, 1])],
        [condition],
    )

    packed = packing(content, pa.table({"a": [1.0, 2.0], "y": [1.0, 2.0]}), "y", tmp_path)

    assert not packed.manifest.runtime.inline


@pytest.mark.parametrize("columns", [["a"], ["a", "b c", "y"]])
def test_a_matrix_of_another_width_is_refused(data, columns, tmp_path):
    content = graph(
        [helper.make_node("Identity", ["X"], ["out"])],
        [value("X", TensorProto.FLOAT, [None, 2])],
        [value("out", TensorProto.FLOAT, [None, 2])],
    )

    with pytest.raises(Rejected, match="takes 2 columns and the data have"):
        packing(content, data[columns].assign(t=1.0), "t", tmp_path)


def test_tensors_beside_the_file_are_taken_in_and_a_graph_alone_that_needs_them_is_refused(tmp_path):
    content = graph(
        [helper.make_node("Add", ["X", "big"], ["out"])],
        [value("X", TensorProto.FLOAT, [None, 1])],
        [value("out", TensorProto.FLOAT, [None, 1])],
        [onnx.numpy_helper.from_array(np.full((1, 1), 5, np.float32), "big")],
    )
    path = tmp_path / "model.onnx"
    onnx.save_model(
        onnx.load_from_string(content), str(path), save_as_external_data=True, location="weights.bin", size_threshold=0
    )
    table = pa.table({"X": [1.0, 2.0], "y": [6.0, 7.0]})

    packed = packing(pack.load_model(path), table, "y", tmp_path)

    assert opened(packed).predict(bundle.coerce(packed.manifest.signature, [{"X": 1}]))["prediction"].tolist() == [6.0]
    with pytest.raises(Rejected, match="keeps tensors in other files"):
        packing(path.read_bytes(), table, "y", tmp_path)


def test_a_converted_graph_without_its_encoding_is_refused(data, tmp_path):
    model = LogisticRegression().fit(data[["a", "b c"]], data.y)

    with pytest.raises(Rejected, match="needs its encoding"):
        packing(pack.convert(model, data, target="y").graph, data, "y", tmp_path)


def test_convert_refuses_what_its_converter_does_not_read(data):
    model = DecisionTreeRegressor().fit(data[["a"]], np.column_stack([data.a, data.a]))

    with pytest.raises(Rejected, match="several targets"):
        pack.convert(model, data[["a"]])
