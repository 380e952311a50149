from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.export import Dim
from torch.nn.functional import conv2d, pad

from export.operators import attach_bodies
from export.opset import OPSET
from export.rewrites import class_heads_band, class_heads_function
from export.rewrites.class_heads import PAINT_HEADS, PaintedLocalBranch, PaintedSummedLocalBranch, paint_heads
from lggan.config import GeneratorConfig, SauConfig, SauPlacement
from lggan.networks.class_routed import HeadForm
from lggan.networks.cross_view import SummedLocalBranch
from lggan.networks.local_branch import LocalBranch
from lggan.preset import load_preset
from tests.export.rewrites.hard_maps import hard_maps
from tests.export.rewrites.onnx_runs import run_body

K, C = 5, 6
MAPS = list(hard_maps(K, 4, 4))


def _published(feature: Tensor, heads: Tensor, weight: Tensor, bias: Tensor, fuse: Tensor, fuse_bias: Tensor) -> Tensor:
    """Every head over the whole picture: mask, pad, convolve, squash; then a dense convolution over all of them."""
    margin = (weight.shape[-1] // 2,) * 4
    pictures = [
        conv2d(pad(feature * (heads == head).unsqueeze(1), margin, mode="reflect"), weight[head], bias[head]).tanh()
        for head in range(len(weight))
    ]
    return conv2d(torch.cat(pictures, dim=1), fuse, fuse_bias, padding=fuse.shape[-1] // 2)


def _arguments(heads: Tensor, kernel: int, fuse_kernel: int, count: int = K, channels: int = C) -> list[Tensor]:
    """Random features and weights in float64, with biases that matter; two channels of answers, three of pictures."""
    draw = torch.Generator().manual_seed(3)
    shapes = [
        (heads.shape[0], channels, *heads.shape[1:]),
        (count, 2, channels, kernel, kernel),
        (count, 2),
        (3, 2 * count, fuse_kernel, fuse_kernel),
        (3,),
    ]
    feature, *weights = (torch.randn(shape, generator=draw, dtype=torch.float64) / 3 for shape in shapes)
    return [feature, heads, *weights]


def _heads(name: str, height: int, width: int) -> Tensor:
    """A batch of two: the map of that name and one in which every head has one pixel."""
    maps = hard_maps(K, height, width)
    return torch.from_numpy(np.minimum(np.stack([maps[name], maps["one-pixel classes"]]), K)).to(torch.int64)


def _single(tensors: list[Tensor]) -> list[Tensor]:
    return [tensor.float() if tensor.is_floating_point() else tensor for tensor in tensors]


@pytest.fixture
def narrow_bands(monkeypatch: pytest.MonkeyPatch) -> None:
    """So little work at a time that small pictures take several bands, and bands several chunks."""
    monkeypatch.setattr(class_heads_function, "_BAND_PIXELS", 8)
    monkeypatch.setattr(class_heads_function, "_BAND_ROWS", 3)
    monkeypatch.setattr(class_heads_band, "_BLOCK", 4)
    monkeypatch.setattr(class_heads_band, "_CHUNK", 2)


@pytest.mark.parametrize("name", MAPS)
@pytest.mark.parametrize(("kernel", "fuse_kernel", "size"), [(7, 3, (9, 13)), (7, 3, (4, 4)), (3, 1, (5, 2))])
def test_operator_equals_the_published_form(name: str, kernel: int, fuse_kernel: int, size: tuple[int, int]) -> None:
    arguments = _arguments(_heads(name, *size), kernel, fuse_kernel)
    painted = paint_heads(*arguments, kernel, fuse_kernel)
    torch.testing.assert_close(painted, _published(*arguments), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", MAPS)
@pytest.mark.parametrize(("kernel", "fuse_kernel", "size"), [(7, 3, (9, 13)), (7, 1, (4, 4))])
def test_body_equals_the_published_form(name: str, kernel: int, fuse_kernel: int, size: tuple[int, int]) -> None:
    arguments = _arguments(_heads(name, *size), kernel, fuse_kernel)
    (painted,) = run_body(PAINT_HEADS, _single(arguments), (kernel, fuse_kernel))
    np.testing.assert_allclose(painted, _published(*arguments).numpy(), atol=3e-6)


@pytest.mark.usefixtures("narrow_bands")
@pytest.mark.parametrize("name", MAPS)
@pytest.mark.parametrize("size", [(4, 4), (7, 6), (10, 5), (17, 9)])  # one band, and last bands that are not full
def test_body_in_several_bands(name: str, size: tuple[int, int]) -> None:
    arguments = _arguments(_heads(name, *size), 7, 3)
    (painted,) = run_body(PAINT_HEADS, _single(arguments), (7, 3))
    np.testing.assert_allclose(painted, _published(*arguments).numpy(), atol=3e-6)


def test_all_pixels_void_leave_the_constants() -> None:
    arguments = _arguments(torch.full((2, 8, 12), K), 7, 3)
    bias, fuse_weight, fuse_bias = arguments[3:]
    constants = bias.tanh().view(1, -1, 1, 1).expand(2, -1, 8, 12)
    expected = conv2d(constants, fuse_weight, fuse_bias, padding=1)
    torch.testing.assert_close(paint_heads(*arguments, 7, 3), expected)
    (painted,) = run_body(PAINT_HEADS, _single(arguments), (7, 3))
    np.testing.assert_allclose(painted, expected.numpy(), atol=1e-6)


def test_one_head_and_one_channel() -> None:
    arguments = _arguments(_heads("noise with void", 6, 7).clamp(max=1), 7, 3, count=1, channels=1)
    (painted,) = run_body(PAINT_HEADS, _single(arguments), (7, 3))
    np.testing.assert_allclose(painted, _published(*arguments).numpy(), atol=3e-6)


def test_body_on_street_scenes(shared_dir: Path) -> None:
    paths = sorted((shared_dir / "data" / "cityscapes").rglob("*_labelIds.png"))[:2]
    labels = np.stack([np.array(Image.open(path).resize((128, 64), Image.Resampling.NEAREST)) for path in paths])
    arguments = _arguments(torch.from_numpy(labels).to(torch.int64), 7, 3, count=35)
    (painted,) = run_body(PAINT_HEADS, _single(arguments), (7, 3))
    np.testing.assert_allclose(painted, _published(*arguments).numpy(), atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_operator_keeps_the_type(dtype: torch.dtype) -> None:
    arguments = [one.to(dtype) if one.is_floating_point() else one for one in _arguments(_heads("noise", 6, 8), 7, 3)]
    painted = paint_heads(*arguments, 7, 3)
    assert painted.dtype is dtype
    exact = _published(*(one.double() if one.is_floating_point() else one for one in arguments))
    tolerance = 8 * torch.finfo(dtype).eps
    torch.testing.assert_close(painted.double(), exact, rtol=tolerance, atol=10 * tolerance)


@pytest.mark.parametrize("kernels", [(5, 3), (7, 1), (4, 3)])
def test_other_kernels_are_refused(kernels: tuple[int, int]) -> None:
    with pytest.raises(RuntimeError, match="must be odd and of the weights' sizes"):
        paint_heads(*_arguments(_heads("noise", 6, 8), 7, 3), *kernels)


def test_an_even_kernel_is_refused() -> None:
    with pytest.raises(RuntimeError, match="kernels of 4 and 3"):
        paint_heads(*_arguments(_heads("noise", 6, 8), 4, 3), 4, 3)


def _randomised(branch: nn.Module) -> None:
    draw = torch.Generator().manual_seed(5)
    for parameter in branch.parameters():
        parameter.requires_grad_(False).normal_(0, parameter[0].numel() ** -0.5, generator=draw)


def _local_branch() -> LocalBranch:
    config = load_preset("tiny").generator
    assert isinstance(config, GeneratorConfig)
    branch = LocalBranch(replace(config, residual_blocks=1, sau=SauConfig(placement=SauPlacement.NONE)))
    _randomised(branch)
    return branch.eval()


def _summed_branch() -> SummedLocalBranch:
    branch = SummedLocalBranch(4, K, SauConfig(placement=SauPlacement.NONE))
    _randomised(branch)
    return branch.eval()


@pytest.mark.parametrize("name", MAPS)
def test_local_branch(name: str) -> None:
    branch = _local_branch().double()
    count = len(branch.heads.weight)
    labels = np.stack([hard_maps(count, 16, 24)[one] for one in (name, "noise with void")])
    heads = torch.from_numpy(np.minimum(labels, count)).to(torch.int64)
    quarter = torch.randn(2, _channels(branch.tower), 4, 6, dtype=torch.float64)
    painted = PaintedLocalBranch(branch)(quarter, heads)
    branch.form = HeadForm.DENSE
    masks = (heads.unsqueeze(1) == torch.arange(count).view(-1, 1, 1)).double()
    expected = branch(quarter, masks)
    torch.testing.assert_close(painted.image, expected.image, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(painted.feature, expected.feature)
    assert painted.answers is None


@pytest.mark.parametrize("name", MAPS)
def test_summed_local_branch(name: str) -> None:
    branch = _summed_branch().double()
    labels = np.stack([hard_maps(K, 12, 20)[one] for one in (name, "noise with void")])
    heads = torch.from_numpy(np.minimum(labels, K)).to(torch.int64)
    middle = torch.randn(2, 16, 3, 5, dtype=torch.float64)
    painted = PaintedSummedLocalBranch(branch)(middle, heads)
    branch.form = HeadForm.DENSE
    torch.testing.assert_close(painted.image, branch(middle, heads).image, rtol=1e-10, atol=1e-12)
    assert painted.answers is None


def test_parts_keep_their_names() -> None:
    local, summed = _local_branch(), _summed_branch()
    assert list(PaintedLocalBranch(local).state_dict()) == list(local.state_dict())
    assert {name for name, _ in PaintedSummedLocalBranch(summed).named_parameters()} == set(summed.state_dict())
    assert PaintedLocalBranch(local).form is PaintedSummedLocalBranch(summed).form is HeadForm.ROUTED


@pytest.mark.parametrize("summed", [False, True])
def test_exported_branch_for_every_size(summed: bool) -> None:
    branch: nn.Module
    if summed:
        branch, channels, count = PaintedSummedLocalBranch(_summed_branch()), 16, K
    else:
        local = _local_branch()
        branch, channels, count = PaintedLocalBranch(local), _channels(local.tower), len(local.heads.weight)
    model = _exported(_Image(branch), channels)
    (node,) = [node for node in model.graph.node if node.op_type.startswith("PaintHeads")]
    assert node.domain == "lggan"
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    draw = torch.Generator().manual_seed(6)
    for n, h, w in [(1, 2, 2), (2, 5, 3), (3, 2, 7)]:
        quarter = torch.randn(n, channels, h, w, generator=draw)
        heads = torch.randint(0, count + 1, (n, 4 * h, 4 * w), generator=draw)
        (image,) = session.run(None, {"quarter": quarter.numpy(), "heads": heads.numpy()})
        np.testing.assert_allclose(image, branch(quarter, heads).image.numpy(), atol=1e-5)


class _Image(nn.Module):
    """Only the picture of a branch."""

    def __init__(self, branch: nn.Module) -> None:
        super().__init__()
        self.branch = branch

    def forward(self, quarter: Tensor, heads: Tensor) -> Tensor:
        image: Tensor = self.branch(quarter, heads).image
        return image


def _exported(module: nn.Module, channels: int) -> onnx.ModelProto:
    n, h, w = Dim("N"), Dim("h", min=2), Dim("w", min=2)
    program = torch.onnx.export(
        module.eval(),
        (torch.zeros(2, channels, 3, 5), torch.zeros(2, 12, 20, dtype=torch.int64)),
        dynamo=True,
        opset_version=OPSET,
        input_names=["quarter", "heads"],
        dynamic_shapes=({0: n, 2: h, 3: w}, {0: n, 1: 4 * h, 2: 4 * w}),
        custom_translation_table={PAINT_HEADS.torch_op: PAINT_HEADS.translation()},
        verbose=False,
    )
    assert program is not None
    model = program.model_proto
    attach_bodies(model, [PAINT_HEADS])
    return model


def _channels(tower: nn.Sequential) -> int:
    return int(next(tower.parameters()).shape[0])
