"""Generator checkpoints: what is written is what is read, and nothing else is ever taken for one."""

from __future__ import annotations

import errno
import json
import os
import re
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from lggan.checkpoint import deployable, load_generator, save_generator
from lggan.cross_view_config import CrossViewConfig
from lggan.networks.cross_view import CrossViewGenerator
from lggan.networks.cross_view_inputs import encode_cross_view
from lggan.networks.generator import LGGANGenerator, add_spectral_norm
from lggan.networks.semantics import encode_semantics
from lggan.preset import Preset, load_preset
from lggan.task import Task
from runtime.contract.card import CARD_KEY, CROSS_VIEW, SEMANTIC_SYNTHESIS, ModelCard
from runtime.contract.errors import InputError, LgganError, MissingError, UsageError


def random_generator(preset: Preset) -> LGGANGenerator:
    """With running statistics that training could have left."""
    torch.manual_seed(0)
    generator = LGGANGenerator(preset.generator)
    for name, buffer in generator.named_buffers():
        if name.endswith("running_mean"):
            buffer.normal_()
        elif name.endswith("running_var"):
            buffer.uniform_(0.5, 2)
    return generator.eval()


@pytest.fixture(scope="module")
def preset() -> Preset:
    return load_preset("tiny")


@pytest.fixture(scope="module")
def generator(preset: Preset) -> LGGANGenerator:
    return random_generator(preset)


@pytest.fixture
def checkpoint(generator: LGGANGenerator, preset: Preset, tmp_path: Path) -> Path:
    path = tmp_path / "generator.safetensors"
    save_generator(path, generator, preset.card())
    return path


def test_round_trip(checkpoint: Path, generator: LGGANGenerator, preset: Preset) -> None:
    loaded, card = load_generator(checkpoint)
    assert card == replace(preset.card(), generator=generator.config.to_dict())
    assert loaded.config == generator.config
    assert not loaded.training
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    for name, tensor in generator.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            assert torch.equal(loaded.state_dict()[name], tensor), name
    semantics = encode_semantics(torch.randint(0, 4, (1, 1, 32, 64)), 4)
    assert torch.equal(loaded(semantics).final, generator(semantics).final)


def test_equal_generators_give_equal_files(checkpoint: Path, generator: LGGANGenerator, preset: Preset) -> None:
    again = checkpoint.with_name("again.safetensors")
    save_generator(again, generator, preset.card())
    assert again.read_bytes() == checkpoint.read_bytes()


def test_the_card_tells_the_generators_own_configuration(
    generator: LGGANGenerator, preset: Preset, tmp_path: Path
) -> None:
    save_generator(tmp_path / "g.safetensors", generator, replace(preset.card(), generator={}))
    assert load_generator(tmp_path / "g.safetensors")[1].generator == generator.config.to_dict()


def test_half_storage_is_the_rounded_model(checkpoint: Path, generator: LGGANGenerator, preset: Preset) -> None:
    small = checkpoint.with_name("half.safetensors")
    save_generator(small, generator, preset.card(), dtype=torch.float16)
    assert small.stat().st_size < 0.62 * checkpoint.stat().st_size
    assert {tensor.dtype for tensor in load_file(small).values()} == {torch.float16}
    loaded, _ = load_generator(small)
    for name, tensor in loaded.state_dict().items():
        if name.endswith("num_batches_tracked"):
            continue
        assert tensor.dtype == torch.float32
        rounded = generator.state_dict()[name].numpy().astype(np.float16).astype(np.float32)
        np.testing.assert_array_equal(tensor.numpy(), rounded, err_msg=name)


@pytest.mark.parametrize(("value", "dtype"), [(float("nan"), torch.float32), (1e6, torch.float16)])
def test_weights_that_cannot_be_stored(preset: Preset, tmp_path: Path, value: float, dtype: torch.dtype) -> None:
    broken = random_generator(preset)
    with torch.no_grad():
        broken.attention.weights.bias[0] = value
    with pytest.raises(InputError, match=r"attention\.weights\.bias is not finite"):
        save_generator(tmp_path / "g.safetensors", broken, preset.card(), dtype=dtype)
    assert list(tmp_path.iterdir()) == []


