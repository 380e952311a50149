"""ESPNet, the segmenter that judges generated street scenes (Mehta et al. 2018, arXiv 1803.06815, with decoder)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from lggan.evaluation.network_file import ClassSpec
from lggan.pretrained import fill_pretrained, read_state_dict
from runtime.contract.errors import InputError
from runtime.contract.files import sha256_of

_EPS = 1e-3  # of every batch norm


@dataclass(frozen=True)
class JudgeClasses:
    """What a trained judge was taught: class names by output index (void is the output behind them) and the
    per-channel mean and standard deviation, in bytes and in the order B, G, R, of its training photos."""

    data: str
    names: tuple[str, ...]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


CAMVID = JudgeClasses(
    "camvid",
    ("sky", "building", "pole", "road", "pavement", "tree", "sign_symbol", "fence", "car", "pedestrian", "bicyclist"),
    mean=(110.33134258, 108.40914603, 105.03352311),
    std=(72.12519708, 72.68854342, 69.90261427),
)
CITYSCAPES = JudgeClasses(
    "cityscapes",
    (
        "road",
        "sidewalk",
        "building",
        "wall",
        "fence",
        "pole",
        "traffic light",
        "traffic sign",
        "vegetation",
        "terrain",
        "sky",
        "person",
        "rider",
        "car",
        "truck",
        "bus",
        "train",
        "motorcycle",
        "bicycle",
    ),
    mean=(72.3923111, 82.90893555, 73.15840149),
    std=(45.3192215, 46.15289307, 44.91483307),
)


class ESPNet(nn.Module):
    """The network of the paper's section 3 with its light decoder, under the key names of the released files.

    ``forward``: normalised B, G, R picture [N,3,H,W], H and W multiples of 8 -> scores [N,K+1,H,W], void last.
    Use `predict` for pictures as they come. ``sha256`` is that of the file that `load_espnet` read.

    Args:
        taught: the K classes it knows and the normalisation of its input.
        p, q: ESP blocks at 1/4 and at 1/8 of the size (the paper's alpha_2, alpha_3).
        joined: channels of the half-size features that enter the last fusion: 16 (convolution alone) in the
            Cityscapes files, 19 (with the reduced picture) in the CamVid file.
    """

    def __init__(self, taught: JudgeClasses, p: int, q: int, joined: int) -> None:
        super().__init__()
        self.taught = taught
        self.sha256 = ""
        self.path: Path | None = None
        outputs = len(taught.names) + 1
        self.joined = joined
        self.encoder = _Encoder(outputs, p, q)
        self.level3_C = _Conv(128 + 3, outputs, 1)
        self.br = nn.BatchNorm2d(outputs, eps=_EPS)
        self.up_l3 = nn.Sequential(_doubling(outputs))
        self.combine_l2_l3 = nn.Sequential(_NormAct(2 * outputs), _EspBlock(2 * outputs, outputs))
        self.up_l2 = nn.Sequential(_doubling(outputs), _NormAct(outputs))
        self.conv = _ConvNormAct(joined + outputs, outputs, 3)
        self.classifier = _doubling(outputs)

    def forward(self, picture: Tensor) -> Tensor:
        half, reduced, quarter, eighth = self.encoder(picture)  # 1/2: 16 and 19, 1/4: 131, 1/8: outputs channels
        deep = self.up_l3(self.br(eighth))  # [N,K+1,H/4,W/4]
        deep = self.up_l2(self.combine_l2_l3(torch.cat((self.level3_C(quarter), deep), dim=1)))  # [N,K+1,H/2,W/2]
        fine = half if self.joined == half.shape[1] else reduced
        return cast(Tensor, self.classifier(self.conv(torch.cat((deep, fine), dim=1))))  # [N,K+1,H,W]

    @property
    def names(self) -> tuple[str, ...]:
        """The K classes, by index in what `predict` gives."""
        return self.taught.names

    @property
    def classes(self) -> ClassSpec:
        """The same, as every segmenter tells them."""
        return ClassSpec(names=self.taught.names)

    @property
    def input_size(self) -> None:
        """None: it looks at pictures as they are."""
        return None

    @property
    def backend(self) -> str:
        """What it runs on."""
        return f"pytorch-{self.br.weight.device.type}"

    @torch.no_grad()
    def predict(self, pictures: np.ndarray) -> np.ndarray:
        """Segment R, G, B pictures uint8 [N,H,W,3] -> index of the likeliest class of every pixel, uint8 [N,H,W].

        Void is no possible answer: void pixels of the truth do not count, so calling a pixel void could only lose.
        Sides that are no multiples of 8 are continued with their last row and column, and cut off again.
        """
        height, width = pictures.shape[1:3]
        device = self.br.weight.device
        mean, std = (torch.tensor(v, device=device).view(1, 3, 1, 1) for v in (self.taught.mean, self.taught.std))
        bgr = torch.from_numpy(np.ascontiguousarray(pictures[..., ::-1])).to(device).permute(0, 3, 1, 2).float()
        bgr = (bgr - mean) / std / 255  # the released weights were trained with this second division
        bgr = functional.pad(bgr, (0, -width % 8, 0, -height % 8), mode="replicate")
        scores = self(bgr)[:, : len(self.names), :height, :width]
        return cast(np.ndarray, scores.argmax(dim=1).to(torch.uint8).cpu().numpy())


def load_espnet(path: str | Path) -> ESPNet:
    """Read a released state dict (``espnet_p_2_q_8.pth`` for Cityscapes, ``espnet_p_2_q_8_camvid.pth``, ...).

    Classes, p, q and the last fusion are read off the shapes. Returns the frozen network in eval mode on the CPU.

    Raises:
        InputError: unreadable file, no decoder ESPNet, or trained for other classes than CamVid's or Cityscapes'.
    """
    state = read_state_dict(path)
    classifier, fusion = state.get("classifier.weight"), state.get("conv.conv.weight")
    if classifier is None or fusion is None or classifier.ndim != 4 or fusion.ndim != 4:
        raise InputError(f"{path} is not an ESPNet with decoder; use one of its released pretrained/decoder files")
    outputs = classifier.shape[0]
    by_outputs = {len(taught.names) + 1: taught for taught in (CAMVID, CITYSCAPES)}
    if outputs not in by_outputs:
        raise InputError(f"{path} has {outputs} outputs; known are 12 (CamVid with void) and 20 (Cityscapes with void)")
    joined = fusion.shape[1] - outputs
    if joined not in (16, 19):
        raise InputError(f"{path} joins {joined} channels in its last fusion, not 16 or 19; it is no known ESPNet")
    p, q = (len({key.split(".")[2] for key in state if key.startswith(f"encoder.level{i}.")}) for i in (2, 3))
    network = fill_pretrained(ESPNet(by_outputs[outputs], p, q, joined), state, path)
    network.sha256 = sha256_of(path)
    network.path = Path(path)
    return network


class _Encoder(nn.Module):
    """ESPNet-C: three reductions; the reduced picture is joined at 1/2 and 1/4 (input reinforcement)."""

    def __init__(self, outputs: int, p: int, q: int) -> None:
        super().__init__()
        self.level1 = _ConvNormAct(3, 16, 3, stride=2)
        self.b1 = _NormAct(16 + 3)
        self.level2_0 = _EspReduction(16 + 3, 64)
        self.level2 = nn.ModuleList(_EspBlock(64, 64) for _ in range(p))
        self.b2 = _NormAct(64 + 64 + 3)
        self.level3_0 = _EspReduction(64 + 64 + 3, 128)
        self.level3 = nn.ModuleList(_EspBlock(128, 128) for _ in range(q))
        self.b3 = _NormAct(128 + 128)
        self.classifier = _Conv(128 + 128, outputs, 1)

    def forward(self, picture: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        small = functional.avg_pool2d(picture, 3, stride=2, padding=1)
        smaller = functional.avg_pool2d(small, 3, stride=2, padding=1)
        half = self.level1(picture)  # [N,16,H/2,W/2]
        reduced = self.b1(torch.cat((half, small), dim=1))
        entry = self.level2_0(reduced)  # [N,64,H/4,W/4]
        feature = entry
        for block in self.level2:
            feature = block(feature)
        quarter = self.b2(torch.cat((feature, entry, smaller), dim=1))
        entry = self.level3_0(quarter)  # [N,128,H/8,W/8]
        feature = entry
        for block in self.level3:
            feature = block(feature)
        eighth = self.classifier(self.b3(torch.cat((entry, feature), dim=1)))
        return half, reduced, quarter, eighth


class _Pyramid(nn.Module):
    """Reduce, split, transform, merge: the efficient spatial pyramid of the paper's section 3.1.

    Five 3x3 convolutions of dilation 1, 2, 4, 8, 16 look at the reduced map; from the second on their results are
    summed up one after the other before all are concatenated (hierarchical feature fusion against gridding).
    """

    def __init__(self, channels: int, width: int, reduce: _Conv) -> None:
        super().__init__()
        part = width // 5
        self.c1 = reduce
        self.d1 = _Conv(part, width - 4 * part, 3)
        self.d2 = _Conv(part, part, 3, dilation=2)
        self.d4 = _Conv(part, part, 3, dilation=4)
        self.d8 = _Conv(part, part, 3, dilation=8)
        self.d16 = _Conv(part, part, 3, dilation=16)

    def merge(self, feature: Tensor) -> Tensor:
        """[N,channels,H,W] -> [N,width,H',W'] before normalisation."""
        low = self.c1(feature)
        parts = [self.d1(low), self.d2(low)]
        for dilated in (self.d4, self.d8, self.d16):
            parts.append(parts[-1] + dilated(low))
        return torch.cat(parts, dim=1)


class _EspBlock(_Pyramid):
    """ESP module; with a residual where the widths are equal. [N,channels,H,W] -> [N,width,H,W]."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__(channels, width, _Conv(channels, width // 5, 1))
        self.bn = _NormAct(width)
        self.residual = channels == width

    def forward(self, feature: Tensor) -> Tensor:
        merged = self.merge(feature)
        return cast(Tensor, self.bn(feature + merged if self.residual else merged))


class _EspReduction(_Pyramid):
    """ESP module whose reduction strides. [N,channels,H,W] -> [N,width,H/2,W/2]."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__(channels, width, _Conv(channels, width // 5, 3, stride=2))
        self.bn = nn.BatchNorm2d(width, eps=_EPS)
        self.act = nn.PReLU(width)

    def forward(self, feature: Tensor) -> Tensor:
        return cast(Tensor, self.act(self.bn(self.merge(feature))))


class _Conv(nn.Module):
    """Convolution without bias that keeps the size (divided by the stride)."""

    def __init__(self, channels: int, width: int, kernel: int, stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        padding = dilation * (kernel // 2)
        self.conv = nn.Conv2d(channels, width, kernel, stride, padding, dilation=dilation, bias=False)

    def forward(self, feature: Tensor) -> Tensor:
        return cast(Tensor, self.conv(feature))


class _NormAct(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(channels, eps=_EPS)
        self.act = nn.PReLU(channels)

    def forward(self, feature: Tensor) -> Tensor:
        return cast(Tensor, self.act(self.bn(feature)))


class _ConvNormAct(_NormAct):
    def __init__(self, channels: int, width: int, kernel: int, stride: int = 1) -> None:
        super().__init__(width)
        self.conv = nn.Conv2d(channels, width, kernel, stride, kernel // 2, bias=False)

    def forward(self, feature: Tensor) -> Tensor:
        return super().forward(self.conv(feature))


def _doubling(channels: int) -> nn.ConvTranspose2d:
    """Twice the size: the 2x2 cells do not overlap."""
    return nn.ConvTranspose2d(channels, channels, 2, stride=2, bias=False)
