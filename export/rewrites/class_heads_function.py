"""The class heads around their classes as an ONNX function (`export.rewrites.class_heads` has the algebra).

The picture is worked on in bands of rows (`export.rewrites.class_heads_band`), one after the other, so that memory goes
with a band and not with the picture. What stands around that is here: tables out of the weights, the way from pictures
to bands, and the sum over the answers around each pixel.
"""

from __future__ import annotations

import onnx

from export.function_text import FunctionText
from export.rewrites.class_heads_band import class_heads_band

INPUTS = ("feature", "heads", "weight", "bias", "fuse_weight", "fuse_bias")
OUTPUTS = ("painted",)
ATTRIBUTES = ("kernel", "fuse_kernel")

_BAND_PIXELS = 16384  # twice or half of it takes as long
_BAND_ROWS = 8  # at least: each band computes kernel - 1 rows of its neighbours as well
_FIRST = -(2**31)  # as the end of a slice that runs backwards: all


def class_heads_function(name: str, values: tuple[int, ...]) -> onnx.FunctionProto:
    """The function: `INPUTS` -> `OUTPUTS` as in `export.rewrites.class_heads.paint_heads`, in float32.

    Args:
        name: of the function.
        values: of `ATTRIBUTES`.
    """
    kernel, fuse_kernel = values
    text = FunctionText()
    _write(text, _weights(text, kernel, fuse_kernel))
    _write(text, _bands(text, kernel))
    text.assign(
        "parts",
        "Loop <body = band (int64 band_number, bool band_go) => (bool band_goes_on, float[?, ?, ?] part) {"
        f" band_goes_on = Identity (band_go) {class_heads_band(text, kernel)} }}> (band_count, go)",
    )
    _write(text, _picture(text, fuse_kernel))
    return text.finish(name, INPUTS, OUTPUTS, ATTRIBUTES)


def _write(text: FunctionText, lines: str) -> None:
    for line in lines.strip().splitlines():
        names, expression = line.strip().split(" = ", 1)
        text.assign(names, expression)


def _weights(text: FunctionText, kernel: int, fuse_kernel: int) -> str:
    """Tables out of the weights. They do not depend on the picture: ONNX Runtime computes them once, when it loads.

    ``matrices`` [K, k C, k out], of the strips: row (dx, channel), column (dy, out). ``constants`` [K, out], the
    answers to nothing but zeros. ``fuse_matrices`` [K, out, M f f]: what an answer adds to the pixels around it, taps
    in reverse because it is scattered. ``everywhere`` [M, 1, f, f]: all heads' constants through the fusion.
    """
    vector = text.vector
    backwards = f"{vector(-1, -1)}, {vector(_FIRST, _FIRST)}, {vector(3, 4)}, {vector(-1, -1)}"
    return f"""
        weight_shape = Shape (weight)
        head_count, outs, channels, taps_y, taps_x = Split <axis = 0, num_outputs = 5> (weight_shape)
        weight_by_strip = Transpose <perm = [0, 4, 2, 3, 1]> (weight)
        strip_width = Mul (channels, {vector(kernel)})
        matrices_shape = Concat <axis = 0> (head_count, strip_width, {vector(-1)})
        matrices = Reshape (weight_by_strip, matrices_shape)
        constants = Tanh (bias)
        fuse_shape = Concat <axis = 0> ({vector(-1)}, head_count, outs, {vector(fuse_kernel, fuse_kernel)})
        fuse_by_head = Reshape (fuse_weight, fuse_shape)
        fuse_flipped = Slice (fuse_by_head, {backwards})
        fuse_turned = Transpose <perm = [1, 2, 0, 3, 4]> (fuse_flipped)
        fuse_matrices_shape = Concat <axis = 0> (head_count, outs, {vector(-1)})
        fuse_matrices = Reshape (fuse_turned, fuse_matrices_shape)
        fuse_columns = Shape <start = 2> (fuse_matrices)
        channel_constants = Reshape (constants, {vector(1, -1, 1, 1)})
        fused_constants = Mul (fuse_weight, channel_constants)
        everywhere = ReduceSum <keepdims = 1> (fused_constants, {vector(1)})
    """


