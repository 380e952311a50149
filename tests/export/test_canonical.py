from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from export.canonical import canonicalize
from export.opset import IR_VERSION


def _model(weight: str, value: str, attributes: list[str], path: str) -> onnx.ModelProto:
    """label -> Cast -> Conv -> image, as the exporter might write it on one day or another."""
    values = {"kernel_shape": [1, 1], "pads": [0, 0, 0, 0], "group": 1}
    conv = helper.make_node("Conv", [value, weight], ["image"], name="node_conv2d_7")
    conv.attribute.extend(helper.make_attribute(name, values[name]) for name in attributes)
    conv.metadata_props.add(
        key="pkg.torch.onnx.name_scopes", value="['', 'generator', 'generator.encoder', 'generator.encoder.conv1', 'x']"
    )
    conv.metadata_props.add(key="pkg.torch.onnx.stack_trace", value=f'File "{path}", line 1')
    conv.doc_string = path
    cast = helper.make_node("Cast", ["label"], [value], name="node_3", to=TensorProto.FLOAT)
    graph = helper.make_graph(
        [cast, conv],
        path,
        [helper.make_tensor_value_info("label", TensorProto.UINT8, ["s0", 1, "32*_h", "32*_w"])],
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["s0", 3, "32*_h", "32*_w"])],
        [
            numpy_helper.from_array(np.zeros(3, np.float32), "unused"),
            numpy_helper.from_array(np.ones((3, 1, 1, 1), np.float32), weight),
        ],
        value_info=[helper.make_tensor_value_info(value, TensorProto.FLOAT, None)],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], producer_name="pytorch")


def test_equal_networks_give_equal_bytes() -> None:
    one = _model("val_3", "cast_1", ["kernel_shape", "pads", "group"], "/home/somebody/a.py")
    other = _model("val_77", "to_9", ["group", "kernel_shape", "pads"], "/somewhere/else/b.py")
    first, second = (canonicalize(model).SerializeToString(deterministic=True) for model in (one, other))
    assert first == second
    assert b"somebody" not in first
    assert b"stack_trace" not in first


def test_names_and_interface() -> None:
    model = canonicalize(_model("generator.encoder.conv1.weight", "cast_1", ["kernel_shape"], "x"))
    onnx.checker.check_model(model, full_check=True)
    assert [node.name for node in model.graph.node] == ["Cast", "encoder/conv1/Conv"]
    assert list(model.graph.node[1].input) == ["Cast_output", "encoder.conv1.weight"]
    assert [tensor.name for tensor in model.graph.initializer] == ["encoder.conv1.weight"]
    sizes = [[d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim] for v in model.graph.input]
    assert sizes == [["N", 1, "H", "W"]]
    assert (model.ir_version, model.producer_name) == (IR_VERSION, "lggan-edge")
