"""What an official checkpoint holds, told from the names of its entries (specification E.1 to E.5)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum

from torch import Tensor


class OfficialKind(Enum):
    """The networks that the authors' code saves, and their nearest relative; the value completes "it holds ..."."""

    SEMANTIC_GENERATOR = "a generator for semantic image synthesis"
    CROSS_VIEW_GENERATOR = "a cross-view generator"
    VAE_GENERATOR = "a generator with a variational encoder (--use_vae)"
    SPADE_GENERATOR = "a generator of SPADE (GauGAN), without LGGAN's local branch"
    SEMANTIC_DISCRIMINATOR = "a discriminator for semantic image synthesis (a _net_D file)"
    CROSS_VIEW_DISCRIMINATOR = "a discriminator for cross-view translation (a _net_D file)"
    ENCODER = "a variational image encoder (a _net_E file)"
    UNKNOWN = "no network of LGGAN"


# Names that one kind alone has; the kind with most of them it is.
_SIGNS = {
    OfficialKind.SEMANTIC_GENERATOR: r"(head_0|G_middle_[01]|up_\d|conv_img|deconv9|fc2)\..+",
    OfficialKind.CROSS_VIEW_GENERATOR: r"deconv[345]_global\..+",
    OfficialKind.SEMANTIC_DISCRIMINATOR: r"discriminator_\d+\..+",
    OfficialKind.CROSS_VIEW_DISCRIMINATOR: r"model\.\d+\.(weight|bias|running_mean|running_var|num_batches_tracked)",
    OfficialKind.ENCODER: r"fc_(mu|var)\..+|layer\d\.0\.weight_orig",
}
_LOCAL = re.compile(r"(deconv\d_local|deconv5_\d+|deconv9|resnet_blocks\d+)\..+")


def kind_of(official: Mapping[str, Tensor]) -> OfficialKind:
    """Tell the network from the entries of its state dict."""
    found = {kind: sum(bool(re.fullmatch(sign, name)) for name in official) for kind, sign in _SIGNS.items()}
    kind = max(found, key=found.__getitem__)
    if not found[kind]:
        return OfficialKind.UNKNOWN
    if kind is OfficialKind.SEMANTIC_GENERATOR:
        if not any(_LOCAL.fullmatch(name) for name in official):
            return OfficialKind.SPADE_GENERATOR
        start = official.get("fc.weight")  # without the variational encoder a convolution, which nothing uses
        if start is not None and start.dim() == 2:
            return OfficialKind.VAE_GENERATOR
    return kind
