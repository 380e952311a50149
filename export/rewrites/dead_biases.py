"""Biases that make no difference, or that a norm further on can take over (both targets).

* In front of an instance norm a bias is dead: the norm subtracts the mean of each channel, and the bias with it.
* In front of a batch norm with running statistics it is a shift of the mean: ``(x + c) - mean = x - (mean - c)``. The
  first convolution of a SPADE block stands in front of such a norm. The bias of the second one travels: nearest
  neighbour doubling keeps a constant a constant, the next block's norms take it over, and where that block's shortcut
  is the identity it goes on to the block after it. The bias that arrives at the end stays where it is, in the last
  block, since no norm follows. Semantic-aware upsampling stops it as well: the kernels depend on the values.

Saved: little where a convolution adds its bias for nothing, a pass over the whole map where it does not
(`export.rewrites.winograd`).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lggan.networks.cross_view import ConditionEncoder
from lggan.networks.decoder import Decoder
from lggan.networks.encoder import Encoder
from lggan.networks.global_branch import GlobalBranch, NearestDoubling, NoDoubling
from lggan.networks.local_branch import ResidualBlock
from lggan.networks.spade import SPADE, SPADEResBlock


def drop_dead_biases(generator: nn.Module) -> None:
    """Take the biases away that norms make superfluous, in place.

    The generator must be in evaluation mode. To be called before `fold_batch_norms`: a norm that is folded already
    takes nothing over, and the biases in front of it stay.
    """
    for module in generator.modules():
        if isinstance(module, Encoder):
            _drop(module.conv1, module.conv2, module.conv3, module.conv4, module.conv5)
        elif isinstance(module, ConditionEncoder):
            _drop(module.conv1, module.conv2, module.conv3)
        elif isinstance(module, Decoder):
            _drop(module.up1, module.up2)
        elif isinstance(module, ResidualBlock):
            _drop(module.conv1, module.conv2)
        elif isinstance(module, GlobalBranch) and _all_norms_are_plain(module):
            _hand_over(module)


def _drop(*layers: nn.Module) -> None:
    for layer in layers:
        layer.bias = None  # type: ignore[assignment]


def _all_norms_are_plain(branch: GlobalBranch) -> bool:
    return all(
        isinstance(block, SPADEResBlock) and all(isinstance(norm, SPADE) for norm in _norms_of(block))
        for block in branch.blocks
    )


def _norms_of(block: SPADEResBlock) -> list[SPADE]:
    return [norm for norm in (block.norm_0, block.norm_1, block.norm_s) if norm is not None]


def _hand_over(branch: GlobalBranch) -> None:
    """Move the biases of all blocks into the norms that follow them."""
    arriving: Tensor | None = None  # what is missing from a block's input, float64 [in]
    doublings = [*branch.doublings, None]  # behind each block; nothing behind the last one
    for block, doubling in zip(branch.blocks, doublings, strict=True):
        assert isinstance(block, SPADEResBlock)
        if arriving is not None:
            _lower_mean(block.norm_0, arriving)
            if block.norm_s is not None:
                _lower_mean(block.norm_s, arriving)
        _lower_mean(block.norm_1, _taken_from(block.conv_0))
        leaving = _taken_from(block.conv_1)
        if arriving is not None and block.norm_s is None:
            leaving = leaving + arriving
        if isinstance(doubling, NearestDoubling | NoDoubling):
            arriving = leaving
        else:
            bias = leaving.to(block.conv_1.weight.dtype)
            block.conv_1.bias = nn.Parameter(bias, requires_grad=False)
            arriving = None


def _taken_from(conv: nn.Conv2d) -> Tensor:
    """The bias of a convolution, float64, which has none afterwards."""
    bias = torch.zeros(conv.out_channels, dtype=torch.float64) if conv.bias is None else conv.bias.detach().double()
    conv.bias = None
    return bias


def _lower_mean(spade: SPADE, by: Tensor) -> None:
    mean = spade.norm.running_mean
    assert mean is not None, "SPADE keeps running statistics"
    spade.norm.running_mean = (mean.double() - by).to(mean.dtype)
