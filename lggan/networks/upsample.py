"""Semantic-aware upsampling (SAU): content-adaptive reassembly of source pixels.

For an output pixel p' whose source cell is p = floor(p' / s), with one predicted kernel per output pixel:

    K_p'  = softmax over the k*k taps of logits_p'
    y(p') = sum over taps n of K_p'(n) * x(p + n)        taps outside the source count as zero, nothing is renormalised

The TPAMI paper's equations are not available as code; this follows its figures, the abstract and CARAFE
(arXiv 1905.02188), and is a reconstruction.

The operation is a PyTorch custom operator with its own backward pass. Neither direction ever holds the k*k-fold
unfolded map: each tap is one multiply-add over views of the padded source.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, pad

from lggan.config import SauConfig, SauMask, SauWindow

SCALE = 2  # every upsampling of LGGAN doubles
_NO_WEIGHT = -1e4  # finite, so that it survives float16; exp of it is zero beside any logit of use


@torch.library.custom_op("lggan::semantic_aware_upsample", mutates_args=())
def semantic_aware_upsample(feature: Tensor, logits: Tensor, kernel: int, scale: int, dilation: int) -> Tensor:
    """Upsample by reassembling k x k neighbourhoods with predicted kernels; differentiable in both tensors.

    Args:
        feature: x, float [N, C, H, W].
        logits: float [N, k*k*s*s, H, W] in pixel-shuffle order: channel ``n*s*s + dy*s + dx`` holds tap n (row-major
            in the window) of the output pixel (s*h + dy, s*w + dx). The softmax over n is part of the operation.
        kernel: k, odd.
        scale: s >= 1.
        dilation: distance between taps on the enlarged map. ``scale`` gives k x k distinct source pixels (CARAFE);
            1 gives k x k neighbours on the nearest-neighbour enlarged map (`SauWindow.EXPANDED`).

    Returns:
        [N, C, s*H, s*W] of the feature's dtype. Sums run in float32 at least.

    Raises:
        RuntimeError: shapes that do not belong together (PyTorch's own convention for operators).
    """
    _check_shapes(feature, logits, kernel, scale, dilation)
    n, channels, h, w = feature.shape
    padded, margin = _pad_source(_wide(feature), kernel, scale, dilation)
    weights = _tap_weights(logits, kernel, scale)  # [N, k², s², H, W]
    output = padded.new_zeros(n, channels, scale * scale, h, w)
    for tap, subs, dy, dx in _taps(kernel, scale, dilation):
        source = padded[:, :, None, margin + dy : margin + dy + h, margin + dx : margin + dx + w]
        output[:, :, subs].addcmul_(source, weights[:, tap, subs].unsqueeze(1))
    return _interleave(output, scale).to(feature.dtype)  # [N, C, sH, sW]


@semantic_aware_upsample.register_fake
def _(feature: Tensor, logits: Tensor, kernel: int, scale: int, dilation: int) -> Tensor:
    n, channels, h, w = feature.shape
    return feature.new_empty(n, channels, h * scale, w * scale)


@torch.library.custom_op("lggan::semantic_aware_upsample_backward", mutates_args=())
def _backward(
    gradient: Tensor, feature: Tensor, logits: Tensor, kernel: int, scale: int, dilation: int
) -> tuple[Tensor, Tensor]:
    h, w = feature.shape[2:]
    padded, margin = _pad_source(_wide(feature), kernel, scale, dilation)
    weights = _tap_weights(logits, kernel, scale)  # [N, k², s², H, W]
    parts = _separate(_wide(gradient), scale)  # [N, C, s², H, W]
    to_source = torch.zeros_like(padded)
    to_weights = torch.empty_like(weights)
    for tap, subs, dy, dx in _taps(kernel, scale, dilation):
        rows, columns = slice(margin + dy, margin + dy + h), slice(margin + dx, margin + dx + w)
        part = parts[:, :, subs]  # [N, C, 1 or s², H, W]
        to_source[:, :, rows, columns] += (part * weights[:, tap, subs].unsqueeze(1)).sum(dim=2)
        to_weights[:, tap, subs] = (part * padded[:, :, None, rows, columns]).sum(dim=1)
    to_logits = weights * (to_weights - (weights * to_weights).sum(dim=1, keepdim=True))  # softmax, over the taps
    to_feature = to_source[:, :, margin : margin + h, margin : margin + w].contiguous()
    return to_feature.to(feature.dtype), to_logits.reshape(logits.shape).to(logits.dtype)


@_backward.register_fake
def _(
    gradient: Tensor, feature: Tensor, logits: Tensor, kernel: int, scale: int, dilation: int
) -> tuple[Tensor, Tensor]:
    return torch.empty_like(feature), torch.empty_like(logits)


def _remember(
    ctx: torch.autograd.function.FunctionCtx, inputs: tuple[Tensor, Tensor, int, int, int], output: Tensor
) -> None:
    feature, logits, kernel, scale, dilation = inputs
    ctx.save_for_backward(feature, logits)
    ctx.geometry = (kernel, scale, dilation)  # type: ignore[attr-defined]


def _gradients(ctx: torch.autograd.function.FunctionCtx, gradient: Tensor) -> tuple[Tensor | None, ...]:
    feature, logits = ctx.saved_tensors  # type: ignore[attr-defined]
    kernel, scale, dilation = ctx.geometry  # type: ignore[attr-defined]
    to_feature, to_logits = _backward(gradient.contiguous(), feature, logits, kernel, scale, dilation)
    return to_feature, to_logits, None, None, None


semantic_aware_upsample.register_autograd(_gradients, setup_context=_remember)


def mask_other_classes(logits: Tensor, classes: Tensor, kernel: int, scale: int, dilation: int) -> Tensor:
    """Take the weight from taps whose source pixel has another class than the output pixel.

    Where no tap has the output pixel's class (a class so thin that the source map lost it), all taps keep theirs.
    Taps outside the source have no class. This variant is the project's own (`lggan.config.SauMask`).

    Args:
        logits, kernel, scale, dilation: of `semantic_aware_upsample`.
        classes: class map of the whole picture, integers [N, H', W'] not below 0, of any size; it is brought to the
            sizes of the source and of the output by nearest neighbour.

    Returns:
        logits with those of the other taps so low that the softmax gives them nothing.
    """
    h, w = logits.shape[2:]
    plane = classes.unsqueeze(1).to(torch.float32)  # ids are small whole numbers; nearest copies them exactly
    source = interpolate(plane, size=(h, w), mode="nearest")  # [N, 1, H, W]
    wanted = _separate(interpolate(plane, size=(h * scale, w * scale), mode="nearest"), scale)[:, 0]  # [N, s², H, W]
    margin = -((-(kernel // 2) * dilation) // scale)
    padded = pad(source, (margin, margin, margin, margin), value=-1.0)
    same: list[list[Tensor]] = [[] for _ in range(kernel * kernel)]
    for tap, subs, dy, dx in _taps(kernel, scale, dilation):
        same[tap].append(padded[:, :, margin + dy : margin + dy + h, margin + dx : margin + dx + w] == wanted[:, subs])
    keep = torch.stack([torch.cat(parts, dim=1) for parts in same], dim=1)  # [N, k², s², H, W]
    keep = keep | ~keep.any(dim=1, keepdim=True)
    lowest = torch.full((), _NO_WEIGHT, dtype=logits.dtype, device=logits.device)
    return torch.where(keep.flatten(1, 2), logits, lowest)


class SemanticAwareUpsample(nn.Module):
    """Predicts one kernel per output pixel from the feature map and reassembles the map with it, doubling its sides.

    Kernel prediction: 1x1 convolution to ``config.compressed`` channels, then an m x m convolution to k*k*4 (m is
    ``config.encoder_kernel``). Where the channel count changes, the 1x1 projection runs on the source, before the
    reassembly: kernels are shared by all channels, so the order does not matter but for the bias, which is added
    afterwards, where the sum over the taps can be less than one.

    With ``config.mask`` ``same_class`` taps of other classes than the output pixel's get no weight.

    Shapes: [N, in_channels, H, W], and with the mask the picture's class map, integers [N, H', W'] of any size
    -> [N, out_channels, 2H, 2W].
    """

    def __init__(self, in_channels: int, out_channels: int, config: SauConfig) -> None:
        super().__init__()
        self.kernel = config.kernel
        self.dilation = SCALE if config.window is SauWindow.SOURCE else 1
        self.mask = config.mask
        self.compress = nn.Conv2d(in_channels, config.compressed, 1)
        self.predict = nn.Conv2d(
            config.compressed, config.kernel**2 * SCALE**2, config.encoder_kernel, padding=config.encoder_kernel // 2
        )
        self.project = nn.Conv2d(in_channels, out_channels, 1, bias=False) if in_channels != out_channels else None
        self.bias = nn.Parameter(torch.zeros(out_channels)) if self.project is not None else None

    def forward(self, feature: Tensor, classes: Tensor | None = None) -> Tensor:
        logits = self.predict(self.compress(feature))  # [N, 4k², H, W]
        if self.mask is SauMask.SAME_CLASS:
            if classes is None:
                raise ValueError("the mask same_class needs the class map")
            logits = mask_other_classes(logits, classes, self.kernel, SCALE, self.dilation)
        source = feature if self.project is None else self.project(feature)  # [N, out, H, W]
        output = semantic_aware_upsample(source, logits, self.kernel, SCALE, self.dilation)  # [N, out, 2H, 2W]
        return output if self.bias is None else output + self.bias.view(1, -1, 1, 1).to(output.dtype)


def _taps(kernel: int, scale: int, dilation: int) -> Iterator[tuple[int, slice, int, int]]:
    """Yield (tap, sub-pixels, row offset, column offset in source pixels), covering every tap of every sub-pixel once.

    Where the taps lie whole source pixels apart, all sub-pixels see the same one and come together.
    """
    radius = kernel // 2
    together = dilation % scale == 0
    for iy in range(kernel):
        for ix in range(kernel):
            y, x = (iy - radius) * dilation, (ix - radius) * dilation
            if together:
                yield iy * kernel + ix, slice(None), y // scale, x // scale
                continue
            for sub in range(scale * scale):
                dy, dx = divmod(sub, scale)
                yield iy * kernel + ix, slice(sub, sub + 1), (dy + y) // scale, (dx + x) // scale


def _pad_source(feature: Tensor, kernel: int, scale: int, dilation: int) -> tuple[Tensor, int]:
    margin = -((-(kernel // 2) * dilation) // scale)  # the farthest tap of sub-pixel 0 looks this many pixels back
    return pad(feature, (margin, margin, margin, margin)), margin


def _tap_weights(logits: Tensor, kernel: int, scale: int) -> Tensor:
    n, _, h, w = logits.shape
    return _wide(logits).reshape(n, kernel * kernel, scale * scale, h, w).softmax(dim=1)  # [N, k², s², H, W]


def _interleave(parts: Tensor, scale: int) -> Tensor:
    n, channels, _, h, w = parts.shape
    grid = parts.view(n, channels, scale, scale, h, w).permute(0, 1, 4, 2, 5, 3)  # [N, C, H, s, W, s]
    return grid.reshape(n, channels, h * scale, w * scale)


def _separate(image: Tensor, scale: int) -> Tensor:
    n, channels, height, width = image.shape
    grid = image.view(n, channels, height // scale, scale, width // scale, scale).permute(0, 1, 3, 5, 2, 4)
    return grid.reshape(n, channels, scale * scale, height // scale, width // scale)  # [N, C, s², H, W]


def _wide(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


def _check_shapes(feature: Tensor, logits: Tensor, kernel: int, scale: int, dilation: int) -> None:
    if kernel < 1 or kernel % 2 == 0 or scale < 1 or dilation < 1:
        raise RuntimeError(f"kernel must be odd, scale and dilation positive; got {kernel}, {scale}, {dilation}")
    if feature.dim() != 4 or logits.dim() != 4:
        raise RuntimeError(f"feature and logits must have four dimensions; got {feature.dim()} and {logits.dim()}")
    expected = (feature.shape[0], kernel**2 * scale**2, *feature.shape[2:])
    if tuple(logits.shape) != expected:
        raise RuntimeError(f"logits have shape {tuple(logits.shape)}; {expected} is expected")
