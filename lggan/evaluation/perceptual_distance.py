"""LPIPS (Zhang et al. 2018), by its authors' package where it is installed."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from lggan.evaluation.metric import Better, Comparison, LeftOut, MetricResult, mean_and_spread

_DEFINITION = "mean over pictures of the distance of the package lpips, AlexNet, version 0.1, at the model's size"
_INSTALL = "the package lpips is not installed; run: pip install lpips"


class PerceptualDistance:
    """``lpips``; open it with `open_perceptual_distance`."""

    names = ("lpips",)

    def __init__(self, network: Any, device: torch.device) -> None:
        self._network, self._device = network, device
        self._distances: list[float] = []

    @torch.no_grad()
    def add(self, batch: Sequence[Comparison]) -> None:
        generated, real = (
            torch.from_numpy(np.stack(pictures)).to(self._device).permute(0, 3, 1, 2).float() / 127.5 - 1
            for pictures in ([pair.generated for pair in batch], [pair.photo for pair in batch])
        )
        self._distances += self._network(generated, real).reshape(-1).tolist()

    def results(self) -> tuple[MetricResult, ...]:
        mean, spread = mean_and_spread(self._distances)
        return (MetricResult("lpips", mean, "", Better.LOWER, len(self._distances), _DEFINITION, spread=spread),)


def open_perceptual_distance(device: str = "auto") -> PerceptualDistance | LeftOut:
    """The metric, or why there is none. The package fetches AlexNet's weights by itself when it runs first."""
    try:
        package = importlib.import_module("lpips")
    except ImportError:
        return LeftOut("lpips", _INSTALL)
    where = torch.device("cuda" if device != "cpu" and torch.cuda.is_available() else "cpu")
    try:
        network = package.LPIPS(net="alex", version="0.1", verbose=False).eval().to(where)
    except Exception as error:  # no network, a damaged cache, another torchvision: whatever the package meets
        first = (str(error).splitlines() or [type(error).__name__])[0]
        return LeftOut("lpips", f"the package lpips cannot make its network: {first[:200]}")
    return PerceptualDistance(network, where)
