"""Perceptual loss: both networks against independent formulas, gradients, and the files they are read from."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from lggan.losses.perceptual import (
    LayerScale,
    PerceptualFeatures,
    PerceptualLoss,
    SqueezeNetFeatures,
    SqueezeNetPixels,
    VGG19Features,
    build_perceptual_loss,
)
from lggan.losses.perceptual_weights import find_perceptual_weights
from runtime.contract.errors import InputError, UsageError

REAL_FILE = (
    Path(__file__).parents[2] / "../shared/weights/squeezenet_v1.0/squeezenet_v1.0_deepcompression_fp16.pth"
).resolve()
FIVE_EQUAL = (0.2,) * 5


def pictures(seed: int, n: int = 1, height: int = 32, width: int = 48) -> Tensor:
    return torch.rand(n, 3, height, width, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@pytest.fixture(scope="module")
def squeezenet() -> PerceptualLoss:
    torch.manual_seed(0)
    return PerceptualLoss(SqueezeNetFeatures(), FIVE_EQUAL, LayerScale.RELATIVE)


@pytest.fixture(scope="module")
def vgg() -> PerceptualLoss:
    torch.manual_seed(0)
    return PerceptualLoss(VGG19Features(), (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1.0), LayerScale.ABSOLUTE)


def test_vgg_taps_are_the_first_relu_of_every_resolution(vgg: PerceptualLoss) -> None:
    shapes = [tuple(feature.shape[1:]) for feature in vgg.features(pictures(0))]
    assert shapes == [(64, 32, 48), (128, 16, 24), (256, 8, 12), (512, 4, 6), (512, 2, 3)]
    assert list(vgg.network.state_dict())[-1] == "features.28.bias"  # conv5_1 of torchvision's vgg19


def test_vgg_features_and_loss_against_numpy(vgg: PerceptualLoss) -> None:
    """All 13 convolutions and 4 poolings in float64, and the published sum over layers (specification C.1)."""
    state = {name: tensor.double().numpy() for name, tensor in vgg.network.state_dict().items()}

    def features(picture: np.ndarray) -> list[np.ndarray]:
        tapped, x = [], picture  # [3, H, W]; no ImageNet normalisation
        for count, first in ((2, 0), (2, 5), (4, 10), (4, 19), (1, 28)):
            for index in range(first, first + 2 * count, 2):
                padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
                windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))  # [C, H, W, 3, 3]
                weight, bias = state[f"features.{index}.weight"], state[f"features.{index}.bias"]
                x = np.maximum(np.einsum("chwij,ocij->ohw", windows, weight, optimize=True) + bias[:, None, None], 0)
                if index == first:
                    tapped.append(x)  # relu1_1, 2_1, 3_1, 4_1, 5_1
            channels, height, width = x.shape
            x = x.reshape(channels, height // 2, 2, width // 2, 2).max(axis=(2, 4)) if min(height, width) > 1 else x
        return tapped

    fake, real = pictures(1, height=16, width=32), pictures(2, height=16, width=32)
    ours, theirs = (features(picture[0].double().numpy()) for picture in (fake, real))
    for found, expected in zip(vgg.features(fake), ours, strict=True):
        assert found.shape[1:] == expected.shape
        np.testing.assert_allclose(found[0].numpy(), expected, rtol=0, atol=1e-5)
    weights = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1.0)
    loss = sum(w * np.abs(a - b).mean() for w, a, b in zip(weights, ours, theirs, strict=True))
    assert vgg(fake, real).item() == pytest.approx(loss, rel=1e-5)


def test_squeezenet_taps_at_a_small_size(squeezenet: PerceptualLoss) -> None:
    shapes = [tuple(feature.shape[1:]) for feature in squeezenet.features(pictures(0, height=64, width=64))]
    assert shapes == [(96, 29, 29), (128, 14, 14), (256, 7, 7), (512, 7, 7), (512, 3, 3)]


def test_first_squeezenet_layer_against_plain_arithmetic(squeezenet: PerceptualLoss) -> None:
    """One output pixel of conv1 by hand: BGR bytes minus Caffe's means, 7x7, stride 2, no padding."""
    picture = pictures(3)
    state = squeezenet.network.state_dict()
    weight, bias = (state[f"features.0.{name}"].double().numpy() for name in ("weight", "bias"))
    caffe = (picture[0].double().numpy()[::-1] + 1) / 2 * 255 - np.array([104.0, 117.0, 123.0])[:, None, None]
    patch = caffe[:, 2 * 5 : 2 * 5 + 7, 2 * 9 : 2 * 9 + 7]
    expected = np.maximum((weight * patch).sum((1, 2, 3)) + bias, 0)
    np.testing.assert_allclose(squeezenet.features(picture)[0][0, :, 5, 9], expected, rtol=1e-4, atol=1e-3)


