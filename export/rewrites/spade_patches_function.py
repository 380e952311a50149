"""The ONNX function of `export.rewrites.spade_patches`."""

from __future__ import annotations

import onnx

from export.function_text import FunctionText
from export.rewrites.label_patches import numbered
from lggan.networks.spade import LEAK

_TAPS = [divmod(tap, 3) for tap in range(9)]

INPUTS = (
    "x",
    "symbols",
    "roots3",
    "roots5",
    "taps",
    "hidden_bias",
    "scale",
    "scale_bias",
    "shift",
    "shift_bias",
)


def spade_patches_function(name: str, values: tuple[int, ...]) -> onnx.FunctionProto:
    """The function for values of ``enlarge`` and ``activate``; works on any float type."""
    enlarge, activate = values
    text = FunctionText()
    shape = text.value("Shape (symbols)")
    batch = text.value(f"Gather <axis = 0> ({shape}, {text.scalar(0)})")  # N
    size = text.value(f"Slice ({shape}, {text.vector(1)}, {text.vector(3)})")  # [H, W]
    ring = text.value(f"Add ({size}, {text.vector(2)})")  # [H + 2, W + 2]
    places3, numbers3 = numbered(text, "roots3")
    places5, numbers5 = numbered(text, "roots5")
    scales, shifts = _convolved(text, _hidden(text, batch, ring, places3), _around(text, numbers3, size, places5))
    rows = text.value("Transpose <perm = [0, 2, 3, 1]> (x)")
    if enlarge == 1:
        scaled = text.value(f"Mul ({rows}, {text.rows(scales, numbers5)})")
    else:
        scaled = _enlarged_product(text, rows, text.rows(scales, numbers5), enlarge)
    y = text.value(f"Add ({scaled}, {text.rows(text.after(shifts, scaled, batch), numbers5)})")
    y = text.value(f"LeakyRelu <alpha = {LEAK}> ({y})") if activate else y
    text.assign("y", f"Transpose <perm = [0, 3, 1, 2]> ({y})")
    return text.finish(name, INPUTS, ("y",), ("enlarge", "activate"))


def _around(text: FunctionText, source: str, size: str, places: str) -> str:
    """What stands in the 3x3 window of each place, int64 [U, 9], row after row.

    Args:
        source: [N, h + 2, w + 2].
        size: int64 [2], h and w.
        places: flat indices into [N, h, w].
    """
    shape = text.value(f"Shape ({source})")
    count = text.value(f"Size ({source})")
    every = text.value(f"Range ({text.scalar(0)}, {count}, {text.scalar(1)})")
    corners = text.rows(text.window(text.value(f"Reshape ({every}, {shape})"), 0, 0, size), places)  # [U]
    width = text.value(f"Slice ({shape}, {text.vector(2)}, {text.vector(3)})")
    down = text.value(f"Mul ({text.vector(*(dy for dy, _ in _TAPS))}, {width})")
    offsets = text.value(f"Add ({down}, {text.vector(*(dx for _, dx in _TAPS))})")  # [9]
    column = text.value(f"Unsqueeze ({corners}, {text.vector(1)})")
    return text.rows(text.flat(source), text.value(f"Add ({column}, {offsets})"))


