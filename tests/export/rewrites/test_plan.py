from __future__ import annotations

import copy

import pytest
import torch

from export.graph_module import picture_graph
from export.rewrites.names import Rewrite
from export.rewrites.plan import rewrites_of, rewritten
from export.target import Target
from lggan.config import SauMask, SauPlacement
from lggan.networks.cross_view import CrossViewGenerator
from lggan.synthesis import network_inputs
from runtime.contract.batch import InputBatch
from tests.export.rewrites.hard_maps import hard_maps
from tests.export.samples import Case, random_generator

CASES = [
    Case(),
    Case(placement=SauPlacement.NONE, edges=True),
    Case(placement=SauPlacement.ENCODER, mask=SauMask.SAME_CLASS),
    Case(placement=SauPlacement.GLOBAL),
    Case(cross_view=True),
]


@pytest.mark.parametrize("target", Target)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_branch_is_the_same_in_float64(target: Target, case: Case) -> None:
    generator, card = random_generator(case)
    generator.double()
    before = {name: tensor.clone() for name, tensor in generator.state_dict().items()}
    graph = picture_graph(rewritten(generator, target), target)
    assert all(torch.equal(before[name], tensor) for name, tensor in generator.state_dict().items())
    side = 2 * card.stride
    for name, label in hard_maps(len(card.classes), side, 3 * card.stride).items():
        # A constant feature map is divided by a standard deviation of zero, which amplifies rounding without end.
        if name in ("one class", "void everywhere"):
            continue
        labels = torch.from_numpy(copy.copy(label))[None, None]
        instance = labels.to(torch.int32) * 5 + torch.arange(label.shape[1]) // 7 if case.edges else None
        source = torch.randint(0, 256, (1, *label.shape, 3), dtype=torch.uint8) if card.wants_source else None
        inputs = [None if each is None else each.numpy() for each in (labels, instance, source)]
        given = network_inputs(generator.config, InputBatch(*inputs))  # type: ignore[arg-type]
        wide = [tensor.double() if tensor.is_floating_point() else tensor for tensor in given]
        with torch.inference_mode():
            expected = generator(*wide)
            arguments = [labels] if instance is None else [labels, instance]
            if source is not None:
                arguments = [source, labels]
            (actual,) = _double(graph)(*arguments)
        assert float((actual - expected.final).abs().max()) < 1e-5, name  # colours and weights pass through float32
        assert float(expected.final.std()) > 0.05, name


def _double(graph: torch.nn.Module) -> torch.nn.Module:
    """The graph module with its inputs' encoding in float64 as well."""
    encoded = graph.generator.forward

    def forward(*inputs: torch.Tensor) -> object:
        return encoded(*(tensor.double() if tensor.is_floating_point() else tensor for tensor in inputs))

    graph.generator.forward = forward  # type: ignore[union-attr]
    return graph.double()


def test_targets_differ_in_what_follows_from_the_label_map() -> None:
    only_cpu = rewrites_of(Target.CPU) - rewrites_of(Target.TENSORRT)
    assert only_cpu == {Rewrite.SPADE_PATCHES, Rewrite.LABEL_STEM, Rewrite.CLASS_HEADS, Rewrite.WINOGRAD}


def test_biases_in_front_of_instance_norms_are_gone() -> None:
    generator, _ = random_generator(Case(placement=SauPlacement.NONE))
    result = rewritten(generator, Target.TENSORRT)
    assert not isinstance(result, CrossViewGenerator)
    assert result.encoder.conv2.bias is None
    assert result.local_branch.tower[0].conv1.bias is None
    assert generator.encoder.conv2.bias is not None
