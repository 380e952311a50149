"""Distances between the features of generated pictures and of photos, features by a network that the user names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lggan.evaluation.frechet import FrechetDistance
from lggan.evaluation.kernel_distance import KernelDistance
from lggan.evaluation.metric import Comparison, LeftOut, MetricResult
from lggan.evaluation.network_file import OutputKind
from lggan.evaluation.onnx_network import OnnxNetwork, open_network
from runtime.contract.errors import BackendError


class FeatureMetric:
    """``fid`` and ``kid`` from one pass of the network over every picture."""

    names = (FrechetDistance.name, KernelDistance.name)

    def __init__(self, network: OnnxNetwork) -> None:
        self._network = network
        self._distances = (FrechetDistance(), KernelDistance())

    def add(self, batch: Sequence[Comparison]) -> None:
        generated = features_of(self._network, [pair.generated for pair in batch])
        real = features_of(self._network, [pair.photo for pair in batch])
        for distance in self._distances:
            distance.add(generated, real)

    def results(self) -> tuple[MetricResult | LeftOut, ...]:
        return tuple(distance.result() for distance in self._distances)


def open_features(path: str | Path, threads: int | None = None, device: str = "auto") -> OnnxNetwork:
    """Load a feature network; see `open_network`."""
    return open_network(path, (OutputKind.FEATURES,), threads, device)


def features_of(network: OnnxNetwork, pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Features of pictures uint8 [h, w, 3]: [N, D]; of an answer [N, D, h, w] the mean over h and w.

    Raises:
        BackendError: the network failed or answered something else.
    """
    answer = network.run(pictures)
    if answer.ndim == 4:
        answer = answer.mean(axis=(2, 3), dtype=np.float64)
    if answer.ndim != 2 or answer.shape[1] == 0:
        raise BackendError(f"{network.path} answered {list(answer.shape)}; features are [N, D] or [N, D, h, w]")
    return answer
