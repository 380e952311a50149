"""Weights of third-party networks from a file that the user names: read without executing anything, checked, frozen."""

from __future__ import annotations

import pickle
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from runtime.contract.errors import InputError

MAX_WEIGHTS_BYTES = 1 << 30  # torchvision's full VGG19, the largest file of use here, has 575 MB

ModuleT = TypeVar("ModuleT", bound=nn.Module)


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """Read a flat state dict (key -> tensor, on the CPU, stored dtype) from ``.safetensors`` or a PyTorch ``.pth``.

    PyTorch files are unpickled with ``weights_only=True``: tensors only, no code of the file is run.

    Raises:
        InputError: the file is absent, larger than 1 GiB, damaged, or holds something else than named tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"there is no weights file {path}; check the path")
    if path.stat().st_size > MAX_WEIGHTS_BYTES:
        raise InputError(
            f"{path} has {path.stat().st_size} bytes, more than the {MAX_WEIGHTS_BYTES} of any weights used here"
        )
    try:
        if path.suffix == ".safetensors":
            state = load_file(path, device="cpu")
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, EOFError, RuntimeError, ValueError, KeyError, OSError) as error:
        raise InputError(
            f"{path} is not a readable weights file ({_first_line(error)}); "
            "give a .safetensors file or a state dict written by torch.save"
        ) from error
    except Exception as error:  # a damaged pickle stream can raise nearly anything
        raise InputError(f"{path} is damaged ({type(error).__name__}: {_first_line(error)}); fetch it again") from error
    if not isinstance(state, Mapping) or not state:
        raise InputError(f"{path} holds {_kind(state)} instead of a state dict; save module.state_dict() into it")
    strangers = [key for key, value in state.items() if not isinstance(key, str) or not isinstance(value, Tensor)]
    if strangers:
        raise InputError(
            f"{path} is not a flat state dict: {_some(strangers)} are not tensors; save module.state_dict()"
        )
    return dict(state)


def load_pretrained(module: ModuleT, path: str | Path, *, unused: Collection[str] = ()) -> ModuleT:
    """Fill ``module`` from the file and freeze it: float32, eval mode, ``requires_grad`` off. Returns ``module``.

    Args:
        module: whose state dict keys and shapes the file must match exactly.
        path: see `read_state_dict`.
        unused: key prefixes that the file may hold and the module does not need, e.g. ``("classifier.",)``.

    Raises:
        InputError: unreadable file; missing, unexpected or wrongly shaped keys (all named in one message); values
            that are not finite.
    """
    return fill_pretrained(module, read_state_dict(path), path, unused=unused)


def fill_pretrained(
    module: ModuleT, state: Mapping[str, Tensor], source: str | Path, *, unused: Collection[str] = ()
) -> ModuleT:
    """`load_pretrained` for a state dict that was read already; ``source`` names its file in messages."""
    wanted = {key: value for key, value in module.state_dict().items() if not key.endswith("num_batches_tracked")}
    given = {
        key: value
        for key, value in state.items()
        if not key.endswith("num_batches_tracked") and not (key not in wanted and key.startswith(tuple(unused)))
    }
    shapes = [
        f"{key} {tuple(given[key].shape)} instead of {tuple(wanted[key].shape)}"
        for key in wanted
        if key in given and given[key].shape != wanted[key].shape
    ]
    complaints = [
        f"{len(keys)} {kind}: {_some(keys)}"
        for kind, keys in (
            ("missing", [key for key in wanted if key not in given]),
            ("unexpected", [key for key in given if key not in wanted]),
            ("of wrong shape", shapes),
        )
        if keys
    ]
    if complaints:
        raise InputError(
            f"{source} does not fit {type(module).__name__} ({'; '.join(complaints)}); name the right weights file"
        )
    broken = [key for key in wanted if not torch.isfinite(given[key].float()).all()]
    if broken:
        raise InputError(f"{source} holds NaN or infinity in {_some(broken)}; fetch the file again")
    module.load_state_dict({key: given[key].float() for key in wanted}, strict=False)
    return module.eval().requires_grad_(False)


def _some(names: Collection[object], limit: int = 6) -> str:
    shown = ", ".join(str(name) for name in list(names)[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"


def _kind(value: object) -> str:
    return "an empty mapping" if isinstance(value, Mapping) else f"a {type(value).__name__}"


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:160]
