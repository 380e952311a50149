"""One band of rows of the class heads' ONNX function: `export.rewrites.class_heads_function`.

Within a band, everything is lists of places:

* A *strip* is a 1 x k piece of a row that meets a head's class. The strips of all heads present are listed by head,
  each head's list rounded up to whole blocks. A batched matrix product, some blocks at a time so that its operands
  stay in the cache, gives what each strip adds to the k windows that it is a row of.
* A *pair* is a window and a head whose class it meets. Its answer is a sum of k numbers out of the strips' k.

Places are indices into the band with its margin, row after row, plane after plane for each head present. A table over
them says where a pixel's features stand, and where not, it points to a row of zeros. A second one says where a strip's
sums stand.
"""

from __future__ import annotations

from onnx import TensorProto

from export.function_text import FunctionText

_BLOCK = 128  # strips of one head that are multiplied at a time; a short list is rounded up to it
_CHUNK = 16  # blocks of one matrix product: with 64 channels, its operands take 4 MB


def class_heads_band(text: FunctionText, kernel: int) -> str:
    """The lines that give ``part`` [rows, W, M f f], what the answers at each pixel add to the pixels around it.

    They read what the function computes before its bands, and ``band_number``.
    """
    sections = (
        _band_pixels(text),
        _pixel_table(text, kernel),
        _strips(text, kernel),
        _blocks(text),
        _strip_sums(text, kernel),
        _pairs(text, kernel),
        _fused(text),
    )
    return "".join(sections)


def _band_pixels(text: FunctionText) -> str:
    """The part of the picture that the band shows.

    ``features`` [pixels + 1, C], the last row zero. ``shown`` and ``own`` [area]: the row there, and the head, of each
    place. The last band may go on below the picture, its rows there are cut off in the end, so that they may show
    anything.
    """
    vector = text.vector
    return f"""
        image = Div (band_number, bands)
        next_image = Add (image, {vector(1)})
        band_of_image = Mod (band_number, bands)
        top = Mul (band_of_image, rows)
        rows_moved = Add (first_rows, top)
        rows_from_first = Abs (rows_moved)
        rows_ahead = Sub (last_row, rows_from_first)
        rows_before_last = Abs (rows_ahead)
        rows_reflected = Sub (last_row, rows_before_last)
        picture_rows = Max (rows_reflected, {vector(0)})
        low = ReduceMin <keepdims = 1> (picture_rows)
        highest = ReduceMax <keepdims = 1> (picture_rows)
        high = Add (highest, {vector(1)})
        part_from = Concat <axis = 0> (image, low)
        part_to = Concat <axis = 0> (next_image, high)
        part_heads = Slice (heads, part_from, part_to, {vector(0, 1)})
        pixel_heads = Reshape (part_heads, {vector(-1)})
        part_feature = Slice (feature, part_from, part_to, {vector(0, 2)})
        feature_last = Transpose <perm = [0, 2, 3, 1]> (part_feature)
        features_shape = Concat <axis = 0> ({vector(-1)}, channels)
        pixel_features = Reshape (feature_last, features_shape)
        features = Pad (pixel_features, {vector(0, 0, 1, 0)})
        zero_row = Size (pixel_heads)
        rows_in_part = Sub (picture_rows, low)
        row_starts = Mul (rows_in_part, w)
        row_column = Unsqueeze (row_starts, {vector(1)})
        shown_places = Add (row_column, columns)
        shown = Reshape (shown_places, {vector(-1)})
        own = Gather <axis = 0> (pixel_heads, shown)
    """


def _pixel_table(text: FunctionText, kernel: int) -> str:
    """``present`` [P], the heads in the band, and ``pixel_table`` [P area + k], the row of features of each place.

    The k places at its end belong to no pixel. ``present_more`` has one head more, which is never used, as shapes with
    a zero are better avoided.
    """
    scalar, vector = text.scalar, text.vector
    return f"""
        ones = Expand ({scalar(1)}, area)
        histogram = ScatterElements <axis = 0, reduction = "add"> (none_of_all, own, ones)
        head_histogram = Slice (histogram, {vector(0)}, head_count)
        present_row = NonZero (head_histogram)
        present = Squeeze (present_row, {vector(0)})
        present_more = Pad (present, {vector(0, 1)})
        present_count = Shape (present)
        present_column = Unsqueeze (present, {vector(1)})
        mask = Equal (present_column, own)
        rows_of_planes = Where (mask, shown, zero_row)
        place_rows = Reshape (rows_of_planes, {vector(-1)})
        place_count = Shape (place_rows)
        pixel_table = Pad (place_rows, {vector(0, kernel)}, zero_row)
    """


