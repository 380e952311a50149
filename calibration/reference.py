"""The FP32 graph's pictures, and how close those of a typed graph are to them."""

from __future__ import annotations

import numpy as np
from onnx import ModelProto

from calibration.maps import CalibrationMaps
from calibration.quality import Quality, picture_quality
from calibration.sessions import open_session, run_session
from runtime.contract.progress import Progress


class ReferencePictures:
    """What the FP32 graph makes of the label maps, kept for many comparisons.

    Attributes:
        output: name of the graph's picture.
    """

    def __init__(self, model: ModelProto, output: str, maps: CalibrationMaps, progress: Progress) -> None:
        """Run the FP32 graph over all maps.

        Raises:
            BackendError: ONNX Runtime cannot load or run it.
        """
        self.output = output
        self._maps = maps
        self._pictures: list[np.ndarray] = []
        session = open_session(model, "the FP32 graph")
        with progress.task("pictures of the FP32 graph", len(maps)) as task:
            for name, feed in zip(maps.names, maps.feeds(), strict=True):
                self._pictures.append(run_session(session, [output], feed)[0])
                task.advance(1, name)

    def compare(self, typed: ModelProto, progress: Progress) -> Quality:
        """Run a typed graph, in a form that ONNX Runtime computes as it is written, over the same maps.

        Raises:
            BackendError: ONNX Runtime cannot load or run it.
        """
        session = open_session(typed, "the typed graph")
        found = []
        with progress.task("compare with FP32", len(self._maps)) as task:
            for picture, feed in zip(self._pictures, self._maps.feeds(), strict=True):
                found.append(picture_quality(picture, run_session(session, [self.output], feed)[0]))
                task.advance(1, f"{found[-1].psnr_db:.1f} dB")
        return Quality.of(found)
