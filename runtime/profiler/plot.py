"""The geometry of the accuracy-versus-latency plot; the page's template draws it as SVG.

Drawn by hand rather than by a plotting library: the marks take their colours from the page (light and dark), the text
is text, nothing has to be installed, and the report's figures are the only input.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from runtime.profiler import units
from runtime.profiler.pareto import pareto_front
from runtime.profiler.report import VariantReport

FONT = 13.0
_LINE = 17.0  # height of a line of text
_RADIUS = 5.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 74.0, 24.0, 14.0, 46.0
_BAND = 40.0  # height of the lane for identical pictures above the scale
_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True)
class PlotSize:
    """Width and height of the drawing in pixels, and how long a name may become."""

    width: float
    height: float
    name_width: float


WIDE = PlotSize(860, 380, 300)
NARROW = PlotSize(344, 330, 195)


@dataclass(frozen=True)
class Box:
    """A rectangle; x to the right, y downwards."""

    left: float
    top: float
    right: float
    bottom: float

    def overlap(self, other: Box) -> float:
        """Area that both cover."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.bottom, other.bottom) - max(self.top, other.top)
        return width * height if width > 0 and height > 0 else 0.0


@dataclass(frozen=True)
class Tick:
    """A mark of an axis at coordinate ``at``."""

    at: float
    text: str


@dataclass(frozen=True)
class Mark:
    """One variant: its point, the whisker to p90 (equal to x where there is none), and its label.

    ``label`` is the box reserved for the text, which stands in it at ``align`` (of SVG's text-anchor) on ``baseline``;
    ``leader`` says whether a line should join the two; ``front`` whether no other variant beats it; ``title`` is the
    long form for a tooltip.
    """

    x: float
    y: float
    whisker: float
    text: str
    label: Box
    leader: bool
    front: bool
    title: str

    @property
    def align(self) -> str:
        """The side of the text that keeps its place where the estimate of its width is off: the one at the point."""
        if self.label.left >= self.x:
            return "start"
        return "end" if self.label.right <= self.x else "middle"

    @property
    def text_x(self) -> float:
        """Where the text is held by ``align``."""
        sides = {"start": self.label.left, "end": self.label.right}
        return sides.get(self.align, (self.label.left + self.label.right) / 2)

    @property
    def baseline(self) -> float:
        """The text's y."""
        return self.label.bottom - 4.5

    @property
    def leader_end(self) -> tuple[float, float]:
        """Where the leader meets the label: its nearest edge."""
        x = min(max(self.x, self.label.left), self.label.right)
        return x, min(max(self.y, self.label.top), self.label.bottom)


@dataclass(frozen=True)
class Plot:
    """Everything to draw.

    ``lane`` is the y of the line between the scale and the identical ones, None where there are not both; ``scale``
    tells whether there is a scale of PSNR at all.
    """

    size: PlotSize
    frame: Box
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    lane: float | None
    scale: bool
    marks: tuple[Mark, ...]
    front: tuple[tuple[float, float], ...]
    radius: float = _RADIUS


def draw_plot(variants: Sequence[VariantReport], size: PlotSize) -> Plot:
    """Median latency to the right (from 0), PSNR upwards; identical pictures (infinite PSNR) in a lane of their own.

    Without any finite PSNR only the lane is left, and the drawing is lower.
    """
    finite = [variant.closeness for variant in variants if math.isfinite(variant.closeness)]
    identical = len(finite) < len(variants)
    if not finite:
        size = PlotSize(size.width, _TOP + _BAND + _BOTTOM + _LINE * len(variants), size.name_width)
    frame = Box(_LEFT, _TOP, size.width - _RIGHT, size.height - _BOTTOM)
    slowest = max(_whisker_ms(variant) for variant in variants)
    x_values = _ticks(0.0, slowest * 1.06, 7 if size.width > 500 else 4)
    x_end = max(x_values[-1], slowest * 1.06)

    def x_of(latency: float) -> float:
        return frame.left + (frame.right - frame.left) * latency / x_end

    band_bottom = frame.top + (_BAND if identical else 0.0)
    low, high = _psnr_range(finite)
    y_values = [value for value in _ticks(low, high, 5) if low <= value <= high] if finite else []

    def y_of(psnr: float) -> float:
        if not math.isfinite(psnr):
            return frame.top + _BAND / 2 if finite else (frame.top + frame.bottom) / 2
        return frame.bottom - (frame.bottom - band_bottom) * (psnr - low) / (high - low)

    y_ticks = [Tick(y_of(value), f"{value:g}") for value in y_values]
    if identical:
        only_reference = all(v.quality is None for v in variants if not math.isfinite(v.closeness))
        y_ticks.append(Tick(y_of(math.inf), "reference" if only_reference else "identical"))
    front = pareto_front(variants)
    points = [(x_of(v.latency.median_ms), y_of(v.closeness), x_of(_whisker_ms(v))) for v in variants]
    texts = [_cut(variant.name, size.name_width) for variant in variants]
    labels = _place_labels(points, texts, frame)
    return Plot(
        size=size,
        frame=frame,
        x_ticks=tuple(Tick(x_of(value), f"{value:g}") for value in x_values),
        y_ticks=tuple(y_ticks),
        lane=band_bottom if identical and finite else None,
        scale=bool(finite),
        marks=tuple(
            Mark(x, y, whisker, texts[i], labels[i], _far(labels[i], x, y, whisker), i in front, _title(variants[i]))
            for i, (x, y, whisker) in enumerate(points)
        ),
        front=tuple(points[i][:2] for i in front),
    )


