"""Which task a preset trains."""

from __future__ import annotations

from lggan.config import GeneratorConfig
from lggan.cross_view_config import CrossViewConfig
from lggan.losses.config import CrossViewLossWeights, LossWeights
from lggan.preset import Preset
from lggan.training.cross_view import CrossView
from lggan.training.semantic_synthesis import SemanticSynthesis
from lggan.training.task import TrainingTask


def task_for(preset: Preset) -> TrainingTask:
    """The task that the preset's generator and losses belong to."""
    generator, losses = preset.generator, preset.losses
    if isinstance(generator, CrossViewConfig) and isinstance(losses, CrossViewLossWeights):
        return CrossView(generator, losses, preset.train)
    if isinstance(generator, GeneratorConfig) and isinstance(losses, LossWeights):
        return SemanticSynthesis(generator, preset.classes, losses, preset.train)
    raise TypeError(f"preset {preset.name} mixes the generator of one task with the losses of the other")
