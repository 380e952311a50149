"""The end of the graph that turns the network's float image into bytes."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from export.names import IMAGE


def append_picture_head(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of a model whose output ``image``, float32 [N, 3, H, W] in [-1, 1], is uint8 [N, H, W, 3] instead.

    ``round((clip(x, -1, 1) + 1) * 127.5)`` with halves rounded to even: what
    `lggan.networks.semantics.decode_image` computes, in the same order of operations. The cast to bytes comes last
    because TensorRT has uint8 at the outermost edge of a network only.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    graph = copy.graph
    for node in graph.node:
        for index, name in enumerate(node.output):
            if name == IMAGE:
                node.output[index] = "image_float"
        for index, name in enumerate(node.input):
            if name == IMAGE:
                node.input[index] = "image_float"
    constants = {"image_minus_one": -1.0, "image_one": 1.0, "image_half_range": 127.5}
    graph.initializer.extend(
        numpy_helper.from_array(np.array(value, np.float32), name) for name, value in constants.items()
    )
    steps = [
        ("Clip", ["image_float", "image_minus_one", "image_one"], "image_clipped"),
        ("Add", ["image_clipped", "image_one"], "image_positive"),
        ("Mul", ["image_positive", "image_half_range"], "image_scaled"),
        ("Round", ["image_scaled"], "image_rounded"),
    ]
    graph.node.extend(
        helper.make_node(op_type, inputs, [output], name=f"picture/{op_type}") for op_type, inputs, output in steps
    )
    graph.node.append(
        helper.make_node("Transpose", ["image_rounded"], ["image_nhwc"], name="picture/Transpose", perm=[0, 2, 3, 1])
    )
    graph.node.append(helper.make_node("Cast", ["image_nhwc"], [IMAGE], name="picture/Cast", to=TensorProto.UINT8))
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info(IMAGE, TensorProto.UINT8, ["N", "H", "W", 3]))
    return copy
