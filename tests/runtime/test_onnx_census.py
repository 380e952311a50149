"""The census against what the ``onnx`` package reads in the same file."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from runtime.contract.errors import InputError
from runtime.contract.onnx_census import metadata_entry, take_census
from runtime.contract.onnx_wire import ModelFile, read_model
from tests.onnx_toys import CARD, toy_model


def _file(model: onnx.ModelProto) -> ModelFile:
    return ModelFile(model.SerializeToString(), CARD)


def _counts(model: onnx.ModelProto) -> dict[str, Counter[tuple[str, str]]]:
    found: dict[str, Counter[tuple[str, str]]] = {}
    for entry in take_census(_file(model), "m.onnx").operators:
        found.setdefault(entry.place, Counter())[(entry.domain, entry.op_type)] += entry.count
    return found


def test_main_graph_and_function_are_told_apart() -> None:
    model = toy_model()
    counts = _counts(model)
    assert list(counts) == ["main graph", "lggan::SemanticAwareUpsample"]
    assert counts["main graph"] == Counter((node.domain or "ai.onnx", node.op_type) for node in model.graph.node)
    assert counts["main graph"][("lggan", "SemanticAwareUpsample")] == 1
    body = model.functions[0].node
    assert counts["lggan::SemanticAwareUpsample"] == Counter((node.domain or "ai.onnx", node.op_type) for node in body)


def test_weights_by_type() -> None:
    model = toy_model()
    sizes: Counter[str] = Counter()
    for tensor in model.graph.initializer:
        sizes[{1: "FP32", 6: "INT32", 7: "INT64"}[tensor.data_type]] += numpy_helper.to_array(tensor).nbytes
    assert take_census(_file(model), "m.onnx").weight_bytes == dict(sizes)


def test_weights_of_other_types_and_in_other_fields() -> None:
    model = toy_model()
    model.graph.initializer.append(numpy_helper.from_array(np.zeros(5, np.float16), "half"))
    model.graph.initializer.append(helper.make_tensor("typed", TensorProto.DOUBLE, [3], [1.0, 2.0, 3.0]))
    model.graph.initializer.append(TensorProto(name="odd", data_type=99, dims=[2], raw_data=b"ab"))
    found = take_census(_file(model), "m.onnx").weight_bytes
    assert (found["FP16"], found["FP64"], found["type 99"]) == (10, 24, 2)
    outside = {"far": np.zeros(7, np.float16), "away": np.zeros(2, np.uint16)}
    found = take_census(ModelFile(model.SerializeToString(), CARD, outside), "m.onnx").weight_bytes
    assert (found["FP16"], found["UINT16"]) == (10 + 14, 4)


def test_graphs_inside_nodes_count_to_the_place_of_the_node() -> None:
    value = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    inner = helper.make_graph([helper.make_node("Constant", [], ["y"], value_float=1.0)], "inner", [], [value])
    middle = helper.make_graph(
        [helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=inner)], "middle", [], [value]
    )
    model = toy_model()
    model.graph.node.append(helper.make_node("If", ["c"], ["z"], then_branch=middle, else_branch=inner))
    model.functions[0].node.append(helper.make_node("If", ["c"], ["z"], then_branch=inner, else_branch=inner))
    before, after = _counts(toy_model()), _counts(model)
    assert after["main graph"] - before["main graph"] == Counter({("ai.onnx", "If"): 2, ("ai.onnx", "Constant"): 3})
    name = "lggan::SemanticAwareUpsample"
    assert after[name] - before[name] == Counter({("ai.onnx", "If"): 1, ("ai.onnx", "Constant"): 2})


def test_most_frequent_first() -> None:
    operators = [entry for entry in take_census(_file(toy_model()), "m.onnx").operators if entry.place == "main graph"]
    assert operators == sorted(operators, key=lambda entry: (-entry.count, entry.domain, entry.op_type))
    assert sum(entry.count for entry in operators) == len(toy_model().graph.node)


def test_metadata() -> None:
    model = toy_model()
    assert metadata_entry(_file(model), "m.onnx", "absent") is None
    model.metadata_props.add(key="mine", value="süß")
    assert metadata_entry(_file(model), "m.onnx", "mine") == "süß"
    model.metadata_props.add(key="mine", value="again")
    with pytest.raises(InputError, match="2 entries mine"):
        metadata_entry(_file(model), "m.onnx", "mine")


def test_names_that_are_not_text(tmp_path: Path) -> None:
    model = toy_model()
    path = tmp_path / "m.onnx"
    path.write_bytes(model.SerializeToString().replace(b"LeakyRelu", b"\xff" * 9))
    with pytest.raises(InputError, match="not UTF-8"):
        take_census(read_model(path), path)
