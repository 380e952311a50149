"""The first convolution of the encoder as look-ups (cpu target).

A 7x7 convolution of the one-hot map adds up 49 columns of weights per pixel, one per tap:

    x(p) = sum_{dx} sum_{dy} T_{dy,dx}[s(p + (dy, dx))]

The inner sum depends on the seven symbols of one column, and columns repeat: street scenes of 256x512 pixels have
1500 to 4000 distinct ones. So for each distinct column (`export.rewrites.label_patches`) its part of the sum is looked
up once for each of the seven places dx that it can have in a window, and each pixel adds up seven rows instead of 49
columns of weights, times 36 or 151 channels. There is no bias: the instance norm that follows would take it away.
"""

from __future__ import annotations

import onnx
import torch
from torch import Tensor, nn

from export.function_text import FunctionText
from export.operators import CustomOperator
from export.rewrites.label_patches import key_of, numbered, roots_of
from export.rewrites.label_symbols import Alphabet

_K = 7
_MARGIN = _K // 2


@torch.library.custom_op("lggan::convolve_labels", mutates_args=())
def convolve_labels(symbols: Tensor, taps: Tensor, alphabet: int) -> Tensor:
    """A 7x7 convolution of the reflect-padded one-hot map, from the symbols.

    Args:
        symbols: int64 [N, H, W] of 0..A-2; H and W at least 4.
        taps: [49, A, M], of `Alphabet.table`.
        alphabet: A, for the export.

    Returns:
        [N, M, H, W].
    """
    n, h, w = symbols.shape
    rows, columns = _reflected(h, symbols.device), _reflected(w, symbols.device)
    around = symbols[:, rows][:, :, columns]  # [N, H + 6, W + 6]
    total = taps.new_zeros(n, h, w, taps.shape[2])
    for tap in range(_K * _K):
        dy, dx = divmod(tap, _K)
        total += taps[tap][around[:, dy : dy + h, dx : dx + w]]
    return total.permute(0, 3, 1, 2).contiguous()


@convolve_labels.register_fake
def _(symbols: Tensor, taps: Tensor, alphabet: int) -> Tensor:
    n, h, w = symbols.shape
    return taps.new_empty(n, taps.shape[2], h, w)


def _reflected(size: int, device: torch.device) -> Tensor:
    places = torch.arange(-_MARGIN, size + _MARGIN, device=device).abs()
    return torch.where(places >= size, 2 * (size - 1) - places, places)


class LabelConvolution(nn.Module):
    """Takes the place of the encoder's first convolution and of the padding in front of it.

    Shapes: symbols int64 [N, 1, H, W] -> [N, M, H, W].
    """

    def __init__(self, conv: nn.Conv2d, alphabet: Alphabet) -> None:
        super().__init__()
        self.alphabet = alphabet
        self.taps = nn.Parameter(alphabet.table(conv.weight.detach()), requires_grad=False)  # [49, A, M]

    def forward(self, symbols: Tensor) -> Tensor:
        return convolve_labels(symbols[:, 0], self.taps, self.alphabet.size)


def _body(name: str, values: tuple[int, ...]) -> onnx.FunctionProto:
    (alphabet,) = values
    text = FunctionText()
    pads = text.vector(0, _MARGIN, _MARGIN, 0, _MARGIN, _MARGIN)
    around = text.value(f'Pad <mode = "reflect"> (symbols, {pads})')  # [N, H + 6, W + 6]
    shape = text.value("Shape (symbols)")
    size = text.value(f"Slice ({shape}, {text.vector(1)}, {text.vector(3)})")  # [H, W]
    column_size = text.value(f"Add ({size}, {text.vector(0, 2 * _MARGIN)})")  # [H, W + 6]
    column_shape = text.value(
        f"Concat <axis = 0> ({text.value(f'Slice ({shape}, {text.vector(0)}, {text.vector(1)})')}, {column_size})"
    )
    batch = text.value(f"Gather <axis = 0> ({shape}, {text.scalar(0)})")  # N
    symbols = [text.window(around, dy, 0, column_size) for dy in range(_K)]
    roots = roots_of(text, key_of(text, [(one, alphabet) for one in symbols]))
    places, numbers = numbered(text, text.value(f"Reshape ({roots}, {column_shape})"))
    distinct = [text.rows(one, places) for one in symbols]
    total = ""
    for dx in range(_K):
        part = ""
        for dy in range(_K):
            looked_up = text.rows(text.entry("taps", dy * _K + dx), distinct[dy])  # [U, M]
            part = text.value(f"Add ({part}, {looked_up})") if part else looked_up
        start = text.vector(0, dx)
        window = text.value(f"Slice ({numbers}, {start}, {text.value(f'Add ({start}, {size})')}, {text.vector(1, 2)})")
        if total:
            part = text.after(part, total, batch)  # or all seven maps would be there at once
        rows = text.rows(part, window)  # [N, H, W, M]
        total = text.value(f"Add ({total}, {rows})") if total else rows
    text.assign("y", f"Transpose <perm = [0, 3, 1, 2]> ({total})")
    return text.finish(name, ("symbols", "taps"), ("y",), ("alphabet",))


CONVOLVE_LABELS = CustomOperator(
    torch_op=torch.ops.lggan.convolve_labels.default,
    op_type="ConvolveLabels",
    inputs=("symbols", "taps"),
    outputs=("y",),
    attributes=("alphabet",),
    body=_body,
)