def text_width(text: str) -> float:
    """A generous estimate of the width of ``text`` in pixels at `FONT`."""
    wide = sum(unicodedata.east_asian_width(letter) in "WF" for letter in text)
    return FONT * (0.68 * (len(text) - wide) + 1.05 * wide)


def _place_labels(points: Sequence[tuple[float, float, float]], texts: Sequence[str], frame: Box) -> list[Box]:
    """Greedy placement: each label takes the nearest spot around its point that covers nothing."""
    points_taken = [Box(x - _RADIUS, y - _RADIUS, max(x, whisker) + _RADIUS, y + _RADIUS) for x, y, whisker in points]
    placed: dict[int, Box] = {}
    for index in sorted(range(len(points)), key=lambda i: points[i][0]):
        best, best_cost = None, math.inf
        for distance, spot in _spots(points[index], text_width(texts[index]), frame):
            cost = distance + 50.0 * sum(spot.overlap(box) for box in [*points_taken, *placed.values()])
            if cost < best_cost:
                best, best_cost = spot, cost
        assert best is not None
        placed[index] = best
    return [placed[index] for index in range(len(points))]


def _spots(point: tuple[float, float, float], width: float, frame: Box) -> list[tuple[float, Box]]:
    """Boxes within the frame around a point, each with its distance: beside, above, below, further up and down."""
    x, y, whisker = point
    gap = _RADIUS + 4
    lefts = [(0.0, whisker + gap), (1.0, x - gap - width), (2.0, x - width / 2), (3.0, x - 8), (3.0, x + 8 - width)]
    spots = []
    for step in range(24):
        for sign in (-1, 1):
            top = min(max(y + sign * step * _LINE - _LINE / 2, frame.top), frame.bottom - _LINE)
            for extra, wish in lefts:
                left = min(max(wish, frame.left), frame.right - width)
                push = abs(left - wish) / _LINE
                distance = extra + push + 12.0 * step + (0.5 if sign > 0 else 0.0)
                spots.append((distance, Box(left, top, left + width, top + _LINE)))
    return spots


def _far(label: Box, x: float, y: float, whisker: float) -> bool:
    """Whether a label lies so far off that a line has to tell whose it is."""
    across = max(label.left - whisker, x - label.right, 0.0)
    along = max(label.top - y, y - label.bottom, 0.0)
    return math.hypot(across, along) > 2 * _RADIUS


def _whisker_ms(variant: VariantReport) -> float:
    entry = variant.latency.percentile(90.0)
    return variant.latency.median_ms if entry is None or entry.value_ms is None else entry.value_ms


def _psnr_range(finite: Sequence[float]) -> tuple[float, float]:
    if not finite:
        return 0.0, 1.0
    low, high = min(finite), max(finite)
    margin = max((high - low) * 0.15, 2.0)  # a range of its own even where all are alike
    return low - margin, high + margin


def _ticks(low: float, high: float, most: int) -> list[float]:
    """Multiples of a round step that cover [low, high], at most about ``most`` + 1 of them."""
    raw = (high - low) / most
    magnitude = 10.0 ** math.floor(math.log10(raw)) if raw > 0 else 1.0
    step = next((factor * magnitude for factor in _STEPS if factor * magnitude >= raw * 0.999), magnitude * 10)
    first = math.floor(low / step + 1e-9)
    last = math.ceil(high / step - 1e-9)
    return [round(number * step, 10) for number in range(first, last + 1)]


def _cut(text: str, width: float) -> str:
    if text_width(text) <= width:
        return text
    while text_width(text + "\N{HORIZONTAL ELLIPSIS}") > width:
        text = text[:-1]
    return text + "\N{HORIZONTAL ELLIPSIS}"


def _title(variant: VariantReport) -> str:
    quality = "the reference" if variant.quality is None else units.closeness(variant.quality)
    return f"{variant.name} on {variant.backend}: median {units.three_digits(variant.latency.median_ms)} ms, {quality}"
