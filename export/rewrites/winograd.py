"""Dense 3x3 convolutions with a quarter of the multiplications (cpu target).

Cook-Toom's and Winograd's F(4x4, 3x3): 4x4 output pixels come from a tile d of 6x6 input pixels as

    y = A' [ sum over input channels (G g G') * (B' d B) ] A          * element by element, ' transposed

which takes 36 multiplications per pair of channels where the direct way takes 144. The kernels' transform, G g G', is
computed once. B' d B and A' m A are linear maps from 36 numbers to 36 and to 16, per tile and channel, and the sum over
channels is a product of matrices, one for each of the 36 places of the tile. With P output pixels the multiplications
go from ``9 in out P`` to ``2.25 in out P + 81 in P + 36 out P``.

The identity holds for any five distinct points of interpolation besides infinity; they decide how rounding errors grow.
The usual 0, +-1, +-2 give 1.9e-5 as largest error of 256 channels of unit variance in float32, 0, +-3/4, +-3/2 give
5.6e-6 (the direct sum 0.7e-6). With the latter, all entries of A and B are exact in float32.
"""

from __future__ import annotations

from typing import TypeGuard

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from torch import Tensor, nn
from torch.nn.functional import conv2d, pad

from export.function_text import FunctionText
from export.operators import CustomOperator
from lggan.config import SauPlacement, UpsamplingDepth
from lggan.networks.cross_view import CrossViewGenerator
from lggan.networks.decoder import Decoder
from lggan.networks.generator import LGGANGenerator

_TILE = 4  # output pixels per side
_REACH = _TILE + 2  # input pixels per side
_PLACES = _REACH * _REACH
_POINTS = (0.0, 0.75, -0.75, 1.5, -1.5)

# Where it pays, measured in ONNX Runtime on two cores. The two transforms cost per pixel and channel, the
# multiplications per pixel and pair of channels: 256 channels take 0.6 of the direct convolution's time, 128 take 0.8,
# 64 take 1.2. The transformed kernels are four times as large. Beyond 512 x 512 channels the file grows by too much for
# what is gained (1024 x 512 at 32 x 64 pixels: 57 MB for 43 ms), and with few pixels there is little to gain (512 x 512
# at 32 x 64 pixels: 28 MB for 26 ms). With many pixels the tiles, two times 2.25 maps, would be the most memory that a
# picture takes, for next to nothing (256 and 128 to 128 channels at 128 x 256 pixels: 139 instead of 144 ms).
_FEWEST_CHANNELS = 128
_FEWEST_PIXELS = 64 * 64
_MOST_PIXELS = 128 * 128
_MOST_KERNELS = 512 * 512


def winograd_matrices() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A' [4, 6], G [6, 3] and B' [6, 6] in float64, by Lagrange interpolation in `_POINTS` and infinity."""
    points = np.array(_POINTS)
    differences = points[:, None] - points[None, :] + np.eye(len(points))
    a = np.zeros((_TILE, _REACH))
    a[:, :-1] = points[None, :] ** np.arange(_TILE)[:, None]
    a[-1, -1] = 1
    g = np.zeros((_REACH, 3))
    g[:-1] = points[:, None] ** np.arange(3)[None, :] / differences.prod(axis=1)[:, None]
    g[-1, -1] = 1
    b = np.zeros((_REACH, _REACH))
    for row in range(len(points)):
        b[row, :-1] = np.poly(np.delete(points, row))[::-1]
    b[-1] = np.poly(points)[::-1]
    return a, g, b


def transformed_kernels(weight: Tensor) -> Tensor:
    """G g G' of all kernels: [out, in, 3, 3] -> float64 [36, out, in]."""
    g = torch.from_numpy(winograd_matrices()[1])
    return torch.einsum("ay,oiyx,bx->aboi", g, weight.detach().double(), g).flatten(0, 1)


def _input_transform() -> np.ndarray:
    """``B' d B`` as one linear map [36, 6, 6]."""
    b = winograd_matrices()[2]
    return np.einsum("ay,bx->abyx", b, b).reshape(_PLACES, _REACH, _REACH)


def _output_transform() -> np.ndarray:
    """``A' m A`` as one linear map [16, 36]."""
    a = winograd_matrices()[0]
    return np.einsum("yi,xj->yxij", a, a).reshape(_TILE * _TILE, _PLACES)