def test_unfolded_spectral_normalisation_is_not_written(preset: Preset, tmp_path: Path) -> None:
    unfolded = random_generator(preset)
    add_spectral_norm(unfolded)
    with pytest.raises(ValueError, match="fold"):
        save_generator(tmp_path / "g.safetensors", unfolded, preset.card())
    assert list(tmp_path.iterdir()) == []


def test_an_existing_file_is_kept_unless_forced(checkpoint: Path, generator: LGGANGenerator, preset: Preset) -> None:
    checkpoint.write_bytes(b"precious")
    with pytest.raises(UsageError, match="force"):
        save_generator(checkpoint, generator, preset.card())
    assert checkpoint.read_bytes() == b"precious"
    save_generator(checkpoint, generator, preset.card(), force=True)
    load_generator(checkpoint)


@pytest.mark.parametrize("call", ["replace", "write"])
def test_full_disk(
    checkpoint: Path, generator: LGGANGenerator, preset: Preset, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    before = checkpoint.read_bytes()

    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if call == "replace":
        monkeypatch.setattr(os, "replace", fail)
    else:
        monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(MissingError, match="no space left"):
        save_generator(checkpoint, generator, preset.card(), force=True)
    monkeypatch.undo()
    assert checkpoint.read_bytes() == before
    assert [path.name for path in checkpoint.parent.iterdir()] == [checkpoint.name]


# --- reading what is not a checkpoint ---


def refused(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        load_generator(path)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


def split(data: bytes) -> tuple[dict[str, Any], bytes]:
    """Header and payload of a safetensors file."""
    (length,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def joined(header: object, payload: bytes) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + payload


def test_absent_empty_and_foreign_files(tmp_path: Path) -> None:
    assert "No such file" in refused(tmp_path / "absent.safetensors")
    refused(tmp_path)
    path = tmp_path / "g.safetensors"
    picture, list_header = b"\x89PNG\r\n\x1a\n" + bytes(64), struct.pack("<Q", 2) + b"[]"
    for content in (b"", b"1234567", picture, bytes(64), b"\xff" * 64, list_header):
        path.write_bytes(content)
        refused(path)
    save_file({"x": torch.zeros(2)}, path)
    assert "no model card" in refused(path)


def test_a_pth_file_is_shown_the_way(generator: LGGANGenerator, tmp_path: Path) -> None:
    path = tmp_path / "latest_net_G.pth"
    torch.save(generator.state_dict(), path)
    assert "import-weights" in refused(path)


def test_every_truncation(checkpoint: Path) -> None:
    whole = checkpoint.read_bytes()
    for size in [*range(16), *np.linspace(16, len(whole) - 1, 25).astype(int)]:
        checkpoint.write_bytes(whole[:size])
        refused(checkpoint)


def test_flipped_bits_never_raise_anything_else(checkpoint: Path) -> None:
    """A flip is refused, or it leaves a file that is valid in every respect (a digit, a letter of a name, a weight)."""
    whole = bytearray(checkpoint.read_bytes())
    (length,) = struct.unpack("<Q", whole[:8])
    draw = np.random.default_rng(0)
    places = [*range(8), *draw.integers(8, 8 + length, 80), *draw.integers(8 + length, len(whole), 4)]
    messages: list[str] = []
    for place, bit in zip(places, draw.integers(0, 8, len(places)), strict=True):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << bit
        checkpoint.write_bytes(damaged)
        try:
            load_generator(checkpoint)
        except InputError as error:
            messages.append(str(error))
    assert len(messages) > 20
    assert not [message for message in messages if "\n" in message]


def test_header_that_claims_more_than_there_is(checkpoint: Path) -> None:
    data = checkpoint.read_bytes()
    for length in (len(data), 1 << 40, (1 << 64) - 1):
        checkpoint.write_bytes(struct.pack("<Q", length) + data[8:])
        assert "cut off" in refused(checkpoint)


def test_deeply_nested_header(checkpoint: Path) -> None:
    text = b'{"__metadata__":' + b"[" * 200_000
    checkpoint.write_bytes(struct.pack("<Q", len(text)) + text)
    refused(checkpoint)


def test_oversized_card(checkpoint: Path) -> None:
    header, payload = split(checkpoint.read_bytes())
    header["__metadata__"][CARD_KEY] += " " * (1 << 20)
    checkpoint.write_bytes(joined(header, payload))
    assert "card" in refused(checkpoint)


def with_card(path: Path, **changes: Any) -> None:
    header, payload = split(path.read_bytes())
    card = json.loads(header["__metadata__"][CARD_KEY])
    for name, value in changes.items():
        if name.startswith("generator_"):
            card["generator"][name.removeprefix("generator_")] = value
        else:
            card[name] = value
    header["__metadata__"][CARD_KEY] = json.dumps(card)
    path.write_bytes(joined(header, payload))


@pytest.mark.parametrize(
    "changes",
    [
        {"schema": 2},
        {"classes": []},
        {"classes": [{"name": "x"}]},
        {"generator": {}},
        {"generator": []},
        {"generator_classes": 300},
        {"generator_classes": 3},
        {"generator_ngf": 5},
        {"generator_ngf": "4"},
        {"generator_ngf": 100_000},  # no network of that size may be made to find out
        {"generator_residual_blocks": 10**9},
        {"generator_spade_hidden": 10**12},
        {"generator_residual_blocks": 3},
        {"generator_sau": {"kernel": 10**9 + 1}},
        {"generator_sau": {"placement": "none"}},
        {"generator_height": 33},
        {"classes": [{"name": "alone", "color": [0, 0, 0]}]},  # card and generator must tell the same
        {"stride": 64},
        {"instances": True},
    ],
)
def test_cards_that_do_not_fit(checkpoint: Path, changes: dict[str, Any]) -> None:
    with_card(checkpoint, **changes)
    refused(checkpoint)


@pytest.mark.parametrize("card", [5, None, ["x"], {"schema": 1}])
def test_a_card_that_is_no_text(checkpoint: Path, card: object) -> None:
    header, payload = split(checkpoint.read_bytes())
    header["__metadata__"][CARD_KEY] = card
    checkpoint.write_bytes(joined(header, payload))
    refused(checkpoint)


def test_tensors_that_do_not_fit_the_card(checkpoint: Path) -> None:
    tensors, card = load_file(checkpoint), load_generator(checkpoint)[1]
    del tensors["encoder.conv1.bias"]
    tensors["encoder.conv2.bias"] = torch.zeros(3)
    tensors["encoder.conv3.bias"] = torch.zeros(16, dtype=torch.int32)
    tensors["encoder.conv4.bias"][0] = float("inf")
    tensors["encoder.conv9.bias"] = torch.zeros(1)
    save_file(tensors, checkpoint, metadata={CARD_KEY: card.to_json()})
    message = refused(checkpoint)
    for fault in (
        "encoder.conv1.bias is missing",
        "encoder.conv2.bias has shape (3,) instead of (8,)",
        "encoder.conv3.bias has type torch.int32",
        "encoder.conv4.bias holds NaN or infinity",
        "encoder.conv9.bias is unknown",
    ):
        assert fault in message


def test_a_card_from_the_future_names_its_schema(checkpoint: Path) -> None:
    with_card(checkpoint, schema=99)
    assert "99" in refused(checkpoint)


def test_the_card_alone_rebuilds_the_preset_values(checkpoint: Path, preset: Preset) -> None:
    _, card = load_generator(checkpoint)
    assert ModelCard.from_json(card.to_json()) == card
    assert (card.height, card.width, card.stride, card.void) == (32, 64, 32, 3)
    assert card.classes == preset.classes
    assert issubclass(InputError, LgganError)


# --- the other task ---


@pytest.fixture(scope="module")
def views() -> Preset:
    return load_preset("tiny_cross_view")


@pytest.fixture(scope="module")
def view_generator(views: Preset) -> CrossViewGenerator:
    torch.manual_seed(1)
    assert isinstance(views.generator, CrossViewConfig)
    return CrossViewGenerator(views.generator).eval()


@pytest.fixture
def view_checkpoint(view_generator: CrossViewGenerator, views: Preset, tmp_path: Path) -> Path:
    path = tmp_path / "views.safetensors"
    save_generator(path, view_generator, views.card())
    return path


def test_round_trip_of_a_cross_view_generator(
    view_checkpoint: Path, view_generator: CrossViewGenerator, views: Preset
) -> None:
    loaded, card = load_generator(view_checkpoint)
    assert isinstance(loaded, CrossViewGenerator)
    assert loaded.config == view_generator.config
    assert card == replace(views.card(), generator=view_generator.config.to_dict())
    assert (card.task, card.stride, card.void, card.instances) == ("cross-view", 4, 255, False)
    draw = np.random.default_rng(0)
    source = torch.from_numpy(draw.integers(0, 256, (2, 16, 24, 3), dtype=np.uint8))
    label = torch.from_numpy(draw.choice(np.array([0, 1, 2, 3, 4, 255], np.uint8), (2, 1, 16, 24)))
    inputs = encode_cross_view(source, label, loaded.config)
    assert torch.equal(loaded(*inputs).final, view_generator(*inputs).final)


def test_deployable_copies_are_equal(view_generator: CrossViewGenerator, generator: LGGANGenerator) -> None:
    for original in (view_generator, generator):
        copy = deployable(original)
        assert type(copy) is type(original)
        assert copy is not original
        assert not any(parameter.requires_grad for parameter in copy.parameters())
        for name, tensor in original.state_dict().items():
            assert torch.equal(copy.state_dict()[name], tensor), name


def test_a_card_for_the_other_task_is_a_mistake_of_the_caller(
    generator: LGGANGenerator, view_generator: CrossViewGenerator, preset: Preset, views: Preset, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="card is for cross-view, the generator for semantic-synthesis"):
        save_generator(tmp_path / "g.safetensors", generator, views.card())
    with pytest.raises(ValueError, match="card is for semantic-synthesis, the generator for cross-view"):
        save_generator(tmp_path / "g.safetensors", view_generator, preset.card())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "hint"),
    [
        ({"task": "semantic-synthesis"}, "not readable"),
        ({"task": "portraits"}, "'portraits' is unknown"),
        ({"void": 4}, "void 4, a cross-view model's is 255"),
        ({"void": None}, "void None"),
        ({"stride": 8}, "its generator is for"),
        ({"instances": True}, "its generator is for"),
        ({"height": 64}, "its generator is for"),
        ({"classes": [{"name": "alone", "color": [0, 0, 0]}]}, "its generator is for"),
        ({"generator_colors": [[1, 2, 3]] * 5}, r"paints road in \(128, 64, 128\), its generator was trained on"),
        ({"generator_colors": [[1, 2, 3]] * 4}, "colors has 4 entries for 5 classes"),
        ({"generator_groups": [0, 2, 2, 2, 2]}, "without a gap"),
        ({"generator_groups": [0, 1, 2, 3, 0]}, "local_branch.heads.weight has shape"),
        ({"generator_ngf": 10**6}, "does not fit its card"),
    ],
)
def test_cross_view_cards_that_do_not_fit(view_checkpoint: Path, changes: dict[str, Any], hint: str) -> None:
    with_card(view_checkpoint, **changes)
    assert re.search(hint, refused(view_checkpoint))


def test_tasks_have_one_name_each() -> None:
    """The card, which the runtime reads without PyTorch, and the training side call them alike."""
    assert {SEMANTIC_SYNTHESIS, CROSS_VIEW} == {task.value for task in Task}