def _strips(text: FunctionText, kernel: int) -> str:
    """``strips`` [S], the first place of each, sorted by head, and ``strip_counts`` [P].

    Strips that start in the right margin are of no use; leaving them in lets strips and pixels have the same places.
    """
    vector = text.vector
    return f"""
        planes_shape = Concat <axis = 0> (present_count, {vector(1)}, band_rows, stride)
        mask_numbers = Cast <to = {TensorProto.FLOAT}> (mask)
        planes = Reshape <allowzero = 1> (mask_numbers, planes_shape)
        met = MaxPool <kernel_shape = [1, {kernel}], pads = [0, 0, 0, {kernel - 1}]> (planes)
        met_places = Reshape (met, {vector(-1)})
        strip_row = NonZero (met_places)
        strips = Squeeze (strip_row, {vector(0)})
        met_planes_shape = Concat <axis = 0> (present_count, area)
        met_planes = Reshape <allowzero = 1> (met, met_planes_shape)
        met_counts = ReduceSum <keepdims = 0> (met_planes, {vector(1)})
        strip_counts = Cast <to = {TensorProto.INT64}> (met_counts)
    """


def _blocks(text: FunctionText) -> str:
    """Where each strip stands in the blocks: ``slots`` [S], and what stands where: ``slot_strips``, ``block_heads``.

    Whole chunks of blocks, and at least one free slot at the end. A free slot starts in the last k places of the pixel
    table, hence its sums are zero.
    """
    scalar, vector = text.scalar, text.vector
    return f"""
        counts_rounding = Add (strip_counts, {vector(_BLOCK - 1)})
        block_counts = Div (counts_rounding, {vector(_BLOCK)})
        block_ends = CumSum (block_counts, {scalar(0)})
        block_starts = Sub (block_ends, block_counts)
        used_blocks = ReduceSum <keepdims = 1> (block_counts, {vector(0)})
        full_chunks = Div (used_blocks, {vector(_CHUNK)})
        all_chunks = Add (full_chunks, {vector(1)})
        chunk_count = Squeeze (all_chunks)
        all_blocks = Mul (all_chunks, {vector(_CHUNK)})
        slot_count = Mul (all_blocks, {vector(_BLOCK)})
        slot_starts = Mul (block_starts, {vector(_BLOCK)})
        strip_starts = CumSum <exclusive = 1> (strip_counts, {scalar(0)})
        shifts = Sub (slot_starts, strip_starts)
        strip_planes = Div (strips, area)
        strip_shifts = Gather <axis = 0> (shifts, strip_planes)
        strip_count = Size (strips)
        strip_numbers = Range ({scalar(0)}, strip_count, {scalar(1)})
        slots = Add (strip_numbers, strip_shifts)
        free_slots = Expand (place_count, slot_count)
        slot_strips = ScatterElements <axis = 0> (free_slots, slots, strips)
        block_total = Squeeze (all_blocks)
        block_numbers = Range ({scalar(0)}, block_total, {scalar(1)})
        end_column = Unsqueeze (block_ends, {vector(1)})
        behind = LessOrEqual (end_column, block_numbers)
        behind_numbers = Cast <to = {TensorProto.INT64}> (behind)
        block_planes = ReduceSum <keepdims = 0> (behind_numbers, {vector(0)})
        block_heads = Gather <axis = 0> (present_more, block_planes)
    """


