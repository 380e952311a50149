"""The published semantic-synthesis generator as one function over a state dict in the authors' layout.

Written from the specification (A.1 to A.6, E.2, E.3), in any float type, one class after the other, without a module of
the project: what imported weights are compared with.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import conv2d, conv_transpose2d, leaky_relu, linear, pad, pixel_shuffle, unfold

Weights = dict[str, Tensor]


@dataclass(frozen=True)
class Shape:
    """What the official code hard-wires per data set."""

    classes: int
    edges: bool
    heads: int
    scored: int
    ngf: int
    doublings: int
    spade_hidden: int = 128
    residual_blocks: int = 9
    sau_kernel: int = 0  # taps per side of semantic-aware upsampling; 0 for transposed convolutions

    @property
    def semantic_channels(self) -> int:
        return self.classes + int(self.edges)


def official_state(shape: Shape, seed: int) -> Weights:
    """Random weights under the authors' keys, float32; vectors of spectral normalisation as after training."""
    draw = torch.Generator().manual_seed(seed)
    state: Weights = {}
    n, s = shape.ngf, shape.semantic_channels

    def add(name: str, *sizes: int) -> None:
        fan_in = int(np.prod(sizes[1:])) if len(sizes) > 1 else 10
        state[name] = torch.randn(sizes, generator=draw) / fan_in**0.5

    def conv(name: str, out: int, inner: int, k: int) -> None:
        add(f"{name}.weight", out, inner, k, k)
        add(f"{name}.bias", out)

    def spectral(name: str, out: int, inner: int, k: int, bias: bool = True) -> None:
        add(f"{name}.weight_orig", out, inner, k, k)
        matrix = state[f"{name}.weight_orig"].flatten(1)
        u = torch.randn(out, generator=draw)
        for _ in range(3):
            v = torch.nn.functional.normalize(matrix.T @ u, dim=0)
            u = torch.nn.functional.normalize(matrix @ v, dim=0)
        state[f"{name}.weight_u"], state[f"{name}.weight_v"] = u, v
        if bias:
            add(f"{name}.bias", out)

    def norm(name: str, channels: int) -> None:
        state[f"{name}.param_free_norm.running_mean"] = 0.2 * torch.randn(channels, generator=draw)
        state[f"{name}.param_free_norm.running_var"] = 0.5 + torch.rand(channels, generator=draw)
        state[f"{name}.param_free_norm.num_batches_tracked"] = torch.tensor(7)
        conv(f"{name}.mlp_shared.0", shape.spade_hidden, s, 3)
        conv(f"{name}.mlp_gamma", channels, shape.spade_hidden, 3)
        conv(f"{name}.mlp_beta", channels, shape.spade_hidden, 3)

    conv("fc", 16 * n, s, 3)
    widths = {"head_0": (16, 16), "G_middle_0": (16, 16), "G_middle_1": (16, 16),
              "up_0": (16, 8), "up_1": (8, 4), "up_2": (4, 2), "up_3": (2, 1)}  # fmt: skip
    for block, (before, after) in widths.items():
        spectral(f"{block}.conv_0", after * n, before * n, 3)
        spectral(f"{block}.conv_1", after * n, after * n, 3)
        norm(f"{block}.norm_0", before * n)
        norm(f"{block}.norm_1", after * n)
        if before != after:
            spectral(f"{block}.conv_s", after * n, before * n, 1, bias=False)
            norm(f"{block}.norm_s", before * n)
    conv("conv_img", 3, n, 3)
    for index, (before, after, k) in enumerate(((s, n, 7), (n, 2 * n, 3), (2 * n, 4 * n, 3), (4 * n, 8 * n, 3),
                                                (8 * n, 16 * n, 3)), start=1):  # fmt: skip
        conv(f"conv{index}", after, before, k)
    for index in range(1, shape.residual_blocks + 1):
        conv(f"resnet_blocks{index}.conv1", 4 * n, 4 * n, 3)
        conv(f"resnet_blocks{index}.conv2", 4 * n, 4 * n, 3)
    for branch in ("local", "attention"):
        for index, before, after in ((3, 4 * n, 2 * n), (4, 2 * n, n)):
            if shape.sau_kernel:
                name = f"deconv{index}_{branch}"
                conv(f"{name}.sakg_block.feature_channel_compression", 6, before, 1)
                conv(f"{name}.sakg_block.semantic_kernel_generation", 4 * shape.sau_kernel**2, 6, 1)
                conv(f"{name}.downsample", after, before, 1)
                continue
            add(f"deconv{index}_{branch}.weight", before, after, 3, 3)  # transposed: in, out
            add(f"deconv{index}_{branch}.bias", after)
    conv("deconv5_attention", 2, n, 1)
    for head in range(shape.heads):
        conv(f"deconv5_{head}", 3, n, 7)
    conv("deconv9", 3, 3 * shape.heads, 3)
    add("fc2.weight", shape.scored, n)
    add("fc2.bias", shape.scored)
    return state


