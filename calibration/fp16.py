"""The FP16 form of an exported model: `convert_fp16`."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import math
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from calibration.accuracy import Accuracy, Peak, draw_inputs, measure
from calibration.fp32_model import load_fp32
from calibration.half import HALF_MAX, HalfFacts, Island, check_typed, to_half
from calibration.maps import CalibrationMaps
from calibration.quality import Quality
from runtime.contract.card import ModelCard
from runtime.contract.errors import GateError, UsageError
from runtime.contract.files import write_bytes
from runtime.contract.onnx_safety import message_bytes, write_card
from runtime.contract.progress import Progress, SilentProgress


@dataclass(frozen=True)
class Fp16Options:
    """How to convert.

    Attributes:
        maps: label maps to draw for the comparison of FP16 with FP32, 1..64, where none are given.
        min_psnr: dB; a worse map fails the conversion.
    """

    maps: int = 3
    min_psnr: float = 30.0

    def __post_init__(self) -> None:
        if not 1 <= self.maps <= 64:
            raise UsageError(f"maps is {self.maps}; between 1 and 64 label maps can be compared")
        if not math.isfinite(self.min_psnr):
            raise UsageError(f"min_psnr is {self.min_psnr}; give a number of dB")


@dataclass(frozen=True)
class Fp16Report:
    """What came of it.

    Attributes:
        output: the file written.
        input_bytes, output_bytes: sizes of the two files.
        half_weight_share, half_mac_share: part of the weights' bytes (counted at 4 bytes each, before the conversion)
            and of the convolutions' multiply-accumulates that are FP16, 0..1.
        islands: nodes that compute in FP32, each with its reason.
        flushed, subnormal: weights that became zero; weights that lost bits below 6.1e-5.
        psnr: dB per compared label map, FP16 rounding emulated.
        largest_difference: grey levels (bytes out) or units of [-1, 1] (float out).
        largest_peak: the FP16 tensor that came closest to 65504.
        seconds: wall time.
    """

    output: Path
    input_bytes: int
    output_bytes: int
    half_weight_share: float
    half_mac_share: float
    islands: tuple[Island, ...]
    flushed: int
    subnormal: int
    quality: Quality
    largest_peak: Peak
    seconds: float


def convert_fp16(
    source: str | Path,
    output: str | Path,
    options: Fp16Options | None = None,
    progress: Progress | None = None,
    force: bool = False,
    given: CalibrationMaps | None = None,
) -> Fp16Report:
    """Write FP16 types into an exported FP32 model; inputs and outputs stay what they are.

    FP32 stays in islands: normalisation statistics, softmax (that inside ``SemanticAwareUpsample`` too), conversions
    from and to integers. The result is compared with the FP32 model on label maps with the rounding of FP16 emulated
    (`calibration.emulation`), and written only if it passes. Equal input gives an equal file.

    Args:
        source: ``.onnx`` file of `lggan export`, precision fp32.
        output: ``.onnx`` file to write.
        options: see `Fp16Options`.
        progress: where to report.
        force: replace ``output``.
        given: label maps to compare on; None draws as many as the options say.

    Raises:
        UsageError: ``output`` exists (without ``force``), or is ``source``.
        InputError: not our model, typed already, or weights that FP16 cannot hold.
        GateError: an activation overflows FP16, or the pictures differ too much.
        MissingError: disk full, no permission.
        BackendError: ONNX Runtime failed.
    """
    options, progress = options or Fp16Options(), progress or SilentProgress()
    source, output = Path(source), Path(output)
    start = time.perf_counter()
    model, card = load_fp32(source, output, "FP16", force)
    input_bytes = source.stat().st_size
    typed, facts = to_half(model)
    check_typed(typed)
    feeds = given.feeds() if given is not None else (draw_inputs(card, seed) for seed in range(options.maps))
    count = len(given) if given is not None else options.maps
    accuracy = measure(model, typed, card, facts.half_nodes, feeds, count, progress)
    _gate(accuracy, options)
    write_card(typed, _typed_card(card, facts, accuracy))
    data = message_bytes(typed, source)
    write_bytes(output, data, force=force)
    return Fp16Report(
        output=output,
        input_bytes=input_bytes,
        output_bytes=len(data),
        half_weight_share=_share(2 * facts.half_bytes, 2 * facts.half_bytes + facts.float_bytes),
        half_mac_share=_share(accuracy.half_macs, accuracy.macs),
        islands=tuple(facts.islands),
        flushed=facts.flushed,
        subnormal=facts.subnormal,
        quality=accuracy.quality,
        largest_peak=accuracy.largest_peak,
        seconds=time.perf_counter() - start,
    )


def _gate(accuracy: Accuracy, options: Fp16Options) -> None:
    over = [peak for peak in accuracy.peaks if peak.value > HALF_MAX]
    if over:
        raise GateError(
            f"{len(over)} tensors overflow FP16 (largest value 65504), the first is {over[0].tensor!r}; "
            "keep this model in FP32"
        )
    worst = accuracy.quality.worst_psnr_db
    if worst < options.min_psnr:
        raise GateError(
            f"FP16 pictures are {worst:.1f} dB from the FP32 ones, {options.min_psnr:g} dB are asked for; "
            "keep this model in FP32 or lower the limit"
        )


def _typed_card(card: ModelCard, facts: HalfFacts, accuracy: Accuracy) -> ModelCard:
    reasons = Counter(island.reason.value for island in facts.islands)
    verification = {
        "against": "the FP32 graph, ONNX Runtime CPU, FP16 rounding emulated",
        "maps": len(accuracy.quality.psnr),
        "psnr_db": [
            round(value, 2) if math.isfinite(value) else None for value in accuracy.quality.psnr
        ],  # None: equal
        "worst_ssim": round(accuracy.quality.worst_ssim, 5),
        "largest_difference": round(accuracy.quality.largest_difference, 6),
        "largest_peak": round(accuracy.largest_peak.value, 3),
        "half_mac_share": round(_share(accuracy.half_macs, accuracy.macs), 4),
        "islands": dict(sorted(reasons.items())),
        "flushed_weights": facts.flushed,
    }
    line = (
        f"typed fp16 (islands: {', '.join(f'{count} {reason}' for reason, count in sorted(reasons.items())) or 'none'})"
    )
    return dataclasses.replace(
        card,
        precision="fp16",
        provenance=(*card.provenance, f"{line}, onnx {importlib.metadata.version('onnx')}"),
        verification={**card.verification, "fp16": verification},
    )


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
