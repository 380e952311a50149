"""Generator checkpoints: safetensors with the model card inside; no pickle, nothing executable."""

from __future__ import annotations

import json
import struct
from dataclasses import replace
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor
from torch.nn.utils import parametrize

from lggan.cross_view_config import CrossViewConfig
from lggan.networks.build import AnyGenerator, build_generator
from lggan.task import AnyConfig, read_config, task_of
from runtime.contract.card import CARD_KEY, ModelCard
from runtime.contract.errors import InputError, UsageError
from runtime.contract.files import write_bytes
from runtime.contract.labels import VOID_VALUE

MAX_BYTES = 4 << 30
_LISTED = 5


def save_generator(
    path: str | Path,
    generator: AnyGenerator,
    card: ModelCard,
    *,
    dtype: torch.dtype = torch.float32,
    force: bool = False,
) -> None:
    """Write a generator for deployment, without spectral normalisation (see `deployable`).

    Args:
        card: of the generator's task; the generator's own configuration is put into it.
        dtype: of the stored weights. float16 halves the file; the model then *is* the rounded one everywhere.

    Raises:
        InputError: a weight is not finite.
        UsageError, MissingError: see `runtime.contract.files.atomic_path`.
        ValueError: spectral normalisation is still in place, or the card is for the other task (mistakes of the caller,
            not of the user).
    """
    if any(parametrize.is_parametrized(module) for module in generator.modules()):
        raise ValueError("the generator is spectrally normalised; fold it before saving, as deployable does")
    if card.task != task_of(generator.config).value:
        raise ValueError(f"the card is for {card.task}, the generator for {task_of(generator.config).value}")
    state = {name: _stored(name, tensor, dtype) for name, tensor in generator.state_dict().items() if _kept(name)}
    card = replace(card, generator=generator.config.to_dict())
    write_bytes(path, save_tensors(state, metadata={CARD_KEY: card.to_json()}), force=force)


def load_generator(path: str | Path) -> tuple[AnyGenerator, ModelCard]:
    """Read a generator written by `save_generator`: in evaluation mode, float32, on the CPU.

    ``card.task`` tells which of the two generators it is.

    Raises:
        InputError: absent, damaged, not safetensors, without our card, or with tensors that do not fit the card.
    """
    path = Path(path)
    data = _read(path)
    card = _card(path, data)
    try:
        state = load_tensors(data)
    except (SafetensorError, ValueError, RuntimeError) as error:
        raise InputError(f"{path} is damaged ({error}); copy it again or train anew") from error
    config = _config(path, card)
    try:
        with torch.device("meta"):  # shapes without memory, however large the card makes the network out to be
            skeleton = build_generator(config)
    except (RuntimeError, TypeError, OverflowError) as error:  # beyond 64 bits
        raise InputError(f"{path} describes a network beyond any size; get the original file") from error
    _check_tensors(path, state, {name: tensor for name, tensor in skeleton.state_dict().items() if _kept(name)})
    generator = build_generator(config)
    generator.load_state_dict({name: tensor.float() for name, tensor in state.items()}, strict=False)
    return generator.eval().requires_grad_(False), card


def deployable(generator: AnyGenerator) -> AnyGenerator:
    """A copy for deployment: evaluation mode, spectral normalisation folded. The original is left as it is."""
    copy = build_generator(generator.config)
    reference = {name: tensor.detach().clone() for name, tensor in _effective_state(generator).items()}
    copy.load_state_dict(reference)
    return copy.eval().requires_grad_(False)


def _effective_state(generator: AnyGenerator) -> dict[str, Tensor]:
    """The state a generator without parametrisations would have: normalised weights in place of the originals."""
    was_training = generator.training
    generator.eval()  # reading a normalised weight in training mode would move its power iteration
    state: dict[str, Tensor] = {}
    for name, tensor in generator.state_dict().items():
        if ".parametrizations." not in name:
            state[name] = tensor
        elif name.endswith(".parametrizations.weight.original"):
            owner = name[: -len(".parametrizations.weight.original")]
            state[f"{owner}.weight"] = generator.get_submodule(owner).weight  # type: ignore[assignment]
    generator.train(was_training)
    return state


