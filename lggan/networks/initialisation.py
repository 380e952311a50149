"""Initial weights (specification C.2)."""

from __future__ import annotations

from torch import nn
from torch.nn.utils import parametrize

GAIN = 0.02


def initialise(network: nn.Module) -> None:
    """Xavier normal with gain 0.02 for every convolution and linear layer, zero biases.

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
