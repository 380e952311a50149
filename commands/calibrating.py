"""The verb `calibrate`: types written into an exported model, and what they cost in accuracy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from runtime.command_line import (
    PATH,
    force_option,
    given_maps_options,
    method_option,
    out_option,
    percentile_option,
    verb,
)
from runtime.console import Column, Console, size

if TYPE_CHECKING:
    from calibration.int8 import Int8Options, Int8Report
    from calibration.maps import CalibrationMaps

_DATA = "Label maps (or strips): a folder, file or glob; repeatable. INT8 needs them; FP16 draws some without."
_ENOUGH_MAPS = 20
_SHOWN_LAYERS = 12  # of the layers that were left out; --json has all


@verb(extra="export", example="lggan calibrate camvid.onnx --precision mixed --data labels/ -o camvid.mixed.onnx")
@click.argument("model", type=PATH)
@out_option("Model to write, .onnx.")
@click.option(
    "--precision",
    type=click.Choice(["fp16", "int8", "mixed"]),
    default="fp16",
    show_default=True,
    help="int8: every convolution. mixed: those that keep the limits, found by measuring each.",
)
@given_maps_options(_DATA)
@click.option(
    "--min-psnr", type=float, metavar="DB", help="Exit code 1 below it.  [default: fp16 30, int8 20, mixed 35]"
)
@click.option("--min-ssim", type=float, metavar="X", help="Exit code 1 below it.  [default: mixed 0.97]")
@method_option
@percentile_option
@click.option(
    "--equalise/--no-equalise",
    default=True,
    show_default=True,
    help="Bring channels to similar ranges first; FP32 pictures stay the same.",
)
@click.option(
    "--for",
    "placement",
    type=click.Choice(["tensorrt", "onnxruntime"]),
    default="tensorrt",
    show_default=True,
    help="FP16 around INT8, or FP32 and Q/DQ where ONNX Runtime on a CPU wants them.",
)
@click.option("--ranges", type=PATH, metavar="FILE", help="Ranges: read if the file is there, else written.")
@click.option("--journal", type=PATH, metavar="FILE", help="Errors of single layers, so that a killed run goes on.")
@click.option("--html", type=PATH, metavar="PAGE", help="Write what was measured as a page.")
@click.option(
    "--maps", type=click.IntRange(1, 64), metavar="N", help="FP16 without --data: draw so many.  [default: 3]"
)
@force_option
def calibrate(
    console: Console,
    model: Path,
    out: Path,
    precision: str,
    data: tuple[Path, ...],
    limit: int | None,
    fit: str | None,
    instances: Path | None,
    source: Path | None,
    strips: str | None,
    min_psnr: float | None,
    min_ssim: float | None,
    method: str,
    percentile: float,
    equalise: bool,
    placement: str,
    ranges: Path | None,
    journal: Path | None,
    html: Path | None,
    maps: int | None,
    force: bool,
) -> None:
    """Write types into an exported FP32 model and measure what they cost in accuracy.

    The types stand in the graph: every backend computes in them, and so does ONNX Runtime here.
    """
    from commands.given_maps import GivenMaps
    from commands.models import card_of

    named = GivenMaps(data, limit, fit, instances, source, strips)
    given: CalibrationMaps | None = None
    if data:
        from calibration.maps import CalibrationMaps

        card = card_of(model)
        given = CalibrationMaps(card, named.load(card))
    if precision == "fp16":
        if (min_ssim, ranges, journal, html) != (None,) * 4:
            raise click.UsageError("--min-ssim, --ranges, --journal and --html are for --precision int8 and mixed")
        if given is not None and maps is not None:
            raise click.UsageError("--maps draws label maps; with --data, --limit says how many are taken")
        _fp16(console, model, out, given, maps, min_psnr, force)
        return
    if given is None:
        raise click.UsageError(
            "the ranges of INT8 come from label maps: name some with --data (20 or more, showing all classes)"
        )
    if maps is not None:
        raise click.UsageError("--maps is for --precision fp16; --limit says how many of --data are taken")
    options = _int8_options(precision, placement, method, percentile, equalise, min_psnr, min_ssim, ranges, journal)
    if html is not None:
        from runtime.contract.files import check_destination
        from runtime.profiler.page import check_page_tools

        check_page_tools()  # before the work, not after it
        check_destination(html, model, force=force)
    _int8(console, model, out, given, options, html, force)


def _fp16(
    console: Console,
    model: Path,
    out: Path,
    given: CalibrationMaps | None,
    drawn: int | None,
    min_psnr: float | None,
    force: bool,
) -> None:
    from calibration.fp16 import Fp16Options, convert_fp16

    default = Fp16Options()
    options = Fp16Options(
        maps=default.maps if drawn is None else drawn,
        min_psnr=default.min_psnr if min_psnr is None else min_psnr,
    )
    result = convert_fp16(model, out, options, console, force=force, given=given)
    console.document("lggan-calibrate", result)
    console.line(f"{result.output}  {size(result.output_bytes)} ({size(result.input_bytes)} before)")
    console.line(
        f"FP16: {result.half_weight_share:.0%} of the weights, {result.half_mac_share:.0%} of the multiplications; "
        f"{len(result.islands)} nodes stay FP32"
    )
    quality = result.quality
    console.line(
        f"PSNR to FP32 at least {quality.worst_psnr_db:.1f} dB, SSIM {quality.worst_ssim:.4f}, "
        f"largest difference {quality.largest_difference:g}"
    )


def _int8_options(
    precision: str,
    placement: str,
    method: str,
    percentile: float,
    equalise: bool,
    min_psnr: float | None,
    min_ssim: float | None,
    ranges: Path | None,
    journal: Path | None,
) -> Int8Options:
    from calibration.int8 import Coverage, Int8Options
    from calibration.qdq import Placement
    from calibration.search import Goal
    from calibration.thresholds import RangeMethod

    coverage = Coverage(precision)
    least = {Coverage.ALL: Goal(20.0, 0.0), Coverage.MIXED: Goal(35.0, 0.97)}[coverage]
    goal = Goal(
        least.min_psnr if min_psnr is None else min_psnr,
        least.min_ssim if min_ssim is None else min_ssim,
    )
    return Int8Options(
        coverage=coverage,
        placement=Placement(placement),
        method=RangeMethod(method),
        percentile=percentile,
        equalise=equalise,
        goal=goal,
        ranges=ranges,
        journal=journal,
    )


def _int8(
    console: Console,
    model: Path,
    out: Path,
    given: CalibrationMaps,
    options: Int8Options,
    html: Path | None,
    force: bool,
) -> None:
    from calibration.int8 import convert_int8

    if len(given) < _ENOUGH_MAPS:
        console.note(
            f"{len(given)} label maps say little about rare classes and outliers: {_ENOUGH_MAPS} or more are better "
            "(`lggan ranges diff` tells how far two sets are apart)"
        )
    result = convert_int8(model, out, given, options, console, force=force)
    console.document("lggan-calibrate", result)
    _show_int8(console, result)
    if html is not None:
        from calibration.precision_page import render_precision_page
        from runtime.contract.files import write_text

        write_text(html, render_precision_page(result, model.name), force=force)
        console.line(f"page: {html}")


def _show_int8(console: Console, result: Int8Report) -> None:
    quality = result.quality
    console.line(f"{result.output}  {size(result.output_bytes)} ({size(result.input_bytes)} before)")
    shares = ", ".join(f"{share:.1%} {kind.upper()}" for kind, share in result.shares.shares.items() if share)
    console.line(f"{result.int8_convolutions} of {result.convolutions} convolutions in INT8; multiplications: {shares}")
    console.line(
        f"to FP32 on {len(quality.psnr)} label maps: PSNR {quality.psnr_db:.1f} dB, at worst "
        f"{quality.worst_psnr_db:.1f}; SSIM {quality.mean_ssim:.4f}, at worst {quality.worst_ssim:.4f}"
    )
    if result.choice is None or not result.choice.left_out:
        return
    left_out = result.choice.left_out
    console.line("left out, the most harmful per multiplication first:")
    console.table(
        [Column("layer"), Column("alone, dB", right=True), Column("share of MACs", right=True)],
        [(layer.name, f"{layer.psnr:.1f}", f"{layer.share:.2%}") for layer in left_out[:_SHOWN_LAYERS]],
    )
    if len(left_out) > _SHOWN_LAYERS:
        console.line(f"and {len(left_out) - _SHOWN_LAYERS} more")
