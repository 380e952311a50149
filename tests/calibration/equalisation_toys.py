"""Small graphs with a place to equalise each, and float inputs for them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

SIDE = 10
SAME = {"pads": [1, 1, 1, 1]}
OUTLIERS = np.array([40.0, 1.0, 0.3, 9.0, 1.0, 1.0], np.float32)
"""How much larger than usual each of the six channels is that the toys can equalise; their weights make up for it."""

node = helper.make_node


@dataclass(frozen=True)
class Toy:
    """A graph x float [N, 4, H, W] -> y.

    Attributes:
        model: opset 18.
        divided: names of the nodes whose constants take the division in.
        readers: names of the convolutions that take the factors in.
        tensors: what is divided.
    """

    model: onnx.ModelProto
    divided: tuple[str, ...]
    readers: tuple[str, ...]
    tensors: frozenset[str]


@dataclass(frozen=True)
class FloatMaps:
    """Stands in for label maps where a graph reads floats."""

    seeds: tuple[int, ...] = (0, 1, 2)
    side: int = SIDE

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(f"map {seed}" for seed in self.seeds)

    def __len__(self) -> int:
        return len(self.seeds)

    def few(self, count: int) -> FloatMaps:
        return FloatMaps(self.seeds[:count], self.side)

    def feeds(self) -> Iterator[dict[str, np.ndarray]]:
        for seed in self.seeds:
            draw = np.random.default_rng(seed)
            yield {"x": draw.standard_normal((1, 4, self.side, self.side)).astype(np.float32)}


def graph(
    nodes: Sequence[NodeProto], tensors: Mapping[str, np.ndarray], results: Sequence[str] = ("y",)
) -> onnx.ModelProto:
    """A model of these nodes and float constants, those that are read."""
    read = {name for each in nodes for name in each.input}
    made = helper.make_graph(
        nodes,
        "toy",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4, "H", "W"])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * 4) for name in results],
        [numpy_helper.from_array(value, name) for name, value in tensors.items() if name in read],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return model


def constants() -> dict[str, np.ndarray]:
    """Weights ``w<out>x<in>[b]`` with 3 x 3 pixels, biases ``b<out>``, and what else the toys need."""
    draw = np.random.default_rng(5)

    def weight(*shape: int) -> np.ndarray:
        return (draw.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)

    first = weight(6, 4, 3, 3) * OUTLIERS[:, None, None, None]
    modulation = weight(12, 4, 3, 3) * np.tile(OUTLIERS, 2)[:, None, None, None]
    return {
        "w_first": first,
        "b_first": (draw.standard_normal(6) * OUTLIERS).astype(np.float32),
        "w_plain": weight(6, 4, 3, 3),
        "w_modulation": modulation,
        "b_modulation": (draw.standard_normal(12) * np.tile(OUTLIERS, 2)).astype(np.float32),
        "w_5x6": weight(5, 6, 3, 3) / OUTLIERS[:, None, None],
        "w_3x6": weight(3, 6, 1, 1) / OUTLIERS[:, None, None],
        "w_6x6": weight(6, 6, 3, 3) / OUTLIERS[:, None, None],
        "w_groups": weight(4, 3, 3, 3) / OUTLIERS.reshape(2, 3).repeat(2, axis=0)[:, :, None, None],  # two groups
        "w_by_groups": weight(6, 2, 3, 3) * OUTLIERS[:, None, None, None],  # two groups, of four inputs
        "w_up": weight(6, 3, 4, 4) / OUTLIERS[:, None, None, None],  # of six inputs
        "w_up_6": (weight(4, 6, 2, 2) * OUTLIERS[None, :, None, None]).astype(np.float32),  # of four inputs
        "b_up_6": draw.standard_normal(6).astype(np.float32),
        "gain": OUTLIERS,
        "offset": draw.standard_normal(6).astype(np.float32),
        "slope": np.array([0.1, 0.2, 0.3, 0.4, 0.5, -0.6], np.float32).reshape(6, 1, 1),
        "around": np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64),
        "twice": np.array([1, 1, 2, 2], np.float32),
        "zero": np.array(0, np.float32),
        "one": np.array(1, np.float32),
        "halves": np.array([6, 6], np.int64),
    }


def norm(x: str, y: str, name: str) -> NodeProto:
    return node("InstanceNormalization", [x, "gain", "offset"], [y], name)


def toy(
    nodes: Sequence[NodeProto], divided: Sequence[str], readers: Sequence[str], tensors: str, **more: object
) -> Toy:
    """``tensors``: separated by blanks."""
    return Toy(graph(nodes, constants(), **more), tuple(divided), tuple(readers), frozenset(tensors.split()))  # type: ignore[arg-type]


FIRST = node("Conv", ["x", "w_first", "b_first"], ["a"], "first", **SAME)
PLAIN = node("Conv", ["x", "w_plain"], ["a"], "plain", **SAME)


def convolution_relu() -> Toy:
    nodes = [FIRST, node("Relu", ["a"], ["r"], "relu"), node("Conv", ["r", "w_5x6"], ["y"], "second", **SAME)]
    return toy(nodes, ["first"], ["second"], "a r")


def through_everything() -> Toy:
    """Whatever passes a factor on, one after the other; a ``Shape`` looks on."""
    nodes = [
        FIRST,
        node("LeakyRelu", ["a"], ["b"], "leaky", alpha=0.2),
        node("PRelu", ["b", "slope"], ["c"], "prelu"),
        node("Pad", ["c", "around"], ["d"], "reflect", mode="reflect"),
        node("Pad", ["d", "around", "zero"], ["e"], "zeros"),
        node("Resize", ["e", "", "twice"], ["f"], "nearest", mode="nearest"),
        node("Resize", ["f", "", "twice"], ["g"], "linear", mode="linear"),
        node("MaxPool", ["g"], ["h"], "max", kernel_shape=[2, 2], strides=[2, 2]),
        node("AveragePool", ["h"], ["i"], "average", kernel_shape=[2, 2], strides=[2, 2]),
        node("Identity", ["i"], ["j"], "identity"),
        node("Shape", ["j"], ["shape"], "shape"),
        node("Conv", ["j", "w_5x6"], ["k"], "second"),
        node("ConstantOfShape", ["shape"], ["zeros_like"], "zeros_like"),
        node("ReduceSum", ["zeros_like"], ["sum"], "sum"),
        node("Add", ["k", "sum"], ["y"], "add"),
    ]
    return toy(nodes, ["first"], ["second"], "a b c d e f g h i j")


def norm_and_masks() -> Toy:
    """An instance normalisation whose constants another one shares, read by heads behind masks."""
    nodes = [
        PLAIN,
        norm("a", "n", "norm"),
        norm("a", "m", "other norm"),
        node("Sigmoid", ["m"], ["s"], "sigmoid"),
        node("ReduceMean", ["s"], ["gate"], "mean"),
        node("Relu", ["n"], ["r"], "relu"),
        node("Pad", ["r", "around"], ["p"], "pad", mode="reflect"),
        node("Mul", ["p", "gate"], ["p0"], "mask_0"),
        node("Mul", ["one", "p"], ["p1"], "mask_1"),
        node("Conv", ["p0", "w_5x6"], ["h0"], "head_0"),
        node("Conv", ["p1", "w_5x6"], ["h1"], "head_1"),
        node("Concat", ["h0", "h1"], ["y"], "join", axis=1),
    ]
    return toy(nodes, ["norm"], ["head_0", "head_1"], "n r p p0 p1")


def modulated(split: Sequence[str] = ("halves",)) -> Toy:
    """SPADE; others read what is modulated."""
    split_node = node(
        "Split", ["t", *split], ["scale", "shift"], "split", axis=1, **({} if split else {"num_outputs": 2})
    )
    nodes = [
        node("Conv", ["x", "w_plain"], ["features"], "features", **SAME),
        node("Conv", ["x", "w_modulation", "b_modulation"], ["t"], "modulation", **SAME),
        split_node,
        node("Mul", ["features", "scale"], ["scaled"], "scale_features"),
        node("Add", ["scaled", "shift"], ["shifted"], "shift_features"),
        node("LeakyRelu", ["shifted"], ["r"], "leaky"),
        node("Conv", ["r", "w_6x6"], ["z"], "second", **SAME),
        node("Tanh", ["features"], ["u"], "tanh"),
        node("Add", ["z", "u"], ["y"], "skip"),
    ]
    return toy(nodes, ["modulation"], ["second"], "scale shift scaled shifted r")


def tower() -> Toy:
    """A residual sum that two normalisations make together."""
    nodes = [
        PLAIN,
        norm("a", "n", "norm_0"),
        node("Relu", ["n"], ["r"], "relu"),
        node("Conv", ["r", "w_6x6"], ["b"], "inner", **SAME),
        norm("b", "m", "norm_1"),
        node("Add", ["r", "m"], ["s"], "sum"),
        node("Conv", ["s", "w_5x6"], ["c"], "left", **SAME),
        node("Conv", ["s", "w_3x6"], ["d"], "right"),
        node("Concat", ["c", "d"], ["y"], "join", axis=1),
    ]
    return toy(nodes, ["norm_0", "norm_1"], ["inner", "left", "right"], "n r m s")


def two_convolutions_sum() -> Toy:
    nodes = [
        FIRST,
        node("Conv", ["x", "w_plain"], ["b"], "side", **SAME),
        node("Sub", ["a", "b"], ["s"], "difference"),
        node("LeakyRelu", ["s"], ["r"], "leaky"),
        node("Conv", ["r", "w_5x6"], ["y"], "second", **SAME),
    ]
    return toy(nodes, ["first", "side"], ["second"], "a b s r")


def groups() -> Toy:
    nodes = [
        node("Conv", ["x", "w_by_groups"], ["a"], "by_groups", group=2, **SAME),
        node("Conv", ["a", "w_groups"], ["y"], "groups", group=2, **SAME),
    ]
    return toy(nodes, ["by_groups"], ["groups"], "a")


def transposed() -> Toy:
    nodes = [
        node("ConvTranspose", ["x", "w_up_6", "b_up_6"], ["a"], "up_6", strides=[2, 2]),
        node("Relu", ["a"], ["r"], "relu"),
        node("ConvTranspose", ["r", "w_up"], ["y"], "up", strides=[2, 2]),
    ]
    return toy(nodes, ["up_6"], ["up"], "a r")


TOYS = {
    "convolution": convolution_relu,
    "everything": through_everything,
    "norm": norm_and_masks,
    "modulation": modulated,
    "modulation by number": lambda: modulated(split=()),
    "tower": tower,
    "sum": two_convolutions_sum,
    "groups": groups,
    "transposed": transposed,
}
