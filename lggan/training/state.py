"""The whole state of a training run in one safetensors file, so that it continues as if it had never stopped."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as save_tensors
from torch import Tensor, nn
from torch.optim import Optimizer

from lggan.networks.build import AnyGenerator
from lggan.training.ema import Average
from runtime.contract.errors import BackendError, InputError
from runtime.contract.files import sha256_of, write_bytes

STATE_SCHEMA = 1
_META = "lggan_state"


@dataclass(frozen=True)
class TrainingState:
    """Everything that changes during training."""

    generator: AnyGenerator
    discriminator: nn.Module
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


@dataclass(frozen=True)
class Stretch:
    """A part of a run between two interruptions: how it was computed, from which step (counted from 0) on."""

    first_step: int
    precision: str
    device: str
    processes: int
    threads: int
    accumulate: int = 1


@dataclass(frozen=True)
class Past:
    """Where a run comes from.

    Attributes:
        stretches: how its steps were computed, oldest first.
        origin: description of the run whose weights it started from (see `adopt_networks`), or None.
    """

    stretches: tuple[Stretch, ...] = ()
    origin: dict[str, Any] | None = None

    def then(self, stretch: Stretch) -> Past:
        """The past with one stretch more."""
        return replace(self, stretches=(*self.stretches, stretch))


def save_state(path: Path, state: TrainingState, step: int, settings: dict[str, Any], past: Past) -> None:
    """Write the state after ``step`` steps; atomically, so that a kill leaves the previous state.

    Raises:
        BackendError: a tensor is not finite; the previous state is kept.
        MissingError: see `runtime.contract.files.atomic_path`.
    """
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
        "past": asdict(past),
        "scalers": [scaler.state_dict() for scaler in state.scalers],
    }
    stored = {
        name: tensor.detach().to("cpu").clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()
    }
    broken = [name for name, tensor in stored.items() if not torch.isfinite(tensor).all()]
    if broken:
        raise BackendError(
            f"{broken[0]} and {len(broken) - 1} more tensors are not finite after step {step}; the state of the last "
            "saving is kept: resume with lower learning rates"
        )
    write_bytes(path, save_tensors(stored, metadata={_META: json.dumps(meta)}), force=True)


def restore_state(path: Path, state: TrainingState, settings: dict[str, Any]) -> tuple[int, Past]:
    """Fill ``state`` from the file.

    Returns:
        The number of steps done, and the run's past.

    Raises:
        InputError: no such file, damaged, or of a run with other settings (all differences are named).
    """
    tensors, meta = _read(path)
    try:
        differences = _differences(meta["settings"], settings)
        if differences:
            raise InputError(
                f"{path} belongs to a run with other settings ({'; '.join(differences)}); "
                "resume with the same ones or start a new run in another folder"
            )
        for prefix, network in state.networks().items():
            network.load_state_dict(_below(tensors, prefix))
        for prefix, optimizer in state.optimizers().items():
            _restore_optimizer(optimizer, _below(tensors, prefix))
        for scaler, saved in zip(state.scalers, meta["scalers"], strict=True):
            if scaler.is_enabled() and saved:  # empty where the stretch before ran in another precision
                scaler.load_state_dict(saved)
        return int(meta["step"]), _past(meta)
    except (RuntimeError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise InputError(f"{path} does not fit this run: {str(error).splitlines()[0]}") from error


def adopt_networks(path: Path, state: TrainingState) -> Past:
    """Start from the weights of another run, with fresh optimisers: to go on at another size, or on other data.

    Returns:
        The past of the new run: no stretches yet, and what it started from.

    Raises:
        InputError: no such file, damaged, or networks of another shape.
    """
    tensors, meta = _read(path)
    try:
        for prefix, network in state.networks().items():
            network.load_state_dict(_below(tensors, prefix))
        stretches = [asdict(stretch) for stretch in _past(meta).stretches]
        generator = meta["settings"]["generator"]
        size = {"height": generator["height"], "width": generator["width"]}
        return Past(origin={"sha256": sha256_of(path), "steps": meta["step"], **size, "stretches": stretches})
    except (RuntimeError, KeyError, TypeError) as error:
        raise InputError(f"{path} cannot be started from: {str(error).splitlines()[0]}") from error


def _past(meta: dict[str, Any]) -> Past:
    past = meta["past"]
    return Past(tuple(Stretch(**stretch) for stretch in past["stretches"]), past["origin"])


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    if not path.is_file():
        raise InputError(f"{path} does not exist: no run to go on from; leave out --resume and --start-from")
    try:
        with safe_open(str(path), framework="pt") as file:
            meta = json.loads((file.metadata() or {})[_META])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise InputError(f"{path} is no training state or is damaged ({error}); start anew without --resume") from error
    schema = meta.get("schema") if isinstance(meta, dict) else None
    if schema != STATE_SCHEMA:
        raise InputError(f"{path} has schema {schema!r}, this version reads {STATE_SCHEMA}; start anew")
    return tensors, meta


def _below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    start = f"{prefix}/"
    return {name[len(start) :]: tensor for name, tensor in tensors.items() if name.startswith(start)}


def _restore_optimizer(optimizer: Optimizer, tensors: dict[str, Tensor]) -> None:
    """Fill Adam's averages; PyTorch itself would take any and fail at the next step."""
    entries: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        index, entry = name.split("/")
        entries.setdefault(int(index), {})[entry] = tensor
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    shapes = {index: {"step": (), "exp_avg": p.shape, "exp_avg_sq": p.shape} for index, p in enumerate(parameters)}
    if {index: {name: tensor.shape for name, tensor in entry.items()} for index, entry in entries.items()} != shapes:
        raise ValueError("the optimisers' averages are incomplete or misshapen")
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
