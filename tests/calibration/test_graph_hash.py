"""The hash of a graph changes with what it computes and with nothing else."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from calibration.graph_hash import graph_sha256
from runtime.contract.onnx_safety import message_bytes, write_card
from tests.onnx_toys import CARD, toy_model

Change = Callable[[onnx.ModelProto], object]


def test_equal_graphs_have_equal_hashes() -> None:
    model = toy_model()
    assert graph_sha256(model) == graph_sha256(toy_model())
    assert graph_sha256(onnx.load_model_from_string(message_bytes(model, "toy"))) == graph_sha256(model)


def comment(model: onnx.ModelProto) -> None:
    model.doc_string = model.graph.doc_string = "something"
    for message in (model.graph.node[3], model.graph.input[0], model.graph.output[0], model.functions[0].node[0]):
        message.doc_string = "something"
        message.metadata_props.append(onnx.StringStringEntryProto(key="k", value="v"))
    model.functions[0].doc_string = model.graph.initializer[0].doc_string = "something"


def shuffle_weights(model: onnx.ModelProto) -> None:
    tensors = list(model.graph.initializer)[::-1]
    del model.graph.initializer[:]
    model.graph.initializer.extend(tensors)


@pytest.mark.parametrize(
    "change",
    [
        comment,
        shuffle_weights,
        lambda model: model.graph.value_info.append(helper.make_tensor_value_info("c1", TensorProto.FLOAT, None)),
        lambda model: setattr(model, "producer_name", "else"),
        lambda model: setattr(model, "producer_version", "9"),
        lambda model: setattr(model.graph, "name", "else"),
        lambda model: write_card(model, CARD),
        lambda model: model.metadata_props.append(onnx.StringStringEntryProto(key="k", value="v")),
    ],
)
def test_what_stands_beside_the_graph_does_not_count(change: Change) -> None:
    model = toy_model()
    change(model)
    assert graph_sha256(model) == graph_sha256(toy_model())


def change_last_weight(model: onnx.ModelProto) -> None:
    tensor = next(t for t in model.graph.initializer if t.name == "w3")
    values = numpy_helper.to_array(tensor).copy()
    values.flat[-1] = np.nextafter(values.flat[-1], 1)
    tensor.CopyFrom(numpy_helper.from_array(values, "w3"))


@pytest.mark.parametrize(
    "change",
    [
        change_last_weight,
        lambda model: setattr(model.graph.initializer[1], "name", "w1_"),
        lambda model: setattr(model.graph.node[6].attribute[0], "f", 0.1),
        lambda model: setattr(model.graph.node[6], "name", "other"),
        lambda model: model.graph.node[4].input.__setitem__(0, "onehot"),
        lambda model: model.graph.node.append(helper.make_node("Identity", ["c1"], ["end"])),
        lambda model: setattr(model.opset_import[0], "version", 19),
        lambda model: setattr(model.functions[0].node[0].attribute[0], "i", 2),
        lambda model: setattr(model.functions[0].opset_import[0], "version", 19),
        lambda model: model.functions[0].attribute.append("more"),
        lambda model: setattr(model.graph.input[0].type.tensor_type, "elem_type", TensorProto.INT32),
        lambda model: setattr(model.graph.output[0].type.tensor_type.shape.dim[0], "dim_value", 1),
    ],
)
def test_what_the_graph_computes_counts(change: Change) -> None:
    model = toy_model()
    change(model)
    assert graph_sha256(model) != graph_sha256(toy_model())


def test_values_written_as_numbers_count_too() -> None:
    model, other = toy_model(), toy_model()
    for one, value in ((model, 1.0), (other, 2.0)):
        one.graph.initializer.append(helper.make_tensor("extra", TensorProto.FLOAT, [1], [value]))
    assert graph_sha256(model) != graph_sha256(other)


def test_weights_outside_of_the_message_are_refused() -> None:
    model = toy_model()
    model.graph.initializer[0].data_location = TensorProto.EXTERNAL
    with pytest.raises(ValueError, match="external data"):
        graph_sha256(model)


def test_weights_are_hashed_one_by_one() -> None:
    tensors = [numpy_helper.from_array(np.zeros(1 << 20, np.float32), f"w{i}") for i in range(4)]
    model = helper.make_model(helper.make_graph([], "g", [], [], tensors))
    tracemalloc.start()
    graph_sha256(model)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5 << 20  # one of four times 4 MiB
