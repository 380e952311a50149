"""The file that a run continues from: nothing gets lost on the way, and a damaged one is named, never half used."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from lggan.data.dataset import Example
from lggan.preset import Preset, load_preset
from lggan.training.distributed import Process
from lggan.training.precision import TrainPrecision
from lggan.training.state import Past, Stretch, restore_state, save_state
from lggan.training.tasks import task_for
from lggan.training.trainer import Trainer
from runtime.contract.errors import InputError

SETTINGS = {"name": "tiny", "train": {"batch": 2, "seed": 1}, "classes": [{"name": "sky"}]}
PAST = Past((Stretch(0, "fp32", "cpu", 1, 1), Stretch(2, "bf16", "cpu", 2, 4)), {"steps": 7})


@pytest.fixture(scope="module")
def preset() -> Preset:
    """The smallest that has every kind of layer."""
    tiny = load_preset("tiny")
    return replace(tiny, generator=replace(tiny.generator, ngf=1, spade_hidden=1, residual_blocks=0))


@pytest.fixture(scope="module")
def trained(preset: Preset) -> Trainer:
    trainer = make_trainer(preset)
    photo = torch.zeros(2, 3, 32, 64, dtype=torch.uint8)
    photo[:, :, :, 20:] = 200
    blank = torch.zeros(2, 1, 32, 64, dtype=torch.int32)
    trainer.step(Example(photo, blank.to(torch.uint8), blank), 0, 0)
    return trainer


@pytest.fixture(scope="module")
def other(preset: Preset) -> Trainer:
    """What damaged files are read into."""
    return make_trainer(preset)


@pytest.fixture
def saved(trained: Trainer, tmp_path: Path) -> Path:
    path = tmp_path / "state.safetensors"
    save_state(path, trained.state, 1, SETTINGS, PAST)
    return path


def make_trainer(preset: Preset) -> Trainer:
    alone = Process(0, 1, torch.device("cpu"))
    return Trainer(task_for(preset), preset.train, alone, TrainPrecision.FP32, None)


def test_round_trip(saved: Path, trained: Trainer, preset: Preset) -> None:
    fresh = make_trainer(preset)
    assert restore_state(saved, fresh.state, SETTINGS) == (1, PAST)
    for prefix, network in trained.state.networks().items():
        for name, tensor in network.state_dict().items():
            assert torch.equal(fresh.state.networks()[prefix].state_dict()[name], tensor), f"{prefix}/{name}"
    for prefix, optimizer in trained.state.optimizers().items():
        before, after = optimizer.state_dict(), fresh.state.optimizers()[prefix].state_dict()
        assert before["param_groups"] == after["param_groups"]
        assert before["state"].keys() == after["state"].keys()
        for index, entries in before["state"].items():
            assert all(torch.equal(entries[name], after["state"][index][name]) for name in entries)
    again = saved.with_name("again.safetensors")
    save_state(again, fresh.state, 1, SETTINGS, PAST)
    assert again.read_bytes() == saved.read_bytes()


def test_all_differences_are_named(saved: Path, other: Trainer) -> None:
    settings = {"name": "huge", "train": {"batch": 2, "flip": True}, "classes": [{"name": "sky"}]}
    with pytest.raises(InputError, match="other settings") as caught:
        restore_state(saved, other.state, settings)
    for part in ("name was 'tiny', is 'huge'", "train.flip was None, is True", "train.seed was 1, is None"):
        assert part in str(caught.value)
    assert "batch" not in str(caught.value)


def refused(path: Path, trainer: Trainer) -> str:
    with pytest.raises(InputError) as caught:
        restore_state(path, trainer.state, SETTINGS)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_truncated_and_foreign_files(saved: Path, other: Trainer) -> None:
    whole = saved.read_bytes()
    for content in (
        b"",
        whole[:7],
        whole[:100],
        whole[: len(whole) // 2],
        whole[:-1],
        whole + b"x",
        b"PK\x03\x04" * 50,
    ):
        saved.write_bytes(content)
        refused(saved, other)
    save_file({"x": torch.zeros(1)}, saved)
    refused(saved, other)
    saved.unlink()
    assert "no run to go on from" in refused(saved, other)


def with_meta(path: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    meta = json.loads(header["__metadata__"]["lggan_state"])
    edited = edit(meta)
    header["__metadata__"]["lggan_state"] = json.dumps(meta if edited is None else edited)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length :])


@pytest.mark.parametrize(
    "edit",
    [
        lambda meta: meta.update(schema=2),
        lambda meta: [1, 2],
        lambda meta: "text",
        lambda meta: meta.pop("schema") and None,
        lambda meta: meta.pop("settings") and None,
        lambda meta: meta.update(settings=None),
        lambda meta: meta.update(settings=[]),
        lambda meta: meta.update(step="many"),
        lambda meta: meta.update(step=None),
        lambda meta: meta.update(past=[]),
        lambda meta: meta.update(past={"stretches": [{"first": 0}], "origin": None}),
        lambda meta: meta.update(scalers=[]),
    ],
)
def test_meta_data_of_another_kind(saved: Path, other: Trainer, edit: Callable[[dict[str, Any]], object]) -> None:
    with_meta(saved, edit)
    refused(saved, other)


@pytest.mark.parametrize(
    ("name", "tensor"),
    [
        ("generator/encoder.conv1.bias", None),
        ("generator/encoder.conv1.bias", torch.zeros(7)),
        ("discriminator/extra", torch.zeros(1)),
        ("generator_optimizer/0/exp_avg", None),
        ("generator_optimizer/0/exp_avg", torch.zeros(3)),
        ("generator_optimizer/0/step", None),
        ("generator_optimizer/9999/step", torch.zeros(())),
        ("discriminator_optimizer/x/step", torch.zeros(())),
        ("discriminator_optimizer/0/a/b", torch.zeros(())),
    ],
)
def test_tensors_that_do_not_fit(saved: Path, other: Trainer, name: str, tensor: torch.Tensor | None) -> None:
    tensors = load_file(saved)
    data = saved.read_bytes()
    header = json.loads(data[8 : 8 + struct.unpack("<Q", data[:8])[0]])
    if tensor is None:
        del tensors[name]
    else:
        tensors[name] = tensor
    save_file(tensors, saved, metadata=header["__metadata__"])
    assert "does not fit this run" in refused(saved, other)


def test_flipped_bits_never_raise_anything_else(saved: Path, other: Trainer) -> None:
    whole = bytearray(saved.read_bytes())
    (length,) = struct.unpack("<Q", whole[:8])
    draw = np.random.default_rng(1)
    messages: list[str] = []
    for place, bit in zip([*range(8), *draw.integers(8, 8 + length, 60)], draw.integers(0, 8, 68), strict=True):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << bit
        saved.write_bytes(damaged)
        try:
            restore_state(saved, other.state, SETTINGS)
        except InputError as error:
            messages.append(str(error))
    assert len(messages) > 20
    assert not [message for message in messages if "\n" in message]