def _hidden(text: FunctionText, batch: str, ring: str, places: str) -> str:
    """The hidden map [U3, hidden] of the distinct 3x3 patches."""
    alphabet = text.value(f"Gather <axis = 0> ({text.value('Shape (taps)')}, {text.scalar(1)})")
    outside = text.value(f"Sub ({alphabet}, {text.scalar(1)})")
    around = text.value(f"Pad (symbols, {text.vector(0, 2, 2, 0, 2, 2)}, {outside})")  # [N, H + 4, W + 4]
    symbols = _around(text, around, ring, places)  # [U3, 9]
    # All taps' tables as one, below each other.
    start_of_tap = text.value(f"Mul ({text.vector(*range(9))}, {alphabet})")
    entries = text.value(f"Add ({symbols}, {start_of_tap})")
    width = text.value(f"Slice ({text.value('Shape (taps)')}, {text.vector(2)}, {text.vector(3)})")
    tables = text.value(f"Reshape (taps, {text.value(f'Concat <axis = 0> ({text.vector(-1)}, {width})')})")
    # Tables need nothing but symbols: those of all norms would be made first, and wait for their turn.
    total = text.after("hidden_bias", "x", batch)
    for row in range(3):
        looked_up = text.rows(tables, _three(text, entries, row))  # [U3, 3, hidden]
        total = text.value(f"Add ({text.value(f'ReduceSum <keepdims = 0> ({looked_up}, {text.vector(1)})')}, {total})")
    active = text.value(f"Relu ({total})")
    own = text.value(f"Slice ({symbols}, {text.vector(4)}, {text.vector(5)}, {text.vector(1)})")  # [U3, 1]
    inside = text.value(f"Not ({text.value(f'Equal ({own}, {outside})')})")
    return text.value(f"Mul ({active}, {text.value(f'CastLike ({inside}, {active})')})")


def _convolved(text: FunctionText, hidden: str, around: str) -> tuple[str, str]:
    """Scales and shifts [U5, C] of the distinct 5x5 patches.

    Row by row of taps: side by side, the nine hidden vectors of each patch would take more memory than the maps
    themselves on a label map without any repetition.
    """
    hidden_width = text.value(f"Slice ({text.value(f'Shape ({hidden})')}, {text.vector(1)}, {text.vector(2)})")
    side_by_side = text.value(
        f"Concat <axis = 0> ({text.vector(-1)}, {text.value(f'Mul ({hidden_width}, {text.vector(3)})')})"
    )
    rows = []
    for row in range(3):
        three = text.rows(hidden, _three(text, around, row))  # [U5, 3, hidden]
        rows.append(text.value(f"Reshape ({three}, {side_by_side})"))  # [U5, 3 hidden]
    totals = []
    for part in ("scale", "shift"):
        total = f"{part}_bias"
        for row in range(3):
            weight = text.value(f"Slice ({part}, {text.vector(3 * row)}, {text.vector(3 * row + 3)}, {text.vector(0)})")
            columns = text.value(f"Slice ({text.value(f'Shape ({part})')}, {text.vector(2)}, {text.vector(3)})")
            matrix_shape = text.value(f"Concat <axis = 0> ({text.vector(-1)}, {columns})")
            matrix = text.value(f"Reshape ({weight}, {matrix_shape})")  # [3 hidden, C]
            total = text.value(f"Add ({text.value(f'MatMul ({rows[row]}, {matrix})')}, {total})")
        totals.append(total)
    return totals[0], totals[1]


def _three(text: FunctionText, nine: str, row: int) -> str:
    """Columns 3 row to 3 row + 2 of [U, 9]."""
    return text.value(f"Slice ({nine}, {text.vector(3 * row)}, {text.vector(3 * row + 3)}, {text.vector(1)})")


def _enlarged_product(text: FunctionText, rows: str, scales: str, enlarge: int) -> str:
    """``rows`` [N, H / e, W / e, C] times scales [N, H, W, C], each row e x e times."""
    shape = text.value(f"Shape ({rows})")
    n, h, w, c = text.values(f"Split <axis = 0, num_outputs = 4> ({shape})", 4)
    one, times = text.vector(1), text.vector(enlarge)
    small = text.value(f"Concat <axis = 0> ({n}, {h}, {one}, {w}, {one}, {c})")
    large = text.value(f"Concat <axis = 0> ({n}, {h}, {times}, {w}, {times}, {c})")
    product = text.value(
        f"Mul ({text.value(f'Reshape ({rows}, {small})')}, {text.value(f'Reshape ({scales}, {large})')})"
    )
    return text.value(f"Reshape ({product}, {text.value(f'Shape ({scales})')})")
