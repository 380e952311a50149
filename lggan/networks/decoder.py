"""The two doublings from a quarter-size map back to the picture's size, which several branches have."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import instance_norm, relu

from lggan.config import SauConfig, SauPlacement
from lggan.networks.upsample import SemanticAwareUpsample


class Decoder(nn.Module):
    """Two upsampling layers, 4 width -> 2 width -> width, each with instance normalisation and ReLU.

    The layers are transposed 3x3 convolutions, or semantic-aware upsampling (placement ``decoders``). With placement
    ``encoder`` the input has been doubled already and the first layer is a plain 3x3 convolution.

    Shapes: [N, 4 width, H/4, W/4] (or H/2, W/2), classes [N, H, W] or None -> [N, width, H, W].
    """

    def __init__(self, width: int, sau: SauConfig) -> None:
        super().__init__()
        self.up1: nn.Module
        if sau.placement is SauPlacement.ENCODER:
            self.up1 = nn.Conv2d(4 * width, 2 * width, 3, padding=1)
        else:
            self.up1 = _upsampling(4 * width, 2 * width, sau)
        self.up2 = _upsampling(2 * width, width, sau)

    def forward(self, quarter: Tensor, classes: Tensor | None = None) -> Tensor:
        x = relu(instance_norm(_run(self.up1, quarter, classes)))  # [N, 2 width, H/2, W/2]
        return relu(instance_norm(_run(self.up2, x, classes)))  # [N, width, H, W]


def _upsampling(in_channels: int, out_channels: int, sau: SauConfig) -> nn.Module:
    if sau.placement is SauPlacement.DECODERS:
        return SemanticAwareUpsample(in_channels, out_channels, sau)
    return nn.ConvTranspose2d(in_channels, out_channels, 3, stride=2, padding=1, output_padding=1)


def _run(layer: nn.Module, x: Tensor, classes: Tensor | None) -> Tensor:
    """Only semantic-aware upsampling has a use for the class map."""
    return layer(x, classes) if isinstance(layer, SemanticAwareUpsample) else layer(x)
