"""From the entries of an official checkpoint to the tensors of ours, or to everything that is wrong with them."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch
from torch import Tensor

from lggan.official.faults import Faults
from lggan.official.layout import Form, Origin


def convert(
    official: Mapping[str, Tensor], origins: Mapping[str, Origin], unused: Collection[str]
) -> tuple[dict[str, Tensor], Faults]:
    """Make every tensor of ours whose entries fit, and collect the faults of the others.

    Spectral normalisation is folded in float64 with the stored vectors, ``W / (u^T W v)``, as evaluation mode
    applies it (specification E.3), and rounded to float32 once.

    Args:
        official: entries of the file.
        origins: of our tensors, see `lggan.official.layout.origins`.
        unused: entries of the file that nothing needs; they are not looked at.

    Returns:
        our tensors, float32; those with a fault are left out. And the faults, in the official names.
    """
    faults = Faults()
    state: dict[str, Tensor] = {}
    known = {name for origin in origins.values() for name, _ in origin.entries}
    known.update(unused)
    faults.unexpected = [name for name in official if name not in known]
    for ours, origin in origins.items():
        parts = [_usable(official, name, shape, faults) for name, shape in origin.entries]
        usable = [part for part in parts if part is not None]
        if len(usable) < len(parts):
            continue
        if origin.form is Form.STACKED:
            state[ours] = torch.stack(usable).float()
        elif origin.form is Form.COPIED:
            # A copy: entries that share their memory in the file could not be stored.
            state[ours] = usable[0].clone(memory_format=torch.contiguous_format).float()
        else:
            folded = _folded(*usable)
            if folded is None:
                faults.broken[origin.entries[0][0]] = "(u^T W v is zero: nothing to normalise by)"
            else:
                state[ours] = folded
    return state, faults


def _usable(official: Mapping[str, Tensor], name: str, shape: tuple[int, ...], faults: Faults) -> Tensor | None:
    """The entry, or None if it is absent or wrong, which is noted. A wrong shape is noted before any number is read."""
    tensor = official.get(name)
    if tensor is None:
        faults.missing.append(name)
    elif tuple(tensor.shape) != shape:
        faults.misshapen[name] = f"{tuple(tensor.shape)} instead of {shape}"
    elif not tensor.is_floating_point():
        faults.misshapen[name] = f"{tensor.dtype} instead of a floating-point type"
    elif not torch.isfinite(tensor.float()).all():
        faults.broken[name] = "(NaN or infinity)"
    elif name.endswith(".running_var") and (tensor < 0).any():
        faults.broken[name] = "(a negative variance)"
    else:
        return tensor
    return None


def _folded(weight: Tensor, u: Tensor, v: Tensor) -> Tensor | None:
    """W / (u^T W v) in float32, or None where that is not finite."""
    wide = weight.double()
    sigma = torch.dot(u.double(), wide.flatten(1) @ v.double())
    folded = (wide / sigma).float()
    return folded if bool(torch.isfinite(folded).all()) else None
