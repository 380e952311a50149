"""How the cost of a graph is put into words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from runtime.console import size

_UNITS = ((1e12, "TMAC"), (1e9, "GMAC"), (1e6, "MMAC"), (1e3, "kMAC"))
_BRANCHES = {
    "inputs": "reading the inputs",
    "encoder": "encoder",
    "tower": "residual tower",
    "upsample": "upsampling",
    "global": "global branch",
    "local": "local branch",
    "attention": "attention",
    "fusion": "fusion",
    "picture": "to bytes",
}
_REWRITES = {
    "spectral-norm": "spectral norm folded",
    "batch-norm": "batch norm folded",
    "dead-biases": "dead biases dropped",
    "gamma-beta": "gamma and beta in one convolution",
    "spade-patches": "SPADE once per distinct neighbourhood",
    "label-stem": "first convolution as look-ups",
    "class-heads": "class heads around their class",
    "attention-sigmoid": "attention as a sigmoid",
    "project-first": "1×1 convolution before upsampling",
    "winograd": "Winograd's 3×3 convolutions",
}


def macs_text(macs: int) -> str:
    """Multiply-accumulates with three digits and their unit: ``446 GMAC``, ``1.28 GMAC``, ``30.5 MMAC``, ``0``."""
    if macs == 0:
        return "0"
    scale, unit = next((pair for pair in _UNITS if macs >= 0.9995 * pair[0]), (1.0, "MAC"))
    return f"{_three_digits(macs / scale)} {unit}"


def share_text(part: int, whole: int) -> str:
    """``63 %``, ``0.4 %``, ``< 0.1 %``; empty for nothing."""
    if part == 0 or whole == 0:
        return ""
    percent = 100 * part / whole
    if percent < 0.05:
        return "< 0.1 %"
    return f"{percent:.0f} %" if percent >= 9.95 else f"{percent:.1f} %"


def shape_text(shape: Sequence[int]) -> str:
    """``1×64×256×512``."""
    return "×".join(str(side) for side in shape)


def weights_text(by_type: Mapping[str, int]) -> str:
    """``424.1 MiB FP32, 1.2 MiB INT64``; types that hold less than a thousandth are left out."""
    total = sum(by_type.values())
    kept = [f"{size(count)} {kind}" for kind, count in by_type.items() if 1000 * count >= total > 0]
    return ", ".join(kept) or "none"


def branch_title(branch: str) -> str:
    """What a branch is called; its own name where this version does not know it."""
    return _BRANCHES.get(branch, branch)


def rewrite_title(rewrite: str) -> str:
    """What a rewrite is called; its own name where this version does not know it."""
    return _REWRITES.get(rewrite, rewrite)


def _three_digits(value: float) -> str:
    if value >= 99.95:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"