@dataclass(frozen=True)
class Outputs:
    """In evaluation mode; ``attention_local`` [N, 1, H, W], ``score`` [N, scored, scored], ``valid`` [N, scored]."""

    final: Tensor
    result_global: Tensor
    result_local: Tensor
    attention_local: Tensor
    score: Tensor
    valid: Tensor


def run(state: Weights, shape: Shape, semantics: Tensor) -> Outputs:
    """One forward pass in evaluation mode, in the float type of ``semantics`` [N, S, H, W]."""
    w = {name: tensor.to(semantics.dtype) for name, tensor in state.items() if tensor.is_floating_point()}

    def conv(name: str, x: Tensor, stride: int = 1, padding: int = 0) -> Tensor:
        return conv2d(x, w[f"{name}.weight"], w[f"{name}.bias"], stride=stride, padding=padding)

    def spectral(name: str, x: Tensor, padding: int) -> Tensor:
        weight = w[f"{name}.weight_orig"]
        sigma = w[f"{name}.weight_u"] @ (weight.flatten(1) @ w[f"{name}.weight_v"])
        return conv2d(x, weight / sigma, w.get(f"{name}.bias"), padding=padding)

    def spade(name: str, x: Tensor) -> Tensor:
        rows = torch.arange(x.shape[2]) * semantics.shape[2] // x.shape[2]
        columns = torch.arange(x.shape[3]) * semantics.shape[3] // x.shape[3]
        hidden = conv(f"{name}.mlp_shared.0", semantics[:, :, rows][..., columns], padding=1).clamp(min=0)
        mean, variance = (w[f"{name}.param_free_norm.running_{kind}"].view(1, -1, 1, 1) for kind in ("mean", "var"))
        normal = (x - mean) / (variance + 1e-5).sqrt()
        return normal * (1 + conv(f"{name}.mlp_gamma", hidden, padding=1)) + conv(f"{name}.mlp_beta", hidden, padding=1)

    def block(name: str, x: Tensor) -> Tensor:
        dx = spectral(f"{name}.conv_0", leaky_relu(spade(f"{name}.norm_0", x), 0.2), 1)
        dx = spectral(f"{name}.conv_1", leaky_relu(spade(f"{name}.norm_1", dx), 0.2), 1)
        learned = f"{name}.conv_s.weight_orig" in w
        return dx + (spectral(f"{name}.conv_s", spade(f"{name}.norm_s", x), 0) if learned else x)

    def up(x: Tensor) -> Tensor:
        return x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)

    x = instance_norm(conv("conv1", mirrored(semantics, 3))).clamp(min=0)
    for name in ("conv2", "conv3"):
        x = instance_norm(conv(name, x, stride=2, padding=1)).clamp(min=0)
    x_encode = x

    for name in ("conv4", "conv5"):
        x = instance_norm(conv(name, x, stride=2, padding=1)).clamp(min=0)
    grid = [side >> shape.doublings for side in semantics.shape[2:]]
    rows, columns = (torch.arange(new) * old // new for new, old in zip(grid, x.shape[2:], strict=True))
    x = up(block("head_0", x[:, :, rows][..., columns]))
    x = block("G_middle_0", x)
    x = block("G_middle_1", up(x) if shape.doublings == 6 else x)
    for name in ("up_0", "up_1", "up_2", "up_3"):
        x = block(name, up(x))
    result_global = conv("conv_img", leaky_relu(x, 0.2), padding=1).tanh()

    f = decoded(w, "local", residual_tower(w, x_encode))
    masks = [semantics[:, c : c + 1] for c in range(shape.heads)]
    if shape.heads < shape.classes:
        masks[-1] = semantics[:, shape.heads - 1 : shape.classes].sum(dim=1, keepdim=True)
    images = [conv(f"deconv5_{c}", mirrored(f * mask, 3)).tanh() for c, mask in enumerate(masks)]
    result_local = conv("deconv9", torch.cat(images, dim=1), padding=1).tanh()

    attention = conv("deconv5_attention", decoded(w, "attention", x_encode)).softmax(dim=1)
    pooled = torch.stack([(f * mask).mean(dim=(2, 3)) for mask in masks[: shape.scored]], dim=1)
    return Outputs(
        final=attention[:, :1] * result_local + attention[:, 1:] * result_global,
        result_global=result_global,
        result_local=result_local,
        attention_local=attention[:, :1],
        score=linear(pooled, w["fc2.weight"], w["fc2.bias"]),
        valid=torch.stack([mask.amax(dim=(1, 2, 3)) for mask in masks[: shape.scored]], dim=1),
    )


def residual_tower(w: Weights, x: Tensor) -> Tensor:
    """The residual blocks 1, 2, ... as far as there are weights for them."""
    for index in itertools.count(1):
        name = f"resnet_blocks{index}"
        if f"{name}.conv1.weight" not in w:
            break
        inner = conv2d(mirrored(x, 1), w[f"{name}.conv1.weight"], w[f"{name}.conv1.bias"])
        inner = instance_norm(inner).clamp(min=0)
        x = x + instance_norm(conv2d(mirrored(inner, 1), w[f"{name}.conv2.weight"], w[f"{name}.conv2.bias"]))
    return x


def decoded(w: Weights, branch: str, x: Tensor) -> Tensor:
    """The two doublings of a branch: transposed convolutions, or semantic-aware upsampling where the keys are its."""
    for index in (3, 4):
        name = f"deconv{index}_{branch}"
        if f"{name}.weight" in w:
            x = conv_transpose2d(x, w[f"{name}.weight"], w[f"{name}.bias"], stride=2, padding=1, output_padding=1)
        else:
            x = _reassembled(w, name, x)
        x = instance_norm(x).clamp(min=0)
    return x


def _reassembled(w: Weights, name: str, x: Tensor) -> Tensor:
    """Specification B.3 to the letter: unfold the enlarged map, weigh, and only then change the channels."""
    logits = x
    for step in ("feature_channel_compression", "semantic_kernel_generation"):
        logits = conv2d(logits, w[f"{name}.sakg_block.{step}.weight"], w[f"{name}.sakg_block.{step}.bias"])
    kernels = pixel_shuffle(logits, 2).softmax(dim=1)  # [N, k², 2H, 2W]
    k = math.isqrt(kernels.shape[1])
    n, channels, h, wide = x.shape
    enlarged = x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    blocks = unfold(enlarged, k, padding=k // 2).view(n, channels, k * k, 2 * h, 2 * wide)
    y = (blocks * kernels[:, None]).sum(dim=2)  # [N, C, 2H, 2W]
    return conv2d(y, w[f"{name}.downsample.weight"], w[f"{name}.downsample.bias"])


def mirrored(x: Tensor, margin: int) -> Tensor:
    """Reflection padding on all four sides."""
    return pad(x, (margin,) * 4, mode="reflect")


def instance_norm(x: Tensor) -> Tensor:
    """Each channel of each picture to mean 0 and variance 1."""
    mean, variance = x.mean(dim=(2, 3), keepdim=True), x.var(dim=(2, 3), correction=0, keepdim=True)
    return (x - mean) / (variance + 1e-5).sqrt()
