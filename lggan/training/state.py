"""The whole state of a training run in one safetensors file, so that it continues as if it had never stopped."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as save_tensors
from torch import Tensor, nn
from torch.optim import Optimizer

from lggan.networks.discriminator import MultiScaleDiscriminator
from lggan.networks.generator import LGGANGenerator
from lggan.training.ema import Average
from runtime.contract.errors import InputError
from runtime.contract.files import write_bytes

STATE_SCHEMA = 1
_META = "lggan_state"


@dataclass(frozen=True)
class TrainingState:
    """Everything that changes during training."""

    generator: LGGANGenerator
    discriminator: MultiScaleDiscriminator
    average: Average
    generator_optimizer: Optimizer
    discriminator_optimizer: Optimizer
    scalers: tuple[torch.amp.GradScaler, torch.amp.GradScaler]

    def networks(self) -> dict[str, nn.Module]:
        """The three networks, by the prefix of their tensors in the file."""
        return {
            "generator": self.generator,
            "discriminator": self.discriminator,
            "average": self.average.generator,
        }

    def optimizers(self) -> dict[str, Optimizer]:
        """The two optimisers, by the prefix of their tensors in the file."""
        return {
            "generator_optimizer": self.generator_optimizer,
            "discriminator_optimizer": self.discriminator_optimizer,
        }


def save_state(path: Path, state: TrainingState, step: int, settings: dict[str, Any]) -> None:
    """Write the state after ``step`` steps; atomically, so that a kill leaves the previous state."""
    tensors: dict[str, Tensor] = {}
    for prefix, network in state.networks().items():
        tensors.update({f"{prefix}/{name}": tensor for name, tensor in network.state_dict().items()})
    for prefix, optimizer in state.optimizers().items():
        for index, entries in optimizer.state_dict()["state"].items():
            tensors.update({f"{prefix}/{index}/{name}": torch.as_tensor(value) for name, value in entries.items()})
    meta = {
        "schema": STATE_SCHEMA,
        "step": step,
        "settings": settings,
        "scalers": [scaler.state_dict() for scaler in state.scalers],
    }
    stored = {name: tensor.detach().to("cpu").clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()}
    write_bytes(path, save_tensors(stored, metadata={_META: json.dumps(meta)}), force=True)


def restore_state(path: Path, state: TrainingState, settings: dict[str, Any]) -> int:
    """Fill ``state`` from the file.

    Returns:
        The number of steps done.

    Raises:
        InputError: no such file, damaged, or of a run with other settings (all differences are named).
    """
    tensors, meta = _read(path)
    differences = _differences(meta["settings"], settings)
    if differences:
        raise InputError(
            f"{path} belongs to a run with other settings ({'; '.join(differences)}); "
            "resume with the same ones or start a new run in another folder"
        )
    try:
        for prefix, network in state.networks().items():
            network.load_state_dict(_below(tensors, prefix))
        for prefix, optimizer in state.optimizers().items():
            _restore_optimizer(optimizer, _below(tensors, prefix))
        for scaler, saved in zip(state.scalers, meta["scalers"], strict=True):
            if scaler.is_enabled():
                scaler.load_state_dict(saved)
    except (RuntimeError, KeyError, ValueError) as error:
        raise InputError(f"{path} does not fit this run: {str(error).splitlines()[0]}") from error
    return int(meta["step"])


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    if not path.is_file():
        raise InputError(f"{path} does not exist: nothing to resume; start without --resume")
    try:
        with safe_open(str(path), framework="pt") as file:
            meta = json.loads((file.metadata() or {})[_META])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise InputError(f"{path} is not a training state or is damaged ({error}); start anew without --resume") from error
    if meta.get("schema") != STATE_SCHEMA:
        raise InputError(f"{path} has schema {meta.get('schema')!r}, this version reads {STATE_SCHEMA}; start anew")
    return tensors, meta


def _below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    start = f"{prefix}/"
    return {name[len(start) :]: tensor for name, tensor in tensors.items() if name.startswith(start)}


def _restore_optimizer(optimizer: Optimizer, tensors: dict[str, Tensor]) -> None:
    entries: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        index, entry = name.split("/")
        entries.setdefault(int(index), {})[entry] = tensor
    optimizer.load_state_dict({"state": entries, "param_groups": optimizer.state_dict()["param_groups"]})


def _differences(saved: dict[str, Any], current: dict[str, Any], prefix: str = "") -> list[str]:
    found = []
    for name in sorted(set(saved) | set(current)):
        before, now = saved.get(name), current.get(name)
        if isinstance(before, dict) and isinstance(now, dict):
            found += _differences(before, now, f"{prefix}{name}.")
        elif before != now:
            found.append(f"{prefix}{name} was {before!r}, is {now!r}")
    return found
