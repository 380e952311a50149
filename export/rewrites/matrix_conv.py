"""Convolutions with many weights and few pixels as one product of matrices (cpu target): for memory, not for speed.

ONNX Runtime brings the weights of convolutions into blocks of channels when it loads a model, all of them before it
frees the first original: for a while they are there twice. Matrices it packs one by one. A 3x3 convolution is

    y[p, o] = sum over ky, kx, c of patches[p, (ky, kx, c)] * matrix[(ky, kx, c), o]

with p a pixel and patches the nine shifted copies of the zero-padded map beside each other. Those cost nine times the
map, which is nothing where a map has fewer pixels than channels: six such convolutions of 1024 by 1024 channels are
half of the weights of a full-width network.

Saved: 136 of 1009 MiB at the peak, which is while loading, for ADE20K's full-width network. Cost: at 16x16 pixels the
product takes 24 ms in that network, the convolution 22 alone, and the copies come on top. At 16x32 it is 1.6 times
slower, and therefore not used.
"""

from __future__ import annotations

import onnx
import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from export.function_text import FunctionText
from export.operators import CustomOperator
from export.rewrites.winograd import is_dense
from lggan.config import UpsamplingDepth
from lggan.networks.generator import LGGANGenerator

_KERNEL = 3
_FEWEST_WEIGHTS = 512 * 512  # pairs of channels; smaller ones are not worth a rewrite
_MOST_PIXELS = 16 * 16


@torch.library.custom_op("lggan::matrix_convolution", mutates_args=())
def matrix_convolution(x: Tensor, matrix: Tensor) -> Tensor:
    """A 3x3 convolution of stride one with a margin of one zero, without bias.

    Args:
        x: [N, in, H, W].
        matrix: [9 in, out], rows in the order (ky, kx, in), of `as_matrix`.

    Returns:
        [N, out, H, W].
    """
    height, width = x.shape[2:]
    around = pad(x, (1, 1, 1, 1)).permute(0, 2, 3, 1)  # [N, H + 2, W + 2, in]
    shifted = [around[:, dy : dy + height, dx : dx + width] for dy in range(_KERNEL) for dx in range(_KERNEL)]
    return (torch.cat(shifted, dim=3) @ matrix).permute(0, 3, 1, 2).contiguous()


@matrix_convolution.register_fake
def _(x: Tensor, matrix: Tensor) -> Tensor:
    return x.new_empty(x.shape[0], matrix.shape[1], *x.shape[2:])


def as_matrix(weight: Tensor) -> Tensor:
    """A convolution's weight [out, in, 3, 3] as the matrix [9 in, out]."""
    return weight.detach().permute(2, 3, 1, 0).flatten(0, 2).contiguous()


class MatrixConv2d(nn.Module):
    """Takes the place of a 3x3 convolution of stride one with a margin of one zero.

    Shapes: [N, in, H, W] -> [N, out, H, W].
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        if not is_dense(conv) or conv.padding != (1, 1):
            raise ValueError(f"{conv} is no 3x3 convolution of stride one with a margin of one zero")
        self.matrix = nn.Parameter(as_matrix(conv.weight), requires_grad=False)
        self.bias = None if conv.bias is None else nn.Parameter(conv.bias.detach().clone(), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        y = matrix_convolution(x, self.matrix)
        return y if self.bias is None else y + self.bias.view(1, -1, 1, 1)


def use_matrices(generator: LGGANGenerator) -> None:
    """Replace the global branch's convolutions that have more weights than their map has pixels by far, in place.

    What is few is judged at the size in the generator's configuration; the results are right at every size.
    """
    config = generator.config
    start = (config.height // config.stride) * (config.width // config.stride)
    for index, block in enumerate(generator.global_branch.blocks):
        doublings = index if config.depth is UpsamplingDepth.MORE else index - int(index >= 2)
        for name in ("conv_0", "conv_1"):
            conv = getattr(block, name)
            if is_dense(conv) and matrix_pays(conv.in_channels, conv.out_channels, start << (2 * doublings)):
                setattr(block, name, MatrixConv2d(conv))


def matrix_pays(in_channels: int, out_channels: int, pixels: int) -> bool:
    """Whether a convolution of this many output pixels saves memory so, at little cost in time."""
    return in_channels * out_channels > _FEWEST_WEIGHTS and pixels <= _MOST_PIXELS


def _body(name: str, values: tuple[int, ...]) -> onnx.FunctionProto:
    del values  # there are no attributes
    text = FunctionText()
    value, vector = text.value, text.vector
    last = value("Transpose <perm = [0, 2, 3, 1]> (x)")  # [N, H, W, in]
    size = value(f"Slice ({value(f'Shape ({last})')}, {vector(1)}, {vector(3)})")  # [H, W]
    around = value(f"Pad ({last}, {vector(0, 1, 1, 0, 0, 1, 1, 0)})")
    shifted = []
    for dy in range(_KERNEL):
        for dx in range(_KERNEL):
            end = value(f"Add ({size}, {vector(dy, dx)})")
            shifted.append(value(f"Slice ({around}, {vector(dy, dx)}, {end}, {vector(1, 2)})"))
    patches = value(f"Concat <axis = 3> ({', '.join(shifted)})")  # [N, H, W, 9 in]
    text.assign("y", f"Transpose <perm = [0, 3, 1, 2]> ({value(f'MatMul ({patches}, matrix)')})")
    return text.finish(name, ("x", "matrix"), ("y",))


MATRIX_CONVOLUTION = CustomOperator(
    torch_op=torch.ops.lggan.matrix_convolution.default,
    op_type="MatrixConvolution",
    inputs=("x", "matrix"),
    outputs=("y",),
    attributes=(),
    body=_body,
)
