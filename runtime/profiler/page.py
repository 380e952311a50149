"""The report as one self-contained HTML page: no scripts, nothing loaded from anywhere."""

from __future__ import annotations

import base64
import io
import math
from dataclasses import dataclass
from importlib import resources

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from runtime.contract.errors import MissingError
from runtime.profiler import units
from runtime.profiler.plot import NARROW, WIDE, draw_plot
from runtime.profiler.quality import error_map
from runtime.profiler.report import PictureStrip, ProfileReport
from runtime.profiler.table import report_table

ERROR_FACTOR = 8
MAX_SHOWN_SIDE = 512
_TEMPLATE = "page.html.j2"
_INSTALL = "pip install '.[report]'"


@dataclass(frozen=True)
class Figure:
    """One picture of a strip: PNG data URI, caption, figures under it, what a reader who cannot see it is told."""

    uri: str
    caption: str
    detail: str
    alt: str
    error_uri: str | None = None
    error_alt: str = ""


@dataclass(frozen=True)
class Strip:
    """The pictures of one label map."""

    name: str
    width: int
    height: int
    figures: tuple[Figure, ...]


def check_page_tools() -> None:
    """Raise MissingError when the template engine is not installed; worth calling before a long measurement."""
    try:
        import jinja2  # noqa: F401
    except ImportError as error:
        raise MissingError(f"the report page needs Jinja2, which is not installed; run {_INSTALL}") from error


def render_page(report: ProfileReport) -> str:
    """HTML of the report.

    Raises:
        MissingError: Jinja2 is not installed.
    """
    check_page_tools()
    import jinja2

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, auto_reload=False
    )
    source = resources.files("runtime.profiler").joinpath(_TEMPLATE).read_text(encoding="utf-8")
    plots = [("wide", draw_plot(report.variants, WIDE)), ("narrow", draw_plot(report.variants, NARROW))]
    return environment.from_string(source).render(
        report=report,
        table=report_table(report),
        plots=plots,
        plot_title=_plot_title(report),
        strips=[_strip(strip, report) for strip in report.strips],
        backends=sorted({variant.backend for variant in report.variants}),
        factor=ERROR_FACTOR,
        units=units,
        whiskers=any(_has_p90(report, index) for index in range(len(report.variants))),
    )


def png_bytes(image: NDArray[np.uint8]) -> bytes:
    """A uint8 picture [H, W, 3] as PNG."""
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG", optimize=True)
    return stream.getvalue()


def _strip(strip: PictureStrip, report: ProfileReport) -> Strip:
    height, width = strip.reference.shape[:2]
    reference = report.reference
    given = "label map" if strip.label.shape[1] == width else "source photo and label map"
    figures = [
        Figure(_uri(strip.label, Image.Resampling.NEAREST), given, f"{width}×{height}", f"{given} {strip.name}"),
        Figure(
            _uri(strip.reference, Image.Resampling.LANCZOS),
            reference.name,
            f"reference, {reference.backend}",
            f"picture of {strip.name} by {reference.name}, the reference",
        ),
    ]
    for variant, picture, quality in zip(report.variants, strip.pictures, strip.qualities, strict=True):
        if quality is None:
            continue  # the reference is shown already
        error_uri = None
        if not quality.identical:
            error_uri = _uri(error_map(strip.reference, picture, ERROR_FACTOR), Image.Resampling.BOX)
        closeness = units.closeness(quality)
        largest = "" if quality.identical else f", largest difference {quality.largest} of 255"
        figures.append(
            Figure(
                _uri(picture, Image.Resampling.LANCZOS),
                variant.name,
                f"{closeness}{largest}, {variant.backend}",
                f"picture of {strip.name} by {variant.name}: {closeness}",
                error_uri,
                f"its differences from the reference, {ERROR_FACTOR} times amplified; "
                f"the largest is {quality.largest} of 255",
            )
        )
    return Strip(strip.name, width, height, tuple(figures))


def _uri(image: NDArray[np.uint8], resampling: Image.Resampling) -> str:
    """Data URI of a picture, made smaller where a side exceeds what a page can show."""
    height, width = image.shape[:2]
    scale = min(1.0, MAX_SHOWN_SIDE / max(height, width))
    if scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        image = np.asarray(Image.fromarray(image).resize(size, resampling))
    return "data:image/png;base64," + base64.b64encode(png_bytes(image)).decode("ascii")


def _plot_title(report: ProfileReport) -> str:
    """The plot in a sentence, for those who cannot see it."""
    points = "; ".join(
        f"{v.name} {units.three_digits(v.latency.median_ms)} ms, "
        + (f"{v.closeness:.1f} dB" if math.isfinite(v.closeness) else "identical")
        for v in report.variants
    )
    return f"Median latency and PSNR of each variant: {points}."


def _has_p90(report: ProfileReport, index: int) -> bool:
    entry = report.variants[index].latency.percentile(90.0)
    return entry is not None and entry.value_ms is not None
