"""The local branch with its losses in both forms; head maps; what `torch.compile` makes of it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from lggan.config import GeneratorConfig, SauConfig, SauPlacement
from lggan.losses.class_losses import classification_loss, local_loss
from lggan.networks.class_routed import HeadForm
from lggan.networks.classification import ClassFeatureClassifier
from lggan.networks.local_branch import LocalBranch, class_map, head_map, head_masks
from lggan.networks.semantics import encode_semantics
from tests.lggan.networks.head_maps import HEADS, head_maps, one_hot


def make_branch() -> LocalBranch:
    torch.manual_seed(0)
    config = GeneratorConfig(
        classes=HEADS,
        height=32,
        width=32,
        ngf=2,
        residual_blocks=1,
        sau=SauConfig(placement=SauPlacement.DECODERS, kernel=3, compressed=2),
    )
    branch = LocalBranch(config).double()
    nn.init.normal_(branch.heads.weight, std=0.3)
    nn.init.normal_(branch.heads.bias)
    return branch


def enlarged(name: str) -> Tensor:
    """A head map whose sides are multiples of 8, so that the decoders can make it."""
    heads = head_maps()[name]
    sides = [(side + 7) // 8 * 8 for side in heads.shape[1:]]
    rows, columns = (torch.arange(side) % old for side, old in zip(sides, heads.shape[1:], strict=True))
    return heads[:, rows][:, :, columns]


def losses_as_published(
    feature: Tensor, pictures: Tensor, masks: Tensor, photo: Tensor, classifier: ClassFeatureClassifier
) -> tuple[Tensor, Tensor]:
    """The specification's formulas on dense tensors: C.1, L_C and L1_local."""
    n, heads = masks.shape[:2]
    means = (feature.unsqueeze(1) * masks.unsqueeze(2)).mean(dim=(3, 4))  # [N, K, C]
    present = masks.amax(dim=(2, 3)) > 0
    target = torch.arange(heads).expand(n, -1)
    classification = torch.zeros((), dtype=torch.float64)
    if present.any():
        classification = cross_entropy(classifier.linear(means)[present].float(), target[present]).double()
    target_pictures = photo.unsqueeze(1) * masks.unsqueeze(2)
    local = sum(((pictures[:, c] - target_pictures[:, c]).abs().mean() for c in range(heads)), start=torch.zeros(()))
    return classification, local


@pytest.mark.parametrize("name", head_maps())
def test_branch_and_losses_equal_the_dense_form(name: str) -> None:
    heads, branch = enlarged(name), make_branch()
    classifier = ClassFeatureClassifier(2, HEADS).double()
    n, height, width = heads.shape
    masks = one_hot(heads)
    quarter = torch.randn(n, 8, height // 4, width // 4, dtype=torch.float64, requires_grad=True)
    photo = torch.rand(n, 3, height, width, dtype=torch.float64) * 2 - 1
    slope = torch.randn(n, 3, height, width, dtype=torch.float64)
    inputs = [quarter, *branch.parameters(), *classifier.parameters()]

    routed = branch(quarter, heads)
    assert routed.answers is not None
    ours = (classification_loss(classifier(routed.feature, heads)), local_loss(routed.answers, heads, photo))

    branch.form = HeadForm.DENSE
    dense = branch(quarter, masks)
    assert dense.answers is None
    pictures = branch.heads.dense(dense.feature, masks).tanh()
    theirs = losses_as_published(dense.feature, pictures, masks, photo, classifier)

    torch.testing.assert_close(routed.image, dense.image, rtol=0, atol=1e-12)
    torch.testing.assert_close(ours[0].double(), theirs[0], rtol=0, atol=1e-6)  # the cross-entropy is in float32
    torch.testing.assert_close(ours[1], theirs[1], rtol=0, atol=1e-12)

    def gradients(image: Tensor, local: Tensor) -> tuple[Tensor, ...]:
        return torch.autograd.grad((image * slope).sum() + local, inputs[:-2], retain_graph=True)

    names = ["quarter", *(name for name, _ in branch.named_parameters())]
    pairs = zip(names, gradients(routed.image, ours[1]), gradients(dense.image, theirs[1]), strict=True)
    for parameter, one, other in pairs:
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12, msg=lambda text, of=parameter: f"{of}: {text}")
    if masks.sum() > 0:
        for one, other in zip(
            torch.autograd.grad(ours[0], [quarter, *classifier.parameters()]),
            torch.autograd.grad(theirs[0], [quarter, *classifier.parameters()]),
            strict=True,
        ):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def test_parameters_of_the_checkpoint() -> None:
    shapes = {name: tuple(p.shape) for name, p in make_branch().named_parameters() if "heads" in name or "fuse" in name}
    assert shapes == {
        "heads.weight": (6, 3, 2, 7, 7),
        "heads.bias": (6, 3),
        "fuse.weight": (3, 18, 3, 3),
        "fuse.bias": (3,),
    }


def test_compiled_once_for_all_label_maps() -> None:
    """The routing depends on the map; the rest is compiled for the first maps and then stays."""
    branch = make_branch().float()
    draw = torch.Generator().manual_seed(0)
    torch.compiler.reset()
    compiled = torch.compile(branch, backend="eager")
    quarter = torch.randn(2, 8, 4, 4, requires_grad=True)
    maps = [torch.randint(0, classes, (2, 16, 16), generator=draw) for classes in (3, 5, 2, 6, 1)]
    for index, heads in enumerate(maps):
        with torch.compiler.set_stance("default" if index < 2 else "fail_on_recompile"):
            routed = compiled(quarter, heads)
        assert torch.equal(routed.image, branch(quarter, heads).image)
        routed.image.sum().backward()
    torch.compiler.reset()


@pytest.fixture
def semantics() -> Tensor:
    label = torch.tensor([[[[0, 1, 2, 3], [4, 4, 1, 9]]]], dtype=torch.uint8)  # 9 belongs to no class
    return encode_semantics(label, 5, instance=torch.arange(8, dtype=torch.int32).view(1, 1, 2, 4))


def test_one_head_per_class_leaves_the_edges_out(semantics: Tensor) -> None:
    assert torch.equal(head_masks(semantics, classes=5, heads=5), semantics[:, :5])
    classes = class_map(semantics, 5)
    assert classes.dtype == torch.int64
    assert classes.tolist() == [[[0, 1, 2, 3], [4, 4, 1, 5]]]
    assert head_map(classes, 5, 5) is classes


def test_last_head_serves_the_remaining_classes(semantics: Tensor) -> None:
    masks = head_masks(semantics, classes=5, heads=3)
    expected = [
        [[1, 0, 0, 0], [0, 0, 0, 0]],
        [[0, 1, 0, 0], [0, 0, 1, 0]],
        [[0, 0, 1, 1], [1, 1, 0, 0]],
    ]
    assert masks[0].tolist() == expected
    assert head_map(class_map(semantics, 5), 5, 3).tolist() == [[[0, 1, 2, 2], [2, 2, 1, 3]]]


def test_a_single_head_serves_all(semantics: Tensor) -> None:
    assert head_masks(semantics, classes=5, heads=1)[0].tolist() == [[[1, 1, 1, 1], [1, 1, 1, 0]]]
    assert head_map(class_map(semantics, 5), 5, 1).tolist() == [[[0, 0, 0, 0], [0, 0, 0, 1]]]


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_all_256_classes_are_told_apart(dtype: torch.dtype) -> None:
    label = torch.arange(256).view(1, 1, 16, 16)
    assert torch.equal(class_map(encode_semantics(label, 256).to(dtype), 256), label[:, 0])
