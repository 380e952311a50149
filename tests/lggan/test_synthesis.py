"""A checkpoint behind the interface of a session."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lggan.checkpoint import save_generator
from lggan.cross_view_config import CrossViewConfig
from lggan.networks.cross_view import CrossViewGenerator
from lggan.networks.cross_view_inputs import encode_cross_view
from lggan.networks.generator import LGGANGenerator
from lggan.networks.semantics import encode_semantics
from lggan.preset import Preset, load_preset
from lggan.synthesis import open_checkpoint
from runtime.contract.errors import BackendError, InputError, MissingError, UsageError


@pytest.fixture
def checkpoint(tiny_preset: Preset, tmp_path: Path) -> Path:
    torch.manual_seed(3)
    config = replace(tiny_preset.generator, residual_blocks=0)
    path = tmp_path / "tiny.safetensors"
    save_generator(path, LGGANGenerator(config).eval(), tiny_preset.card())
    return path


def labels(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 4, (count, 32, 64)).astype(np.uint8)


def test_pictures_are_the_network_s(checkpoint: Path) -> None:
    maker = open_checkpoint(checkpoint, "cpu", threads=1)
    assert maker.backend == "pytorch-cpu"
    batch = labels(2)
    pictures = maker.generate(batch)
    with torch.no_grad():
        final = maker._generator(encode_semantics(torch.from_numpy(batch)[:, None], 4)).final.double()
    expected = np.rint((np.clip(final.numpy(), -1, 1) + 1) * 127.5).astype(np.uint8).transpose(0, 2, 3, 1)
    assert pictures.dtype == np.uint8
    assert pictures.shape == (2, 32, 64, 3)
    assert np.abs(pictures.astype(int) - expected).max() <= 1  # float32 against float64 at a rounding edge
    np.testing.assert_array_equal(maker.generate(batch[:, None]), pictures)  # [N, 1, H, W]
    floats = maker.generate_floats(batch)
    assert (floats.dtype, floats.shape) == (np.float32, (2, 3, 32, 64))
    np.testing.assert_allclose(floats, final.numpy(), atol=1e-6)
    assert maker.generate(batch[0]).shape == (1, 32, 64, 3)


def test_255_is_void(checkpoint: Path) -> None:
    maker = open_checkpoint(checkpoint, "cpu")
    label = labels(1)[0]
    label[:4] = 3
    marked = np.where(label == 3, np.uint8(255), label)
    np.testing.assert_array_equal(maker.generate(marked), maker.generate(label))


def test_bad_input_and_closing(checkpoint: Path) -> None:
    maker = open_checkpoint(checkpoint, "cpu")
    with pytest.raises(InputError, match="ids that are no class"):
        maker.generate(np.full((32, 64), 9, np.uint8))
    with pytest.raises(InputError, match="multiples of 32"):
        maker.generate(np.zeros((31, 64), np.uint8))
    with pytest.raises(InputError, match="takes no instance map"):
        maker.generate(np.zeros((32, 64), np.uint8), np.zeros((32, 64), np.int32))
    maker.close()
    maker.close()
    with pytest.raises(UsageError, match="closed"):
        maker.generate(np.zeros((32, 64), np.uint8))


def test_failures_of_pytorch(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    maker = open_checkpoint(checkpoint, "cpu")

    def fail(*_: object) -> None:
        raise RuntimeError("not enough memory\nat line 5")

    monkeypatch.setattr(maker, "_generator", fail)
    with pytest.raises(BackendError, match=r"PyTorch failed on .*: not enough memory$"):
        maker.generate(np.zeros((32, 64), np.uint8))


def test_cuda_is_never_replaced(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(MissingError, match="PyTorch sees no GPU"):
        open_checkpoint(checkpoint, "cuda")
    assert open_checkpoint(checkpoint, "auto").backend == "pytorch-cpu"


def views_checkpoint(folder: Path) -> Path:
    preset = load_preset("tiny_cross_view")
    torch.manual_seed(4)
    assert isinstance(preset.generator, CrossViewConfig)
    generator = CrossViewGenerator(replace(preset.generator, residual_blocks=0)).eval()
    save_generator(folder / "views.safetensors", generator, preset.card())
    return folder / "views.safetensors"


def test_cross_view_pictures_are_the_network_s(tmp_path: Path) -> None:
    maker = open_checkpoint(views_checkpoint(tmp_path), "cpu", threads=1)
    assert maker.card.wants_source
    draw = np.random.default_rng(0)
    label = draw.choice(np.array([0, 1, 2, 3, 4, 255], np.uint8), (2, 16, 24))
    source = draw.integers(0, 256, (2, 16, 24, 3), dtype=np.uint8)
    pictures = maker.generate(label, source=source)
    with torch.no_grad():
        inputs = encode_cross_view(torch.from_numpy(source), torch.from_numpy(label)[:, None], maker._config)
        final = maker._generator(*inputs).final.double().numpy()
    expected = np.rint((np.clip(final, -1, 1) + 1) * 127.5).transpose(0, 2, 3, 1)
    assert pictures.shape == (2, 16, 24, 3)
    assert np.abs(pictures.astype(int) - expected).max() <= 1
    np.testing.assert_array_equal(maker.generate(label[0], None, source[0])[0].shape, (16, 24, 3))


def test_bad_input_of_a_cross_view_checkpoint(tmp_path: Path, checkpoint: Path) -> None:
    maker = open_checkpoint(views_checkpoint(tmp_path), "cpu")
    label, source = np.zeros((16, 24), np.uint8), np.zeros((16, 24, 3), np.uint8)
    for arguments, message in (
        ((label,), "needs a source photo"),
        ((label, None, source[:8]), r"photo is \[1, 8, 24\]"),
        ((label, None, source[..., 0]), "must be RGB"),
        ((np.full_like(label, 77), None, source), r"77 \(384 px\); this model knows 0 to 4"),
        ((label[:4], None, source[:4]), "multiples of 4 from 8 on"),
        ((label, label.astype(np.int32), source), "takes no instance map"),
    ):
        with pytest.raises(InputError, match=message):
            maker.generate(*arguments)
    with pytest.raises(InputError, match="from label maps alone"):
        open_checkpoint(checkpoint, "cpu").generate(label, source=source)
