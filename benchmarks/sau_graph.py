"""The pieces that the graphs of `sau_alternatives.py` are made of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper, numpy_helper, parser


@dataclass(frozen=True)
class Size:
    """Channels, height and width of the feature; k taps a side; s output pixels per source pixel and direction."""

    channels: int
    height: int
    width: int
    kernel: int = 5
    scale: int = 2

    @property
    def output(self) -> tuple[int, int, int, int]:
        """The shape of the output."""
        return 1, self.channels, self.scale * self.height, self.scale * self.width

    @property
    def padded(self) -> tuple[int, int]:
        """Height and width of the feature with half a window of zeros around it."""
        return self.height + self.kernel - 1, self.width + self.kernel - 1

    @property
    def least_bytes(self) -> int:
        """Bytes of the feature, of the logits and of the output in float32."""
        k, s, c = self.kernel, self.scale, self.channels
        return 4 * self.height * self.width * (c + k * k * s * s + c * s * s)


class Graph:
    """Nodes in ONNX's textual syntax and the constants that they name; the pieces that several graphs share."""

    def __init__(self, size: Size) -> None:
        self.size = size
        self._text: list[str] = []
        self._constants: dict[str, np.ndarray] = {}

    def add(self, text: str) -> None:
        self._text.append(text)

    def ints(self, *values: int) -> str:
        """The name of a constant list of whole numbers."""
        return self.constant(f"i{'_'.join(map(str, values))}".replace("-", "m"), np.array(values, np.int64))

    def constant(self, name: str, value: np.ndarray) -> str:
        self._constants[name] = value
        return name

    def softmax(self, *shape: int) -> None:
        """``weights`` in a shape whose second axis is that of the taps."""
        self.add(f"tap_logits = Reshape (logits, {self.ints(*shape)}) weights = Softmax <axis = 1> (tap_logits)")

    def pad(self) -> None:
        """``padded`` [1, C, H + k - 1, W + k - 1]."""
        edge = self.size.kernel // 2
        self.add(f"padded = Pad (feature, {self.ints(0, 0, edge, edge, 0, 0, edge, edge)})")

    def last_taps(self) -> None:
        """``last`` [s s, H W, k k]: the logits, or what stands in their place, with the taps last, column by column."""
        k, s, places = self.size.kernel, self.size.scale, self.size.height * self.size.width
        self.add(f"""
            tap_grid = Reshape (taken, {self.ints(k, k, s * s, places)})
            tap_order = Transpose <perm = [2, 1, 0, 3]> (tap_grid)
            tap_planes = Reshape (tap_order, {self.ints(s * s, k * k, places)})
            last = Transpose <perm = [0, 2, 1]> (tap_planes)
        """)

    def last_weights(self) -> None:
        """``last_weights`` [s s, H W, k k]: softmax of the logits over the taps."""
        self.add("taken = Identity (logits)")
        self.last_taps()
        self.add("last_weights = Softmax <axis = -1> (last)")

    def shift_rows(self, tile: int) -> None:
        """``cut`` [s s, H W / T, T K]: bands for tiles of T pixels of a row, from ``last_weights``."""
        k, s, places = self.size.kernel, self.size.scale, self.size.height * self.size.width
        reach = k * (tile + k - 1)
        self.add(f"""
            long = Pad (last_weights, {self.ints(0, 0, 0, 0, 0, reach + k - k * k)})
            lines = Reshape (long, {self.ints(s * s, places // tile, tile * (reach + k))})
            cut = Slice (lines, {self.ints(0)}, {self.ints(tile * reach)}, {self.ints(2)})
        """)

    def gather(self, tile: int) -> None:
        """``source`` [H W / T, k (T + k - 1), C]: what tiles of T pixels of a row reach, column by column."""
        c, k, (high, wide) = self.size.channels, self.size.kernel, self.size.padded
        starts = np.arange(self.size.height)[:, None] * wide + np.arange(0, self.size.width, tile)
        offsets = np.arange(tile + k - 1)[:, None] + np.arange(k) * wide
        self.pad()
        self.add(f"""
            planes = Reshape (padded, {self.ints(c, high * wide)})
            pixels = Transpose <perm = [1, 0]> (planes)
            source = Gather <axis = 0> (pixels, {self.constant("reach", starts.reshape(-1, 1) + offsets.ravel())})
        """)

    def to_picture(self, order: tuple[int, ...], perm: tuple[int, ...], output: str = "upsampled") -> None:
        """Rows of C of ``products`` to planes; ``perm`` turns the axes of ``order`` into (H, dy, W, dx)."""
        _, c, high, wide = self.size.output
        places = np.arange(high * wide).reshape(order).transpose(perm).ravel()
        self.add(f"""
            product_rows = Reshape (products, {self.ints(-1, c)})
            picture_rows = Gather <axis = 0> (product_rows, {self.constant("places", places)})
            picture = Reshape (picture_rows, {self.ints(1, high, wide, c)})
            {output} = Transpose <perm = [0, 3, 1, 2]> (picture)
        """)

    def model(self) -> onnx.ModelProto:
        size = self.size
        logits = [1, size.kernel**2 * size.scale**2, size.height, size.width]
        feature = [1, size.channels, size.height, size.width]
        head = f"g (float{feature} feature, float{logits} logits) => (float{list(size.output)} upsampled)"
        graph = parser.parse_graph(f"{head} {{ {' '.join(self._text)} }}")
        graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in self._constants.items())
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
