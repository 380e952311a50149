"""How the steps are computed beside their precision: it decides time and memory, not what is learned."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import torch
from torch import Tensor, nn

from runtime.contract.errors import UsageError


class MemoryLayout(str, Enum):
    """Order of a feature map's numbers in memory.

    CHANNELS_FIRST: plane after plane, PyTorch's usual order.
    CHANNELS_LAST: all channels of a pixel together, which the half-precision convolutions of GPUs want.
    """

    CHANNELS_FIRST = "channels_first"
    CHANNELS_LAST = "channels_last"

    def networks(self, *networks: nn.Module) -> None:
        """Bring the convolutions' weights into this order, in place."""
        if self is MemoryLayout.CHANNELS_LAST:
            for network in networks:
                for parameter in network.parameters():
                    if parameter.dim() == 4:
                        parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)

    def tensor(self, values: Tensor) -> Tensor:
        """The same values [N, C, H, W] in this order."""
        if self is MemoryLayout.CHANNELS_FIRST:
            return values
        return values.contiguous(memory_format=torch.channels_last)


class Execution(str, Enum):
    """EAGER: operation by operation. COMPILED: the networks are compiled by `torch.compile`, losses are not."""

    EAGER = "eager"
    COMPILED = "compiled"


@dataclass(frozen=True)
class Computing:
    """How the steps are computed.

    Attributes:
        accumulate: micro-batches that a process's share of the batch is worked through in. Losses and gradients are
            those of the whole share but for batch normalisation, whose statistics are those of one micro-batch over
            all processes.
        layout: see `MemoryLayout`.
        execution: see `Execution`.
    """

    accumulate: int = 1
    layout: MemoryLayout = MemoryLayout.CHANNELS_FIRST
    execution: Execution = Execution.EAGER

    def __post_init__(self) -> None:
        if self.accumulate < 1:
            raise UsageError(f"accumulate is {self.accumulate}; it must be positive")
