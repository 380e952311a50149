"""Small networks written node by node, with the TOML files beside them, that play evaluators in the tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

FEATURES = 12
CLASSES = 7

FEATURE_TOML = """
[input]
height = 16
width = 16
resize = "torch-bilinear"
axes = "NCHW"
channels = "RGB"
scale = 255
mean = [0.5, 0.5, 0.5]
std = [0.5, 0.5, 0.5]

[output]
kind = "features"
"""
CLASSIFIER_TOML = FEATURE_TOML.replace("features", "logits").replace("torch-bilinear", "pillow-bilinear")
SEGMENTER_TOML = """
[input]
axes = "NCHW"
channels = "RGB"
scale = 1
mean = [0, 0, 0]
std = [1, 1, 1]

[output]
kind = "logits"

[classes]
names = ["road", "traffic sign", "lamp"]
"""


def weights() -> np.ndarray:
    """Of the feature network's 3x3 convolution, float32 [FEATURES, 3, 3, 3]."""
    return np.random.default_rng(3).standard_normal((FEATURES, 3, 3, 3)).astype(np.float32)


def read_out() -> np.ndarray:
    """Of the classifier's last layer, float32 [FEATURES, CLASSES]; large enough for confident answers."""
    return 12 * np.random.default_rng(4).standard_normal((FEATURES, CLASSES)).astype(np.float32)


def features(pictures: np.ndarray) -> np.ndarray:
    """What the feature network computes of normalised pictures [N, 3, H, W], by loops over the taps, float64."""
    kernel = weights().astype(np.float64)
    height, width = pictures.shape[2] - 2, pictures.shape[3] - 2
    sums = np.zeros((len(pictures), FEATURES, height, width))
    for y in range(3):
        for x in range(3):
            patch = pictures[:, :, y : y + height, x : x + width].astype(np.float64)
            sums += np.einsum("dc,nchw->ndhw", kernel[:, :, y, x], patch)
    return np.maximum(sums, 0).mean(axis=(2, 3))


def write_features(path: Path, toml: str = FEATURE_TOML, output: str = "features") -> Path:
    """Convolution, ReLU, mean over the picture: [N, 3, H, W] -> [N, FEATURES, 1, 1]."""
    nodes = [
        helper.make_node("Conv", ["picture", "w"], ["c"]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("GlobalAveragePool", ["r"], [output]),
    ]
    return _write(path, toml, nodes, {"w": weights()}, (output, TensorProto.FLOAT, ["N", FEATURES, 1, 1]))


def write_classifier(path: Path, toml: str = CLASSIFIER_TOML) -> Path:
    """The features, read out linearly: [N, 3, H, W] -> [N, CLASSES]; a softmax if the TOML says probabilities."""
    softmax = "probabilities" in toml
    nodes = [
        helper.make_node("Conv", ["picture", "w"], ["c"]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("GlobalAveragePool", ["r"], ["g"]),
        helper.make_node("Flatten", ["g"], ["f"]),
        helper.make_node("MatMul", ["f", "m"], ["z" if softmax else "scores"]),
    ]
    if softmax:
        nodes.append(helper.make_node("Softmax", ["z"], ["scores"], axis=1))
    tensors = {"w": weights(), "m": read_out()}
    return _write(path, toml, nodes, tensors, ("scores", TensorProto.FLOAT, ["N", CLASSES]))


def write_segmenter(path: Path, toml: str = SEGMENTER_TOML, pool: int = 1) -> Path:
    """Scores by the red channel: road above 100, traffic sign below, lamp never; at 1 / ``pool`` of the size."""
    kernel = np.zeros((3, 3, 1, 1), np.float32)
    kernel[0, 0], kernel[1, 0] = 1, -1  # road: red - 100; sign: 100 - red
    bias = np.array([-100.5, 100.5, -1000], np.float32)
    scores = "scores" if pool == 1 else "fine"
    ids = '"ids"' in toml
    nodes = [helper.make_node("Conv", ["picture", "k", "b"], [scores])]
    if pool > 1:
        nodes.append(
            helper.make_node("AveragePool", ["fine"], ["scores"], kernel_shape=[pool, pool], strides=[pool, pool])
        )
    if ids:
        nodes.append(helper.make_node("ArgMax", ["scores"], ["ids"], axis=1, keepdims=0))
    output = ("ids", TensorProto.INT64, ["N", "h", "w"]) if ids else ("scores", TensorProto.FLOAT, ["N", 3, "h", "w"])
    return _write(path, toml, nodes, {"k": kernel, "b": bias}, output)


def _write(path: Path, toml: str, nodes: list, tensors: dict[str, np.ndarray], output: tuple[str, int, list]) -> Path:
    graph = helper.make_graph(
        nodes,
        "toy",
        [helper.make_tensor_value_info("picture", TensorProto.FLOAT, ["N", 3, "H", "W"])],
        [helper.make_tensor_value_info(*output)],
        [numpy_helper.from_array(value, name) for name, value in tensors.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    path.with_suffix(".toml").write_text(toml, encoding="utf-8")
    return path