def test_pixels_as_torchvision_normalises_them(squeezenet: PerceptualLoss) -> None:
    """The same weights see RGB from 0 to 1, normalised by ImageNet's mean and deviation."""
    network = SqueezeNetFeatures(SqueezeNetPixels.TORCHVISION)
    network.load_state_dict(squeezenet.network.state_dict())
    picture = pictures(3)
    mean, deviation = (torch.tensor(v).view(1, 3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    with torch.no_grad():
        expected = torch.relu(network.features[0](((picture + 1) / 2 - mean) / deviation))
        torch.testing.assert_close(network(picture)[0], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["vgg", "squeezenet"])
def test_zero_at_equality_and_gradient_to_the_generated_picture_only(name: str, request: pytest.FixtureRequest) -> None:
    loss: PerceptualLoss = request.getfixturevalue(name)
    fake, real = pictures(1).requires_grad_(), pictures(2).requires_grad_()
    assert loss(fake, fake.detach()).item() == 0
    value = loss(fake, real)
    assert value.shape == ()
    assert value.item() > 0
    value.backward()
    assert fake.grad is not None
    assert torch.isfinite(fake.grad).all()
    assert fake.grad.abs().sum() > 0
    assert real.grad is None
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in loss.parameters())


def test_published_weights_and_relative_scale_against_numpy(vgg: PerceptualLoss, squeezenet: PerceptualLoss) -> None:
    fake, real = pictures(1, n=2), pictures(2, n=2)
    for loss, weights in ((vgg, [1 / 32, 1 / 16, 1 / 8, 1 / 4, 1]), (squeezenet, [0.2] * 5)):
        expected = 0.0
        for weight, a, b in zip(weights, loss.features(fake), loss.features(real), strict=True):
            ours, theirs = a.double().numpy(), b.double().numpy()
            term = np.abs(ours - theirs).mean()
            expected += weight * (term / np.abs(theirs).mean() if loss is squeezenet else term)
        assert loss(fake, real).item() == pytest.approx(expected, rel=1e-5)


def test_float32_under_autocast(squeezenet: PerceptualLoss) -> None:
    fake, real = pictures(1), pictures(2)
    plain = squeezenet(fake, real)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = squeezenet(fake, real)
    assert mixed.dtype == torch.float32
    assert mixed.item() == plain.item()


def test_too_small_pictures_are_refused_and_the_smallest_works(squeezenet: PerceptualLoss, vgg: PerceptualLoss) -> None:
    for loss, least in ((squeezenet, 21), (vgg, 16)):
        assert torch.isfinite(loss(pictures(1, height=least, width=least), pictures(2, height=least, width=least)))
        with pytest.raises(UsageError, match=f"{least - 1}x{least} are too small"):
            loss(pictures(1, height=least, width=least - 1), pictures(2, height=least, width=least - 1))


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_file_is_read_widened_and_its_classifier_ignored(
    suffix: str, tmp_path: Path, squeezenet: PerceptualLoss
) -> None:
    state = {key: value.half() for key, value in squeezenet.network.state_dict().items()}
    state["classifier.1.weight"] = torch.zeros(10, 512, 1, 1)
    path = tmp_path / f"weights{suffix}"
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    loss = build_perceptual_loss(PerceptualFeatures.SQUEEZENET, path)
    assert loss is not None
    for key, value in loss.network.state_dict().items():
        assert value.dtype == torch.float32
        assert torch.equal(value, state[key].float())


def test_all_wrong_keys_are_named_at_once(tmp_path: Path, squeezenet: PerceptualLoss) -> None:
    state = dict(squeezenet.network.state_dict())
    del state["features.0.bias"], state["features.12.squeeze.weight"]
    state["head.weight"] = torch.zeros(1)
    state["features.3.squeeze.bias"] = torch.zeros(17)
    path = tmp_path / "weights.safetensors"
    save_file(state, path)
    with pytest.raises(InputError) as caught:
        build_perceptual_loss(PerceptualFeatures.SQUEEZENET, path)
    for part in (
        "features.0.bias",
        "features.12.squeeze.weight",
        "head.weight",
        "features.3.squeeze.bias (17,) instead",
    ):
        assert part in str(caught.value)


def test_bad_files_are_input_errors(tmp_path: Path, squeezenet: PerceptualLoss) -> None:
    good = tmp_path / "good.pth"
    torch.save(squeezenet.network.state_dict(), good)
    data = good.read_bytes()
    cases: dict[str, bytes] = {
        "empty.pth": b"",
        "truncated.pth": data[: len(data) // 2],
        "text.pth": b"not a checkpoint at all",
        "text.safetensors": b"not a checkpoint at all",
        "code.pth": b"cos\nsystem\n(S'echo owned'\ntR.",
    }
    for name, content in cases.items():
        (tmp_path / name).write_bytes(content)
    torch.save([1, 2], tmp_path / "list.pth")
    torch.save({"state_dict": {"a": torch.zeros(1)}}, tmp_path / "nested.pth")
    state = dict(squeezenet.network.state_dict())
    state["features.0.bias"] = torch.full((96,), float("nan"))
    torch.save(state, tmp_path / "nan.pth")
    for name in [*cases, "list.pth", "nested.pth", "nan.pth", "absent.pth"]:
        with pytest.raises(InputError, match=name):
            build_perceptual_loss(PerceptualFeatures.SQUEEZENET, tmp_path / name)


def test_none_and_a_forgotten_file() -> None:
    assert build_perceptual_loss(PerceptualFeatures.NONE, None) is None
    with pytest.raises(UsageError, match=r"--perceptual-weights FILE.*vgg19-dcbb9e9d\.pth.*checkpoints.*none"):
        build_perceptual_loss(PerceptualFeatures.VGG19, None)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of torch hub."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr("torch.hub._hub_dir", None)
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def in_hub(hub: Path, network: str, state: dict[str, Tensor]) -> Path:
    """Save as torchvision's download would be named: after the beginning of its SHA-256."""
    torch.save(state, hub / "new")
    digest = hashlib.sha256((hub / "new").read_bytes()).hexdigest()
    return (hub / "new").rename(hub / f"{network}-{digest[:8]}.pth")


def test_the_given_file_goes_before_the_hub(hub: Path, tmp_path: Path) -> None:
    in_hub(hub, "vgg19", {"a": torch.zeros(1)})
    given = tmp_path / "mine.safetensors"
    assert find_perceptual_weights(PerceptualFeatures.VGG19, given) == given
    assert find_perceptual_weights(PerceptualFeatures.NONE, given) is None
    assert find_perceptual_weights(PerceptualFeatures.NONE, None) is None


def test_weights_in_the_hub_are_found_and_used(hub: Path, squeezenet: PerceptualLoss) -> None:
    assert find_perceptual_weights(PerceptualFeatures.SQUEEZENET, None) is None
    for other in ("vgg19_bn-c79401a0.pth", "squeezenet1_1-b8a52dc0.pth", "vgg19.pth", "vgg19-short.pth"):
        (hub / other).write_bytes(b"another network")
    path = in_hub(hub, "squeezenet1_0", squeezenet.network.state_dict())
    assert find_perceptual_weights(PerceptualFeatures.VGG19, None) is None
    assert find_perceptual_weights(PerceptualFeatures.SQUEEZENET, None) == path
    loss = build_perceptual_loss(PerceptualFeatures.SQUEEZENET, path)
    assert loss is not None
    assert isinstance(loss.network, SqueezeNetFeatures)
    assert loss.network.pixels is SqueezeNetPixels.TORCHVISION
    elsewhere = build_perceptual_loss(PerceptualFeatures.SQUEEZENET, path.rename(hub.parent / "squeezenet.pth"))
    assert elsewhere is not None
    assert isinstance(elsewhere.network, SqueezeNetFeatures)
    assert elsewhere.network.pixels is SqueezeNetPixels.CAFFE


def test_no_hub_at_all(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "absent"))
    monkeypatch.setattr("torch.hub._hub_dir", None)
    assert find_perceptual_weights(PerceptualFeatures.VGG19, None) is None
    assert not (tmp_path / "absent").exists()


def test_a_damaged_download_and_a_choice_of_two_are_refused(hub: Path) -> None:
    (hub / "vgg19-dcbb9e9d.pth").write_bytes(b"half of it")
    with pytest.raises(InputError, match=r"begins with [0-9a-f]{8} instead of dcbb9e9d.*delete it"):
        find_perceptual_weights(PerceptualFeatures.VGG19, None)
    in_hub(hub, "vgg19", {"a": torch.zeros(1)})
    with pytest.raises(UsageError, match=r"holds vgg19-.*, vgg19-.*--perceptual-weights"):
        find_perceptual_weights(PerceptualFeatures.VGG19, None)


@pytest.mark.skipif(not REAL_FILE.is_file(), reason="the SqueezeNet weights of ../shared are not here")
def test_real_weights_order_degradations() -> None:
    """Terms are O(1), and a stronger blur is farther away than a weaker one."""
    loss = build_perceptual_loss(PerceptualFeatures.SQUEEZENET, REAL_FILE)
    assert loss is not None
    ramp = torch.linspace(-1, 1, 96)
    scene = torch.stack((ramp.view(1, -1) * ramp.view(-1, 1), (9 * ramp).sin().view(1, -1).expand(96, -1),
                         (17 * ramp).sin().view(-1, 1).expand(-1, 96)))[None]  # fmt: skip
    real = (scene + 0.2 * pictures(0, height=96, width=96)).clamp(-1, 1)
    distances = []
    for cell in (2, 8):
        small = torch.nn.functional.avg_pool2d(real, cell)
        distances.append(loss(torch.nn.functional.interpolate(small, size=(96, 96), mode="bilinear"), real).item())
    assert 0.1 < distances[0] < distances[1] < 3
