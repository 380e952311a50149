"""The INT8 form of an exported model: `convert_int8`."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import math
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from onnx import ModelProto

from calibration.collect import collect_ranges
from calibration.convolutions import Convolution, count_macs, find_convolutions
from calibration.emulation import emulate_half
from calibration.equalisation import EqualisedSite, equalised
from calibration.fp32_model import load_fp32
from calibration.graph_hash import graph_sha256
from calibration.graphs import float_picture
from calibration.half import HalfFacts, check_typed, to_half
from calibration.maps import CalibrationMaps
from calibration.qdq import Placement, insert_qdq, pays_in_int8, quantized_tensors
from calibration.quality import Quality
from calibration.ranges import Ranges, read_ranges, write_ranges
from calibration.reference import ReferencePictures
from calibration.search import Choice, Goal, choose_int8
from calibration.sensitivity import LayerError, layer_errors, units_of
from calibration.shares import PrecisionShares, precision_shares
from calibration.thresholds import RangeMethod, check_percentile
from runtime.contract.card import CPU, TENSORRT, ModelCard
from runtime.contract.errors import GateError, InputError, UsageError
from runtime.contract.files import check_destination, write_bytes
from runtime.contract.onnx_safety import message_bytes, write_card
from runtime.contract.progress import Progress, SilentProgress


class Coverage(str, Enum):
    """Which convolutions compute in INT8; the value is the card's precision.

    ALL: every one that can, and for which it pays (`calibration.qdq.pays_in_int8`).
    MIXED: those that keep the goal, the cheapest in error per multiplication first; every one where all together do.
    """

    ALL = "int8"
    MIXED = "mixed"


@dataclass(frozen=True)
class Int8Options:
    """How to convert.

    Attributes:
        coverage: see `Coverage`.
        placement: for TensorRT, FP16 around INT8; or for ONNX Runtime on a CPU, FP32 around it.
        method, percentile: how the range of a tensor follows from the values it took.
        equalise: whether channels are brought to similar ranges first, which changes no FP32 picture
            (`calibration.equalisation`).
        goal: the least likeness to the FP32 pictures that is let through.
        ranges: file of ranges: read if it is there and fits, written if it is not.
        journal: file in which the errors of single layers are kept, so that an interrupted run goes on where it was.
        sensitivity_maps: label maps on which the error of single layers is measured, 1 or more.
    """

    coverage: Coverage = Coverage.MIXED
    placement: Placement = Placement.TENSORRT
    method: RangeMethod = RangeMethod.MIN_MAX
    percentile: float = 99.99
    equalise: bool = True
    goal: Goal = field(default_factory=lambda: Goal(min_psnr=35.0, min_ssim=0.97))
    ranges: Path | None = None
    journal: Path | None = None
    sensitivity_maps: int = 2

    def __post_init__(self) -> None:
        check_percentile(self.percentile)
        if self.sensitivity_maps < 1:
            raise UsageError(f"sensitivity_maps is {self.sensitivity_maps}; at least one label map is needed")


@dataclass(frozen=True)
class Int8Report:
    """What came of it.

    Attributes:
        output: the file written.
        input_bytes, output_bytes: sizes of the two files.
        convolutions: of the main graph that INT8 could compute, and ``int8_convolutions`` those that it does.
        shares: of the convolutions' multiplications by type, read from the graph that was written.
        quality: against the FP32 pictures, all label maps.
        maps: their names.
        macs: multiply-accumulates of each convolution for one picture.
        sites: where channels were equalised, and what it brought; empty without.
        errors: of single layers; empty where every one could stay.
        choice: what was left out and why; None where every one could stay.
        half: what became FP16 and what stayed FP32; None for ONNX Runtime.
        ranges_reused: whether the ranges came from a file.
        options: that it was made with.
        seconds: wall time.
    """

    output: Path
    input_bytes: int
    output_bytes: int
    convolutions: int
    int8_convolutions: int
    shares: PrecisionShares
    quality: Quality
    maps: tuple[str, ...]
    macs: Mapping[str, int]
    sites: tuple[EqualisedSite, ...]
    errors: tuple[LayerError, ...]
    choice: Choice | None
    half: HalfFacts | None
    ranges_reused: bool
    options: Int8Options
    seconds: float


def convert_int8(
    source: str | Path,
    output: str | Path,
    maps: CalibrationMaps,
    options: Int8Options | None = None,
    progress: Progress | None = None,
    force: bool = False,
) -> Int8Report:
    """Write INT8 convolutions into an exported FP32 model; inputs and outputs stay what they are.

    Q/DQ stand at the inputs and weights of the chosen convolutions and nowhere else (`calibration.qdq`). The result is
    compared with the FP32 model on all label maps, the rounding of FP16 emulated, and written only if it meets the
    goal. Equal inputs give an equal file.

    Args:
        source: ``.onnx`` file of `lggan export`, precision fp32.
        output: ``.onnx`` file to write.
        maps: label maps, from which the ranges come and on which the pictures are compared.
        options: see `Int8Options`.
        progress: where to report.
        force: replace ``output``.

    Raises:
        UsageError: ``output`` exists (without ``force``), or is ``source``.
        InputError: not our model, typed already, no convolution in it, ranges or a journal of something else, a tensor
            that is zero or not finite on all maps.
        GateError: the pictures differ too much.
        MissingError: disk full, no permission.
        BackendError: ONNX Runtime failed.
    """
    options, progress = options or Int8Options(), progress or SilentProgress()
    source, output = Path(source), Path(output)
    start = time.perf_counter()
    model, card = load_fp32(source, output, "INT8", force)
    for path in (options.ranges, options.journal):
        if path is not None:
            check_destination(path, source, force=True)  # both may be there already
    convolutions = find_convolutions(model)
    if not any(pays_in_int8(convolution, options.placement) for convolution in convolutions):
        raise InputError(f"{source} has no convolution that INT8 could compute for {options.placement.value}")
    work = _Work(model, card, maps, convolutions, options, progress)
    chosen = work.chosen()
    typed, half = work.typed(chosen)
    check_typed(typed)
    quality = work.quality(chosen)
    if not options.goal.is_met(quality):
        raise GateError(_too_different(quality, options))
    shares = precision_shares(typed, work.macs)
    write_card(typed, work.typed_card(chosen, shares, quality))
    data = message_bytes(typed, source)
    write_bytes(output, data, force=force)
    return Int8Report(
        output=output,
        input_bytes=source.stat().st_size,
        output_bytes=len(data),
        convolutions=len(convolutions),
        int8_convolutions=len(chosen),
        shares=shares,
        quality=quality,
        maps=maps.names,
        macs=work.macs,
        sites=work.sites,
        errors=work.errors,
        choice=work.choice,
        half=half,
        ranges_reused=work.ranges_reused,
        options=options,
        seconds=time.perf_counter() - start,
    )


class _Work:
    """What is computed once for one conversion."""

    def __init__(
        self,
        model: ModelProto,
        card: ModelCard,
        maps: CalibrationMaps,
        convolutions: Sequence[Convolution],
        options: Int8Options,
        progress: Progress,
    ) -> None:
        self._card, self._maps, self._options, self._progress = card, maps, options, progress
        self._output = card.outputs[0].name
        self.macs: Mapping[str, int] = count_macs(model, convolutions, next(maps.feeds()))
        self.errors: tuple[LayerError, ...] = ()
        self.choice: Choice | None = None
        self._reference = ReferencePictures(model, self._output, maps, progress)
        self.sites: tuple[EqualisedSite, ...] = ()
        if options.equalise:
            model, self.sites = equalised(model, convolutions, maps, progress)
        self._model = model
        self._convolutions = [one for one in find_convolutions(model) if pays_in_int8(one, options.placement)]
        self._every = [convolution.name for convolution in self._convolutions]
        ranges, self.ranges_reused = self._ranges()
        thresholds = ranges.thresholds(options.method, options.percentile, progress)
        self._thresholds = _as_wide_as_their_layer(thresholds, self._convolutions)

    def _ranges(self) -> tuple[Ranges, bool]:
        wanted = quantized_tensors(self._model, self._every, self._options.placement)
        path = self._options.ranges
        if path is not None and path.exists():
            ranges = read_ranges(path)
            ranges.require(graph_sha256(self._model), self._maps.sha256, wanted, path)
            return ranges, True
        ranges = collect_ranges(self._model, wanted, self._maps, self._progress)
        if path is not None:
            write_ranges(path, ranges, force=False)
        return ranges, False

    def chosen(self) -> tuple[str, ...]:
        """Names of the convolutions that become INT8, in the order of the graph."""
        if self._options.coverage is Coverage.ALL or self._options.goal.is_met(self.quality(self._every)):
            return tuple(self._every)
        self.errors = layer_errors(
            self._model,
            self._convolutions,
            self._thresholds,
            self._options.placement,
            self._maps.few(self._options.sensitivity_maps),
            float_picture(self._model, self._output),  # bytes would hide small errors
            self._progress,
            journal=self._options.journal,
        )
        self.choice = choose_int8(
            self.errors,
            self.macs,
            self._options.goal,
            self.quality,
            self._progress,
            other_bits=16 if self._options.placement is Placement.TENSORRT else 32,
        )
        return self.choice.chosen

    def typed(self, chosen: Collection[str]) -> tuple[ModelProto, HalfFacts | None]:
        """The graph that is written."""
        quantized = insert_qdq(self._model, chosen, self._thresholds, self._options.placement)
        if self._options.placement is Placement.ONNX_RUNTIME:
            return quantized, None
        return to_half(quantized)

    def quality(self, chosen: Collection[str]) -> Quality:
        """How close its pictures are, on all label maps."""
        typed, half = self.typed(chosen)
        return self._reference.compare(typed if half is None else emulate_half(typed), self._progress)

    def typed_card(self, chosen: Sequence[str], shares: PrecisionShares, quality: Quality) -> ModelCard:
        """The card with this step's line of provenance and its figures."""
        options = self._options
        method = options.method.value
        if options.method is RangeMethod.PERCENTILE:
            method += f" {options.percentile:g}"
        line = (
            f"typed {options.coverage.value} for {options.placement.value}: {len(chosen)} of {len(self.macs)} "
            f"convolutions in INT8, ranges by {method} over {len(self._maps)} label maps, {self._equalised()}, "
            f"onnx {importlib.metadata.version('onnx')}"
        )
        verification: dict[str, Any] = {
            "against": "the FP32 graph, ONNX Runtime CPU, FP16 rounding emulated",
            "maps": len(self._maps),
            "data_sha256": self._maps.sha256,
            "worst_psnr_db": _finite(quality.worst_psnr_db),
            "psnr_db": _finite(quality.psnr_db),
            "worst_ssim": round(quality.worst_ssim, 5),
            "ssim": round(quality.mean_ssim, 5),
            "mac_shares": {kind: round(share, 4) for kind, share in shares.shares.items()},
        }
        return dataclasses.replace(
            self._card,
            precision=options.coverage.value,
            target=TENSORRT if options.placement is Placement.TENSORRT else CPU,
            provenance=(*self._card.provenance, line),
            verification={**self._card.verification, options.coverage.value: verification},
        )

    def _equalised(self) -> str:
        changed = sum(site.alpha > 0 for site in self.sites)
        return f"channels of {changed} tensors equalised" if self.sites else "nothing equalised"


