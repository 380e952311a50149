"""Where the weights of the perceptual loss are: in the file that the user names, or in torch hub's cache.

Nothing is downloaded. torchvision puts what it downloads into the hub's cache, under names that end with the first
eight digits of the content's SHA-256: ``vgg19-dcbb9e9d.pth``.
"""

from __future__ import annotations

import re
from pathlib import Path

import torch

from lggan.losses.perceptual import PerceptualFeatures
from runtime.contract.errors import InputError, UsageError
from runtime.contract.files import sha256_of

_HUB_NAMES = {PerceptualFeatures.VGG19: "vgg19", PerceptualFeatures.SQUEEZENET: "squeezenet1_0"}
_HASHED = r"-([0-9a-f]{8,64})\.pth"


def find_perceptual_weights(kind: PerceptualFeatures, given: Path | None) -> Path | None:
    """The weights file for a perceptual loss: the given one, else torch hub's, else None.

    Args:
        kind: which network; for ``NONE`` the answer is None.
        given: the user's own file; it is taken as it is.

    Returns:
        A path, or None where neither is there; `lggan.losses.perceptual.build_perceptual_loss` then says what to do.

    Raises:
        InputError: a file in the cache is not what its name says.
        UsageError: several files in the cache could be meant.
    """
    if kind is PerceptualFeatures.NONE:
        return None
    if given is not None:
        return given
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    found = {path: _promised_digest(path, _HUB_NAMES[kind]) for path in _files(folder)}
    candidates = sorted(path for path, promised in found.items() if promised)
    if not candidates:
        return None
    if len(candidates) > 1:
        names = ", ".join(path.name for path in candidates)
        raise UsageError(f"{folder} holds {names}; name the one that is meant with --perceptual-weights FILE")
    (path,) = candidates
    digest, promised = sha256_of(path), found[path]
    if not digest.startswith(promised):
        raise InputError(
            f"the SHA-256 of {path} begins with {digest[: len(promised)]} instead of {promised}: the download is "
            "damaged or another file; delete it, or name the file that is meant with --perceptual-weights FILE"
        )
    return path


def _promised_digest(path: Path, network: str) -> str:
    """The digits of the digest in the file's name, or nothing if it is not the network's."""
    match = re.fullmatch(re.escape(network) + _HASHED, path.name)
    return match[1] if match else ""


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.is_file()] if folder.is_dir() else []
