"""The weight map of the local picture as a sigmoid (both targets).

Two weight maps come from a softmax over two channels, and only the first is used: the second is one minus it. With u
and v the two channels,

    exp(u) / (exp(u) + exp(v))  =  1 / (1 + exp(v - u))  =  sigmoid(u - v)

and u - v is again a 1x1 convolution, whose weights and bias are the differences of the two.

Saved per pixel: one of two 1x1 convolutions of ngf channels, one exponential, and the writing of the second map.
"""

from __future__ import annotations

from torch import Tensor, nn

from export.rewrites.replacement import replace_modules
from lggan.networks.attention import AttentionFusion


class SigmoidAttention(nn.Module):
    """Takes the place of `AttentionFusion`. The differences are taken in float64, stored in the original type.

    Shapes: quarter [N, 4 width, H/4, W/4], classes [N, H, W] or None -> [N, 1, H, W] in (0, 1).
    """

    def __init__(self, attention: AttentionFusion) -> None:
        super().__init__()
        weight, bias = attention.weights.weight, attention.weights.bias  # [2, width, 1, 1], [2]
        assert bias is not None
        self.decoder = attention.decoder
        self.difference = nn.Conv2d(weight.shape[1], 1, 1)
        self.difference.weight = nn.Parameter(_first_minus_second(weight), requires_grad=False)
        self.difference.bias = nn.Parameter(_first_minus_second(bias), requires_grad=False)

    def forward(self, quarter: Tensor, classes: Tensor | None = None) -> Tensor:
        return self.difference(self.decoder(quarter, classes)).sigmoid()  # [N, 1, H, W]


def use_sigmoid_attention(generator: nn.Module) -> None:
    """Replace every `AttentionFusion` by a `SigmoidAttention`, in place."""
    replace_modules(generator, AttentionFusion, SigmoidAttention)


def _first_minus_second(pair: Tensor) -> Tensor:
    exact = pair.detach().double()
    return (exact[:1] - exact[1:]).to(pair.dtype)
