"""Segmenters that can judge, and how their classes correspond to the model's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from lggan.evaluation.network_file import ClassSpec, OutputKind
from lggan.evaluation.onnx_network import OnnxNetwork, open_network
from lggan.evaluation.preprocessing import bilinear
from lggan.evaluation.segmentation import IGNORED
from runtime.contract.card import ClassInfo
from runtime.contract.errors import BackendError, InputError


class Segmenter(Protocol):
    """What can judge; `lggan.evaluation.espnet.ESPNet` and `OnnxSegmenter` do."""

    @property
    def path(self) -> Path | None:
        """Its file."""

    @property
    def sha256(self) -> str:
        """Of its file."""

    @property
    def backend(self) -> str:
        """What it runs on, e.g. ``onnxruntime-cpu``."""

    @property
    def classes(self) -> ClassSpec:
        """What the values of ``predict`` mean."""

    @property
    def input_size(self) -> tuple[int, int] | None:
        """(height, width) it brings pictures to by itself; None if it looks at them as they are."""

    def predict(self, pictures: np.ndarray) -> np.ndarray:
        """uint8 [N,h,w,3] R, G, B -> output index or `IGNORED`, uint8 [N,H,W]: H, W of ``input_size`` or h, w."""


@dataclass(frozen=True)
class ClassTable:
    """The correspondence of a model's ids with a segmenter's outputs.

    Attributes:
        names: of the segmenter's outputs.
        judged: uint8 [256], output index by id of the model, `IGNORED` where it has none.
        unjudged: names of the model's classes without a counterpart; their pixels do not count.
    """

    names: tuple[str, ...]
    judged: np.ndarray
    unjudged: tuple[str, ...]


class OnnxSegmenter:
    """A segmenter from an ONNX file; open it with `open_segmenter`."""

    def __init__(self, network: OnnxNetwork, classes: ClassSpec) -> None:
        self._network = network
        self.classes = classes
        self.sha256 = network.sha256
        self.backend = network.backend
        self.path: Path | None = network.path

    @property
    def input_size(self) -> tuple[int, int] | None:
        return self._network.file.input.size

    def predict(self, pictures: np.ndarray) -> np.ndarray:
        """See `Segmenter`. Scores coarser than the input are interpolated bilinearly before the likeliest is taken.

        Raises:
            BackendError: the network failed, or its answer has another form than its TOML file says.
        """
        size = self.input_size or pictures.shape[1:3]
        answer = self._network.run(list(pictures))
        padded = tuple(side + -side % self._network.file.input.multiple for side in size)
        ids = self._ids(answer, padded)
        return ids[:, : size[0], : size[1]]

    def _ids(self, answer: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
        """[N, K, h, w] scores, or ids [N, 1, h, w] or [N, h, w] -> uint8 [N, H, W]."""
        outputs = len(self.classes.names or self.classes.ids)
        if self._network.file.output.kind is OutputKind.IDS:
            return self._checked(answer, outputs, size)
        if answer.ndim != 4 or answer.shape[1] != outputs:
            raise BackendError(f"{self.path} answered {list(answer.shape)}; [N, {outputs}, h, w] follows from its TOML")
        best = np.empty((len(answer), *size), dtype=np.uint8)
        for index, scores in enumerate(answer):
            planes = bilinear(scores.transpose(1, 2, 0), size[0], size[1])  # [H, W, K]
            planes[..., list(self.classes.ignored)] = -np.inf
            best[index] = planes.argmax(axis=-1)
        return best

    def _checked(self, answer: np.ndarray, outputs: int, size: tuple[int, ...]) -> np.ndarray:
        ids = answer[:, 0] if answer.ndim == 4 and answer.shape[1] == 1 else answer
        if ids.shape[1:] != size or ids.dtype.kind not in "iu":
            raise BackendError(
                f"{self.path} answered {answer.dtype} {list(answer.shape)}; ids [N, {size[0]}, {size[1]}] are expected"
            )
        ignored = np.isin(ids, self.classes.ignored)
        if ((ids < 0) | (ids >= outputs))[~ignored].any():
            raise BackendError(f"{self.path} answered ids {ids.min()} to {ids.max()}; its TOML names {outputs} outputs")
        return np.where(ignored, IGNORED, ids).astype(np.uint8)


def open_segmenter(path: str | Path, threads: int | None = None, device: str = "auto") -> OnnxSegmenter:
    """Load a segmenter from an ONNX file with its TOML file.

    Raises:
        InputError, MissingError: see `open_network`; no table [classes], or pictures would be cropped.
    """
    kinds = (OutputKind.LOGITS, OutputKind.PROBABILITIES, OutputKind.IDS)
    network = open_network(path, kinds, threads, device)
    if network.file.classes is None:
        raise InputError(f"{Path(path).with_suffix('.toml')} has no table [classes]; it must say what the outputs mean")
    if network.file.input.shorter_side is not None:
        raise InputError(f"{Path(path).with_suffix('.toml')}: input.shorter_side would cut pixels off; leave it out")
    return OnnxSegmenter(network, network.file.classes)


def match_classes(classes: Sequence[ClassInfo], spec: ClassSpec) -> ClassTable:
    """The correspondence, by name (ignoring case, ``_`` and ``-``) or by the ids that the segmenter's file gives.

    Raises:
        InputError: nothing corresponds, or an id that the model does not have.
    """
    judged = np.full(256, IGNORED, dtype=np.uint8)
    if spec.ids:
        beyond = [i for i in spec.ids if i >= len(classes)]
        if beyond:
            raise InputError(f"the judge's classes.ids name class {beyond[0]}; the model knows 0 to {len(classes) - 1}")
        names = tuple(classes[i].name if i >= 0 else f"output {at}" for at, i in enumerate(spec.ids))
        pairs = [(i, at) for at, i in enumerate(spec.ids) if i >= 0]
    else:
        names = spec.names
        positions = {_plain(name): at for at, name in enumerate(names)}
        pairs = [(i, positions[_plain(c.name)]) for i, c in enumerate(classes) if _plain(c.name) in positions]
    for own, output in pairs:
        if output not in spec.ignored:
            judged[own] = output
    unjudged = tuple(info.name for own, info in enumerate(classes) if judged[own] == IGNORED)
    if len(unjudged) == len(classes):
        raise InputError(
            f"the judge knows {', '.join(names)}, none of the model's {len(classes)} classes; "
            "use a judge trained on the same data"
        )
    return ClassTable(names, judged, unjudged)


def _plain(name: str) -> str:
    return name.lower().replace("_", " ").replace("-", " ").strip()
