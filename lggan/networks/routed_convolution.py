"""A convolution per head over the pixels of its class, as a differentiable function (specification F.4.3, F.4.7).

One matrix product of a class's pixels with the head's weights gives what each pixel adds to each of the k x k windows
that it lies in. A window's answer is a sum of k x k such numbers, each of which goes into one answer only. It is taken
in two steps, along the rows of the window and then over its rows: 2 k look-ups per answer instead of k x k. The way
back is the same look-ups in the opposite direction.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import embedding_bag, pad

from lggan.networks.head_routes import HeadRoutes


def routed_convolution(feature: Tensor, weight: Tensor, bias: Tensor, routes: HeadRoutes) -> Tensor:
    """``conv(W_c, b_c, reflect_pad(feature * mask_c))`` at the windows that meet class c.

    Differentiable once, in feature, weight and bias; heads without any pixel get gradients of zero. The backward pass
    keeps nothing but the arguments. Either pass works on one class of one picture at a time and needs k * out numbers
    per pixel of it.

    Args:
        feature: [N, C, H, W]; half precision is computed in float32.
        weight: [K, out, C, k, k].
        bias: [K, out].
        routes: of the head map [N, H, W].

    Returns:
        [J, out], in the order of the windows in ``routes``; float32, or float64 for such a feature.
    """
    result: Tensor = _RoutedConvolution.apply(feature, weight, bias, routes)
    return result


class _RoutedConvolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, feature: Tensor, weight: Tensor, bias: Tensor, routes: HeadRoutes) -> Tensor:
        all_pixels, all_shown, all_rows, all_windows = routes.stretches
        ctx.save_for_backward(feature, weight, *routes.stretches)
        ctx.layout = (routes.segments, routes.kernel, routes.stride, routes.area)
        k, out_channels = routes.kernel, weight.shape[1]
        exact = torch.promote_types(feature.dtype, torch.float32)
        answers = feature.new_empty(len(all_windows), out_channels, dtype=exact)
        with torch.autocast(feature.device.type, enabled=False):
            for image, head, own_rows, windows, bands in routes.segments:
                matrix = _to_matrix(weight[head]).to(exact)  # [k k out, C]
                along = answers.new_empty(own_rows.stop - own_rows.start + 1, k * out_channels)  # [R + 1, k out]
                along[-1] = 0  # what a row without the class adds
                for places, pixels, rows in bands:
                    seen = _taken(feature[image], all_shown[pixels]).to(exact)  # [P, C]
                    added = answers.new_empty(len(seen) + 1, len(matrix))  # [P + 1, k k out]
                    added[-1] = 0  # what a pixel of another class adds
                    torch.mm(seen, matrix.t(), out=added[:-1])
                    found = _find(all_rows[rows], all_pixels[pixels], 1, k, places)
                    along[rows.start - own_rows.start : rows.stop - own_rows.start] = _sum(added, found)
                found = _find(all_windows[windows], all_rows[own_rows], routes.stride, k, slice(0, routes.area))
                answers[windows] = _sum(along, found).add_(bias[head])
        return answers

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        feature, weight, all_pixels, all_shown, all_rows, all_windows = ctx.saved_tensors
        segments, k, stride, area = ctx.layout
        heads, out_channels, channels = weight.shape[:3]
        d_feature = torch.zeros_like(feature)
        d_matrices = gradient.new_zeros(heads, k * k * out_channels, channels)
        d_bias = gradient.new_zeros(heads, out_channels)
        with torch.autocast(feature.device.type, enabled=False):
            for image, head, own_rows, windows, bands in segments:
                matrix = _to_matrix(weight[head]).to(gradient.dtype)
                own = pad(gradient[windows], (0, 0, 0, 1))  # [J + 1, out]; nothing comes back from beyond the picture
                d_bias[head] += own.sum(dim=0)
                found = _find(all_rows[own_rows], all_windows[windows], -stride, k, slice(0, area))
                d_along = own.index_select(0, found.flatten()).view(len(found), k * out_channels)  # [R, k out]
                for places, pixels, rows in bands:
                    near = pad(d_along[rows.start - own_rows.start : rows.stop - own_rows.start], (0, 0, 0, 1))
                    found = _find(all_pixels[pixels], all_rows[rows], -1, k, places)
                    d_added = near.index_select(0, found.flatten()).view(len(found), -1)  # [P, k k out]
                    seen = _taken(feature[image], all_shown[pixels]).to(gradient.dtype)  # [P, C]
                    d_matrices[head].addmm_(d_added.t(), seen)
                    _add_at(d_feature[image], all_shown[pixels], matrix, d_added)
        d_weight = d_matrices.view(heads, k, k, out_channels, channels).permute(0, 3, 4, 2, 1)
        return d_feature, d_weight.to(weight.dtype), d_bias.to(weight.dtype), None


def _to_matrix(weight: Tensor) -> Tensor:
    """[out, C, k, k] -> [k * k * out, C], column by column of the kernel."""
    return weight.permute(3, 2, 0, 1).reshape(-1, weight.shape[1])


def _taken(picture: Tensor, pixels: Tensor) -> Tensor:
    """The features [P, C] of some pixels of a picture [C, H, W]; read in the order that the memory has."""
    flat = picture.flatten(1)
    return flat.t().index_select(0, pixels) if _channels_last(flat) else flat.index_select(1, pixels).t()


def _add_at(picture: Tensor, pixels: Tensor, matrix: Tensor, d_added: Tensor) -> None:
    """Add ``d_added matrix``, [P, C], to some pixels of a picture [C, H, W].

    The margin of the padded picture shows a pixel a second time: what comes back is added up, the adjoint of padding.
    """
    flat = picture.flatten(1)
    if _channels_last(flat):
        flat.t().index_add_(0, pixels, torch.mm(d_added, matrix).to(picture.dtype))
    else:
        flat.index_add_(1, pixels, torch.mm(matrix.t(), d_added.t()).to(picture.dtype))


def _channels_last(flat: Tensor) -> bool:
    return flat.stride(0) == 1 < flat.stride(1)


def _find(wanted: Tensor, among: Tensor, step: int, kernel: int, within: slice) -> Tensor:
    """Where ``place + i * step`` stands in the list ``among``, for i = 0..k-1; the list's length where it does not.

    Args:
        wanted: int32 [M], places.
        among: int32 [L], places.
        within: all places of both lie in here.

    Returns:
        int32 [M, k].
    """
    reach = (kernel - 1) * abs(step)
    shift = reach - within.start
    table = among.new_full((within.stop + shift + reach,), len(among))
    table[among + shift] = torch.arange(len(among), dtype=among.dtype, device=among.device)
    steps = shift + step * torch.arange(kernel, dtype=among.dtype, device=among.device)
    return table.index_select(0, (wanted.unsqueeze(1) + steps).flatten()).view(-1, kernel)


def _sum(parts: Tensor, index: Tensor) -> Tensor:
    """Sum of part i of line ``index[:, i]`` over i. Shapes: parts [L, k * width], index [M, k] -> [M, width]."""
    kernel = index.shape[1]
    index = index * kernel + torch.arange(kernel, dtype=index.dtype, device=index.device)
    return embedding_bag(index, parts.view(len(parts) * kernel, -1), mode="sum")
