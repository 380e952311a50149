"""Mixed precision in training: which type the forward passes run in."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from enum import Enum

import torch

from runtime.contract.errors import UsageError


class TrainPrecision(str, Enum):
    """FP32 everywhere, or half precision on CUDA (FP16 with loss scaling, BF16 without need of it)."""

    FP32 = "fp32"
    FP16 = "fp16"
    BF16 = "bf16"

    def autocast(self, device: torch.device) -> AbstractContextManager[object]:
        """Context of the forward passes.

        Raises:
            UsageError: half precision on a CPU.
        """
        if self is TrainPrecision.FP32:
            return nullcontext()
        if device.type != "cuda":
            raise UsageError(f"--precision {self.value} needs a CUDA GPU; train in fp32 on a CPU")
        return torch.autocast("cuda", torch.float16 if self is TrainPrecision.FP16 else torch.bfloat16)

    def scaler(self) -> torch.amp.GradScaler:
        """Scales the loss so that small FP16 gradients survive; does nothing for the other types."""
        return torch.amp.GradScaler("cuda", enabled=self is TrainPrecision.FP16)
