"""What INT8 cost, layer by layer, as one self-contained HTML page: no scripts, nothing loaded from anywhere."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources

from calibration.int8 import Int8Report
from calibration.sensitivity import LayerError
from runtime.console import size
from runtime.profiler.page import check_page_tools

_TEMPLATE = "precision_page.html.j2"
_NO_ERROR = 90.0  # dB; a bar is empty from here on
_SHOWN = 60  # layers


@dataclass(frozen=True)
class Share:
    """A type's part of the multiplications."""

    kind: str
    percent: float
    text: str


@dataclass(frozen=True)
class Layer:
    """A line of the chart; ``bar`` in percent."""

    title: str
    chosen: bool
    bar: float
    psnr: str
    share: str


@dataclass(frozen=True)
class PictureRow:
    """A line of the table of label maps."""

    name: str
    psnr: str
    ssim: str


def render_precision_page(report: Int8Report, model: str) -> str:
    """HTML of what a conversion measured.

    Args:
        report: of `calibration.int8.convert_int8`.
        model: what the page calls the FP32 model.

    Raises:
        MissingError: Jinja2 is not installed.
    """
    check_page_tools()
    import jinja2

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, auto_reload=False
    )
    source = resources.files("calibration").joinpath(_TEMPLATE).read_text(encoding="utf-8")
    ordered = sorted(report.errors, key=lambda error: error.psnr)
    lowest = min((error.psnr for error in ordered if math.isfinite(error.psnr)), default=_NO_ERROR)
    return environment.from_string(source).render(
        title=report.output.name,
        subtitle=f"LGGAN Edge precision · made from {model} · {size(report.output_bytes)} ({size(report.input_bytes)})",
        summary=_summary(report),
        shares=[Share(kind, 100 * share, f"{share:.1%}") for kind, share in report.shares.shares.items() if share > 0],
        layers=_layers(ordered[:_SHOWN], report, lowest),
        hidden=max(len(ordered) - _SHOWN, 0),
        span=f"{_NO_ERROR:.0f} to {lowest:.0f} dB",
        measured=min(report.options.sensitivity_maps, len(report.maps)),
        pictures=[
            PictureRow(name, decibels(psnr), f"{ssim:.4f}")
            for name, psnr, ssim in zip(report.maps, report.quality.psnr, report.quality.ssim, strict=True)
        ],
    )


def decibels(psnr: float) -> str:
    """A PSNR in words."""
    if math.isfinite(psnr):
        return f"{psnr:.1f}"
    return "equal" if psnr > 0 else "not finite"


def _summary(report: Int8Report) -> list[str]:
    quality, goal = report.quality, report.options.goal
    return [
        f"PSNR {decibels(quality.psnr_db)} dB, at worst {decibels(quality.worst_psnr_db)}; "
        f"SSIM {quality.mean_ssim:.4f}, at worst {quality.worst_ssim:.4f}, on {len(report.maps)} label maps",
        f"against the FP32 graph; asked for: {goal.min_psnr:g} dB and SSIM {goal.min_ssim:g}",
        f"{report.int8_convolutions} of {report.convolutions} convolutions compute in INT8, "
        f"for {report.options.placement.value}; ranges by {report.options.method.value}",
    ]


def _layers(errors: Sequence[LayerError], report: Int8Report, lowest: float) -> list[Layer]:
    chosen = set(report.choice.chosen) if report.choice else set()
    total = sum(report.macs.values())
    span = max(_NO_ERROR - lowest, 1.0)
    return [
        Layer(
            title=error.name,
            chosen=set(error.names) <= chosen,
            bar=round(100 * min(max((_NO_ERROR - error.psnr) / span, 0.0), 1.0), 2),
            psnr=decibels(error.psnr),
            share=f"{sum(report.macs[name] for name in error.names) / total:.2%}" if total else "",
        )
        for error in errors
    ]
