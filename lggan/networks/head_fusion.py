"""The convolution over the pictures of all heads, computed from their sparse form (specification F.4.4)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import conv2d, fold

from lggan.networks.head_answers import HeadAnswers
from lggan.networks.uncompiled import uncompiled


@uncompiled
def fused_heads(answers: HeadAnswers, weight: Tensor, bias: Tensor) -> Tensor:
    """What a zero-padded convolution over ``to_dense(answers).flatten(1, 2)`` gives, without the dense pictures.

    A head's picture is a constant plus what the listed pairs deviate from it. The constants of all heads together, the
    absent ones too, are a convolution of a picture of ones. Of each deviation one matrix product tells what it adds to
    the pixels around it.

    Args:
        weight: [M, K * out, k, k], k odd.
        bias: [M].

    Returns:
        [N, M, H, W] of the type of ``answers``.
    """
    n, height, width = answers.size
    heads, out = answers.constant.shape
    maps, _, k, _ = weight.shape
    with torch.autocast(weight.device.type, enabled=False):
        weight = weight.to(answers.values.dtype).view(maps, heads, out, k, k)
        everywhere = torch.einsum("mhoyx,ho->myx", weight, answers.constant).unsqueeze(1)  # [M, 1, k, k]
        ones = weight.new_ones(1, 1, height, width)
        background = conv2d(ones, everywhere, bias.to(weight.dtype), padding=k // 2)  # [1, M, H, W]

        # Scattering from a pixel to its surroundings meets the taps in the opposite order of gathering from there.
        scatter = weight.flip(3, 4).permute(1, 0, 3, 4, 2).reshape(heads, maps * k * k, out)
        gathered = weight.new_zeros(maps * k * k, n * height * width)
        for head, places, values in answers.by_block():
            beyond = values - answers.constant[head]  # [pairs, out]
            gathered.index_add_(1, places, torch.mm(scatter[head], beyond.t()))
        gathered = gathered.view(maps * k * k, n, height * width).transpose(0, 1)  # [N, M k k, H W]
        return background + fold(gathered, (height, width), k, padding=k // 2)
