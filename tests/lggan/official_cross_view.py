"""The published cross-view generator as one function over a state dict in the authors' layout.

Written from the specification (A.7, D.2, E.5), in any float type, one group after the other, without a module of the
project: what imported weights are compared with.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import conv2d

from tests.lggan.official_reference import Weights, decoded, instance_norm, mirrored, residual_tower

# Cityscapes' training ids: colour, and grey level of the group (specification D.2).
TRAIN_IDS = (
    (128, 64, 128, 20), (244, 35, 232, 20), (70, 70, 70, 40), (102, 102, 156, 40), (190, 153, 153, 40),
    (153, 153, 153, 30), (250, 170, 30, 30), (220, 220, 0, 30), (107, 142, 35, 60), (152, 251, 152, 20),
    (70, 130, 180, 50), (220, 20, 60, 30), (255, 0, 0, 30), (0, 0, 142, 10), (0, 0, 70, 10), (0, 60, 100, 10),
    (0, 80, 100, 10), (0, 0, 230, 10), (119, 11, 32, 10),
)  # fmt: skip


def official_state(ngf: int, seed: int) -> Weights:
    """Random weights under the authors' 72 keys, float32."""
    draw = torch.Generator().manual_seed(seed)
    state: Weights = {}

    def conv(name: str, *sizes: int, out: int | None = None) -> None:
        state[f"{name}.weight"] = torch.randn(sizes, generator=draw) / float(np.prod(sizes[1:])) ** 0.5
        state[f"{name}.bias"] = 0.3 * torch.randn(out or sizes[0], generator=draw)

    conv("conv1", ngf, 6, 7, 7)
    conv("conv2", 2 * ngf, ngf, 3, 3)
    conv("conv3", 4 * ngf, 2 * ngf, 3, 3)
    for index in range(1, 10):
        conv(f"resnet_blocks{index}.conv1", 4 * ngf, 4 * ngf, 3, 3)
        conv(f"resnet_blocks{index}.conv2", 4 * ngf, 4 * ngf, 3, 3)
    for branch in ("local", "global", "attention"):
        conv(f"deconv3_{branch}", 4 * ngf, 2 * ngf, 3, 3, out=2 * ngf)  # transposed: in, out
        conv(f"deconv4_{branch}", 2 * ngf, ngf, 3, 3, out=ngf)
    for head in (*range(1, 8), "global"):
        conv(f"deconv5_{head}", 3, ngf, 7, 7)
    conv("deconv5_attention", 2, ngf, 1, 1)
    return state


@dataclass(frozen=True)
class Outputs:
    """Images [N, 3, H, W]; ``attention_local`` [N, 1, H, W]."""

    final: Tensor
    result_global: Tensor
    result_local: Tensor
    attention_local: Tensor


def published_inputs(source: np.ndarray, label: np.ndarray, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """The two arguments of the published network from bytes: six channels, and the grey map of groups [N, 1, H, W].

    Args:
        source: uint8 [N, H, W, 3].
        label: uint8 [N, H, W], training ids; others are void.
    """
    table = np.zeros((256, 4), np.uint8)
    table[: len(TRAIN_IDS)] = TRAIN_IDS
    painted = table[label]  # [N, H, W, 4]
    six = np.concatenate([source, painted[..., :3]], axis=3).transpose(0, 3, 1, 2)
    grey = painted[:, None, :, :, 3].copy()
    return torch.from_numpy(six.astype(np.float64) / 127.5 - 1).to(dtype), torch.from_numpy(grey)


def run(state: Weights, conditions: Tensor, grey: Tensor) -> Outputs:
    """One forward pass, in the float type of ``conditions`` [N, 6, H, W]; ``grey`` uint8 [N, 1, H, W]."""
    w = {name: tensor.to(conditions.dtype) for name, tensor in state.items()}

    def conv(name: str, x: Tensor, stride: int = 1, padding: int = 0) -> Tensor:
        return conv2d(x, w[f"{name}.weight"], w[f"{name}.bias"], stride=stride, padding=padding)

    x = instance_norm(conv("conv1", mirrored(conditions, 3))).clamp(min=0)
    for name in ("conv2", "conv3"):
        x = instance_norm(conv(name, x, stride=2, padding=1)).clamp(min=0)
    middle = residual_tower(w, x)
    f = decoded(w, "local", middle)
    groups = [conv(f"deconv5_{i}", mirrored(f * (grey == 10 * i), 3)).tanh() for i in range(1, 7)]
    result_local = torch.stack(groups).sum(dim=0)
    result_global = conv("deconv5_global", mirrored(decoded(w, "global", middle), 3)).tanh()
    attention = conv("deconv5_attention", decoded(w, "attention", middle)).softmax(dim=1)
    return Outputs(
        final=attention[:, :1] * result_local + attention[:, 1:] * result_global,
        result_global=result_global,
        result_local=result_local,
        attention_local=attention[:, :1],
    )
