"""Perceptual loss: L1 between features of a frozen classification network, for generated and for real pictures."""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import Enum
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from lggan.pretrained import fill_pretrained, load_pretrained, read_state_dict
from runtime.contract.errors import UsageError
from runtime.contract.files import sha256_of


class PerceptualFeatures(str, Enum):
    """The network whose features are compared. Its weights are the user's own file; none comes with this project."""

    NONE = "none"
    SQUEEZENET = "squeezenet"
    VGG19 = "vgg19"


class LayerScale(str, Enum):
    """How the mean absolute difference of one layer enters the sum."""

    ABSOLUTE = "absolute"  # as it is
    RELATIVE = "relative"  # divided by the mean absolute feature of the real pictures


class SqueezeNetPixels(str, Enum):
    """The numbers that a SqueezeNet was trained on; the weights do not tell.

    CAFFE: B, G, R from 0 to 255 minus (104, 117, 123), as the authors' own weights want it.
    TORCHVISION: R, G, B from 0 to 1, normalised by mean and deviation of ImageNet, as torchvision's weights want it.
    """

    CAFFE = "caffe"
    TORCHVISION = "torchvision"


_TORCHVISION_FILES = {
    PerceptualFeatures.SQUEEZENET: "squeezenet1_0-b66bff10.pth",
    PerceptualFeatures.VGG19: "vgg19-dcbb9e9d.pth",
}
_TORCHVISION_SQUEEZENETS = ("b66bff10", "a815701f")  # beginnings of SHA-256, of the present file and its predecessor


class VGG19Features(nn.Module):
    """VGG19 (Simonyan & Zisserman 2015, configuration E) up to relu5_1, with torchvision's key names.

    ``forward``: picture [N,3,H,W], RGB in [-1,1], H and W >= 16 -> features after relu1_1, 2_1, 3_1, 4_1, 5_1 with
    64, 128, 256, 512, 512 channels at 1, 1/2, 1/4, 1/8, 1/16 of the size. As in the published LGGAN (and pix2pixHD,
    SPADE) the picture enters without the ImageNet normalisation that the weights were trained with.
    """

    minimum_side = 16

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for width in (64, 64, 0, 128, 128, 0, 256, 256, 256, 256, 0, 512, 512, 512, 512, 0, 512):
            if width:
                layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
                channels = width
            else:
                layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.taps = (1, 6, 11, 20, 29)

    def forward(self, picture: Tensor) -> list[Tensor]:
        return _tapped(self.features, picture, self.taps)


class Fire(nn.Module):
    """SqueezeNet's block: 1x1 squeeze, then 1x1 and 3x3 expansions side by side. [N,C,H,W] -> [N,2*expand,H,W]."""

    def __init__(self, channels: int, squeeze: int, expand: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, squeeze, 1)
        self.expand1x1 = nn.Conv2d(squeeze, expand, 1)
        self.expand3x3 = nn.Conv2d(squeeze, expand, 3, padding=1)

    def forward(self, feature: Tensor) -> Tensor:
        squeezed = functional.relu(self.squeeze(feature))
        return functional.relu(torch.cat((self.expand1x1(squeezed), self.expand3x3(squeezed)), dim=1))


class SqueezeNetFeatures(nn.Module):
    """SqueezeNet v1.0 (Iandola et al. 2016) up to fire9, with the key names of torchvision's ``squeezenet1_0``.

    ``forward``: picture [N,3,H,W], RGB in [-1,1], H and W >= 21 -> features after conv1, fire3, fire5, fire8, fire9
    with 96, 128, 256, 512, 512 channels at 1/2, 1/4, 1/8, 1/8, 1/16 of the size. The picture is first turned into the
    numbers that the weights were trained on.
    """

    minimum_side = 21
    mean: Tensor
    deviation: Tensor

    def __init__(self, pixels: SqueezeNetPixels = SqueezeNetPixels.CAFFE) -> None:
        super().__init__()
        self.pixels = pixels
        self.features = nn.Sequential(
            nn.Conv2d(3, 96, 7, stride=2),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2, ceil_mode=True),
            Fire(96, 16, 64),  # fire2
            Fire(128, 16, 64),
            Fire(128, 32, 128),
            nn.MaxPool2d(3, stride=2, ceil_mode=True),
            Fire(256, 32, 128),  # fire5
            Fire(256, 48, 192),
            Fire(384, 48, 192),
            Fire(384, 64, 256),
            nn.MaxPool2d(3, stride=2, ceil_mode=True),
            Fire(512, 64, 256),  # fire9
        )
        self.taps = (1, 4, 7, 10, 12)
        if pixels is SqueezeNetPixels.CAFFE:
            mean, deviation = (104.0, 117.0, 123.0), (1.0, 1.0, 1.0)
        else:  # of R, G, B, on the scale of bytes
            mean, deviation = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(deviation).view(1, 3, 1, 1), persistent=False)

    def forward(self, picture: Tensor) -> list[Tensor]:
        ordered = picture.flip(1) if self.pixels is SqueezeNetPixels.CAFFE else picture
        return _tapped(self.features, ((ordered + 1.0) * 127.5 - self.mean) / self.deviation, self.taps)


