"""How much memory a training step needs, counted without computing anything.

The generator's half of a step is run on fake tensors, which have shapes and types and no numbers, while PyTorch tells
which of them it keeps for the backward pass. What a layer needs while it works comes on top.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.utils import parametrize
from torch.overrides import TorchFunctionMode

from lggan.config import GeneratorConfig
from lggan.cost import CLASSES_PER_WINDOW
from lggan.losses.perceptual import LayerScale, PerceptualFeatures, PerceptualLoss, SqueezeNetFeatures, VGG19Features
from lggan.networks.build import AnyGenerator
from lggan.networks.class_routed import ClassRoutedConv2d
from lggan.networks.head_answers import HeadAnswers
from lggan.preset import Preset
from lggan.task import AnyConfig
from lggan.training.precision import TrainPrecision
from lggan.training.task import Batch, TrainingTask
from lggan.training.tasks import task_for

_ADAM = 16  # bytes per trained number: itself, its gradient, Adam's two averages
_FLOAT = 4
_REST = "fusion and losses"


@dataclass(frozen=True)
class TrainingMemory:
    """Bytes on one device.

    Attributes:
        precision: of the forward passes; FP16 needs what BF16 needs.
        fixed: weights, gradients, Adam's averages, the averaged generator, the perceptual network, and what of the
            weights a step keeps in other forms.
        per_image: what a step keeps for its backward pass for each example in a micro-batch, by part.
    """

    precision: TrainPrecision
    fixed: int
    per_image: dict[str, int]

    def needed(self, examples: int) -> int:
        """For micro-batches of so many examples, without what layers need while they work."""
        return self.fixed + examples * sum(self.per_image.values())

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"precision": self.precision.value, "fixed": self.fixed, "per_image": self.per_image}


def training_memory(
    preset: Preset, precision: TrainPrecision, classes_per_window: float = CLASSES_PER_WINDOW
) -> TrainingMemory:
    """Memory of a training step of a preset at its size, widths and perceptual loss.

    Args:
        classes_per_window: classes that a window of the class heads meets on average; it depends on the label maps.
    """
    with FakeTensorMode():
        task = task_for(preset)
        generator, discriminator = task.generator(), task.discriminator()
        perceptual = _perceptual(preset.train.perceptual)
        _stand_in_for_heads(generator, classes_per_window)
        one, two = (
            _kept(preset.generator, task, generator, discriminator, perceptual, precision, count) for count in (1, 2)
        )
        trained = sum(p.numel() for network in (generator, discriminator) for p in network.parameters())
        fixed = _ADAM * trained + _FLOAT * sum(p.numel() for p in generator.parameters())
        if perceptual is not None:
            fixed += _FLOAT * sum(p.numel() for p in perceptual.parameters())
    per_image = {part: two[part] - one[part] for part in two if two[part] > one[part]}
    return TrainingMemory(precision, fixed + sum(one.values()) - sum(per_image.values()), per_image)


def _kept(
    config: AnyConfig,
    task: TrainingTask,
    generator: AnyGenerator,
    discriminator: nn.Module,
    perceptual: PerceptualLoss | None,
    precision: TrainPrecision,
    count: int,
) -> Counter[str]:
    """Bytes by part that the generator's half keeps for ``count`` examples."""
    discriminator.requires_grad_(False)
    batch = _batch(config, count)
    half = torch.autocast("cpu", torch.bfloat16) if precision is not TrainPrecision.FP32 else nullcontext()
    with ExitStack() as stack:
        kept = stack.enter_context(count_saved(generator, discriminator, perceptual))
        for context in (_KnownCounts(), half, parametrize.cached()):
            stack.enter_context(context)
        synthesis = generator(*batch.inputs)
        terms = task.generator_terms(synthesis, batch, discriminator, perceptual)
        torch.stack(list(terms.values())).sum()
    return kept


