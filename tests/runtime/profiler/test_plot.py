"""Geometry of the plot: scale, lane, labels that cover nothing."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.profiler.plot import NARROW, WIDE, Box, Plot, PlotSize, draw_plot, text_width
from tests.runtime.profiler.fake_variants import report_of


def _plot(figures: list[tuple[str, float, float | None]], size: PlotSize = WIDE) -> Plot:
    return draw_plot(report_of(figures, strips=1).variants, size)


def test_faster_is_left_and_closer_is_up() -> None:
    plot = _plot([("fp32", 20.0, None), ("fp16", 10.0, 1.0), ("int8", 5.0, 8.0)])
    fp32, fp16, int8 = plot.marks
    assert int8.x < fp16.x < fp32.x
    assert fp32.y < fp16.y < int8.y
    assert plot.lane is not None
    assert fp32.y < plot.lane < fp16.y
    assert [mark.front for mark in plot.marks] == [True, True, True]
    assert plot.front == ((int8.x, int8.y), (fp16.x, fp16.y), (fp32.x, fp32.y))
    assert [tick.text for tick in plot.y_ticks][-1] == "reference"


def test_axes_are_linear_and_start_at_zero() -> None:
    plot = _plot([("fp32", 20.0, None), ("fp16", 10.0, 1.0)])
    zero = plot.x_ticks[0]
    assert zero.text == "0"
    assert zero.at == pytest.approx(plot.frame.left)
    per_ms = (plot.x_ticks[1].at - zero.at) / float(plot.x_ticks[1].text)
    variants = report_of([("fp32", 20.0, None), ("fp16", 10.0, 1.0)], strips=1).variants
    for mark, variant in zip(plot.marks, variants, strict=True):
        assert (mark.x - zero.at) / per_ms == pytest.approx(variant.latency.median_ms)
        p90 = variant.latency.percentile(90.0)
        assert p90 is not None
        assert (mark.whisker - zero.at) / per_ms == pytest.approx(p90.value_ms)


def test_a_beaten_variant_is_not_on_the_front() -> None:
    plot = _plot([("fp32", 20.0, None), ("worse", 25.0, 6.0), ("better", 10.0, 1.0)])
    assert [mark.front for mark in plot.marks] == [True, False, True]


def test_identical_pictures_alone_leave_a_low_lane_without_scale() -> None:
    plot = _plot([("fp32", 20.0, None), ("ort", 10.0, 0.0)])
    assert not plot.scale
    assert plot.lane is None
    assert [tick.text for tick in plot.y_ticks] == ["identical"]
    assert plot.size.height < WIDE.height / 2
    assert plot.marks[0].y == plot.marks[1].y


def test_variants_that_are_alike_still_get_a_scale() -> None:
    plot = _plot([("a", 10.0, 3.0), ("b", 10.0, 3.0)])
    assert plot.scale
    assert plot.lane is None
    assert len(plot.y_ticks) >= 2
    assert plot.marks[0].label.overlap(plot.marks[1].label) == 0


def test_long_names_are_cut_to_the_room_there_is() -> None:
    for size in (WIDE, NARROW):
        mark = _plot([("図" * 60, 10.0, 3.0)], size).marks[0]
        assert mark.text.endswith("…")
        assert text_width(mark.text) <= size.name_width


def test_overlap_of_boxes() -> None:
    box = Box(0, 0, 10, 4)
    assert box.overlap(Box(8, 2, 20, 9)) == 4
    assert box.overlap(Box(10, 0, 20, 4)) == 0


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(0.5, 200), st.sampled_from([None, 0.0, 1.0, 1.05, 5.0, 30.0])), min_size=1, max_size=8
    ),
    st.sampled_from([WIDE, NARROW]),
)
def test_labels_never_cover_each_other_or_leave_the_frame(
    points: list[tuple[float, float | None]], size: PlotSize
) -> None:
    figures = [(f"variant {i} of some length", latency, noise) for i, (latency, noise) in enumerate(points)]
    plot = _plot(figures, size)
    for first, second in itertools.combinations(plot.marks, 2):
        assert first.label.overlap(second.label) == 0
    for mark in plot.marks:
        assert plot.frame.left <= mark.label.left < mark.label.right <= plot.frame.right + 1e-6
        assert plot.frame.top <= mark.label.top < mark.label.bottom <= plot.frame.bottom + 1e-6
        assert plot.frame.left <= mark.x <= plot.frame.right
        assert plot.frame.top <= mark.y <= plot.frame.bottom
