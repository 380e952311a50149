"""Other ways to write semantic-aware upsampling in standard operators, for `sau_body.py`.

Each function writes one graph for fixed sizes: feature [1, C, H, W], logits [1, k k s s, H, W] -> upsampled
[1, C, s H, s W]; ``dilation = scale``, no padding to whole tiles. That favours them against the body that is exported,
which takes any sizes and windows.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
from onnx import helper, numpy_helper
from sau_graph import Graph, Size

ROW = 8  # source pixels of a tile that lies in a row


def shifted_products(size: Size) -> onnx.ModelProto:
    """k k multiply-adds of the shifted feature, all sub-pixels of a tap together; then these are interleaved."""
    c, h, w, k, s = size.channels, size.height, size.width, size.kernel, size.scale
    g = Graph(size)
    g.softmax(1, k * k, 1, s * s, h, w)
    g.pad()
    for tap in range(k * k):
        y, x = divmod(tap, k)
        g.add(f"""
            shifted_{tap} = Slice (padded, {g.ints(y, x)}, {g.ints(y + h, x + w)}, {g.ints(2, 3)})
            source_{tap} = Unsqueeze (shifted_{tap}, {g.ints(2)})
            weight_{tap} = Gather <axis = 1> (weights, {g.constant(f"tap_{tap}", np.array(tap))})
            part_{tap} = Mul (source_{tap}, weight_{tap})
            sum_{tap} = {f"Add (sum_{tap - 1}, part_{tap})" if tap else "Identity (part_0)"}
        """)
    g.add(f"""
        grid = Reshape (sum_{k * k - 1}, {g.ints(1, c, s, s, h, w)})
        interleaved = Transpose <perm = [0, 1, 4, 2, 5, 3]> (grid)
        upsampled = Reshape (interleaved, {g.ints(*size.output)})
    """)
    return g.model()


def resized_products(size: Size) -> onnx.ModelProto:
    """As the definition reads: enlarge by nearest neighbour, pad, k k slices times weights at full resolution."""
    (_, _, high, wide), k, s = size.output, size.kernel, size.scale
    edge = k // 2 * s
    g = Graph(size)
    g.softmax(1, k * k, s, s, size.height, size.width)
    g.add(f"""
        shuffled = Transpose <perm = [0, 1, 4, 2, 5, 3]> (weights)
        kernels = Reshape (shuffled, {g.ints(1, k * k, 1, high, wide)})
        factors = Constant <value = float[4] {{1, 1, {s}, {s}}}> ()
        enlarged = Resize <mode = "nearest", coordinate_transformation_mode = "asymmetric", nearest_mode = "floor">
            (feature, , factors)
        padded = Pad (enlarged, {g.ints(0, 0, edge, edge, 0, 0, edge, edge)})
    """)
    for tap in range(k * k):
        y, x = (s * each for each in divmod(tap, k))
        g.add(f"""
            shifted_{tap} = Slice (padded, {g.ints(y, x)}, {g.ints(y + high, x + wide)}, {g.ints(2, 3)})
            weight_{tap} = Gather <axis = 1> (kernels, {g.constant(f"tap_{tap}", np.array(tap))})
            part_{tap} = Mul (shifted_{tap}, weight_{tap})
            sum_{tap} = {f"Add (sum_{tap - 1}, part_{tap})" if tap else "Identity (part_0)"}
        """)
    g.add(f"upsampled = Identity (sum_{k * k - 1})")
    return g.model()


def unfolded_einsum(size: Size) -> onnx.ModelProto:
    """The unfolded feature [1, C, k k, H, W] from slices, contracted with the weights by one Einsum."""
    h, w, k, s = size.height, size.width, size.kernel, size.scale
    g = Graph(size)
    g.softmax(1, k * k, s, s, h, w)
    g.pad()
    for tap in range(k * k):
        y, x = divmod(tap, k)
        g.add(f"""
            shifted_{tap} = Slice (padded, {g.ints(y, x)}, {g.ints(y + h, x + w)}, {g.ints(2, 3)})
            source_{tap} = Unsqueeze (shifted_{tap}, {g.ints(2)})
        """)
    g.add(f"""
        unfolded = Concat <axis = 2> ({", ".join(f"source_{tap}" for tap in range(k * k))})
        grid = Einsum <equation = "nckhw,nkyxhw->nchywx"> (unfolded, weights)
        upsampled = Reshape (grid, {g.ints(*size.output)})
    """)
    return g.model()


def unfolded_products(size: Size) -> onnx.ModelProto:
    """Per source pixel a product [s s, k k] x [k k, C] with the unfolded feature, gathered in rows of C."""
    g = Graph(size)
    g.last_weights()
    g.gather(1)
    g.add("band = Transpose <perm = [1, 0, 2]> (last_weights) products = MatMul (band, source)")
    g.to_picture((size.height, size.width, size.scale, size.scale), (0, 2, 1, 3))
    return g.model()


def sub_pixel_products(size: Size) -> onnx.ModelProto:
    """One product [T, K] x [K, C] per tile and sub-pixel."""
    h, w, s = size.height, size.width, size.scale
    g = Graph(size)
    g.last_weights()
    g.shift_rows(ROW)
    g.gather(ROW)
    g.add(f"band = Reshape (cut, {g.ints(s * s, h * w // ROW, ROW, -1)}) products = MatMul (band, source)")
    g.to_picture((s, s, h, w), (2, 0, 3, 1))
    return g.model()


def band_by_scatter(size: Size) -> onnx.ModelProto:
    """The taps are written into a matrix of zeros at given places."""
    h, w, k, s = size.height, size.width, size.kernel, size.scale
    tiles, rows = h * w // ROW, ROW * s * s
    places = np.arange(k * k) + k * np.arange(ROW).repeat(s * s)[:, None]  # [T s s, k k]
    g = Graph(size)
    g.last_weights()
    g.gather(ROW)
    g.add(f"""
        pixel_weights = Transpose <perm = [1, 0, 2]> (last_weights)
        tile_weights = Reshape (pixel_weights, {g.ints(tiles, rows, k * k)})
        zeros = ConstantOfShape <value = float[1] {{0}}> ({g.ints(tiles, rows, k * (ROW + k - 1))})
        all_places = Expand ({g.constant("columns", places[None])}, {g.ints(tiles, 1, 1)})
        band = ScatterElements <axis = 2> (zeros, all_places, tile_weights)
        products = MatMul (band, source)
    """)
    g.to_picture((h, w, s, s), (0, 2, 1, 3))
    return g.model()


def band_by_selection(size: Size) -> onnx.ModelProto:
    """Each pixel's taps go to their columns by a product with zeros and ones."""
    h, w, k, s = size.height, size.width, size.kernel, size.scale
    tiles = h * w // ROW
    selection = np.stack([np.eye(k * k, k * (ROW + k - 1), k * x, dtype=np.float32) for x in range(ROW)])
    g = Graph(size)
    g.last_weights()
    g.gather(ROW)
    g.add(f"""
        pixel_grid = Reshape (last_weights, {g.ints(s * s, tiles, ROW, k * k)})
        by_place = Transpose <perm = [2, 1, 0, 3]> (pixel_grid)
        place_taps = Reshape (by_place, {g.ints(ROW, tiles * s * s, k * k)})
        shifted = MatMul (place_taps, {g.constant("selection", selection)})
        shifted_grid = Reshape (shifted, {g.ints(ROW, tiles, s * s, -1)})
        ordered = Transpose <perm = [1, 0, 2, 3]> (shifted_grid)
        band = Reshape (ordered, {g.ints(tiles, ROW * s * s, -1)})
        products = MatMul (band, source)
    """)
    g.to_picture((h, w, s, s), (0, 2, 1, 3))
    return g.model()


