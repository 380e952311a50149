"""Batch normalisation with the statistics of all processes, on any device that can sum over them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed, nn


class SynchronisedBatchNorm2d(nn.BatchNorm2d):
    """Parameter-free batch normalisation whose batch is that of all processes together.

    In training mode each channel is normalised with mean and biased variance over every process's examples, weighted
    by their number of pixels; the running variance is the unbiased one. The backward pass takes the gradient of the
    sum of all processes' losses, which `torch.nn.parallel.DistributedDataParallel` then averages. In evaluation mode,
    and without a process group, it is `torch.nn.BatchNorm2d`, whose state-dict keys it shares.

    PyTorch's own `torch.nn.SyncBatchNorm` computes the same on GPUs, and refuses CPUs.

    Shapes: [N, C, H, W] -> [N, C, H, W], float; statistics in float32 at least.
    """

    @torch.compiler.disable  # a collective between processes is no part of a graph
    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not distributed.is_initialized() or distributed.get_world_size() == 1:
            return super().forward(x)
        normalised, mean, variance, count = _Normalisation.apply(x, self.eps)
        self._remember(mean, variance * (count / (count - 1)))
        return normalised

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        if self.num_batches_tracked is None or self.running_mean is None or self.running_var is None:
            return
        self.num_batches_tracked += 1
        weight = self.momentum if self.momentum is not None else 1.0 / int(self.num_batches_tracked)
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), weight)
        self.running_var.lerp_(variance.to(self.running_var.dtype), weight)


def synchronise_batch_norms(network: nn.Module) -> None:
    """Replace every `torch.nn.BatchNorm2d` below ``network`` by its synchronised form, with the same running values.

    Raises:
        ValueError: one has affine parameters (no network of this project has).
    """
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.BatchNorm2d:
                setattr(parent, name, _synchronised(child))


def _synchronised(norm: nn.BatchNorm2d) -> SynchronisedBatchNorm2d:
    if norm.affine:
        raise ValueError("only batch normalisation without affine parameters can be synchronised")
    twin = SynchronisedBatchNorm2d(
        norm.num_features, norm.eps, norm.momentum, affine=False, track_running_stats=norm.track_running_stats
    )
    for name, buffer in norm.named_buffers(recurse=False):
        setattr(twin, name, buffer)
    return twin.train(norm.training)


class _Normalisation(torch.autograd.Function):
    """``(x - mean) / sqrt(variance + eps)`` per channel over the batches of all processes."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        wide = _wide(x)
        summed = wide.sum(dim=(0, 2, 3))  # [C]
        pixels = summed.new_tensor([x.shape[0] * x.shape[2] * x.shape[3]])
        together = torch.cat([summed, pixels])  # [C + 1]
        distributed.all_reduce(together)
        count = together[-1]
        mean = together[:-1] / count  # [C]
        # A second pass for the variance: the difference of two large sums would lose the digits of a small one.
        squares = (wide - _per_channel(mean)).square().sum(dim=(0, 2, 3))  # [C]
        distributed.all_reduce(squares)
        variance = squares / count
        scale = torch.rsqrt(variance + eps)
        ctx.save_for_backward(x, mean, scale, count)
        ctx.mark_non_differentiable(mean, variance, count)
        return ((wide - _per_channel(mean)) * _per_channel(scale)).to(x.dtype), mean, variance, count

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, *_: Tensor) -> tuple[Tensor, None]:
        x, mean, scale, count = ctx.saved_tensors
        wide = _wide(gradient)
        normalised = (_wide(x) - _per_channel(mean)) * _per_channel(scale)
        sums = torch.stack([wide.sum(dim=(0, 2, 3)), (wide * normalised).sum(dim=(0, 2, 3))])  # [2, C]
        distributed.all_reduce(sums)
        shift, slope = sums / count
        to_x = _per_channel(scale) * (wide - _per_channel(shift) - normalised * _per_channel(slope))
        return to_x.to(x.dtype), None


def _per_channel(values: Tensor) -> Tensor:
    return values.view(1, -1, 1, 1)


def _wide(x: Tensor) -> Tensor:
    return x if x.dtype is torch.float64 else x.float()