@torch.library.custom_op("lggan::winograd_convolution", mutates_args=())
def winograd_convolution(x: Tensor, kernels: Tensor, margin: int, ragged: int) -> Tensor:
    """A 3x3 convolution of stride one without bias.

    Args:
        x: [N, in, H, W].
        kernels: [36, out, in], of `transformed_kernels`.
        margin: 0 or 1 rows and columns of zeros around x.
        ragged: 0 promises that the output's sides are multiples of four, which spares the copies that make them so; 1
            does not.

    Returns:
        [N, out, H + 2 margin - 2, W + 2 margin - 2].

    Raises:
        RuntimeError: a promise that does not hold (PyTorch's own convention for operators).
    """
    n, channels, height, width = x.shape
    rows, columns = height + 2 * margin - 2, width + 2 * margin - 2
    if not ragged and (rows % _TILE or columns % _TILE):
        raise RuntimeError(f"an output of {rows} x {columns} was promised to be a multiple of {_TILE}")
    down, across = -(-rows // _TILE), -(-columns // _TILE)  # tiles
    below, right = down * _TILE + 2 - margin - height, across * _TILE + 2 - margin - width
    planes = pad(x, (margin, right, margin, below)).flatten(0, 1).unsqueeze(1)  # [N in, 1, 4 down + 2, 4 across + 2]
    to_tiles = torch.from_numpy(_input_transform()).unsqueeze(1).to(x.dtype)
    from_tiles = torch.from_numpy(_output_transform()).to(x.dtype)
    tiles = conv2d(planes, to_tiles, stride=_TILE).view(n, channels, _PLACES, down * across).transpose(1, 2)
    products = kernels.to(x.dtype) @ tiles  # [N, 36, out, tiles]
    pixels = (from_tiles @ products.flatten(2)).view(n, _TILE, _TILE, -1, down, across)
    picture = pixels.permute(0, 3, 4, 1, 5, 2).reshape(n, -1, down * _TILE, across * _TILE)
    return picture[:, :, :rows, :columns].contiguous()


@winograd_convolution.register_fake
def _(x: Tensor, kernels: Tensor, margin: int, ragged: int) -> Tensor:
    n, _, height, width = x.shape
    return x.new_empty(n, kernels.shape[1], height + 2 * margin - 2, width + 2 * margin - 2)


class WinogradConv2d(nn.Module):
    """Takes the place of a 3x3 convolution of stride one with zero padding of 0 or 1.

    The kernels are transformed in float64 and stored in the original type.

    Shapes: [N, in, H, W] -> [N, out, H - 2, W - 2], or [N, out, H, W] with padding.
    """

    def __init__(self, conv: nn.Conv2d, *, ragged: bool = True) -> None:
        """Take over a convolution's weights.

        Args:
            conv: one that `is_dense` accepts.
            ragged: whether the output's sides may be other than multiples of four.
        """
        super().__init__()
        if not is_dense(conv):
            raise ValueError(f"{conv} is no 3x3 convolution of stride one with zero padding of 0 or 1")
        self.margin, self.ragged = int(conv.padding[0]), int(ragged)
        kernels = transformed_kernels(conv.weight).to(conv.weight.dtype)
        self.kernels = nn.Parameter(kernels.contiguous(), requires_grad=False)
        self.bias = None if conv.bias is None else nn.Parameter(conv.bias.detach().clone(), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        y = winograd_convolution(x, self.kernels, self.margin, self.ragged)
        return y if self.bias is None else y + self.bias.view(1, -1, 1, 1)


def is_dense(conv: nn.Module) -> TypeGuard[nn.Conv2d]:
    """Whether this is a convolution that `WinogradConv2d` can take the place of."""
    return (
        isinstance(conv, nn.Conv2d)
        and (conv.kernel_size, conv.stride, conv.dilation, conv.groups) == ((3, 3), (1, 1), (1, 1), 1)
        and conv.padding in ((0, 0), (1, 1))
        and conv.padding_mode == "zeros"
    )


def winograd_pays(in_channels: int, out_channels: int, pixels: int) -> bool:
    """Whether a convolution of this many output pixels is faster so, without too much more memory."""
    return (
        min(in_channels, out_channels) >= _FEWEST_CHANNELS
        and _FEWEST_PIXELS <= pixels <= _MOST_PIXELS
        and in_channels * out_channels <= _MOST_KERNELS
    )


def use_winograd(generator: LGGANGenerator | CrossViewGenerator) -> None:
    """Replace the residual towers' and the global branch's convolutions where it pays, in place.

    What pays is judged at the size in the generator's configuration; the results are right at every size.
    """
    if isinstance(generator, LGGANGenerator):
        _use_in_semantic(generator)
    else:
        _use_in_cross_view(generator)


def _use_in_cross_view(generator: CrossViewGenerator) -> None:
    """A stride of 4 lets the tower's sides be any whole numbers."""
    config = generator.config
    for block in generator.tower:
        _replace(block, ("conv1", "conv2"), config.height * config.width // 16, ragged=True)
    _use_in_decoders(generator, config.height * config.width // 4, ragged=True)


def _use_in_semantic(generator: LGGANGenerator) -> None:
    """A stride of 32 or 64 makes the sides of the tower and of all blocks but the first few multiples of four."""
    config = generator.config
    doubled = config.sau.placement is SauPlacement.ENCODER
    for block in generator.local_branch.tower:
        _replace(block, ("conv1", "conv2"), config.height * config.width // (4 if doubled else 16), ragged=False)
    _use_in_decoders(generator, config.height * config.width // 4, ragged=False)
    start = (config.height // config.stride) * (config.width // config.stride)
    for index, block in enumerate(generator.global_branch.blocks):
        doublings = index if config.depth is UpsamplingDepth.MORE else index - int(index >= 2)
        _replace(block, ("conv_0", "conv_1"), start << (2 * doublings), ragged=doublings < 2)


def _use_in_decoders(generator: LGGANGenerator | CrossViewGenerator, pixels: int, *, ragged: bool) -> None:
    """Behind semantic-aware upsampling in the encoder, their first layer is a plain convolution."""
    for module in generator.modules():
        if isinstance(module, Decoder):
            _replace(module, ("up1",), pixels, ragged=ragged)


def _replace(block: nn.Module, names: tuple[str, ...], pixels: int, *, ragged: bool) -> None:
    for name in names:
        conv = getattr(block, name)
        if is_dense(conv) and winograd_pays(conv.in_channels, conv.out_channels, pixels):
            setattr(block, name, WinogradConv2d(conv, ragged=ragged))


def _body(name: str, values: tuple[int, ...]) -> onnx.FunctionProto:
    """For float32."""
    margin, ragged = values
    text = FunctionText()
    vector, value = text.vector, text.value
    n, c, h, w = text.values(f"Split <axis = 0, num_outputs = 4> ({value('Shape (x)')})", 4)
    padded = "x"
    if ragged:
        # To 4 tiles + 2 pixels, of which ``margin`` lie before.
        after = [
            value(f"Sub ({value(f'Add ({tiled}, {vector(2 - margin)})')}, {side})")
            for side, tiled in ((side, _up_to_tiles(text, side, margin)) for side in (h, w))
        ]
        pads = value(f"Concat <axis = 0> ({vector(0, 0, margin, margin, 0, 0)}, {', '.join(after)})")
        padded = value(f"Pad (x, {pads})")
    elif margin:
        padded = value(f"Pad (x, {vector(0, 0, margin, margin, 0, 0, margin, margin)})")
    sides = value(f"Slice ({value(f'Shape ({padded})')}, {vector(2)}, {vector(4)})")
    planes = value(f"Reshape ({padded}, {value(f'Concat <axis = 0> ({vector(-1, 1)}, {sides})')})")
    # Channels as batch: one convolution of stride four is the whole input transform.
    tiles = value(f"Conv <strides = [{_TILE}, {_TILE}]> ({planes}, to_tiles)")  # [N in, 36, down, across]
    grid = value(f"Slice ({value(f'Shape ({tiles})')}, {vector(2)}, {vector(4)})")  # [down, across]
    by_channel = value(f"Reshape ({tiles}, {value(f'Concat <axis = 0> ({n}, {c}, {vector(_PLACES)}, {grid})')})")
    # In five dimensions: a transpose right before the product would be fused into it, and that is slow.
    by_place = value(f"Transpose <perm = [0, 2, 1, 3, 4]> ({by_channel})")
    inputs = value(f"Reshape ({by_place}, {value(f'Concat <axis = 0> ({n}, {vector(_PLACES)}, {c}, {vector(-1)})')})")
    products = value(f"MatMul (kernels, {inputs})")  # [N, 36, out, tiles]
    flat = value(f"Reshape ({products}, {value(f'Concat <axis = 0> ({n}, {vector(_PLACES, -1)})')})")
    pixels = value(f"MatMul (from_tiles, {flat})")  # [N, 16, out tiles]
    deep = value(f"Reshape ({pixels}, {value(f'Concat <axis = 0> ({n}, {vector(-1)}, {grid})')})")
    if ragged:
        whole = value(f"DepthToSpace <blocksize = {_TILE}> ({deep})")
        ends = value(f"Add ({value(f'Concat <axis = 0> ({h}, {w})')}, {vector(2 * margin - 2)})")
        text.assign("y", f"Slice ({whole}, {vector(0, 0)}, {ends}, {vector(2, 3)})")
    else:
        text.assign("y", f"DepthToSpace <blocksize = {_TILE}> ({deep})")
    function = text.finish(name, ("x", "kernels"), ("y",), ("margin", "ragged"))
    for constant, array in (("to_tiles", _input_transform()[:, None]), ("from_tiles", _output_transform())):
        tensor = numpy_helper.from_array(array.astype(np.float32), constant)
        function.node.insert(0, helper.make_node("Constant", [], [constant], value=tensor))
    return function


def _up_to_tiles(text: FunctionText, side: str, margin: int) -> str:
    """The output's side, rounded up to whole tiles."""
    more = text.value(f"Add ({side}, {text.vector(2 * margin - 2 + _TILE - 1)})")
    tiles = text.value(f"Div ({more}, {text.vector(_TILE)})")
    return text.value(f"Mul ({tiles}, {text.vector(_TILE)})")


WINOGRAD_CONVOLUTION = CustomOperator(
    torch_op=torch.ops.lggan.winograd_convolution.default,
    op_type="WinogradConvolution",
    inputs=("x", "kernels"),
    outputs=("y",),
    attributes=("margin", "ragged"),
    body=_body,
)
