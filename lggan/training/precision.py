"""Mixed precision in training: which type the forward passes run in."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from enum import Enum

import torch

from runtime.contract.errors import UsageError


class TrainPrecision(str, Enum):
    """FP32 everywhere, or half precision in the forward passes: FP16 (CUDA; the loss is scaled) or BF16.

    BF16 also serves CPUs with instructions for it (AVX512-BF16, AMX): 1.6 times as fast as FP32 on one of them.
    """

    FP32 = "fp32"
    FP16 = "fp16"
    BF16 = "bf16"

    def autocast(self, device: torch.device) -> AbstractContextManager[object]:
        """Context of the forward passes.

        Raises:
            UsageError: FP16 on a CPU.
        """
        if self is TrainPrecision.FP32:
            return nullcontext()
        if self is TrainPrecision.BF16:
            return torch.autocast(device.type, torch.bfloat16)
        if device.type != "cuda":
            raise UsageError("--precision fp16 needs a CUDA GPU; on a CPU train in fp32 or bf16")
        return torch.autocast("cuda", torch.float16)

    def scaler(self) -> torch.amp.GradScaler:
        """Scales the loss so that small FP16 gradients survive; does nothing for the other types."""
        return torch.amp.GradScaler("cuda", enabled=self is TrainPrecision.FP16)
