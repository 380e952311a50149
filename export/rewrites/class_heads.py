"""The class heads computed around their classes, and their fusion from what they deviate by (cpu target).

Head c answers ``r_c = tanh(b_c + W_c * (f m_c))``, where ``m_c`` masks the features f to the pixels of its class and
``*`` is a convolution over k x k reflected pixels. Published, that is K dense convolutions over a map that is mostly
zero, whose pictures a fusing convolution V then reads. Specification F.4 takes three things apart:

1. A window that holds no pixel of class c gives the constant ``t_c = tanh(b_c)``. Only pairs of a pixel and a head
   whose class is in its window need computing: on street scenes 1.2 to 1.4 per pixel, not K.
2. With strips, the 1 x k rows of the windows, the sum over a window separates:

       s_c(y, x) = b_c + sum_dy u_c(y + dy, x)[dy],    u_c(y, x)[dy] = sum_dx W_c[dy, dx] (f m_c)(y, x + dx)

   and all k numbers u of a strip come from one product of k C by k out numbers, which serves the k windows that the
   strip is a row of. So a strip is multiplied once, and a window adds k numbers per channel up.
3. With ``r_c = t_c + delta_c``, the fusion is ``V * t + V * delta``. The first term is the same for all pictures of a
   size: a convolution of ones with ``sum_c V_c t_c``, absent heads included. The second one has as many terms as there
   are pairs.

Multiplications: ``k k C out`` per strip, that is per pixel and a bit, in place of K times as many; ``f f M out`` per
pixel and head present in the band of rows that is being worked on. Memory goes with the band. A strip meets k classes
at the most, so that noise, where every window holds many classes, takes up to k times as many multiplications.

The sum of the heads, of cross-view generators, is a fusion too: a 1x1 convolution with K identity matrices.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from export.operators import CustomOperator
from export.rewrites.class_heads_function import ATTRIBUTES, INPUTS, OUTPUTS, class_heads_function
from lggan.networks.class_routed import ClassRoutedConv2d, HeadForm
from lggan.networks.cross_view import SummedLocal, SummedLocalBranch
from lggan.networks.head_answers import HeadAnswers
from lggan.networks.head_fusion import fused_heads
from lggan.networks.head_routes import find_routes
from lggan.networks.local_branch import LocalBranch, LocalSynthesis
from lggan.networks.routed_convolution import routed_convolution


@torch.library.custom_op("lggan::paint_heads", mutates_args=())
def paint_heads(
    feature: Tensor,
    heads: Tensor,
    weight: Tensor,
    bias: Tensor,
    fuse_weight: Tensor,
    fuse_bias: Tensor,
    kernel: int,
    fuse_kernel: int,
) -> Tensor:
    """``conv(V, v, tanh(conv(W_c, b_c, reflect_pad(feature * mask_c))) for all c)``, V with zero padding.

    Args:
        feature: [N, C, H, W], H and W at least (kernel + 1) / 2.
        heads: int64 [N, H, W], 0..K-1, or K for none.
        weight: W, [K, out, C, kernel, kernel].
        bias: b, [K, out].
        fuse_weight: V, [M, K * out, fuse_kernel, fuse_kernel].
        fuse_bias: v, [M].
        kernel, fuse_kernel: odd.

    Returns:
        [N, M, H, W].

    Raises:
        RuntimeError: the weights have other kernels than that.
    """
    sizes = (*weight.shape[3:], *fuse_weight.shape[2:])
    if sizes != (kernel, kernel, fuse_kernel, fuse_kernel) or kernel % 2 == 0 or fuse_kernel % 2 == 0:
        raise RuntimeError(f"kernels of {kernel} and {fuse_kernel} must be odd and of the weights' sizes {sizes}")
    routes = find_routes(heads, len(weight), kernel)
    values = routed_convolution(feature, weight, bias, routes).tanh()  # [J, out]
    blocks = [(segment.head, segment.windows.stop - segment.windows.start) for segment in routes.segments]
    answers = HeadAnswers(
        values=values,
        image=routes.image,
        pixel=routes.pixel,
        head=routes.head,
        constant=bias.to(values.dtype).tanh(),
        size=(heads.shape[0], heads.shape[1], heads.shape[2]),
        blocks=torch.tensor(blocks, dtype=torch.int64).view(-1, 2),
    )
    return fused_heads(answers, fuse_weight, fuse_bias).to(feature.dtype)


@paint_heads.register_fake
def _(
    feature: Tensor,
    heads: Tensor,
    weight: Tensor,
    bias: Tensor,
    fuse_weight: Tensor,
    fuse_bias: Tensor,
    kernel: int,
    fuse_kernel: int,
) -> Tensor:
    n, _, h, w = feature.shape
    return feature.new_empty(n, fuse_weight.shape[0], h, w)


class PaintedHeads(nn.Module):
    """A bank of class heads, whose answers are fused right away. As a module, it gives the graph's node its name.

    Shapes: see `paint_heads`.
    """

    def __init__(self, bank: ClassRoutedConv2d) -> None:
        super().__init__()
        self.weight, self.bias = bank.weight, bank.bias

    def forward(self, feature: Tensor, heads: Tensor, fuse_weight: Tensor, fuse_bias: Tensor) -> Tensor:
        kernels = (self.weight.shape[-1], fuse_weight.shape[-1])
        return paint_heads(feature, heads, self.weight, self.bias, fuse_weight, fuse_bias, *kernels)


class PaintedLocalBranch(nn.Module):
    """Takes the place of a `LocalBranch`, whose parts it keeps under their names.

    Shapes: quarter [N, 4 ngf, H/4, W/4], heads int64 [N, H, W] (0..K-1, K for none), classes int64 [N, H, W] or None
    -> `LocalSynthesis` without answers.

    Attributes:
        form: what the heads read: `HeadForm.ROUTED`, ids.
    """

    def __init__(self, branch: LocalBranch) -> None:
        super().__init__()
        self.form = HeadForm.ROUTED
        self.tower = branch.tower
        self.decoder = branch.decoder
        self.heads = PaintedHeads(branch.heads)
        self.fuse = branch.fuse

    def forward(self, quarter: Tensor, heads: Tensor, classes: Tensor | None = None) -> LocalSynthesis:
        feature = self.decoder(self.tower(quarter), classes)  # [N, ngf, H, W]
        logits = self.heads(feature, heads, self.fuse.weight, self.fuse.bias)  # [N, 3, H, W]
        return LocalSynthesis(logits.tanh(), feature, None)


class PaintedSummedLocalBranch(nn.Module):
    """Takes the place of a `SummedLocalBranch`, whose parts it keeps under their names.

    Shapes: middle [N, 4 ngf, H/4, W/4], heads int64 [N, H, W] (0..G-1, G for none), classes int64 [N, H, W] or None
    -> `SummedLocal` without answers.

    Attributes:
        form: what the heads read: `HeadForm.ROUTED`, ids.
    """

    identities: Tensor
    zeros: Tensor

    def __init__(self, branch: SummedLocalBranch) -> None:
        super().__init__()
        self.form = HeadForm.ROUTED
        self.decoder = branch.decoder
        count, outs = branch.heads.bias.shape
        like = branch.heads.bias.detach()
        identity = torch.eye(outs, dtype=like.dtype, device=like.device)
        self.heads = PaintedHeads(branch.heads)
        self.register_buffer("identities", identity.repeat(1, count)[:, :, None, None])  # [out, G out, 1, 1]
        self.register_buffer("zeros", like.new_zeros(outs))

    def forward(self, middle: Tensor, heads: Tensor, classes: Tensor | None = None) -> SummedLocal:
        feature = self.decoder(middle, classes)  # [N, ngf, H, W]
        return SummedLocal(self.heads(feature, heads, self.identities, self.zeros), None)  # [N, 3, H, W]


PAINT_HEADS = CustomOperator(
    torch_op=torch.ops.lggan.paint_heads.default,
    op_type="PaintHeads",
    inputs=INPUTS,
    outputs=OUTPUTS,
    attributes=ATTRIBUTES,
    body=class_heads_function,
)
