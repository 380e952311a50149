"""The judge: its blocks against direct formulas, the files it is read from, and its known figures on real photos."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lggan.evaluation.espnet import CAMVID, CITYSCAPES, ESPNet, JudgeClasses, load_espnet
from lggan.evaluation.segmentation import IGNORED, ConfusionMatrix
from runtime.contract.errors import InputError
from runtime.contract.files import sha256_of

SHARED = (Path(__file__).parents[3] / "../shared").resolve()
CAMVID_FILE = SHARED / "weights/espnet/espnet_p_2_q_8_camvid.pth"
CITYSCAPES_FILE = SHARED / "weights/espnet/espnet_p_2_q_8.pth"
PHOTOS = SHARED / "data/camvid/val"


def untrained(taught: JudgeClasses = CAMVID, p: int = 1, q: int = 1, joined: int = 19) -> ESPNet:
    torch.manual_seed(0)
    network = ESPNet(taught, p, q, joined)
    for name, value in network.state_dict().items():  # statistics that matter, as after training
        if name.endswith("running_mean"):
            value.normal_(0, 0.1)
        elif name.endswith("running_var"):
            value.uniform_(0.5, 2)
    return network.eval().requires_grad_(False)


def dilated(feature: np.ndarray, weight: np.ndarray, dilation: int) -> np.ndarray:
    """3x3 convolution with zero padding by shifting, float64: [C,H,W] x [D,C,3,3] -> [D,H,W]."""
    channels, height, width = feature.shape
    padded = np.zeros((channels, height + 2 * dilation, width + 2 * dilation))
    padded[:, dilation : dilation + height, dilation : dilation + width] = feature
    result = np.zeros((weight.shape[0], height, width))
    for i in range(3):
        for j in range(3):
            shifted = padded[:, i * dilation : i * dilation + height, j * dilation : j * dilation + width]
            result += np.einsum("dc,chw->dhw", weight[:, :, i, j], shifted)
    return result


def test_esp_block_against_shifted_sums() -> None:
    """Reduce, five dilations, hierarchical fusion, residual, batch norm (eps 1e-3), PReLU."""
    block = untrained().encoder.level3[0]
    state = {key: value.double().numpy() for key, value in block.state_dict().items() if value.is_floating_point()}
    feature = torch.randn(1, 128, 9, 11, generator=torch.Generator().manual_seed(1))
    low = np.einsum("dc,chw->dhw", state["c1.conv.weight"][:, :, 0, 0], feature[0].double().numpy())
    assert low.shape[0] == 25
    branch = {d: dilated(low, state[f"d{d}.conv.weight"], d) for d in (1, 2, 4, 8, 16)}
    fused = [branch[1], branch[2], branch[2] + branch[4], branch[2] + branch[4] + branch[8]]
    fused.append(fused[-1] + branch[16])
    merged = np.concatenate(fused) + feature[0].double().numpy()
    column = {key: value[:, None, None] for key, value in state.items() if value.ndim == 1}
    normal = (merged - column["bn.bn.running_mean"]) / np.sqrt(column["bn.bn.running_var"] + 1e-3)
    normal = normal * column["bn.bn.weight"] + column["bn.bn.bias"]
    expected = np.where(normal > 0, normal, column["bn.act.weight"] * normal)
    np.testing.assert_allclose(block(feature)[0].numpy(), expected, atol=1e-4)


@pytest.mark.parametrize(("taught", "joined"), [(CAMVID, 19), (CITYSCAPES, 16)])
def test_scores_have_the_size_of_the_picture(taught: JudgeClasses, joined: int) -> None:
    scores = untrained(taught, p=2, q=1, joined=joined)(torch.randn(2, 3, 24, 40))
    assert scores.shape == (2, len(taught.names) + 1, 24, 40)


def test_predict_takes_any_size_and_never_answers_void() -> None:
    network = untrained()
    network.classifier.weight[:, 11] = 100.0  # void would win everywhere
    network.conv.bn.bias.fill_(5.0)
    pictures = np.random.default_rng(0).integers(0, 256, (2, 27, 45, 3), dtype=np.uint8)
    answer = network.predict(pictures)
    assert answer.shape == (2, 27, 45)
    assert answer.dtype == np.uint8
    assert answer.max() < 11


def test_predict_normalises_in_bgr_order() -> None:
    seen: list[torch.Tensor] = []
    network = untrained()
    network.encoder.level1.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0]))
    network.predict(np.broadcast_to(np.array([250, 20, 100], np.uint8), (1, 8, 8, 3)))
    expected = (np.array([100, 20, 250]) - CAMVID.mean) / np.array(CAMVID.std) / 255
    np.testing.assert_allclose(seen[0][0, :, 3, 5].numpy(), expected, rtol=1e-5)


@pytest.mark.parametrize(("taught", "p", "q", "joined"), [(CAMVID, 2, 3, 19), (CITYSCAPES, 1, 2, 16)])
def test_kind_is_read_off_the_file(taught: JudgeClasses, p: int, q: int, joined: int, tmp_path: Path) -> None:
    network = untrained(taught, p, q, joined)
    path = tmp_path / "judge.pth"
    # the released files are older than num_batches_tracked
    torch.save({k: v for k, v in network.state_dict().items() if not k.endswith("num_batches_tracked")}, path)
    judge = load_espnet(path)
    assert judge.names == taught.names
    assert judge.sha256 == sha256_of(path)
    assert not judge.training
    picture = torch.randn(1, 3, 16, 16)
    assert torch.equal(judge(picture), network(picture))


def test_foreign_and_damaged_files_are_input_errors(tmp_path: Path) -> None:
    state = dict(untrained().state_dict())
    good = tmp_path / "good.pth"
    torch.save(state, good)
    (tmp_path / "truncated.pth").write_bytes(good.read_bytes()[:5000])
    torch.save({"weight": torch.zeros(3)}, tmp_path / "foreign.pth")
    torch.save({**state, "classifier.weight": torch.zeros(7, 7, 2, 2)}, tmp_path / "outputs.pth")
    torch.save({**state, "conv.conv.weight": torch.zeros(12, 40, 3, 3)}, tmp_path / "fusion.pth")
    torch.save({k: v for k, v in state.items() if k != "br.bias"}, tmp_path / "missing.pth")
    torch.save({**state, "encoder.level2.x.c1": torch.zeros(1)}, tmp_path / "surplus.pth")
    for name, complaint in [
        ("absent.pth", "no weights file"),
        ("truncated.pth", "readable|damaged"),
        ("foreign.pth", "not an ESPNet"),
        ("outputs.pth", "7 outputs"),
        ("fusion.pth", "joins 28 channels"),
        ("missing.pth", r"1 missing: br\.bias"),
        ("surplus.pth", r"unexpected: encoder\.level2\.x\.c1"),
    ]:
        with pytest.raises(InputError, match=complaint):
            load_espnet(tmp_path / name)


@pytest.mark.skipif(not CITYSCAPES_FILE.is_file(), reason="the ESPNet weights of ../shared are not here")
def test_cityscapes_judge_loads() -> None:
    judge = load_espnet(CITYSCAPES_FILE)
    assert len(judge.names) == 19
    assert judge.predict(np.zeros((1, 64, 64, 3), np.uint8)).shape == (1, 64, 64)


@pytest.mark.skipif(
    not (CAMVID_FILE.is_file() and PHOTOS.is_dir()), reason="weights or photos of ../shared are not here"
)
def test_camvid_judge_has_its_known_figures_on_real_photos() -> None:
    """Every tenth of the 30 validation photos; all 30 give the documented mIoU 0.696, pixel accuracy 0.934."""
    judge = load_espnet(CAMVID_FILE)
    matrix = ConfusionMatrix(11)
    for photo in sorted((PHOTOS / "images").iterdir())[::10]:
        label = np.array(Image.open(PHOTOS / "labels" / f"{photo.stem}.png"))
        truth = np.where(label == 11, IGNORED, label)
        matrix.add(truth, judge.predict(np.array(Image.open(photo).convert("RGB"))[None])[0])
    score = matrix.score()
    assert score.miou == pytest.approx(0.7267, abs=2e-3)
    assert score.pixel_accuracy == pytest.approx(0.9377, abs=2e-3)