def _bands(text: FunctionText, kernel: int) -> str:
    """Sizes. ``rows`` of each band; with the margin around it ``band_rows`` x ``stride``, ``area`` in all.

    ``columns`` [stride] and ``first_rows`` [band_rows]: which column of the picture, after reflection, and which row,
    before it and in the first band, each line of the padded band shows.
    """
    margin = kernel // 2
    scalar, vector = text.scalar, text.vector
    return f"""
        shape = Shape (heads)
        n, h, w = Split <axis = 0, num_outputs = 3> (shape)
        fitting_rows = Div ({vector(_BAND_PIXELS)}, w)
        most_rows = Max (fitting_rows, {vector(_BAND_ROWS)})
        h_and_most = Add (h, most_rows)
        h_rounding = Sub (h_and_most, {vector(1)})
        bands = Div (h_rounding, most_rows)
        h_and_bands = Add (h, bands)
        rows_rounding = Sub (h_and_bands, {vector(1)})
        rows = Div (rows_rounding, bands)
        all_bands = Mul (n, bands)
        band_count = Squeeze (all_bands)
        go = Constant <value = bool {{1}}> ()
        band_rows = Add (rows, {vector(2 * margin)})
        stride = Add (w, {vector(2 * margin)})
        area = Mul (band_rows, stride)
        last_row = Sub (h, {vector(1)})
        last_column = Sub (w, {vector(1)})
        stride_number = Squeeze (stride)
        column_numbers = Range ({scalar(0)}, stride_number, {scalar(1)})
        columns_moved = Sub (column_numbers, {scalar(margin)})
        columns_from_first = Abs (columns_moved)
        columns_ahead = Sub (last_column, columns_from_first)
        columns_before_last = Abs (columns_ahead)
        columns = Sub (last_column, columns_before_last)
        band_rows_number = Squeeze (band_rows)
        row_numbers = Range ({scalar(0)}, band_rows_number, {scalar(1)})
        first_rows = Sub (row_numbers, {scalar(margin)})
        taps = Identity ({vector(*range(kernel))})
        tap_column = Unsqueeze (taps, {vector(1)})
        tap_places = Mul (tap_column, stride)
        none_of_heads = Expand ({scalar(0)}, head_count)
        none_of_all = Pad (none_of_heads, {vector(0, 1)})
    """


def _picture(text: FunctionText, fuse_kernel: int) -> str:
    """``painted`` [N, M, H, W]: the scattered answers added up, and the constants of all heads."""
    scalar, vector = text.scalar, text.vector
    pads = f"pads = [{', '.join([str(fuse_kernel // 2)] * 4)}]"
    return f"""
        tall_shape = Concat <axis = 0> (n, {vector(-1)}, w, fuse_columns)
        tall = Reshape (parts, tall_shape)
        scattered_last = Slice (tall, {vector(0)}, h, {vector(1)})
        scattered_planes = Transpose <perm = [0, 3, 1, 2]> (scattered_last)
        scattered_shape = Concat <axis = 0> (n, fuse_columns, {vector(-1)})
        scattered_columns = Reshape (scattered_planes, scattered_shape)
        picture_size = Concat <axis = 0> (h, w)
        deviations = Col2Im <{pads}> (scattered_columns, picture_size, {vector(fuse_kernel, fuse_kernel)})
        background_shape = Concat <axis = 0> ({vector(1, 1)}, h, w)
        one = CastLike ({scalar(1)}, feature)
        ones_everywhere = Expand (one, background_shape)
        background = Conv <{pads}> (ones_everywhere, everywhere, fuse_bias)
        painted = Add (deviations, background)
    """
