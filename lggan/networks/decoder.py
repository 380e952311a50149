"""The two doublings from a quarter-size map back to the picture's size, used by the local and the attention branch."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import instance_norm, relu

from lggan.config import GeneratorConfig, SauPlacement
from lggan.networks.upsample import SemanticAwareUpsample


class Decoder(nn.Module):
    """Two upsampling layers, 4 ngf -> 2 ngf -> ngf, each with instance normalisation and ReLU.

    The layers are transposed 3x3 convolutions, or semantic-aware upsampling (placement ``decoders``). With placement
    ``encoder`` the input has been doubled already and the first layer is a plain 3x3 convolution.

    Shapes: [N, 4 ngf, H/4, W/4] (or H/2, W/2) -> [N, ngf, H, W].
    """

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        width = config.ngf
        self.up1: nn.Module
        if config.sau.placement is SauPlacement.ENCODER:
            self.up1 = nn.Conv2d(4 * width, 2 * width, 3, padding=1)
        else:
            self.up1 = _upsampling(4 * width, 2 * width, config)
        self.up2 = _upsampling(2 * width, width, config)

    def forward(self, quarter: Tensor) -> Tensor:
        x = relu(instance_norm(self.up1(quarter)))  # [N, 2 ngf, H/2, W/2]
        return relu(instance_norm(self.up2(x)))  # [N, ngf, H, W]


def _upsampling(in_channels: int, out_channels: int, config: GeneratorConfig) -> nn.Module:
    if config.sau.placement is SauPlacement.DECODERS:
        return SemanticAwareUpsample(in_channels, out_channels, config.sau)
    return nn.ConvTranspose2d(in_channels, out_channels, 3, stride=2, padding=1, output_padding=1)
