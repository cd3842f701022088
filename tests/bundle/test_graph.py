import contextlib

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from shipway.bundle.graph import names_other_files


def external(name="weights"):
    tensor = numpy_helper.from_array(np.ones(3, np.float32), name)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "../../etc/passwd"
    return tensor


def model(nodes=(), initializers=()):
    value = helper.make_tensor_value_info("location", TensorProto.FLOAT, [3])
    return helper.make_model(helper.make_graph(list(nodes), "g", [value], [value], list(initializers)))


def test_a_graph_with_its_tensors_inside_names_no_file_even_if_a_name_looks_like_it():
    inside = numpy_helper.from_array(np.ones(3, np.float32), "location")

    assert not names_other_files(model(initializers=[inside]).SerializeToString())


def test_a_tensor_in_another_file_is_found_wherever_it_hides():
    inner = helper.make_graph([helper.make_node("Constant", [], ["c"], value=external())], "inner", [], [])
    hidden = helper.make_node("If", ["location"], ["out"], then_branch=inner, else_branch=inner)

    assert names_other_files(model(initializers=[external()]).SerializeToString())
    assert names_other_files(
        model(nodes=[helper.make_node("Constant", [], ["c"], value=external())]).SerializeToString()
    )
    assert names_other_files(model(nodes=[hidden]).SerializeToString())


def test_a_tensor_in_another_file_is_found_inside_a_function():
    function = helper.make_function(
        "own",
        "F",
        [],
        ["c"],
        [helper.make_node("Constant", [], ["c"], value=external())],
        [helper.make_opsetid("", 17)],
    )
    made = model()
    made.functions.append(function)

    assert names_other_files(made.SerializeToString())


@given(st.binary(max_size=200))
def test_bytes_that_are_no_model_end_in_an_answer_or_a_value_error(noise):
    data = noise + b"location"
    with contextlib.suppress(ValueError):
        assert names_other_files(data) in (True, False)


def test_a_graph_cut_in_the_middle_is_no_model():
    data = model().SerializeToString()

    with pytest.raises(ValueError, match="middle"):
        names_other_files(data[:-3])


def test_onnx_itself_agrees_that_the_sample_is_external():
    assert onnx.external_data_helper.uses_external_data(external())
