"""Initial weights (specification C.2, C.3)."""

from __future__ import annotations

from torch import nn
from torch.nn.utils import parametrize

from lggan.networks.class_routed import ClassRoutedConv2d

GAIN = 0.02
DEVIATION = 0.02


def initialise_xavier(network: nn.Module) -> None:
    """Xavier normal with gain 0.02 for every convolution and linear layer, zero biases: semantic synthesis.

    The weights of spectrally normalised convolutions stay at PyTorch's default: the norm divides any gain away, and the
    authors' training on GPUs behaved so. The kernel predictors of semantic-aware upsampling start near zero, hence with
    almost equal weights for all taps.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            if not parametrize.is_parametrized(module):
                nn.init.xavier_normal_(module.weight, gain=GAIN)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def initialise_normal(network: nn.Module) -> None:
    """Normal with deviation 0.02 for every convolution, zero biases: cross-view translation."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | ClassRoutedConv2d):
            nn.init.normal_(module.weight, 0.0, DEVIATION)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
