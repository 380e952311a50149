"""What the exported graph will run on, which decides the rewrites that pay."""

from __future__ import annotations

from enum import Enum

from runtime.contract import card


class Target(str, Enum):
    """Which graph is written; both compute the same picture.

    TENSORRT: shapes follow from the input's shape alone, and everything that is convolved stands there as a
        convolution, for TensorRT to choose kernels and precisions. Runs in ONNX Runtime as well.
    CPU: for ONNX Runtime on a CPU, in FP32. What follows from the label map alone is computed once per distinct
        neighbourhood, class heads run around their class, and large convolutions take fewer multiplications. How much
        there is to do depends on the label map, so some shapes inside do, too: TensorRT does not take this graph.
    """

    TENSORRT = card.TENSORRT
    CPU = card.CPU
