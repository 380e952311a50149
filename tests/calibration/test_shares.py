"""Multiply-accumulates by type, from the types in the graph."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from calibration.convolutions import count_macs, find_convolutions
from calibration.half import to_half
from calibration.qdq import Placement, insert_qdq, quantized_tensors
from calibration.shares import precision_shares
from runtime.contract.errors import InputError
from tests.quantized_toys import EVERY, all_cases, case_inputs, largest_values

CHOSEN = ("first", "right", "up")


def macs() -> dict[str, int]:
    return count_macs(all_cases(), find_convolutions(all_cases()), case_inputs())


def typed(chosen: tuple[str, ...] = CHOSEN, placement: Placement = Placement.TENSORRT) -> onnx.ModelProto:
    model = all_cases()
    largest = largest_values(model, quantized_tensors(model, chosen, placement), case_inputs())
    return insert_qdq(model, chosen, largest, placement)


@pytest.mark.parametrize("placement", list(Placement))
def test_int8_among_fp32(placement: Placement) -> None:
    work = macs()
    found = precision_shares(typed(placement=placement), work)
    int8 = sum(work[name] for name in CHOSEN)
    assert found.macs == {"int8": int8, "fp16": 0, "fp32": sum(work.values()) - int8}
    assert found.convolutions == {"int8": 3, "fp16": 0, "fp32": 5}
    assert found.total == sum(work.values())
    assert found.shares["int8"] == int8 / found.total
    assert sum(found.shares.values()) == pytest.approx(1)


def test_int8_among_fp16() -> None:
    half, _ = to_half(typed())
    assert precision_shares(half, macs()).convolutions == {"int8": 3, "fp16": 5, "fp32": 0}
    assert precision_shares(to_half(typed(EVERY))[0], macs()).shares == {"int8": 1.0, "fp16": 0.0, "fp32": 0.0}


def test_plain_graphs() -> None:
    assert precision_shares(all_cases(), macs()).shares == {"int8": 0.0, "fp16": 0.0, "fp32": 1.0}
    assert precision_shares(to_half(all_cases())[0], macs()).shares == {"int8": 0.0, "fp16": 1.0, "fp32": 0.0}
    assert precision_shares(all_cases(), {}).shares == {"int8": 0.0, "fp16": 0.0, "fp32": 0.0}


def test_int8_weights_alone_are_no_int8_convolution() -> None:
    model = typed()
    node = next(node for node in model.graph.node if node.name == "first")
    node.input[0] = "x"
    assert precision_shares(model, macs()).convolutions["int8"] == 2


def test_something_in_between_breaks_it() -> None:
    model = typed()
    index = next(i for i, node in enumerate(model.graph.node) if node.name == "first")
    model.graph.node.insert(index, helper.make_node("Relu", ["x/dequantized"], ["between"], "between"))
    model.graph.node[index + 1].input[0] = "between"
    assert precision_shares(model, macs()).convolutions == {"int8": 2, "fp16": 0, "fp32": 6}


def test_another_models_work_is_refused() -> None:
    with pytest.raises(InputError, match="no convolution 'elsewhere'"):
        precision_shares(typed(), {"elsewhere": 1})


def test_other_types_are_refused() -> None:
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["y"], "conv")],
        "g",
        [helper.make_tensor_value_info(name, TensorProto.DOUBLE, [1, 1, 3, 3]) for name in "xw"],
        [helper.make_tensor_value_info("y", TensorProto.DOUBLE, [1, 1, 1, 1])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    with pytest.raises(InputError, match="'conv' computes in DOUBLE"):
        precision_shares(model, {"conv": np.int64(1)})
