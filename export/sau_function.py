"""Semantic-aware upsampling as an ONNX function: the node carries its own meaning in standard operators.

A node of type ``SemanticAwareUpsample`` in the domain ``lggan`` with this function beside it runs in ONNX Runtime,
which inlines the body, and in TensorRT, which takes the plugin if one is registered under that name and the body if
not (TensorRT >= 10.7 and TensorRT-RTX; before 10.7 the parser knows functions by their type alone).

A body cannot unroll over the values of attributes, so it is generated for one `SauGeometry`, which the node's
attributes repeat for the plugin.

How the body computes. The feature map is cut into tiles of a few source pixels. The weighted sums of a tile's output
pixels are one product of a matrix of tap weights with the source pixels that the tile reaches:

    [s s T, K] x [K, C]        T source pixels in the tile, K in its reach

The matrix is banded, and as the pixels of a small tile share most of their reach, it is mostly full. It is made by
padding and reshaping alone: let the reach be R pixels high, and give its pixel (ex, ey) the column ``ex R + ey``. Tap
(ix, iy) of the tile's pixel (tx, ty) belongs to column ``(tx + ix) R + ty + iy``. That is its column for pixel (0, 0),
shifted by ``tx R + ty``, so all taps of a pixel move together. The reach of each tile, and at the end the output pixels
in the picture's order, are gathered as rows of C numbers. `docs/upsampling-body.md` compares this with other ways.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper, numpy_helper, parser

from export.names import DOMAIN, DOMAIN_VERSION
from export.opset import OPSET
from runtime.contract.errors import UsageError

OP_TYPE = "SemanticAwareUpsample"
PLUGIN_NAMESPACE = "lggan"
PLUGIN_VERSION = "1"
ATTRIBUTES = ("kernel", "scale", "dilation", "plugin_namespace", "plugin_version")

TILE = (2, 4)  # rows and columns of source pixels; docs/upsampling-body.md has the times of others
_LOWEST = -3e38  # a logit of no weight, in float32


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


def sau_function(geometry: SauGeometry, tile: tuple[int, int] = TILE) -> onnx.FunctionProto:
    """The function: (feature [N, C, H, W], logits [N, k*k*s*s, H, W]) -> [N, C, s*H, s*W].

    Works on float16, float32 and float64, for any N, C, H and W. The softmax runs in float32, everything else in the
    feature's type. Channel ``n*s*s + dy*s + dx`` of the logits holds tap n of sub-pixel (dy, dx); taps outside the
    feature map count as zero and nothing is renormalised. ``tile`` changes the speed alone.
    """
    text = _Text(geometry, *tile)
    body = text.sizes() + text.tap_weights() + text.banded_matrix() + text.source_pixels() + text.product()
    function = parser.parse_function(
        f'<opset_import: ["" : {OPSET}], domain: "{DOMAIN}"> {OP_TYPE} <{", ".join(ATTRIBUTES)}>'
        f"(sau_feature, sau_logits) => (sau_output) {{ {text.constants()} {body} }}"
    )
    if text.merges:
        merge = numpy_helper.from_array(_merge_matrix(geometry, text.before, text.window, text.high))
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

    Sizes that are known when the function is written: ``k``, ``s``, ``window`` (source pixels per side that the taps
    of one source pixel reach), ``rows`` and ``columns`` of a tile and ``pixels``, their product; ``high``, ``broad``
    and ``reach`` likewise of what a tile reaches. The rest is computed in the graph.
    """

    def __init__(self, geometry: SauGeometry, rows: int, columns: int) -> None:
        self.k, self.s = geometry.kernel, geometry.scale
        offsets = [geometry.source_offset(sub, tap) for sub in range(self.s) for tap in range(self.k)]
        self.before, self.after = -min(offsets), max(offsets)
        self.window = self.before + self.after + 1
        self.rows, self.columns, self.pixels = rows, columns, rows * columns
        self.high, self.broad = rows + self.window - 1, columns + self.window - 1
        self.reach = self.high * self.broad
        self.merges = geometry.dilation != geometry.scale  # several taps share a source pixel, or skip some
        self._constants: dict[str, tuple[int, ...]] = {}

    def sizes(self) -> str:
        """The feature map's sizes, how many tiles it has, and how far the last ones stand out."""
        sides = "".join(
            f"""
            {side}_and_more = Add ({side}, {self._ints(tile - 1)})
            {side}_tiles = Div ({side}_and_more, {self._ints(tile)})
            {side}_whole = Mul ({side}_tiles, {self._ints(tile)})
            {side}_missing = Sub ({side}_whole, {side})
            {side}_range_end = Squeeze ({side}_tiles, {self._ints(0)})
            {side}_range = Range (zero, {side}_range_end, one)
            {side}_column = Reshape ({side}_range, {self._ints(-1, 1)})
            """
            for side, tile in (("h", self.rows), ("w", self.columns))
        )
        return f"""
            zero = Constant <value = int64 {{0}}> ()
            one = Constant <value = int64 {{1}}> ()
            shape = Shape (sau_feature)
            n, c, h, w = Split <axis = 0, num_outputs = 4> (shape)
            {sides}
            tiles = Mul (h_tiles, w_tiles)
        """

    def tap_weights(self) -> str:
        """``weights`` [N, s s, H W, window high] for whole tiles: softmax of the logits over the taps, then zeros.

        The taps stand column by column, each column filled up with zeros to the height of a tile's reach.
        """
        k, s, ints = self.k, self.s, self._ints
        taps = self.window * self.high
        if not self.merges:
            return f"""
                float_logits = Cast <to = {onnx.TensorProto.FLOAT}> (sau_logits)
                tap_shape = Concat <axis = 0> (n, {ints(k, k, s * s)}, h, w)
                tap_logits = Reshape (float_logits, tap_shape)
                lowest = Constant <value = float {{{_LOWEST}}}> ()
                tap_pads = Concat <axis = 0> ({ints(0, 0, 0, 0, 0, 0, 0, self.high - k, 0, 0)}, h_missing, w_missing)
                filled_logits = Pad (tap_logits, tap_pads, lowest)
                tap_columns = Transpose <perm = [0, 3, 2, 1, 4, 5]> (filled_logits)
                tap_planes = Reshape (tap_columns, {ints(0, s * s, taps, -1)})
                last_logits = Transpose <perm = [0, 1, 3, 2]> (tap_planes)
                float_weights = Softmax <axis = -1> (last_logits)
                weights = CastLike (float_weights, sau_feature)
            """
        return f"""
            float_logits = Cast <to = {onnx.TensorProto.FLOAT}> (sau_logits)
            logit_pads = Concat <axis = 0> ({ints(0, 0, 0, 0, 0, 0)}, h_missing, w_missing)
            filled_logits = Pad (float_logits, logit_pads)
            tap_logits = Reshape (filled_logits, {ints(0, k * k, -1)})
            softmax = Softmax <axis = 1> (tap_logits)
            columns = Reshape (softmax, {ints(0, k * k * s * s, -1)})
            merged = MatMul (merge, columns)
            tap_planes = Reshape (merged, {ints(0, s * s, taps, -1)})
            float_weights = Transpose <perm = [0, 1, 3, 2]> (tap_planes)
            weights = CastLike (float_weights, sau_feature)
        """

    def banded_matrix(self) -> str:
        """``band`` [N, tiles, s s T, K]: the taps of each pixel of a tile, shifted to the columns of its window.

        What is appended to a row of numbers shifts the next row when the whole is cut into rows again: one zero more
        than there are columns after each pixel, and the rest of the reach's height after each column of pixels.
        """
        s, ints, reach, tiled = self.s, self._ints, self.reach, "n, h_tiles, w_tiles"
        taps, line, rest = self.window * self.high, self.pixels * reach, self.columns * self.high
        return f"""
            grid_shape = Concat <axis = 0> (n, {ints(s * s)}, h_tiles, {ints(self.rows)}, w_tiles,
                                            {ints(self.columns, taps)})
            grid = Reshape (weights, grid_shape)
            tile_taps = Transpose <perm = [0, 2, 4, 1, 5, 3, 6]> (grid)
            long_rows = Pad (tile_taps, {self._pad_end(7, reach + 1 - taps)})
            column_shape = Concat <axis = 0> ({tiled}, {ints(s * s, self.columns, self.rows * (reach + 1))})
            tile_columns = Reshape (long_rows, column_shape)
            long_columns = Pad (tile_columns, {self._pad_end(6, self.window - 1)})
            line_shape = Concat <axis = 0> ({tiled}, {ints(s * s, line + rest)})
            lines = Reshape (long_columns, line_shape)
            cut_lines, beyond = Split <axis = 4> (lines, {ints(line, rest)})
            band_shape = Concat <axis = 0> (n, tiles, {ints(s * s * self.pixels, reach)})
            band = Reshape (cut_lines, band_shape)
        """

    def source_pixels(self) -> str:
        """``reached`` [N, tiles, K, C]: the pixels in reach of each tile, column by column."""
        ints = self._ints
        reach_rows = self._named("reach_rows", list(range(self.high)) * self.broad)
        reach_columns = self._named("reach_columns", [ex for ex in range(self.broad) for _ in range(self.high)])
        return f"""
            below = Add (h_missing, {ints(self.after)})
            right = Add (w_missing, {ints(self.after)})
            feature_pads = Concat <axis = 0> ({ints(0, 0, self.before, self.before, 0, 0)}, below, right)
            padded = Pad (sau_feature, feature_pads)
            planes = Reshape (padded, {ints(0, 0, -1)})
            pixels = Transpose <perm = [0, 2, 1]> (planes)
            padded_w = Add (w_whole, {ints(self.window - 1)})
            down_step = Mul (padded_w, {ints(self.rows)})
            down = Mul (h_column, down_step)
            across = Mul (w_range, {ints(self.columns)})
            tile_grid = Add (down, across)
            tile_start = Reshape (tile_grid, {ints(-1, 1)})
            reach_down = Mul ({reach_rows}, padded_w)
            reach_offset = Add (reach_down, {reach_columns})
            reached_places = Add (tile_start, reach_offset)
            reached = Gather <axis = 1> (pixels, reached_places)
        """

    def product(self) -> str:
        """``sau_output`` [N, C, s H, s W]: one matrix product per tile, its rows brought into the picture's order."""
        s, ints = self.s, self._ints
        # The rows of a tile's product are ordered by dy, dx, tx, ty. Which of them belong to the tile's output rows and
        # columns; the two add up.
        down = [dy * s * self.pixels + ty for ty in range(self.rows) for dy in range(s)]
        across = [dx * self.pixels + tx * self.rows for tx in range(self.columns) for dx in range(s)]
        sides = "".join(
            f"""
            {side}_first = Mul ({side}_column, {side}_stride)
            {side}_grid = Add ({side}_first, {self._named(f"{side}_within", within)})
            {side}_line = Reshape ({side}_grid, {ints(-1)})
            {side}_out = Mul ({side}, {ints(s)})
            {side}_cut = Slice ({side}_line, {ints(0)}, {side}_out, {ints(0)})
            """
            for side, within in (("h", down), ("w", across))
        )
        return f"""
            products = MatMul (band, reached)
            row_shape = Concat <axis = 0> (n, {ints(-1)}, c)
            product_rows = Reshape (products, row_shape)
            w_stride = Identity ({ints(s * s * self.pixels)})
            h_stride = Mul (w_tiles, w_stride)
            {sides}
            h_places = Reshape (h_cut, {ints(-1, 1)})
            places_grid = Add (h_places, w_cut)
            places = Reshape (places_grid, {ints(-1)})
            output_pixels = Gather <axis = 1> (product_rows, places)
            picture_shape = Concat <axis = 0> (n, h_out, w_out, c)
            picture = Reshape (output_pixels, picture_shape)
            sau_output = Transpose <perm = [0, 3, 1, 2]> (picture)
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
        return self._named("_".join(["i", *(str(value).replace("-", "m") for value in values)]), values)

    def _named(self, name: str, values: Sequence[int]) -> str:
        self._constants[name] = tuple(values)
        return name

    def _pad_end(self, rank: int, count: int) -> str:
        return self._ints(*[0] * (2 * rank - 1), count)


def _merge_matrix(geometry: SauGeometry, before: int, window: int, high: int) -> np.ndarray:
    """[s² window high, k² s²] of zeros and ones: adds up the taps of a sub-pixel that fall on the same source pixel."""
    k, s = geometry.kernel, geometry.scale
    merge = np.zeros((s, s, window, high, k, k, s, s), np.float32)
    for iy, ix, dy, dx in np.ndindex(k, k, s, s):
        row = before + geometry.source_offset(dy, iy)
        column = before + geometry.source_offset(dx, ix)
        merge[dy, dx, column, row, iy, ix, dy, dx] = 1
    return merge.reshape(s * s * window * high, k * k * s * s)
