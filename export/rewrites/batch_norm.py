"""SPADE's batch norm as part of its modulation, and its two modulating convolutions as one (both targets).

In evaluation mode, batch norm is ``a x + b`` per channel, with ``a = 1 / sqrt(var + eps)`` and ``b = -a mean``. With
G, g and B, e the weights and biases of the two modulating convolutions of the hidden map h,

    (a x + b) (1 + G h + g) + B h + e  =  x (a G h + a (1 + g))  +  (B + b G) h + e + b (1 + g)

so both factors are convolutions of h again, and one convolution of twice the channels gives both.

Saved per norm and pixel of C channels: the normalisation, C multiply-adds, and the addition of one; h is read once.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, relu

from export.rewrites.replacement import replace_modules
from lggan.networks.spade import SPADE


class FoldedSPADE(nn.Module):
    """A SPADE normalisation as ``x * scale + shift``. Folded in float64, stored in the original type.

    Shapes: x [N, C, H, W], semantics [N, S, H', W'] -> [N, C, H, W].

    Attributes:
        shared: label map to hidden map.
        modulation: hidden map to [N, 2 C, H, W], scale and shift.
    """

    def __init__(self, spade: SPADE) -> None:
        super().__init__()
        mean, var = spade.norm.running_mean, spade.norm.running_var
        assert mean is not None, "SPADE keeps running statistics"
        assert var is not None
        a = (var.double() + spade.norm.eps).rsqrt()  # [C]
        b = -a * mean.double()
        gamma, beta = spade.gamma.weight.double(), spade.beta.weight.double()  # [C, hidden, 3, 3]
        one_plus = 1 + _bias_of(spade.gamma)
        per_channel = (-1, 1, 1, 1)
        weight = torch.cat([a.view(per_channel) * gamma, beta + b.view(per_channel) * gamma])  # [2 C, hidden, 3, 3]
        bias = torch.cat([a * one_plus, _bias_of(spade.beta) + b * one_plus])
        dtype = spade.gamma.weight.dtype
        self.shared = spade.shared
        self.modulation = nn.Conv2d(weight.shape[1], weight.shape[0], weight.shape[-1], padding=weight.shape[-1] // 2)
        self.modulation.weight = nn.Parameter(weight.to(dtype), requires_grad=False)
        self.modulation.bias = nn.Parameter(bias.to(dtype), requires_grad=False)

    def forward(self, x: Tensor, semantics: Tensor) -> Tensor:
        layout = interpolate(semantics, size=x.shape[2:], mode="nearest")  # [N, S, H, W]
        scale, shift = self.modulation(relu(self.shared(layout))).chunk(2, dim=1)  # [N, C, H, W] each
        return x * scale + shift


def fold_batch_norms(generator: nn.Module) -> None:
    """Replace every SPADE normalisation by a `FoldedSPADE`, in place. The generator must be in evaluation mode."""
    replace_modules(generator, SPADE, FoldedSPADE)


def _bias_of(conv: nn.Conv2d) -> Tensor:
    assert conv.bias is not None  # SPADE's modulating convolutions have one
    return conv.bias.double()
