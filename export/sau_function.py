"""Semantic-aware upsampling as an ONNX function: the node carries its own meaning in standard operators.

A node of type ``SemanticAwareUpsample`` in the domain ``lggan`` with this function beside it runs in ONNX Runtime,
which inlines the body, and in TensorRT, which takes the plugin if one is registered under that name and the body if
not (TensorRT >= 10.7 and TensorRT-RTX; before 10.7 the parser knows functions by their type alone).

A body cannot unroll over the values of attributes, so it is generated for one `SauGeometry`, which the node's
attributes repeat for the plugin.

How the body computes. Per row of output pixels, the weighted sums over windows are a product of a banded matrix with
a matrix of source pixels. The row is cut into tiles of T source pixels, so that the band is mostly full: per tile,

    [s T, k (T + k - 1)] x [k (T + k - 1), C]

The banded matrix is the tap weights with zeros in between, laid out by padding and reshaping alone. Nothing k*k times
as large as the feature map is made. In ONNX Runtime on one core this takes a quarter to two fifths of the time of k*k
shifted multiply-adds, or of a product per pixel with the unfolded map.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper, numpy_helper, parser

from export.opset import OPSET
from runtime.contract.errors import UsageError

DOMAIN = "lggan"
DOMAIN_VERSION = 1
OP_TYPE = "SemanticAwareUpsample"
PLUGIN_NAMESPACE = "lggan"
PLUGIN_VERSION = "1"
ATTRIBUTES = ("kernel", "scale", "dilation", "plugin_namespace", "plugin_version")

_SMALLEST_TILE = 8  # source pixels; 4, 8 and 16 are within a tenth of each other in ONNX Runtime, 8 is the fastest
_FAR = 2**31 - 1  # as the end of a slice: all


@dataclass(frozen=True, order=True)
class SauGeometry:
    """Which taps there are.

    Attributes:
        kernel: k, odd; the window has k x k taps.
        scale: s, output pixels per source pixel and direction.
        dilation: distance of the taps on the nearest-neighbour enlarged map. ``scale`` means k x k distinct source
            pixels, 1 means neighbours on the enlarged map, several of which are the same source pixel.
    """

    kernel: int
    scale: int
    dilation: int

    def __post_init__(self) -> None:
        if self.kernel < 1 or self.kernel % 2 == 0 or self.scale < 1 or self.dilation < 1:
            raise UsageError(
                f"semantic-aware upsampling with kernel {self.kernel}, scale {self.scale} and dilation "
                f"{self.dilation}: the kernel must be odd and all three positive"
            )

    def source_offset(self, sub_pixel: int, tap: int) -> int:
        """How many source pixels ahead of its own the tap of a sub-pixel lies, in one direction."""
        return (sub_pixel + (tap - self.kernel // 2) * self.dilation) // self.scale


def sau_function(geometry: SauGeometry) -> onnx.FunctionProto:
    """The function: (feature [N, C, H, W], logits [N, k*k*s*s, H, W]) -> [N, C, s*H, s*W].

    Works on float16, float32 and float64, for any N, C, H and W. The softmax runs in float32, everything else in the
    feature's type. Channel ``n*s*s + dy*s + dx`` of the logits holds tap n of sub-pixel (dy, dx); taps outside the
    feature map count as zero and nothing is renormalised.
    """
    text = _Text(geometry)
    body = text.sizes() + text.tap_weights() + text.banded_matrix() + text.source_pixels() + text.product()
    function = parser.parse_function(
        f'<opset_import: ["" : {OPSET}], domain: "{DOMAIN}"> {OP_TYPE} <{", ".join(ATTRIBUTES)}>'
        f"(sau_feature, sau_logits) => (sau_output) {{ {text.constants()} {body} }}"
    )
    if text.merges:
        merge = numpy_helper.from_array(_merge_matrix(geometry, text.before, text.window))
        function.node.insert(0, helper.make_node("Constant", [], ["merge"], value=merge))
    return function


def sau_geometries(model: onnx.ModelProto) -> list[SauGeometry]:
    """The distinct geometries of the semantic-aware upsampling nodes of a model, sorted."""
    nodes = [node for node in model.graph.node if (node.domain, node.op_type) == (DOMAIN, OP_TYPE)]
    found = set()
    for node in nodes:
        values = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
        found.add(SauGeometry(values["kernel"], values["scale"], values["dilation"]))
    return sorted(found)


def attach_sau_function(model: onnx.ModelProto) -> None:
    """Give the model the body of its semantic-aware upsampling nodes, if it has such nodes.

    Raises:
        UsageError: the nodes differ in kernel, scale or dilation. Functions can be overloaded since IR version 10,
            but TensorRT's parser looks a function up by its type, so one file can hold one body only.
    """
    geometries = sau_geometries(model)
    if not geometries:
        return
    if len(geometries) > 1:
        raise UsageError(
            f"the model upsamples with {len(geometries)} different kernels or windows ({geometries}); "
            "one ONNX file can describe one: use the same kernel, scale and window everywhere"
        )
    del model.functions[:]
    model.functions.append(sau_function(geometries[0]))
    if all(entry.domain != DOMAIN for entry in model.opset_import):
        model.opset_import.append(helper.make_opsetid(DOMAIN, DOMAIN_VERSION))


class _Text:
    """The body in ONNX's textual syntax, section by section.

    Sizes that are known when the function is written are ``k``, ``s``, ``window`` (source pixels per side that any
    tap reaches), ``tile`` (T) and ``extent`` (source columns that a tile reaches). The rest is computed in the graph.
    """

    def __init__(self, geometry: SauGeometry) -> None:
        self.k, self.s = geometry.kernel, geometry.scale
        offsets = [geometry.source_offset(sub, tap) for sub in range(self.s) for tap in range(self.k)]
        self.before, self.after = -min(offsets), max(offsets)
        self.window = self.before + self.after + 1
        self.tile = max(_SMALLEST_TILE, self.window - 1)
        self.extent = self.tile + self.window - 1
        self.merges = geometry.dilation != geometry.scale  # several taps share a source pixel, or skip some
        self._constants: dict[str, tuple[int, ...]] = {}

    def sizes(self) -> str:
        """The feature map's sizes; its width is rounded up to whole tiles (``wide``)."""
        return f"""
            shape = Shape (sau_feature)
            n, c, h, w = Split <axis = 0, num_outputs = 4> (shape)
            w_and_more = Add (w, {self._ints(self.tile - 1)})
            tiles = Div (w_and_more, {self._ints(self.tile)})
            wide = Mul (tiles, {self._ints(self.tile)})
            missing = Sub (wide, w)
        """

    def tap_weights(self) -> str:
        """``weights`` [N, H, s (dy), wide, s (dx), window, window]: softmax of the logits over the taps."""
        k, s, ints = self.k, self.s, self._ints
        padded = f"""
            logit_pads = Concat <axis = 0> ({ints(0, 0, 0, 0, 0, 0, 0)}, missing)
            wide_logits = Pad (sau_logits, logit_pads)
            float_logits = Cast <to = {onnx.TensorProto.FLOAT}> (wide_logits)
        """
        if not self.merges:
            return f"""{padded}
                tap_shape = Concat <axis = 0> (n, {ints(k * k, s, s)}, h, wide)
                tap_logits = Reshape (float_logits, tap_shape)
                last_logits = Transpose <perm = [0, 4, 2, 5, 3, 1]> (tap_logits)
                float_weights = Softmax <axis = -1> (last_logits)
                weights = CastLike (float_weights, sau_feature)
            """
        return f"""{padded}
            tap_shape = Concat <axis = 0> (n, {ints(k * k, -1)})
            tap_logits = Reshape (float_logits, tap_shape)
            softmax = Softmax <axis = 1> (tap_logits)
            column_shape = Concat <axis = 0> (n, {ints(k * k * s * s, -1)})
            columns = Reshape (softmax, column_shape)
            merged = MatMul (merge, columns)
            merged_shape = Concat <axis = 0> (n, {ints(self.window * self.window, s, s)}, h, wide)
            merged_taps = Reshape (merged, merged_shape)
            float_weights = Transpose <perm = [0, 4, 2, 5, 3, 1]> (merged_taps)
            weights = CastLike (float_weights, sau_feature)
        """

    def banded_matrix(self) -> str:
        """``band`` [N, H, s (dy), tiles, T s, window extent]; row (t, dx), column (iy, t + ix) holds tap (iy, ix).

        Every row of taps is padded to the extent. One zero more after the rows of each source column then shifts the
        next source column's rows by one when the whole is cut into rows again.
        """
        rows = self.s * self.window  # (dx, iy)
        ints, prefix = self._ints, f"n, h, {self._ints(self.s)}, tiles"
        return f"""
            row_shape = Concat <axis = 0> ({prefix}, {ints(self.tile, rows, self.window)})
            tap_rows = Reshape (weights, row_shape)
            long_rows = Pad (tap_rows, {self._pad_end(7, self.tile - 1)})
            block_shape = Concat <axis = 0> ({prefix}, {ints(self.tile, rows * self.extent)})
            blocks = Reshape (long_rows, block_shape)
            longer_blocks = Pad (blocks, {self._pad_end(6, 1)})
            line_shape = Concat <axis = 0> ({prefix}, {ints(self.tile * (rows * self.extent + 1))})
            lines = Reshape (longer_blocks, line_shape)
            cut_lines = Slice (lines, {ints(0)}, {ints(self.tile * rows * self.extent)}, {ints(4)})
            band_shape = Concat <axis = 0> ({prefix}, {ints(self.tile * self.s, self.window * self.extent)})
            band = Reshape (cut_lines, band_shape)
        """

    def source_pixels(self) -> str:
        """``source`` [N, H, 1, tiles, window extent, C]: the pixels under each tile's windows, row after row."""
        ints, around = self._ints, self.window - 1
        head = f"""
            right = Add (missing, {ints(self.tile - self.before)})
            feature_pads = Concat <axis = 0> ({ints(0, 0, self.before, self.before, 0, 0, self.after)}, right)
            padded = Pad (sau_feature, feature_pads)
            pixels = Transpose <perm = [0, 2, 3, 1]> (padded)
            pixel_h = Add (h, {ints(around)})
            pixel_tiles = Add (tiles, {ints(1)})
            tiled_shape = Concat <axis = 0> (n, pixel_h, pixel_tiles, {ints(self.tile)}, c)
            tiled = Reshape (pixels, tiled_shape)
            own = Slice (tiled, {ints(0)}, tiles, {ints(2)})
        """
        tail = f"""
            source_shape = Concat <axis = 0> (n, h, {ints(1)}, tiles, {ints(self.window * self.extent)}, c)
            source = Reshape (stacked, source_shape)
        """
        if self.window == 1:
            return f"{head} stacked = Identity (own) {tail}"
        rows = "".join(
            f"""
            end_{row} = Add (h, {ints(row)})
            row_{row} = Slice (reach, {ints(row)}, end_{row}, {ints(1)})
            """
            for row in range(self.window)
        )
        return f"""{head}
            next = Slice (tiled, {ints(1, 0)}, {ints(_FAR, around)}, {ints(2, 3)})
            reach = Concat <axis = 3> (own, next)
            {rows}
            stacked = Concat <axis = 3> ({", ".join(f"row_{row}" for row in range(self.window))})
        {tail}"""

    def product(self) -> str:
        """``sau_output`` [N, C, s H, s W]: one small matrix product per tile and row of output pixels."""
        return f"""
            products = MatMul (band, source)
            out_h = Mul (h, {self._ints(self.s)})
            out_w = Mul (w, {self._ints(self.s)})
            out_wide = Mul (wide, {self._ints(self.s)})
            picture_shape = Concat <axis = 0> (n, out_h, out_wide, c)
            picture = Reshape (products, picture_shape)
            planes = Transpose <perm = [0, 3, 1, 2]> (picture)
            sau_output = Slice (planes, {self._ints(0)}, out_w, {self._ints(3)})
        """

    def constants(self) -> str:
        """The whole numbers that the sections above refer to; ask last.

        As tensors: ONNX Runtime before 1.24 loses the rank of a list of integers in a function body.
        """
        return " ".join(
            f"{name} = Constant <value = int64[{len(values)}] {{{', '.join(map(str, values))}}}> ()"
            for name, values in self._constants.items()
        )

    def _ints(self, *values: int) -> str:
        name = "_".join(["i", *(str(value).replace("-", "m") for value in values)])
        self._constants[name] = values
        return name

    def _pad_end(self, rank: int, count: int) -> str:
        return self._ints(*[0] * (2 * rank - 1), count)


def _merge_matrix(geometry: SauGeometry, before: int, window: int) -> np.ndarray:
    """[window² s², k² s²] of zeros and ones: adds up the taps of a sub-pixel that fall on the same source pixel."""
    k, s = geometry.kernel, geometry.scale
    merge = np.zeros((window, window, s, s, k, k, s, s), np.float32)
    for iy, ix, dy, dx in np.ndindex(k, k, s, s):
        row = before + geometry.source_offset(dy, iy)
        column = before + geometry.source_offset(dx, ix)
        merge[row, column, dy, dx, iy, ix, dy, dx] = 1
    return merge.reshape(window * window * s * s, k * k * s * s)
