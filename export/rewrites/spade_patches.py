"""SPADE's modulation computed once per distinct neighbourhood of the label map (cpu target).

Scale and shift of a pixel (`export.rewrites.batch_norm`) come from the label map through two 3x3 convolutions with a
ReLU between them:

    h(q) = relu(b + sum_d T_d[s(q + d)])        the hidden map; T_d[s] is what symbol s adds at tap d, a look-up
    m(p) = g + sum_e G_e h(p + e)               scale and shift, 2 C numbers; h is zero outside of the picture

So h(q) depends on the 3x3 patch around q alone, and m(p) on the 5x5 patch around p alone. With U3 and U5 distinct
patches (`export.rewrites.label_patches`), h is computed for U3 places, m for U5 places, and each pixel reads the row of
its patch. The multiplications go from ``9 hidden 2C`` per pixel to as many per distinct 5x5 patch. On street scenes of
256x512 pixels a tenth of the patches are distinct at full size, a quarter at half and two fifths at a quarter of it. On
noise all are, and there is as much to do as before.

Two things around it come along because the rows are there anyway: the LeakyReLU behind most norms, and the nearest
neighbour doubling in front of them, which reads every row of x four times instead of writing it four times. Everything
is laid out channels-last: a pixel's numbers are then contiguous in the tables and in the map.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu, pad

from export.operators import CustomOperator
from export.rewrites.batch_norm import FoldedSPADE
from export.rewrites.label_patches import label_patches, numbered_in_torch
from export.rewrites.label_symbols import Alphabet
from export.rewrites.spade_patches_function import INPUTS, spade_patches_function
from lggan.networks.spade import LEAK, SPADEResBlock

_TAPS = [divmod(tap, 3) for tap in range(9)]


@torch.library.custom_op("lggan::modulate_patches", mutates_args=())
def modulate_patches(
    x: Tensor,
    symbols: Tensor,
    roots3: Tensor,
    roots5: Tensor,
    taps: Tensor,
    hidden_bias: Tensor,
    scale: Tensor,
    scale_bias: Tensor,
    shift: Tensor,
    shift_bias: Tensor,
    enlarge: int,
    activate: int,
) -> Tensor:
    """``x * scale + shift`` per pixel, both convolved from the label map through a hidden map.

    Args:
        x: [N, C, H / enlarge, W / enlarge], brought to [H, W] by nearest neighbour.
        symbols: int64 [N, H, W] of 0..A-2, the label map at the size of the output.
        roots3, roots5: of `label_patches`.
        taps: [9, A, hidden], of `Alphabet.table`.
        hidden_bias: [hidden].
        scale, shift: [9, hidden, C], the two convolutions' weights tap by tap.
        scale_bias, shift_bias: [C].
        enlarge: 1 or 2.
        activate: 1 for a LeakyReLU of slope `LEAK` behind it, 0 for none.

    Returns:
        [N, C, H, W].
    """
    h, w = symbols.shape[1:]
    outside = taps.shape[1] - 1
    around = pad(symbols, (2, 2, 2, 2), value=outside)  # [N, H + 4, W + 4]
    places3, numbers3 = numbered_in_torch(roots3)  # [U3], [N, H + 2, W + 2]
    hidden = hidden_bias.expand(len(places3), -1)
    for tap, (dy, dx) in enumerate(_TAPS):
        hidden = hidden + taps[tap][around[:, dy : dy + h + 2, dx : dx + w + 2].flatten()[places3]]
    inside = around[:, 1:-1, 1:-1].flatten()[places3] != outside
    hidden = hidden.relu() * inside.unsqueeze(1).to(hidden.dtype)  # [U3, hidden]
    places5, numbers5 = numbered_in_torch(roots5)  # [U5], [N, H, W]
    y = x.repeat_interleave(enlarge, 2).repeat_interleave(enlarge, 3).permute(0, 2, 3, 1)  # [N, H, W, C]
    seen = [numbers3[:, dy : dy + h, dx : dx + w].flatten()[places5] for dy, dx in _TAPS]
    scales = scale_bias + sum(hidden[seen[tap]] @ scale[tap] for tap in range(9))  # [U5, C]
    shifts = shift_bias + sum(hidden[seen[tap]] @ shift[tap] for tap in range(9))
    y = y * scales[numbers5] + shifts[numbers5]
    y = leaky_relu(y, LEAK) if activate else y
    return y.permute(0, 3, 1, 2).contiguous()


@modulate_patches.register_fake
def _(
    x: Tensor,
    symbols: Tensor,
    roots3: Tensor,
    roots5: Tensor,
    taps: Tensor,
    hidden_bias: Tensor,
    scale: Tensor,
    scale_bias: Tensor,
    shift: Tensor,
    shift_bias: Tensor,
    enlarge: int,
    activate: int,
) -> Tensor:
    n, channels, h, w = x.shape
    return x.new_empty(n, channels, h * enlarge, w * enlarge)


class _PatchTables(nn.Module):
    """The tables of one SPADE normalisation, in float64 as in float32 as the module is."""

    def __init__(self, spade: FoldedSPADE, alphabet: Alphabet) -> None:
        super().__init__()
        shared, modulation = spade.shared, spade.modulation
        assert shared.bias is not None
        assert modulation.bias is not None
        weight = modulation.weight.detach().permute(2, 3, 1, 0).flatten(0, 1)  # [9, hidden, 2 C]
        scale, shift = weight.chunk(2, dim=2)
        scale_bias, shift_bias = modulation.bias.detach().chunk(2)
        self.taps = nn.Parameter(alphabet.table(shared.weight.detach()), requires_grad=False)  # [9, A, hidden]
        self.hidden_bias = nn.Parameter(shared.bias.detach().clone(), requires_grad=False)
        self.scale = nn.Parameter(scale.contiguous(), requires_grad=False)
        self.scale_bias = nn.Parameter(scale_bias.clone(), requires_grad=False)
        self.shift = nn.Parameter(shift.contiguous(), requires_grad=False)
        self.shift_bias = nn.Parameter(shift_bias.clone(), requires_grad=False)

    def forward(self, x: Tensor, patches: tuple[Tensor, Tensor, Tensor], enlarge: int, activate: int) -> Tensor:
        return modulate_patches(
            x,
            *patches,
            self.taps,
            self.hidden_bias,
            self.scale,
            self.scale_bias,
            self.shift,
            self.shift_bias,
            enlarge,
            activate,
        )


class PatchSPADEResBlock(nn.Module):
    """Takes the place of a SPADE residual block whose norms are folded, and of a doubling in front of it.

    Shapes: x [N, in, h, w], semantics: the symbols of the whole picture, int64 [N, 1, H, W]
    -> [N, out, enlarge h, enlarge w].
    """

    def __init__(self, block: SPADEResBlock, alphabet: Alphabet, step: int, enlarge: int) -> None:
        """Take over the block's convolutions and tables of its norms.

        Args:
            block: with `FoldedSPADE` norms.
            alphabet: of the symbols.
            step: how many pixels of the picture lie in one place of the output, in each direction.
            enlarge: 2 to double x first, or 1. A block with an identity shortcut wants x as it is.
        """
        super().__init__()
        assert enlarge == 1 or block.conv_s is not None
        self.alphabet, self.step, self.enlarge = alphabet, step, enlarge
        self.conv_0, self.conv_1, self.conv_s = block.conv_0, block.conv_1, block.conv_s
        self.norm_0, self.norm_1 = _tables(block.norm_0, alphabet), _tables(block.norm_1, alphabet)
        self.norm_s = None if block.norm_s is None else _tables(block.norm_s, alphabet)

    def forward(self, x: Tensor, semantics: Tensor) -> Tensor:
        symbols = semantics[:, 0, :: self.step, :: self.step]  # [N, h, w], what nearest-neighbour resizing takes
        patches = (symbols, *label_patches(symbols, self.alphabet.size))
        shortcut = x
        if self.norm_s is not None and self.conv_s is not None:
            shortcut = self.conv_s(self.norm_s(x, patches, self.enlarge, 0))
        residual = self.conv_0(self.norm_0(x, patches, self.enlarge, 1))
        residual = self.conv_1(self.norm_1(residual, patches, 1, 1))
        return shortcut + residual


def _tables(norm: nn.Module, alphabet: Alphabet) -> _PatchTables:
    assert isinstance(norm, FoldedSPADE), "batch norm must be folded first"
    return _PatchTables(norm, alphabet)


MODULATE_PATCHES = CustomOperator(
    torch_op=torch.ops.lggan.modulate_patches.default,
    op_type="ModulatePatches",
    inputs=INPUTS,
    outputs=("y",),
    attributes=("enlarge", "activate"),
    body=spade_patches_function,
)
