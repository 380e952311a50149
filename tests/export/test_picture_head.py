from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper

from export.picture_head import append_picture_head
from lggan.networks.semantics import decode_image


def _identity() -> onnx.ModelProto:
    """A graph that passes ``source`` on as ``image``; the image also feeds another node, which must keep working."""
    source = helper.make_tensor_value_info("source", TensorProto.FLOAT, ["N", 3, "H", "W"])
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, "H", "W"])
    nodes = [helper.make_node("Identity", ["source"], ["image"]), helper.make_node("Neg", ["image"], ["unused"])]
    graph = helper.make_graph(nodes, "identity", [source], [image])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def test_bytes_equal_decode_image() -> None:
    float_model = _identity()
    model = append_picture_head(float_model)
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    halves = (np.arange(256, dtype=np.float32) + 0.5) / 127.5 - 1  # between two levels each
    levels = np.arange(256, dtype=np.float32) / 127.5 - 1
    beyond = np.linspace(-3, 3, 256, dtype=np.float32)
    draw = np.random.default_rng(0).uniform(-1, 1, (3, 256)).astype(np.float32)
    source = np.concatenate([np.stack([halves, levels, beyond]), draw]).reshape(2, 3, 16, 16)
    picture = session.run(None, {"source": source})[0]
    assert picture.dtype == np.uint8
    np.testing.assert_array_equal(picture, decode_image(torch.from_numpy(source)).numpy())
    np.testing.assert_array_equal(picture[0, :, :, 1].ravel(), np.arange(256))
    assert float_model.graph.output[0].type.tensor_type.elem_type == TensorProto.FLOAT  # a copy was changed
