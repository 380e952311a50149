"""Figures as people read them."""

from __future__ import annotations

import math

from runtime.profiler.quality import PictureQuality, QualitySummary


def three_digits(value: float) -> str:
    """Three significant digits without an exponent: 0.0421, 4.21, 42.1, 421, 4210."""
    if value <= 0:
        return "0"
    decimals = max(0, 2 - math.floor(math.log10(value)))
    return f"{value:.{min(decimals, 6)}f}"


def mebibytes(count: int) -> str:
    """Bytes as MiB: two decimals below 1, one below 100, none from there on."""
    value = count / (1 << 20)
    if value < 0.995:
        return f"{value:.2f}"
    return f"{value:.0f}" if value >= 99.95 else f"{value:.1f}"


def decibels(value: float) -> str:
    """A PSNR, or ``identical`` where it is infinite."""
    return f"{value:.1f}" if math.isfinite(value) else "identical"


def similarity(value: float) -> str:
    """An SSIM with four decimals, cut (not rounded), so that 1.0000 always means equal."""
    return f"{math.floor(value * 10000) / 10000:.4f}"


def closeness(quality: PictureQuality | QualitySummary) -> str:
    """``PSNR 41.2 dB, SSIM 0.9931``, or ``identical``."""
    if not math.isfinite(quality.psnr_db):
        return "identical"
    return f"PSNR {decibels(quality.psnr_db)} dB, SSIM {similarity(quality.ssim)}"