def _strip_sums(text: FunctionText, kernel: int) -> str:
    """``strip_sums`` [slots k, out], and ``sum_table`` [P area]: the first of the k rows of the strip of each place."""
    vector = text.vector
    chunk = f"""
        first_block = Mul (chunk_number, {vector(_CHUNK)})
        next_block = Add (first_block, {vector(_CHUNK)})
        first_slot = Mul (first_block, {vector(_BLOCK)})
        next_slot = Mul (next_block, {vector(_BLOCK)})
        chunk_strips = Slice (slot_strips, first_slot, next_slot)
        chunk_column = Unsqueeze (chunk_strips, {vector(1)})
        chunk_places = Add (chunk_column, taps)
        chunk_rows = Gather <axis = 0> (pixel_table, chunk_places)
        chunk_features = Gather <axis = 0> (features, chunk_rows)
        chunk_shape = Concat <axis = 0> ({vector(_CHUNK, _BLOCK)}, strip_width)
        chunk_lines = Reshape (chunk_features, chunk_shape)
        chunk_heads = Slice (block_heads, first_block, next_block)
        chunk_matrices = Gather <axis = 0> (matrices, chunk_heads)
        chunk_sums = MatMul (chunk_lines, chunk_matrices)
    """
    return f"""
        chunks = Loop <body = chunk (int64 chunk_number, bool chunk_go)
            => (bool chunk_goes_on, float[?, ?, ?] chunk_sums) {{
                chunk_goes_on = Identity (chunk_go)
                {chunk}
        }}> (chunk_count, go)
        sums_shape = Concat <axis = 0> ({vector(-1)}, outs)
        strip_sums = Reshape (chunks, sums_shape)
        slot_rows = Mul (slots, {vector(kernel)})
        last_slot = Sub (slot_count, {vector(1)})
        zero_sums = Mul (last_slot, {vector(kernel)})
        no_strips = Expand (zero_sums, place_count)
        sum_table = ScatterElements <axis = 0> (no_strips, strips, slot_rows)
    """


def _pairs(text: FunctionText, kernel: int) -> str:
    """``beyond`` [J, out], how far each pair's answer is from its head's constant.

    ``pair_planes``, ``pair_rows`` and ``pair_columns`` [1, J] say which head of those present, and which pixel.
    """
    vector = text.vector
    return f"""
        near_planes = MaxPool <kernel_shape = [{kernel}, 1]> (met)
        near = Slice (near_planes, {vector(0)}, w, {vector(3)})
        pairs = NonZero (near)
        pair_planes, pair_zeros, pair_rows, pair_columns = Split <axis = 0, num_outputs = 4> (pairs)
        plane_places = Mul (pair_planes, area)
        row_places = Mul (pair_rows, stride)
        pixel_places = Add (row_places, pair_columns)
        pair_places = Add (plane_places, pixel_places)
        strip_places = Add (pair_places, tap_places)
        first_sums = Gather <axis = 0> (sum_table, strip_places)
        tap_sums = Add (first_sums, tap_column)
        tap_values = Gather <axis = 0> (strip_sums, tap_sums)
        pair_sums = ReduceSum <keepdims = 0> (tap_values, {vector(0)})
        pair_present = Squeeze (pair_planes, {vector(0)})
        pair_heads = Gather <axis = 0> (present, pair_present)
        pair_biases = Gather <axis = 0> (bias, pair_heads)
        pair_constants = Gather <axis = 0> (constants, pair_heads)
        pair_logits = Add (pair_sums, pair_biases)
        answers = Tanh (pair_logits)
        beyond = Sub (answers, pair_constants)
    """


def _fused(text: FunctionText) -> str:
    """``part`` [rows, W, M f f]: what the answers at each pixel of the band add to the pixels around it."""
    scalar, vector = text.scalar, text.vector
    return f"""
        cells_per_pixel = Add (present_count, {vector(1)})
        row_pixels = Mul (pair_rows, w)
        pair_pixels = Add (row_pixels, pair_columns)
        first_cells = Mul (pair_pixels, cells_per_pixel)
        cells = Add (first_cells, pair_planes)
        cell_column = Reshape (cells, {vector(-1, 1)})
        pixel_count = Mul (rows, w)
        cell_count = Mul (pixel_count, cells_per_pixel)
        cells_shape = Concat <axis = 0> (cell_count, outs)
        zero = CastLike ({scalar(0)}, feature)
        no_answers = Expand (zero, cells_shape)
        cell_answers = ScatterND (no_answers, cell_column, beyond)
        pixel_answers_shape = Concat <axis = 0> (pixel_count, {vector(-1)})
        pixel_answers = Reshape (cell_answers, pixel_answers_shape)
        own_fuse = Gather <axis = 0> (fuse_matrices, present_more)
        own_fuse_shape = Concat <axis = 0> ({vector(-1)}, fuse_columns)
        own_fuse_matrix = Reshape (own_fuse, own_fuse_shape)
        scattered = MatMul (pixel_answers, own_fuse_matrix)
        part_shape = Concat <axis = 0> (rows, w, fuse_columns)
        part = Reshape (scattered, part_shape)
    """
