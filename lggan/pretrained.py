"""Weights of third-party networks from a file that the user names: read without executing anything, checked, frozen."""

from __future__ import annotations

import pickle
import re
import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from runtime.contract.errors import InputError

MAX_WEIGHTS_BYTES = 2 << 30  # an official generator has 445 MB, torchvision's full VGG19 575 MB

ModuleT = TypeVar("ModuleT", bound=nn.Module)


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """Read a flat state dict (key -> tensor, on the CPU, stored dtype) from ``.safetensors`` or a PyTorch ``.pth``.

    PyTorch files, of the present format and of that before 1.6, are unpickled with ``weights_only=True``: tensors
    only, no code of the file is run.

    Raises:
        InputError: the file is absent, larger than 2 GiB or inflates to more, damaged, holds something else than named
            tensors, or would have to run code to be read.
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
            _check_archive(path)
            state = torch.load(path, map_location="cpu", weights_only=True)
    except InputError:
        raise
    except pickle.UnpicklingError as error:
        raise InputError(_refusal(path, error)) from error
    except (SafetensorError, EOFError, RuntimeError, ValueError, KeyError, OSError) as error:
        raise InputError(_unreadable(path, error)) from error
    except Exception as error:  # a damaged pickle stream can raise nearly anything
        raise InputError(f"{path} is damaged ({type(error).__name__}: {_first_line(error)}); fetch it again") from error
    _check_flat(path, state)
    return {name: tensor.detach() for name, tensor in state.items()}


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


def _check_archive(path: Path) -> None:
    """Since 1.6 PyTorch writes zip archives, and stores in them without compressing: what inflates is not its work."""
    if not zipfile.is_zipfile(path):
        return
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, UnicodeDecodeError) as error:
        raise InputError(_unreadable(path, error)) from error
    unpacked = sum(entry.file_size for entry in entries)
    if unpacked > MAX_WEIGHTS_BYTES or any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise InputError(
            f"{path} is a packed archive of {unpacked} bytes; torch.save packs nothing, so it did not write this "
            "(if it is a download that holds the .pth, unpack it first)"
        )


def _refusal(path: Path, error: pickle.UnpicklingError) -> str:
    """Why the restricted unpickler gave up: most often the file wants more than tensors, and names it."""
    wanted = re.search(r"GLOBAL ([\w.]+)", str(error))
    if wanted is None:
        return _unreadable(path, error)
    code = (
        f"import torch; x = torch.load('{_file(path)}', map_location='cpu', weights_only=False); "
        "torch.save(getattr(x, 'state_dict', lambda: x)(), 'plain.pth')"
    )
    return (
        f"{path} is more than named tensors, it asks for {wanted[1][:80]}: reading it would run code that the file "
        "chooses, so it was refused and nothing of it was run; if you trust its origin, turn it into plain tensors "
        f'once, on a machine that may run that code and has it installed: python -c "{code}"'
    )


def _unreadable(path: Path, error: BaseException) -> str:
    return (
        f"{path} is not a readable weights file ({_first_line(error)}); "
        "give a .safetensors file or a state dict written by torch.save"
    )


def _check_flat(path: Path, state: object) -> None:
    if isinstance(state, Tensor | list | tuple) or not isinstance(state, Mapping) or not state:
        raise InputError(f"{path} holds {_kind(state)} instead of a state dict; save module.state_dict() into it")
    strangers = [name for name, value in state.items() if not isinstance(name, str) or not isinstance(value, Tensor)]
    if strangers:
        found = [f"{_name(name)} ({_kind(state[name])})" for name in strangers]
        nested = [name for name in strangers if _is_flat(state[name])]
        raise InputError(
            f"{path} is not a flat dictionary of named tensors; beside {len(state) - len(strangers)} tensors it holds "
            f"{_some(found)}; {_extraction(path, nested)}"
        )
    odd = [name for name, tensor in state.items() if not _is_plain(tensor)]
    if odd:
        raise InputError(f"{path} holds sparse, quantised or empty tensors in {_some(odd)}; save ordinary ones")


def _extraction(path: Path, nested: list[object]) -> str:
    if not nested:
        return "save module.state_dict() alone"
    part = nested[0] if len(nested) == 1 and re.fullmatch(r"\w+", str(nested[0])) else "NAME"
    code = f"import torch; torch.save(torch.load('{_file(path)}', weights_only=True)['{part}'], 'plain.pth')"
    return f'take the state dict out of it: python -c "{code}"'


def _is_flat(value: object) -> bool:
    return isinstance(value, Mapping) and bool(value) and all(isinstance(part, Tensor) for part in value.values())


def _is_plain(tensor: Tensor) -> bool:
    """Numbers in memory: PyTorch's files may also hold tensors without any, whose shapes cost nothing."""
    return (
        tensor.layout is torch.strided
        and tensor.device.type == "cpu"
        and not (tensor.is_quantized or tensor.is_nested or tensor.is_complex())
    )


def _some(names: Collection[object], limit: int = 6) -> str:
    shown = ", ".join(str(name) for name in list(names)[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"


def _kind(value: object) -> str:
    if isinstance(value, Mapping):
        return f"a dictionary of {len(value)}" if value else "an empty dictionary"
    return f"{'an' if type(value).__name__[0] in 'aeiou' else 'a'} {type(value).__name__}"


def _name(key: object) -> str:
    return key[:80] if isinstance(key, str) and key.isascii() and key.isprintable() else ascii(key)[:80]


def _file(path: Path) -> str:
    """The file's name for a command to copy."""
    return path.name if re.fullmatch(r"[\w.-]+", path.name) else "FILE.pth"


def _first_line(error: BaseException) -> str:
    """What went wrong, without PyTorch's advice to switch its protection off."""
    text = (str(error).strip() or type(error).__name__).splitlines()[0]
    return "it is no pickle of tensors" if text.startswith("Weights only load failed") else text[:160]