@contextmanager
def count_saved(
    generator: AnyGenerator, discriminator: nn.Module, perceptual: nn.Module | None
) -> Iterator[Counter[str]]:
    """Count the bytes that PyTorch keeps for backward passes, by part; parameters and buffers are not among them.

    A tensor that several layers keep counts once, for the first of them.
    """
    networks = [network for network in (generator, discriminator, perceptual) if network is not None]
    own = {
        tensor.untyped_storage()._cdata
        for network in networks
        for tensor in (*network.parameters(), *network.buffers())
    }
    parts = {name.replace("_", " "): module for name, module in generator.named_children()}
    parts |= {"class heads": generator.local_branch.heads, "discriminator": discriminator}
    if perceptual is not None:  # its network, as the loss is called by other names than its module's
        parts["perceptual network"] = perceptual.get_submodule("network")
    seen: dict[int, Tensor] = {}  # keeps what was seen alive, so that no storage takes another's place
    kept: Counter[str] = Counter()
    place = [_REST]

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in own and storage._cdata not in seen:
            seen[storage._cdata] = tensor
            kept[place[-1]] += storage.nbytes()
        return tensor

    def enter(part: str) -> Callable[..., None]:
        return lambda *_: place.append(part)

    def leave(*_: object) -> None:
        place.pop()

    with ExitStack() as hooks:
        for part, module in parts.items():
            hooks.callback(module.register_forward_pre_hook(enter(part)).remove)
            hooks.callback(module.register_forward_hook(leave).remove)
        hooks.enter_context(saved_tensors_hooks(keep, lambda tensor: tensor))
        yield kept


def _batch(config: AnyConfig, count: int) -> Batch:
    size = (config.height, config.width)
    photo = torch.empty(count, 3, *size)
    if isinstance(config, GeneratorConfig):
        return Batch((torch.empty(count, config.semantic_channels, *size),), photo)
    return Batch((torch.empty(count, 6, *size), torch.empty(count, 1, *size, dtype=torch.uint8)), photo)


def _perceptual(kind: PerceptualFeatures) -> PerceptualLoss | None:
    if kind is PerceptualFeatures.NONE:
        return None
    network = VGG19Features() if kind is PerceptualFeatures.VGG19 else SqueezeNetFeatures()
    return PerceptualLoss(network, (1.0,) * 5, LayerScale.ABSOLUTE)


class _KnownCounts(TorchFunctionMode):
    """Histograms have a size that depends on what they count; here they never have more than their least bins."""

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if function is torch.bincount and kwargs is not None:
            return torch.empty(kwargs["minlength"], dtype=torch.int64)
        return function(*args, **(kwargs or {}))


def _stand_in_for_heads(generator: AnyGenerator, classes_per_window: float) -> None:
    branch = generator.local_branch
    branch.heads = _HeadsStandIn(branch.heads, classes_per_window)  # type: ignore[assignment]


class _HeadsStandIn(nn.Module):
    """Keeps what `ClassRoutedConv2d` keeps, whose work depends on the label map, and answers as many pairs."""

    def __init__(self, heads: ClassRoutedConv2d, classes_per_window: float) -> None:
        super().__init__()
        self.weight, self.bias, self.margin = heads.weight, heads.bias, heads.margin
        self.classes_per_window = classes_per_window

    def forward(self, feature: Tensor, heads: Tensor) -> HeadAnswers:
        n, height, width = heads.shape
        pairs = round(self.classes_per_window * height * width)
        values: Tensor = _Answers.apply(feature, self.weight, self.bias, self.margin, n * pairs)
        image, pixel, head = (torch.empty(n * pairs, dtype=torch.int64) for _ in range(3))
        blocks = torch.empty(n, 2, dtype=torch.int64)
        return _EqualBlocks(values.tanh(), image, pixel, head, self.bias.tanh(), (n, height, width), blocks)


class _EqualBlocks(HeadAnswers):
    """One block per picture, whose heads and lengths fake tensors could not tell."""

    def by_block(self) -> list[tuple[int, Tensor, Tensor]]:
        count = self.size[0]
        parts = zip(self.places().chunk(count), self.values.chunk(count), strict=True)
        return [(0, places, values) for places, values in parts]


class _Answers(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, feature: Tensor, weight: Tensor, bias: Tensor, margin: int, pairs: int) -> Tensor:
        n, _, height, width = feature.shape
        pixels = n * (height + 2 * margin) * (width + 2 * margin)
        rows = round(pairs * (height + 2 * margin) / height)  # 1 x k windows, on the margin as well
        lists = [torch.empty(count, dtype=torch.int32) for count in (pixels, rows, pairs)]
        ctx.save_for_backward(feature, weight, torch.empty(pixels, dtype=torch.int64), *lists)
        return torch.empty(pairs, bias.shape[1])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, ...]:
        raise NotImplementedError("only what is kept for it is asked for")
