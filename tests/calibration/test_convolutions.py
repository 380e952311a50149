"""Which convolutions can become INT8, and how much work they are."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from calibration.convolutions import count_macs, find_convolutions
from runtime.contract.errors import BackendError, InputError
from tests.onnx_toys import CARD, CHANNELS, CLASSES, toy_model
from tests.quantized_toys import EVERY, SIDE, all_cases, case_inputs


def test_all_are_found_in_the_order_of_the_graph() -> None:
    found = {one.name: one for one in find_convolutions(all_cases())}
    assert sorted(found) == sorted(EVERY)
    order = [node.name for node in all_cases().graph.node if node.name in found]
    assert list(found) == order
    first, up = found["first"], found["up"]
    assert (first.input, first.weight, first.bias, first.output) == ("x", "w_first", "b_first", "a")
    assert (first.op_type, first.axis, first.group, first.counted) == ("Conv", 0, 1, "a")
    assert (up.op_type, up.axis, up.bias, up.counted) == ("ConvTranspose", 1, "b_up", "r")
    assert found["left"].bias is None
    assert found["depthwise"].group == 6


def test_work_is_counted_per_picture() -> None:
    model = all_cases()
    feed = {name: np.concatenate([value] * 3) for name, value in case_inputs().items()}
    macs = count_macs(model, find_convolutions(model), feed)
    pixels = SIDE * SIDE
    assert macs == {
        "first": 6 * pixels * 4 * 9,
        "left": 6 * pixels * 6,
        "right": 4 * pixels * 6 * 9,
        "head_0": 2 * pixels * 6 * 9,
        "head_1": 2 * pixels * 6 * 9,
        "depthwise": 6 * pixels * 9,
        "up": 4 * pixels * 3 * 16,  # every input element is multiplied with every weight of its channel
        "last": 2 * pixels * 6,
    }
    assert list(macs) == [one.name for one in find_convolutions(model)]
    assert count_macs(model, [], feed) == {}


def test_sizes_that_follow_from_the_graph_are_counted() -> None:
    model = toy_model()
    label = np.zeros((1, 1, CARD.height, CARD.width), np.uint8)
    small, full = CARD.height // 2 * CARD.width // 2, CARD.height * CARD.width
    assert count_macs(model, find_convolutions(model), {"label": label}) == {
        "conv1": small * CHANNELS * CLASSES * 9,
        "conv2": small * CHANNELS * 4,
        "conv3": full * CHANNELS * 3 * 9,
    }


def test_a_wrong_feed_is_an_error() -> None:
    model = all_cases()
    with pytest.raises(BackendError, match="ONNX Runtime"):
        count_macs(model, find_convolutions(model), {"x": np.zeros((1, 5, 4, 4), np.float32)})


def one_convolution(shape: tuple[int, ...], op: str = "Conv", **attributes: int) -> onnx.ModelProto:
    """x [1, 4, 8(, 8(, 8))] -> y, and the weight as an initialiser ``w``."""
    sides = [8] * (len(shape) - 2)
    graph = helper.make_graph(
        [helper.make_node(op, ["x", "w"], ["y"], "conv", **attributes)],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4, *sides])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.ones(shape, np.float32), "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


@pytest.mark.parametrize(
    ("shape", "op", "group", "eligible"),
    [
        ((4, 4, 3, 3), "Conv", 1, True),
        ((4, 2, 3, 3), "Conv", 2, True),
        ((4, 4, 3, 3), "ConvTranspose", 1, True),
        ((4, 2, 3, 3), "ConvTranspose", 2, False),
        ((4, 4, 3), "Conv", 1, False),
        ((4, 4, 3, 3, 3), "Conv", 1, False),
    ],
)
def test_what_is_eligible(shape: tuple[int, ...], op: str, group: int, eligible: bool) -> None:
    assert bool(find_convolutions(one_convolution(shape, op, group=group))) is eligible


def test_weights_that_can_change_are_left_alone() -> None:
    model = one_convolution((4, 4, 3, 3))
    model.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [4, 4, 3, 3]))
    assert find_convolutions(model) == ()  # whoever runs it may give another weight
    model = one_convolution((4, 4, 3, 3))
    model.graph.node.insert(0, helper.make_node("Relu", ["w"], ["positive"], "relu"))
    model.graph.node[1].input[1] = "positive"
    assert find_convolutions(model) == ()


def test_weights_in_constant_nodes_and_constant_inputs() -> None:
    model = one_convolution((4, 4, 3, 3))
    value = model.graph.initializer.pop()
    model.graph.node.insert(0, helper.make_node("Constant", [], ["w"], value=value))
    assert [one.name for one in find_convolutions(model)] == ["conv"]
    model.graph.initializer.append(numpy_helper.from_array(np.ones((1, 4, 8, 8), np.float32), "c"))
    model.graph.node[1].input[0] = "c"
    assert find_convolutions(model) == ()


def test_nodes_of_other_domains_and_other_types_are_none_of_ours() -> None:
    model = one_convolution((4, 4, 3, 3))
    model.graph.node[0].domain = "elsewhere"
    assert find_convolutions(model) == ()
    model = one_convolution((4, 4, 3, 3))
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.ones((4, 4, 3, 3), np.float16), "w"))
    assert find_convolutions(model) == ()


@pytest.mark.parametrize(
    ("name", "words"), [("", "1 convolutions have no name"), ("left", "2 convolutions are called")]
)
def test_names_must_tell_them_apart(name: str, words: str) -> None:
    model = all_cases()
    next(node for node in model.graph.node if node.name == "first").name = name
    with pytest.raises(InputError, match=words):
        find_convolutions(model)