def _kept(name: str) -> bool:
    return not name.endswith("num_batches_tracked")  # counts nothing that evaluation needs


def _stored(name: str, tensor: Tensor, dtype: torch.dtype) -> Tensor:
    stored = tensor.detach().to("cpu", dtype).contiguous()
    if not torch.isfinite(stored).all():
        raise InputError(f"weight {name} is not finite in {dtype}; the training diverged or float32 storage is needed")
    return stored


def _read(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise InputError(f"{path} is {size} bytes long, more than {MAX_BYTES}; this is no generator of ours")
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error


def _card(path: Path, data: bytes) -> ModelCard:
    """The card from the safetensors header: eight bytes of length, then JSON."""
    foreign = f"{path} is not a safetensors checkpoint"
    if len(data) < 8:
        raise InputError(f"{foreign} (only {len(data)} bytes)")
    (length,) = struct.unpack("<Q", data[:8])
    if length > len(data) - 8:
        hint = "use 'lggan import-weights' for .pth files" if path.suffix in (".pth", ".pt") else "copy it again"
        raise InputError(f"{foreign}, or it is cut off; {hint}")
    try:
        header = json.loads(data[8 : 8 + length])
        metadata = header.get("__metadata__", {})
    except (ValueError, AttributeError, RecursionError) as error:
        raise InputError(f"{foreign}: its header is not JSON") from error
    if not isinstance(metadata, dict) or not isinstance(metadata.get(CARD_KEY), str):
        raise InputError(f"{path} holds no model card of lggan; only files of 'lggan train' and 'import-weights' do")
    try:
        return ModelCard.from_json(metadata[CARD_KEY])
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _config(path: Path, card: ModelCard) -> AnyConfig:
    """The card's generator, which must agree with what the card tells the other rooms."""
    try:
        config = read_config(card.task, card.generator)
    except (InputError, UsageError) as error:
        raise InputError(f"{path}: {error}") from error
    told = (len(card.classes), card.instances, card.stride, card.height, card.width)
    built = (config.classes, config.edges, config.stride, config.height, config.width)
    if told != built:
        raise InputError(
            f"{path}: its card tells (classes, instances, stride, height, width) {told}, its generator is for {built}; "
            "the file was edited, get the original"
        )
    if isinstance(config, CrossViewConfig):
        _check_painting(path, card, config)
    return config


def _check_painting(path: Path, card: ModelCard, config: CrossViewConfig) -> None:
    """The colours that the network reads are the classes' own, and 255 belongs to no class."""
    if card.void != VOID_VALUE:
        raise InputError(
            f"{path}: its card has void {card.void}, a cross-view model's is {VOID_VALUE}; "
            "the file was edited, get the original"
        )
    for info, color in zip(card.classes, config.colors, strict=True):
        if info.color != color:
            raise InputError(
                f"{path}: its card paints {info.name} in {info.color}, its generator was trained on {color}; "
                "the file was edited, get the original"
            )


def _check_tensors(path: Path, state: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    faults = [f"{name} is missing" for name in expected if name not in state]
    faults += [f"{name} is unknown" for name in state if name not in expected]
    for name, tensor in state.items():
        if name not in expected:
            continue
        if tensor.shape != expected[name].shape:
            faults.append(f"{name} has shape {tuple(tensor.shape)} instead of {tuple(expected[name].shape)}")
        elif not tensor.is_floating_point():
            faults.append(f"{name} has type {tensor.dtype}")
        elif not torch.isfinite(tensor).all():
            faults.append(f"{name} holds NaN or infinity")
    if faults:
        more = f" and {len(faults) - _LISTED} more" if len(faults) > _LISTED else ""
        raise InputError(f"{path} does not fit its card: {'; '.join(faults[:_LISTED])}{more}")