class PerceptualLoss(nn.Module):
    """Weighted sum over layers of the mean absolute difference of features. Calculates in float32 under autocast.

    ``forward(fake, real)``: both [N,3,H,W], RGB in [-1,1] -> scalar; gradients reach ``fake`` only. Where several
    generated pictures are compared with the same real one, call ``features(real)`` once and then ``distance``.

    Raises:
        UsageError: pictures too small for the network's poolings.
    """

    def __init__(
        self, network: VGG19Features | SqueezeNetFeatures, weights: Sequence[float], scale: LayerScale
    ) -> None:
        super().__init__()
        self.network = network.eval().requires_grad_(False)
        self.weights = tuple(weights)
        self.scale = scale

    def forward(self, fake: Tensor, real: Tensor) -> Tensor:
        return self.distance(fake, self.features(real))

    @torch.no_grad()
    def features(self, real: Tensor) -> list[Tensor]:
        """Features of the real pictures, detached: one float32 tensor per layer."""
        return self._run(real)

    def distance(self, fake: Tensor, real_features: Sequence[Tensor]) -> Tensor:
        """The loss of ``fake`` [N,3,H,W] against the ``features`` of the real pictures."""
        total = fake.new_zeros((), dtype=torch.float32)
        for weight, ours, theirs in zip(self.weights, self._run(fake), real_features, strict=True):
            term = functional.l1_loss(ours, theirs)
            if self.scale is LayerScale.RELATIVE:
                term = term / theirs.abs().mean().clamp_min(1e-6)
            total = total + weight * term
        return total

    def _run(self, picture: Tensor) -> list[Tensor]:
        height, width = picture.shape[-2:]
        least = self.network.minimum_side
        if min(height, width) < least:
            raise UsageError(
                f"pictures of {width}x{height} are too small for the perceptual loss, which needs sides of {least} "
                "pixels; train at a larger size or without perceptual features"
            )
        with torch.autocast(picture.device.type, enabled=False):  # activations of hundreds cost precision in half
            features: list[Tensor] = self.network(picture.float())
        return features


def build_perceptual_loss(kind: PerceptualFeatures, weights_path: str | Path | None) -> PerceptualLoss | None:
    """The perceptual loss of the wanted kind with the weights of the named file, or None for ``NONE``.

    VGG19 is the published loss (LGGAN): weights 1/32, 1/16, 1/8, 1/4, 1, differences as they are. SqueezeNet is the
    small substitute (0.7 M instead of 12.9 M weights, 1/27 of the arithmetic). Its activations are in the hundreds
    and differ by an order of magnitude from layer to layer, so every layer's difference is divided by the mean of the
    real features there, and the five layers count alike, 1/5 each: at 128x96 a grey picture is at 1.0 from a street
    scene, another street at 1.4, so the factor 10 of the published loss keeps its meaning.

    A SqueezeNet file is taken for torchvision's if it is one of those that torchvision published (by their SHA-256),
    or carries its own digest in its name as torchvision's do; else for one of the authors' weights (see
    `SqueezeNetPixels`). VGG19 is always fed as published.

    Args:
        weights_path: ``.safetensors`` or ``.pth`` state dict with torchvision's keys (``vgg19`` or ``squeezenet1_0``);
            half precision is widened; the classifier may be in the file. `find_perceptual_weights` finds it.

    Raises:
        UsageError: a kind without a file.
        InputError: see `lggan.pretrained.load_pretrained`.
    """
    if kind is PerceptualFeatures.NONE:
        return None
    if weights_path is None:
        raise UsageError(
            f"the perceptual loss wants the weights of {kind.value}, which do not come with this package and are never "
            f"downloaded: name a .safetensors or .pth file with --perceptual-weights FILE, or put torchvision's "
            f"{_TORCHVISION_FILES[kind]} into {torch.hub.get_dir()}/checkpoints, where it is found; or leave the term "
            "out with --perceptual none"
        )
    if kind is PerceptualFeatures.VGG19:
        beyond = ("classifier.", "features.30.", "features.32.", "features.34.")
        vgg = load_pretrained(VGG19Features(), weights_path, unused=beyond)
        return PerceptualLoss(vgg, (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1.0), LayerScale.ABSOLUTE)
    state = read_state_dict(weights_path)  # refuses an absent file
    network = SqueezeNetFeatures(_pixels_of(Path(weights_path)))
    squeezenet = fill_pretrained(network, state, weights_path, unused=("classifier.",))
    return PerceptualLoss(squeezenet, (0.2,) * 5, LayerScale.RELATIVE)


def _pixels_of(weights: Path) -> SqueezeNetPixels:
    """Torchvision's weights tell themselves by their digest."""
    digest = sha256_of(weights)
    named = re.fullmatch(r"squeezenet1_0-([0-9a-f]{8,64})\.pth", weights.name)
    known = digest.startswith(_TORCHVISION_SQUEEZENETS) or (named is not None and digest.startswith(named[1]))
    return SqueezeNetPixels.TORCHVISION if known else SqueezeNetPixels.CAFFE


def _tapped(layers: nn.Sequential, feature: Tensor, taps: Sequence[int]) -> list[Tensor]:
    """The outputs of the layers at the positions ``taps``."""
    kept = []
    for position, layer in enumerate(layers):
        feature = layer(feature)
        if position in taps:
            kept.append(feature)
    return kept