def _as_wide_as_their_layer(thresholds: Mapping[str, float], convolutions: Sequence[Convolution]) -> dict[str, float]:
    """Give the outputs of convolutions that make one layer, the class heads, the widest of their ranges.

    A class that is rare on the label maps would leave its head a range of a few pixels, or of the bias alone.
    """
    by_name = {convolution.name: convolution.output for convolution in convolutions}
    result = dict(thresholds)
    for names in units_of(convolutions):
        outputs = [by_name[name] for name in names if by_name[name] in thresholds]
        if len(outputs) > 1:
            result.update(dict.fromkeys(outputs, max(thresholds[output] for output in outputs)))
    return result


def _finite(decibels: float) -> float | None:
    """For JSON: None where pictures are equal."""
    return round(decibels, 2) if math.isfinite(decibels) else None


def _too_different(quality: Quality, options: Int8Options) -> str:
    way_out = (
        "let it choose (--precision mixed), try another --method, or lower the limits"
        if options.coverage is Coverage.ALL
        else "try another --method, or lower the limits"
    )
    return (
        f"INT8 pictures are {quality.worst_psnr_db:.1f} dB and SSIM {quality.worst_ssim:.3f} from the FP32 ones at "
        f"worst, {options.goal.min_psnr:g} dB and {options.goal.min_ssim:g} are asked for; {way_out}"
    )