def channels_first_products(size: Size) -> onnx.ModelProto:
    """The product gives [C, s s T], whose runs of s T pixels are put in the picture's order."""
    h, w, s, tiles = size.height, size.width, size.scale, size.height * size.width // ROW
    g = Graph(size)
    g.last_weights()
    g.shift_rows(ROW)
    g.gather(ROW)
    g.add(f"""
        band_grid = Reshape (cut, {g.ints(s, s, tiles, ROW, -1)})
        ordered = Transpose <perm = [2, 0, 3, 1, 4]> (band_grid)
        band = Reshape (ordered, {g.ints(tiles, s * s * ROW, -1)})
        band_columns = Transpose <perm = [0, 2, 1]> (band)
        channels = Transpose <perm = [0, 2, 1]> (source)
        products = MatMul (channels, band_columns)
        runs = Reshape (products, {g.ints(h, w // ROW, size.channels, s, s * ROW)})
        picture = Transpose <perm = [2, 0, 3, 1, 4]> (runs)
        upsampled = Reshape (picture, {g.ints(*size.output)})
    """)
    return g.model()


def normalised_afterwards(size: Size) -> onnx.ModelProto:
    """The product is one of exponentials; their sums divide the picture."""
    h, w, k, s, tiles = size.height, size.width, size.kernel, size.scale, size.height * size.width // ROW
    g = Graph(size)
    g.add(f"""
        taps = Reshape (logits, {g.ints(k * k, s * s, h * w)})
        highest = ReduceMax (taps, {g.ints(0)})
        below = Sub (taps, highest)
        taken = Exp (below)
        sums = ReduceSum (taken, {g.ints(0)})
        sum_grid = Reshape (sums, {g.ints(s, s, h, w)})
        sum_order = Transpose <perm = [2, 0, 3, 1]> (sum_grid)
        sum_picture = Reshape (sum_order, {g.ints(1, 1, s * h, s * w)})
    """)
    g.last_taps()
    g.add("last_weights = Identity (last)")
    g.shift_rows(ROW)
    g.gather(ROW)
    g.add(f"""
        band_grid = Reshape (cut, {g.ints(s * s, tiles, ROW, -1)})
        ordered = Transpose <perm = [1, 0, 2, 3]> (band_grid)
        band = Reshape (ordered, {g.ints(tiles, s * s * ROW, -1)})
        products = MatMul (band, source)
    """)
    g.to_picture((h, w // ROW, s, s, ROW), (0, 2, 1, 4, 3), "unscaled")
    g.add("upsampled = Div (unscaled, sum_picture)")
    return g.model()


def sliced_rows(size: Size) -> onnx.ModelProto:
    """The body that was exported first: slices and concatenations, and rows of output pixels in two products."""
    h, w, k, s = size.height, size.width, size.kernel, size.scale
    tiles, extent, rows, edge = w // ROW, ROW + k - 1, s * k, k // 2
    length = ROW * rows * extent
    g = Graph(size)
    g.add(f"""
        tap_logits = Reshape (logits, {g.ints(1, k * k, s, s, h, w)})
        last_logits = Transpose <perm = [0, 4, 2, 5, 3, 1]> (tap_logits)
        weights = Softmax <axis = -1> (last_logits)
        tap_rows = Reshape (weights, {g.ints(1, h, s, tiles, ROW, rows, k)})
        long_rows = Pad (tap_rows, {g.ints(*[0] * 13, ROW - 1)})
        blocks = Reshape (long_rows, {g.ints(1, h, s, tiles, ROW, rows * extent)})
        longer_blocks = Pad (blocks, {g.ints(*[0] * 11, 1)})
        lines = Reshape (longer_blocks, {g.ints(1, h, s, tiles, length + ROW)})
        cut = Slice (lines, {g.ints(0)}, {g.ints(length)}, {g.ints(4)})
        band = Reshape (cut, {g.ints(1, h, s, tiles, ROW * s, k * extent)})
        padded = Pad (feature, {g.ints(0, 0, edge, edge, 0, 0, edge, ROW - edge)})
        pixels = Transpose <perm = [0, 2, 3, 1]> (padded)
        tiled = Reshape (pixels, {g.ints(1, h + k - 1, tiles + 1, ROW, size.channels)})
        own = Slice (tiled, {g.ints(0)}, {g.ints(tiles)}, {g.ints(2)})
        next = Slice (tiled, {g.ints(1, 0)}, {g.ints(tiles + 1, k - 1)}, {g.ints(2, 3)})
        reach = Concat <axis = 3> (own, next)
    """)
    for row in range(k):
        g.add(f"row_{row} = Slice (reach, {g.ints(row)}, {g.ints(row + h)}, {g.ints(1)})")
    g.add(f"""
        stacked = Concat <axis = 3> ({", ".join(f"row_{row}" for row in range(k))})
        source = Reshape (stacked, {g.ints(1, h, 1, tiles, k * extent, size.channels)})
        products = MatMul (band, source)
        picture = Reshape (products, {g.ints(1, s * h, s * w, size.channels)})
        planes = Transpose <perm = [0, 3, 1, 2]> (picture)
        upsampled = Slice (planes, {g.ints(0)}, {g.ints(s * w)}, {g.ints(3)})
    """)
    return g.model()


def dense_convolution(size: Size) -> onnx.ModelProto:
    """No upsampling, but a yardstick: a 3 x 3 convolution of the output's size and channels."""
    weight = np.full((size.channels, size.channels, 3, 3), 1e-3, np.float32)
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Conv", ["feature", "weight"], ["upsampled"], pads=[1, 1, 1, 1])],
        "dense",
        [info("feature", onnx.TensorProto.FLOAT, size.output)],
        [info("upsampled", onnx.TensorProto.FLOAT, size.output)],
        [numpy_helper.from_array(weight, "weight")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


ALTERNATIVES: dict[str, Callable[[Size], onnx.ModelProto]] = {
    "k² shifted multiply-adds": shifted_products,
    "Resize, Pad, k² Slices": resized_products,
    "unfolded by Slices, Einsum": unfolded_einsum,
    "unfolded by Gather, MatMul per pixel": unfolded_products,
    "1×8, Slices and Concats (the former body)": sliced_rows,
    "1×8, a MatMul per sub-pixel": sub_pixel_products,
    "1×8, band by ScatterElements": band_by_scatter,
    "1×8, band by a MatMul with 0/1": band_by_selection,
    "1×8, channels-first MatMul": channels_first_products,
    "1×8, normalised after the MatMul": normalised_afterwards,
}
"""Name in the table -> the graph. 1×8: tiles of eight pixels of a row, banded matrices."""
