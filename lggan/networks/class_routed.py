"""One convolution per class, each over the features of its class alone."""

from __future__ import annotations

from enum import Enum

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, pad

from lggan.networks.head_answers import HeadAnswers
from lggan.networks.head_routes import find_routes
from lggan.networks.routed_convolution import routed_convolution
from lggan.networks.uncompiled import uncompiled


class HeadForm(str, Enum):
    """How the bank of class convolutions is computed; the results are equal.

    ROUTED: each class where its pixels are, in sparse form. For training and for inference in PyTorch.
    DENSE: each class over the whole picture, as published. A static graph, for the export.
    """

    ROUTED = "routed"
    DENSE = "dense"


class ClassRoutedConv2d(nn.Module):
    """The bank of class-specific sub-generators' last convolutions (specification A.4) as one module.

    For class c: ``conv(W_c, b_c, reflect_pad(feature * mask_c))``; the mask comes first, then the padding. Absent
    classes are evaluated too: they answer with their bias, which later layers see.

    Shapes: feature [N, C, H, W], heads int64 [N, H, W] of 0..K-1, or K for none -> `HeadAnswers`, with tanh applied.
    """

    def __init__(self, classes: int, in_channels: int, out_channels: int, kernel: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(classes, out_channels, in_channels, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(classes, out_channels))
        self.margin = kernel // 2
        for one in self.weight:
            nn.init.xavier_normal_(one, gain=0.02)

    def forward(self, feature: Tensor, heads: Tensor, form: HeadForm = HeadForm.ROUTED) -> HeadAnswers | Tensor:
        if form is HeadForm.DENSE:
            return self._dense(feature, heads)
        return self._routed(feature, heads)

    def dense(self, feature: Tensor, masks: Tensor) -> Tensor:
        """The published form: every class over the whole picture, before tanh.

        Args:
            feature: [N, C, H, W].
            masks: [N, K, H, W] of zeros and ones.

        Returns:
            [N, K, out, H, W].
        """
        # Through the module's call, so that the nodes of a traced graph bear its name.
        answers: Tensor = self(feature, masks, HeadForm.DENSE)
        return answers

    @uncompiled
    def _routed(self, feature: Tensor, heads: Tensor) -> HeadAnswers:
        routes = find_routes(heads, self.weight.shape[0], self.weight.shape[-1])
        values = routed_convolution(feature, self.weight, self.bias, routes).tanh()  # [J, out]
        blocks = [(segment.head, segment.windows.stop - segment.windows.start) for segment in routes.segments]
        return HeadAnswers(
            values=values,
            image=routes.image,
            pixel=routes.pixel,
            head=routes.head,
            constant=self.bias.to(values.dtype).tanh(),
            size=(heads.shape[0], heads.shape[1], heads.shape[2]),
            blocks=torch.tensor(blocks, dtype=torch.int64).view(-1, 2),
        )

    def _dense(self, feature: Tensor, masks: Tensor) -> Tensor:
        around = (self.margin,) * 4
        # Reflection commutes with masking, so both are padded once instead of every masked copy.
        feature = pad(feature, around, mode="reflect")  # [N, C, H + 2m, W + 2m]
        masks = pad(masks, around, mode="reflect")  # [N, K, H + 2m, W + 2m]
        # A single grouped convolution computes the same, but with three output channels per group it takes three times
        # as long on a CPU.
        answers = [
            conv2d(feature * masks[:, index : index + 1], self.weight[index], self.bias[index])
            for index in range(self.weight.shape[0])
        ]
        return torch.stack(answers, dim=1)  # [N, K, out, H, W]
