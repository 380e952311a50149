"""What a classifier sees in generated pictures and in photos: agreement, inception score, KL score."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lggan.evaluation.agreement import Agreement
from lggan.evaluation.inception_score import InceptionScore
from lggan.evaluation.kl_score import KlScore
from lggan.evaluation.metric import Comparison, LeftOut, MetricResult
from lggan.evaluation.network_file import OutputKind
from lggan.evaluation.onnx_network import OnnxNetwork, open_network
from runtime.contract.errors import BackendError


class ClassificationMetric:
    """All figures of one classifier, from one pass over every picture; ``photos`` adds the photos' inception score."""

    def __init__(self, network: OnnxNetwork, *, photos: bool) -> None:
        self._network = network
        self._agreement, self._kl = Agreement(), KlScore()
        self._generated = InceptionScore()
        self._photos = InceptionScore("_photos") if photos else None

    @property
    def names(self) -> tuple[str, ...]:
        photos = self._photos.names if self._photos else ()
        return (*self._agreement.names, *self._generated.names, *photos, *self._kl.names)

    def add(self, batch: Sequence[Comparison]) -> None:
        generated = log_probabilities(self._network, [pair.generated for pair in batch])
        real = log_probabilities(self._network, [pair.photo for pair in batch])
        self._agreement.add(generated, real)
        self._generated.add(generated)
        if self._photos is not None:
            self._photos.add(real)
        self._kl.add(generated, real)

    def results(self) -> tuple[MetricResult | LeftOut, ...]:
        photos = self._photos.results() if self._photos else ()
        return (*self._agreement.results(), *self._generated.results(), *photos, *self._kl.results())


def open_classifier(path: str | Path, threads: int | None = None, device: str = "auto") -> OnnxNetwork:
    """Load a classifier; see `open_network`."""
    return open_network(path, (OutputKind.LOGITS, OutputKind.PROBABILITIES), threads, device)


def log_probabilities(network: OnnxNetwork, pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Natural logarithm of the class probabilities of pictures uint8 [h, w, 3]: float64 [N, K].

    Logits are normalised here, in float64, so that no probability is lost to rounding before its logarithm is taken.

    Raises:
        BackendError: the network failed or answered something else.
    """
    answer = network.run(pictures)
    if answer.ndim != 2 or answer.shape[1] < 2:
        raise BackendError(f"{network.path} answered {list(answer.shape)}; a classifier answers [N, K]")
    values = answer.astype(np.float64)
    if network.file.output.kind is OutputKind.LOGITS:
        values = values - values.max(axis=1, keepdims=True)
        logs: np.ndarray = values - np.log(np.exp(values).sum(axis=1, keepdims=True))
        return logs
    if values.min() < 0 or not np.allclose(values.sum(axis=1), 1, atol=1e-3):
        raise BackendError(f"{network.path} answered values that are no probabilities; is its output.kind logits?")
    with np.errstate(divide="ignore"):
        return np.log(values / values.sum(axis=1, keepdims=True))
