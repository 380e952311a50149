"""The two tasks of the paper, and which generator configuration belongs to which."""

from __future__ import annotations

from enum import Enum
from typing import Any

from lggan.config import GeneratorConfig
from lggan.cross_view_config import CrossViewConfig
from runtime.contract.errors import InputError

AnyConfig = GeneratorConfig | CrossViewConfig


class Task(str, Enum):
    """What a generator is for; the value stands in the model card.

    SEMANTIC_SYNTHESIS: a photo from a label map.
    CROSS_VIEW: a photo of a scene from another place, from a photo and the label map of the target view.
    """

    SEMANTIC_SYNTHESIS = "semantic-synthesis"
    CROSS_VIEW = "cross-view"


def read_config(task: str, plain: dict[str, Any]) -> AnyConfig:
    """The generator's configuration from the plain values in a card.

    Args:
        task: of the card, see `Task`.
        plain: what the configuration's ``to_dict`` wrote.

    Raises:
        InputError: a task of another version, unknown keys, values of the wrong kind.
        UsageError: values that contradict each other.
    """
    if task == Task.SEMANTIC_SYNTHESIS.value:
        return GeneratorConfig.from_dict(plain)
    if task == Task.CROSS_VIEW.value:
        return CrossViewConfig.from_dict(plain)
    raise InputError(f"the task {task!r} is unknown; this version knows {', '.join(task.value for task in Task)}")


def task_of(config: AnyConfig) -> Task:
    """The task that a configuration belongs to."""
    return Task.CROSS_VIEW if isinstance(config, CrossViewConfig) else Task.SEMANTIC_SYNTHESIS
