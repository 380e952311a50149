"""The generator as published, without this project's savings, for `export_speed.py`.

`as_published` is what PyTorch runs: every class head over the whole picture, its mask repeated over all channels, its
features masked and then padded, the class scores computed; batch norms, biases and the encoder are untouched. Of the
tensors that the published code keeps alive (specification F.2), the same are kept.

`plain_export` is what a user of PyTorch's exporter gets from that: a graph for one picture size. In its favour masks
are broadcast instead of repeated, and what the picture does not depend on is not exported.
"""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, pad, pixel_shuffle

from lggan.checkpoint import load_generator
from lggan.networks.class_routed import ClassRoutedConv2d, HeadForm
from lggan.networks.classification import ClassFeatureClassifier
from lggan.networks.generator import LGGANGenerator
from lggan.networks.semantics import encode_semantics
from lggan.networks.upsample import SCALE, SemanticAwareUpsample

OPSET = 18


class PublishedHeads(nn.Module):
    """The class heads in PyTorch: masks, masked and padded copies of the feature for all K classes.

    Shapes: feature [N, C, H, W], masks [N, K, H, W] -> [N, K, 3, H, W], before tanh.
    """

    def __init__(self, bank: ClassRoutedConv2d, classifier: ClassFeatureClassifier) -> None:
        super().__init__()
        self.bank, self.classifier = bank, classifier
        self.scores: Tensor | None = None

    def dense(self, feature: Tensor, masks: Tensor) -> Tensor:
        around = (self.bank.margin,) * 4
        labels = [masks[:, c : c + 1].repeat(1, feature.shape[1], 1, 1) for c in range(masks.shape[1])]
        masked = torch.cat([feature * label for label in labels])  # [K N, C, H, W]
        self.scores = self.classifier.linear(masked.mean(dim=(2, 3)))  # [K N, scored heads]
        del masked
        padded = [pad(feature * label, around, mode="reflect") for label in labels]
        answers = [conv2d(one, self.bank.weight[c], self.bank.bias[c]) for c, one in enumerate(padded)]
        return torch.stack(answers, dim=1)


class PlainHeads(nn.Module):
    """`PublishedHeads` as far as the picture depends on it, one class after the other."""

    def __init__(self, bank: ClassRoutedConv2d) -> None:
        super().__init__()
        self.bank = bank

    def dense(self, feature: Tensor, masks: Tensor) -> Tensor:
        around = (self.bank.margin,) * 4
        padded = (pad(feature * masks[:, c : c + 1], around, mode="reflect") for c in range(masks.shape[1]))
        answers = [conv2d(one, self.bank.weight[c], self.bank.bias[c]) for c, one in enumerate(padded)]
        return torch.stack(answers, dim=1)


class PlainUpsample(nn.Module):
    """Semantic-aware upsampling without the custom operator: a multiply-add per tap over the padded source."""

    def __init__(self, module: SemanticAwareUpsample) -> None:
        super().__init__()
        if module.dilation != SCALE:
            raise SystemExit("the plain export is written for taps that are whole source pixels apart")
        self.module = module

    def forward(self, feature: Tensor, classes: Tensor | None = None) -> Tensor:
        module, k = self.module, self.module.kernel
        logits = module.predict(module.compress(feature))
        source = feature if module.project is None else module.project(feature)
        n, _, h, w = source.shape
        weights = logits.view(n, k * k, 1, SCALE * SCALE, h, w).softmax(dim=1)
        padded = pad(source, (k // 2,) * 4).unsqueeze(2)  # [N, C, 1, H + k - 1, W + k - 1]
        places = [divmod(tap, k) for tap in range(k * k)]
        parts = [padded[..., y : y + h, x : x + w] * weights[:, tap] for tap, (y, x) in enumerate(places)]
        output = pixel_shuffle(sum(parts[1:], parts[0]).flatten(1, 2), SCALE)
        return output if module.bias is None else output + module.bias.view(1, -1, 1, 1)


class LabelsToFloat(nn.Module):
    """label uint8 [N, 1, H, W] and, with an edge channel, instance int32 of that shape -> float [N, 3, H, W]."""

    def __init__(self, generator: LGGANGenerator) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, label: Tensor, instance: Tensor | None = None) -> Tensor:
        return self.generator(encode_semantics(label, self.generator.config.classes, instance)).final


def as_published(generator: LGGANGenerator) -> LGGANGenerator:
    """The same generator, changed in place to the published form of its heads."""
    branch = generator.local_branch
    branch.form = HeadForm.DENSE
    branch.heads = PublishedHeads(branch.heads, generator.classifier)  # type: ignore[assignment]
    return generator


def plain_export(checkpoint: Path, output: Path) -> None:
    """Write the graph of the generator in ``checkpoint`` for one picture of its own size."""
    generator, card = load_generator(checkpoint)
    assert isinstance(generator, LGGANGenerator)
    branch = generator.local_branch
    branch.form = HeadForm.DENSE
    branch.heads = PlainHeads(branch.heads)  # type: ignore[assignment]
    _replace_upsampling(generator)
    size = (1, 1, card.height, card.width)
    inputs = {"label": torch.zeros(size, dtype=torch.uint8)}
    if card.instances:
        inputs["instance"] = torch.zeros(size, dtype=torch.int32)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            LabelsToFloat(generator),
            tuple(inputs.values()),
            dynamo=True,
            opset_version=OPSET,
            input_names=list(inputs),
            output_names=["image"],
            verbose=False,
        )
    assert program is not None  # only the deprecated exporter returns nothing
    program.save(output)


def _replace_upsampling(module: nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, SemanticAwareUpsample):
            setattr(module, name, PlainUpsample(child))
        else:
            _replace_upsampling(child)
