from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from export.constants import fold_gathers


def test_entries_of_a_bank_become_weights() -> None:
    draw = np.random.default_rng(0)
    bank = draw.standard_normal((3, 2, 4)).astype(np.float32)
    constants = {"bank": bank, "two": np.int64(2), "zero": np.int64(0), "list": np.array([1, 0])}
    nodes = [
        helper.make_node("Gather", ["bank", "two"], ["last"]),
        helper.make_node("Gather", ["bank", "zero"], ["first"], axis=0),
        helper.make_node("Gather", ["bank", "zero"], ["column"], axis=2),  # another axis: stays
        helper.make_node("Gather", ["bank", "list"], ["several"]),  # several entries: stays
        helper.make_node("Gather", ["x", "zero"], ["entry"]),  # not a weight: stays
        helper.make_node("Add", ["last", "first"], ["sum"]),
        helper.make_node("Mul", ["sum", "entry"], ["a"]),
        helper.make_node("Identity", ["column"], ["b"]),
        helper.make_node("Identity", ["several"], ["c"]),
    ]
    graph = helper.make_graph(
        nodes,
        "bank",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 2, 4])],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
            for name, shape in {"a": [2, 4], "b": [3, 2], "c": [2, 2, 4]}.items()
        ],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    x = draw.standard_normal((2, 2, 4)).astype(np.float32)
    fold_gathers(model)
    onnx.checker.check_model(model)
    assert [node.op_type for node in model.graph.node].count("Gather") == 3
    assert {"bank.0", "bank.2"} <= {tensor.name for tensor in model.graph.initializer}
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    a, b, c = session.run(None, {"x": x})
    np.testing.assert_array_equal(a, (bank[2] + bank[0]) * x[0])
    np.testing.assert_array_equal(b, bank[:, :, 0])
    np.testing.assert_array_equal(c, bank[[1, 0]])
