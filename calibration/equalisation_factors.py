"""Factors for the channels of a site, and which of several serve INT8 best."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from onnx import ModelProto, numpy_helper

from calibration.activations import BUDGET_BYTES, activations
from calibration.convolutions import Convolution
from calibration.equalisation_sites import EqualisationSite
from calibration.maps import CalibrationMaps
from calibration.origins import Origins
from calibration.own_constants import along_inputs
from calibration.single_convolution import SingleConvolution, rounded_activation, rounded_weight
from runtime.contract.progress import Progress

ALPHAS = (0.25, 0.5, 0.75, 1.0)
"""How much of the work goes from the weights to the activations: at 1 all channels of the input get the same range, at
0 all input channels of the weights would."""

_LARGEST_EXPONENT = 8


@dataclass(frozen=True)
class Factors:
    """What a site's tensors may be divided by.

    Attributes:
        alpha: see `ALPHAS`; 0 stands for no factors at all.
        values: float32 [C], powers of two.
    """

    alpha: float
    values: np.ndarray


def candidate_factors(weights: Sequence[np.ndarray], peaks: Sequence[np.ndarray]) -> tuple[Factors, ...]:
    """Ones, and the different factors that follow from `ALPHAS`.

    With ``a`` the largest |x| of a channel and ``w`` the largest |weight| that it meets, the factor is
    ``a^alpha / w^(1 - alpha)``, in a geometric mean of 1, rounded to a power of two from 2^-8 to 2^8. A power of two
    changes exponents alone: FP32 computes the same bits as before, and the range of a channel misses its aim by the
    square root of two at most. Channels that are always zero, or that all weights ignore, keep 1.

    Args:
        weights: per convolution that reads the site, |weight| [C, ...], relative to the largest of its output channel.
        peaks: per tensor that they read, [C], the largest |x|.
    """
    largest_weight = np.max([weight.reshape(len(weight), -1).max(axis=1) for weight in weights], axis=0)
    # several tensors of one site: what counts is how large a channel is beside the others of its own tensor
    largest_value = np.max([peak / max(float(peak.max()), 1e-30) for peak in peaks], axis=0)
    used = (largest_weight > 0) & (largest_value > 0)
    ones = np.ones(len(used), np.float32)
    found = [Factors(0.0, ones)]
    if not used.any():
        return tuple(found)
    log_weight, log_value = np.log2(largest_weight[used]), np.log2(largest_value[used])
    for alpha in ALPHAS:
        exponents = alpha * log_value - (1 - alpha) * log_weight
        exponents = np.clip(np.rint(exponents - exponents.mean()), -_LARGEST_EXPONENT, _LARGEST_EXPONENT)
        values = ones.copy()
        values[used] = np.exp2(exponents)
        if not any(np.array_equal(values, each.values) for each in found):
            found.append(Factors(alpha, values))
    return tuple(found)


@dataclass
class SiteTrial:
    """The candidates of a site and what INT8 costs with each of them.

    Attributes:
        site: where.
        candidates: factors; the first are ones.
        errors: per candidate, per convolution that reads the site: sum of the squared errors of its output.
        signals: per convolution, sum of the squares of its FP32 output, without bias.
    """

    site: EqualisationSite
    candidates: tuple[Factors, ...]
    errors: list[dict[str, float]] = field(init=False)
    signals: dict[str, float] = field(init=False)

    def __post_init__(self) -> None:
        self.errors = [{reader.name: 0.0 for reader in self.site.readers} for _ in self.candidates]
        self.signals = {reader.name: 0.0 for reader in self.site.readers}

    def error(self, candidate: int) -> float:
        """Error power relative to signal power, the mean over the convolutions; 0 where there is no signal."""
        shares = [self.errors[candidate][name] / power for name, power in self.signals.items() if power > 0]
        return math.fsum(shares) / max(len(shares), 1)

    @property
    def best(self) -> int:
        """The candidate with the least error; of equal ones the first."""
        return min(range(len(self.candidates)), key=self.error)


def try_factors(
    model: ModelProto,
    sites: Iterable[EqualisationSite],
    peaks: Mapping[str, np.ndarray],
    maps: CalibrationMaps,
    progress: Progress,
    threads: int | None = None,
    budget_bytes: int = BUDGET_BYTES,
) -> tuple[SiteTrial, ...]:
    """Measure what each candidate of each site costs: the convolutions that read it run alone, rounded to INT8.

    Inputs are rounded per tensor over the range that ``peaks`` give, weights per output channel.

    Args:
        model: FP32 graph, its constants as initialisers.
        sites: of that graph.
        peaks: `range_tensors` -> [C], largest |x| over all label maps.
        maps: the label maps to measure on.
        progress: where to report: one step a map.
        threads: of ONNX Runtime; its own choice if None.
        budget_bytes: of memory for the inputs of the convolutions, of one map.

    Raises:
        InputError: values or weights that are not finite.
        BackendError: ONNX Runtime cannot load or run the graph or a convolution of it.
    """
    sites = tuple(sites)
    ranges = range_tensors(model, sites)
    nodes = {node.name: node for node in model.graph.node}
    wanted = {reader.weight for site in sites for reader in site.readers}
    weights = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer if t.name in wanted}
    trials = []
    for site in sites:
        relative = [_relative(reader, weights[reader.weight]) for reader in site.readers]
        tensors = dict.fromkeys(ranges[reader.input] for reader in site.readers)
        trials.append(SiteTrial(site, candidate_factors(relative, [peaks[name] for name in tensors])))
    readers: dict[str, list[tuple[SiteTrial, Convolution]]] = {}
    for trial in trials:
        for reader in trial.site.readers:
            readers.setdefault(reader.input, []).append((trial, reader))
    with progress.task(f"equalise {len(trials)} places", len(maps)) as task:
        for activation in activations(model, readers, maps, threads, budget_bytes):
            peak = peaks[ranges[activation.tensor]]
            for trial, reader in readers[activation.tensor]:
                convolution = SingleConvolution(model, nodes[reader.name], threads)
                _measure(trial, reader, convolution, activation.values, weights[reader.weight], peak)
            task.advance(1 / len(readers), activation.map_name)
    return tuple(trials)


def range_tensors(model: ModelProto, sites: Iterable[EqualisationSite]) -> dict[str, str]:
    """Input of a convolution -> tensor whose range it is quantised with; both belong to the same site."""
    origins = Origins(model.graph.node)
    found = {}
    for site in sites:
        for reader in site.readers:
            source = origins.range_source(reader.input)
            found[reader.input] = source if source in site.tensors else reader.input
    return found


def _relative(convolution: Convolution, weight: np.ndarray) -> np.ndarray:
    """|weight|, input channels first, relative to the largest of its output channel, whose scale it gets in INT8."""
    outputs = tuple(side for side in range(weight.ndim) if side != convolution.axis)
    peaks = np.abs(weight).max(axis=outputs, keepdims=True)
    relative = np.divide(np.abs(weight), peaks, out=np.zeros_like(weight), where=peaks > 0)
    if convolution.op_type == "ConvTranspose":
        return relative
    # [out, in / group, h, w]: the outputs of a group side by side, its inputs first
    groups = relative.reshape(convolution.group, -1, *relative.shape[1:])
    return groups.swapaxes(1, 2).reshape(convolution.group * relative.shape[1], -1)


def _measure(
    trial: SiteTrial,
    reader: Convolution,
    convolution: SingleConvolution,
    values: np.ndarray,
    weight: np.ndarray,
    peak: np.ndarray,
) -> None:
    exact = convolution(values, weight)
    trial.signals[reader.name] += _power(exact)
    for candidate, errors in zip(trial.candidates, trial.errors, strict=True):
        factors = candidate.values
        threshold = float((peak / factors).max())
        if threshold == 0:  # always zero, in INT8 as well
            continue
        divided = rounded_activation(values / factors.reshape(-1, 1, 1), threshold)
        scaled = rounded_weight(weight * along_inputs(reader, factors, weight), reader.axis, reader.weight)
        rounded = convolution(divided, scaled)
        errors[reader.name] += _power(rounded - exact)


def _power(values: np.ndarray) -> float:
    return float(np.square(values).sum(dtype=np.float64))
