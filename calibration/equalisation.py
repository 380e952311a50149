"""Equalisation: channels brought to similar ranges before INT8, without changing what the FP32 graph computes.

INT8 has one scale for all channels of a convolution's input. A channel a hundred times larger than the others leaves
them one or two levels. Dividing the channels by factors of their own, and multiplying the weights that meet them,
shares the burden between input and weights; where the division disappears into constants, it costs nothing
(`calibration.equalisation_sites`). After M. Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias
Correction", 2019, with the share of input and weights chosen by measurement as in G. Xiao et al., "SmoothQuant", 2022.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from onnx import ModelProto

from calibration.activations import BUDGET_BYTES
from calibration.channel_peaks import channel_peaks
from calibration.convolutions import Convolution
from calibration.equalisation_factors import SiteTrial, range_tensors, try_factors
from calibration.equalisation_sites import EqualisationSite, find_equalisation_sites
from calibration.graphs import constants_to_initializers, refuse_control_flow
from calibration.maps import CalibrationMaps
from calibration.own_constants import OwnConstants
from runtime.contract.progress import Progress

_MEASURED_MAPS = 2


@dataclass(frozen=True)
class EqualisedSite:
    """What was done at one site.

    Attributes:
        convolutions: names of those whose input was scaled.
        divided: names of the nodes whose constants took the division in.
        alpha: share of the work that went to the input, 0.25 to 1; 0 where nothing was changed, because nothing helped.
        largest_factor: largest ratio of two factors, a power of two; 1 where nothing was changed.
        before_db, after_db: ratio of signal to INT8's error at the convolutions' outputs, dB, alone and in FP32
            surroundings; ``inf`` without an error.
    """

    convolutions: tuple[str, ...]
    divided: tuple[str, ...]
    alpha: float
    largest_factor: float
    before_db: float
    after_db: float


def equalised(
    model: ModelProto,
    convolutions: Iterable[Convolution],
    maps: CalibrationMaps,
    progress: Progress,
    threads: int | None = None,
    budget_bytes: int = BUDGET_BYTES,
) -> tuple[ModelProto, tuple[EqualisedSite, ...]]:
    """Make a copy of an FP32 graph whose convolutions lose less in INT8.

    Every site tries several factors and takes those with which its convolutions, rounded to INT8 alone, come closest to
    FP32 on two of the label maps; it stays as it is if none is better. Factors are powers of two, so that FP32 pictures
    are the same bit by bit, unless numbers come close to the ends of FP32. Nodes and tensors keep their names, but a
    constant that others share gets a changed copy with a new one: look for the convolutions again. Ranges of tensors
    change: collect them from the result.

    Args:
        model: FP32 graph; not changed.
        convolutions: of that graph (`calibration.convolutions`), all that may take factors in.
        maps: the label maps.
        progress: where to report.
        threads: of ONNX Runtime; its own choice if None.
        budget_bytes: of memory for the tensors that are looked at, of one map.

    Returns:
        The copy, and what was done, in the order of the graph: all sites, those left as they are included.

    Raises:
        InputError: control flow, values or weights that are not finite.
        BackendError: ONNX Runtime cannot load or run the graph.
    """
    refuse_control_flow(model.graph.node)
    result = ModelProto()
    result.CopyFrom(model)
    constants_to_initializers(result)
    sites = find_equalisation_sites(result, convolutions)
    if not sites:
        return result, ()
    tensors = range_tensors(result, sites)
    peaks = channel_peaks(result, tensors.values(), maps, progress, threads, budget_bytes)
    trials = try_factors(result, sites, peaks, maps.few(_MEASURED_MAPS), progress, threads, budget_bytes)
    divide_sites(result, [(trial.site, trial.candidates[trial.best].values) for trial in trials])
    return result, tuple(_account(result, trial) for trial in trials)


def divide_sites(model: ModelProto, divided: Iterable[tuple[EqualisationSite, np.ndarray]]) -> None:
    """Divide the tensors of sites of ``model``, in place, each channel by its factor: float32 [C], powers of two."""
    constants = OwnConstants(model)
    nodes = {node.name: node for node in model.graph.node}
    for site, factors in divided:
        if (factors == 1).all():
            continue
        for divisor in site.divisors:
            constants.multiply_outputs(model.graph.node[divisor.node], divisor.first, 1 / factors)
        for reader in site.readers:
            constants.multiply_inputs(nodes[reader.name], reader, factors)
    constants.write()


def _account(model: ModelProto, trial: SiteTrial) -> EqualisedSite:
    best = trial.candidates[trial.best]
    divided = (model.graph.node[divisor.node] for divisor in trial.site.divisors)
    return EqualisedSite(
        convolutions=tuple(reader.name for reader in trial.site.readers),
        divided=tuple(dict.fromkeys(node.name or node.output[0] for node in divided)),
        alpha=best.alpha,
        largest_factor=float(np.max(best.values) / np.min(best.values)),
        before_db=_decibels(trial.error(0)),
        after_db=_decibels(trial.error(trial.best)),
    )


def _decibels(error: float) -> float:
    return -10 * math.log10(error) if error > 0 else math.inf
