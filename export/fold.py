"""Exact rewrites of the generator before it is traced: the same function with fewer operations.

Spectral normalisation is folded in the checkpoint already (`lggan.networks.generator.fold_spectral_norm`).
"""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, relu

from lggan.networks.class_routed import HeadForm
from lggan.networks.cross_view import ConditionEncoder, SummedLocalBranch
from lggan.networks.decoder import Decoder
from lggan.networks.encoder import Encoder
from lggan.networks.local_branch import LocalBranch, ResidualBlock
from lggan.networks.spade import SPADE

ModuleT = TypeVar("ModuleT", bound=nn.Module)


class FoldedSPADE(nn.Module):
    """A SPADE normalisation whose batch norm is part of its modulation: ``x * scale + shift``.

    In evaluation mode, batch norm is ``a x + b`` per channel, with ``a = 1 / sqrt(var + eps)`` and ``b = -a mean``.
    With G, g and B, e the weights and biases of the two modulating convolutions of the hidden map h,

        (a x + b) (1 + G h + g) + B h + e  =  x (a G h + a (1 + g))  +  (B + b G) h + e + b (1 + g)

    so both factors are convolutions of h again, and one convolution of twice the channels gives both. Folded in
    float64, stored in the original type.

    Shapes: x [N, C, H, W], semantics [N, S, H', W'] -> [N, C, H, W].
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


def folded(generator: ModuleT) -> ModuleT:
    """A rewritten copy of a generator (or a part of one) in evaluation mode; the original is left as it is.

    Batch norm goes into SPADE's modulation (`FoldedSPADE`). Biases in front of an instance norm go: the norm subtracts
    the mean and the bias with it. The class-specific heads take their dense form, whose graph is the same for every
    label map.
    """
    rewritten = copy.deepcopy(generator).eval().requires_grad_(False)
    _fold_batch_norms(rewritten)
    for module in rewritten.modules():
        if isinstance(module, Encoder):
            _drop_biases(module.conv1, module.conv2, module.conv3, module.conv4, module.conv5)
        elif isinstance(module, ConditionEncoder):
            _drop_biases(module.conv1, module.conv2, module.conv3)
        elif isinstance(module, Decoder):
            _drop_biases(module.up1, module.up2)
        elif isinstance(module, ResidualBlock):
            _drop_biases(module.conv1, module.conv2)
        elif isinstance(module, LocalBranch | SummedLocalBranch):
            module.form = HeadForm.DENSE
    return rewritten


def _fold_batch_norms(module: nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, SPADE):
            setattr(module, name, FoldedSPADE(child))
        else:
            _fold_batch_norms(child)


def _drop_biases(*layers: nn.Module) -> None:
    for layer in layers:
        layer.bias = None  # type: ignore[assignment]


def _bias_of(conv: nn.Conv2d) -> Tensor:
    assert conv.bias is not None  # SPADE's modulating convolutions have one
    return conv.bias.double()
