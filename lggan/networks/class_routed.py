"""One convolution per class, each over the features of its class alone."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, pad


class ClassRoutedConv2d(nn.Module):
    """The bank of class-specific sub-generators' last convolutions (specification A.4) as one module.

    For class c: ``conv(W_c, b_c, reflect_pad(feature * mask_c))``; the mask comes first, then the padding. Absent
    classes are evaluated too: they answer with their bias, which later layers see.

    The classes are evaluated one after the other. A single grouped convolution computes the same, but with three
    output channels per group it takes three times as long on a CPU.

    Shapes: feature [N, C, H, W], masks [N, K, H, W] of zeros and ones -> [N, K, out, H, W].
    """

    def __init__(self, classes: int, in_channels: int, out_channels: int, kernel: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(classes, out_channels, in_channels, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(classes, out_channels))
        self.margin = kernel // 2
        for one in self.weight:
            nn.init.xavier_normal_(one, gain=0.02)

    def forward(self, feature: Tensor, masks: Tensor) -> Tensor:
        around = (self.margin,) * 4
        # Reflection commutes with masking, so both are padded once instead of every masked copy.
        feature = pad(feature, around, mode="reflect")  # [N, C, H + 2m, W + 2m]
        masks = pad(masks, around, mode="reflect")  # [N, K, H + 2m, W + 2m]
        answers = [
            conv2d(feature * masks[:, index : index + 1], self.weight[index], self.bias[index])
            for index in range(self.weight.shape[0])
        ]
        return torch.stack(answers, dim=1)  # [N, K, out, H, W]
