"""Label maps for the toy model."""

from __future__ import annotations

import numpy as np

from calibration.maps import CalibrationMaps
from runtime.contract.card import ModelCard
from runtime.profiler.worker import LabelMap
from tests.onnx_toys import CARD


def toy_label_maps(count: int = 5, card: ModelCard = CARD, seed: int = 0) -> list[LabelMap]:
    """Blocks of random classes, of the card's size."""
    draw = np.random.default_rng(seed)
    grids = draw.integers(0, len(card.classes), (count, card.height // 4, card.width // 4), dtype=np.uint8)
    return [LabelMap(f"map {i}", grid.repeat(4, axis=0).repeat(4, axis=1)) for i, grid in enumerate(grids)]


def toy_maps(count: int = 5, card: ModelCard = CARD, seed: int = 0) -> CalibrationMaps:
    """The same, ready for calibration."""
    return CalibrationMaps(card, toy_label_maps(count, card, seed))
