"""LPIPS through a stand-in of its package: what it is fed, and what is said where it is not there."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from lggan.evaluation.metric import Comparison, LeftOut
from lggan.evaluation.perceptual_distance import PerceptualDistance, open_perceptual_distance


class Difference(torch.nn.Module):
    """Mean absolute difference in place of the learned one, [N, 1, 1, 1] like it."""

    def __init__(self, net: str, version: str, verbose: bool) -> None:
        super().__init__()
        assert (net, version, verbose) == ("alex", "0.1", False)

    def forward(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        assert first.shape[1] == 3
        assert first.min() >= -1
        assert first.max() <= 1
        return (first - second).abs().mean(dim=(1, 2, 3), keepdim=True)


def test_pictures_enter_in_minus_one_to_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lpips", SimpleNamespace(LPIPS=Difference))
    metric = open_perceptual_distance("cpu")
    assert isinstance(metric, PerceptualDistance)
    draw = np.random.default_rng(0)
    drawn = draw.integers(0, 256, (3, 2, 8, 9, 3), dtype=np.uint8)
    pairs = [Comparison("", generated, photo, photo, np.zeros((8, 9), np.uint8)) for generated, photo in drawn]
    metric.add(pairs[:2])
    metric.add(pairs[2:])
    (result,) = metric.results()
    single = [np.abs(p.generated.astype(float) - p.photo).mean() / 127.5 for p in pairs]
    assert result.value == pytest.approx(np.mean(single), rel=1e-6)
    assert result.spread == pytest.approx(np.std(single), rel=1e-5)
    assert (result.name, result.better.value, result.count) == ("lpips", "lower", 3)


def test_absent_or_broken_package_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lpips", None)
    missing = open_perceptual_distance()
    assert isinstance(missing, LeftOut)
    assert "pip install lpips" in missing.reason

    def broken(**_: Any) -> None:
        raise OSError("no connection\nmore")

    monkeypatch.setitem(sys.modules, "lpips", SimpleNamespace(LPIPS=broken))
    missing = open_perceptual_distance()
    assert isinstance(missing, LeftOut)
    assert missing.reason.endswith("no connection")
