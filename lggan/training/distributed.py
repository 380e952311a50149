"""One or many processes: what ``torchrun`` sets in the environment, read once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from runtime.contract.errors import MissingError, UsageError


@dataclass(frozen=True)
class Process:
    """This process among its peers; ``device`` is where its tensors live."""

    rank: int
    ranks: int
    device: torch.device

    @property
    def leads(self) -> bool:
        """Whether this process writes files and shows progress."""
        return self.rank == 0

    def wrap(self, network: nn.Module) -> nn.Module:
        """The network with gradients averaged over all processes, where there are several."""
        if self.ranks == 1:
            return network
        if self.device.type == "cuda":
            return DistributedDataParallel(network, device_ids=[self.device.index])
        return DistributedDataParallel(network)

    def synchronise_norms(self, network: nn.Module) -> nn.Module:
        """Batch statistics over all processes. PyTorch has this for CUDA only; on CPUs each process uses its own."""
        if self.ranks > 1 and self.device.type == "cuda":
            return nn.SyncBatchNorm.convert_sync_batchnorm(network)
        return network

    def barrier(self) -> None:
        """Wait for the others."""
        if self.ranks > 1:
            distributed.barrier()


@contextmanager
def process_group(device: str) -> Iterator[Process]:
    """Join the processes that ``torchrun`` started, or be alone.

    Args:
        device: ``cpu``, ``cuda`` or ``auto`` (CUDA if there is a GPU).

    Raises:
        MissingError: CUDA asked for but absent.
        UsageError: an unknown device.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise UsageError(f"device {device!r} is unknown; choose auto, cpu or cuda")
    if device == "cuda" and not torch.cuda.is_available():
        raise MissingError("CUDA was asked for, but PyTorch sees no GPU; use --device cpu or run 'lggan doctor'")
    kind = "cuda" if device != "cpu" and torch.cuda.is_available() else "cpu"
    ranks = int(os.environ.get("WORLD_SIZE", "1"))
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    place = torch.device(kind, local_rank) if kind == "cuda" else torch.device("cpu")
    if ranks == 1:
        yield Process(0, 1, place)
        return
    distributed.init_process_group("nccl" if kind == "cuda" else "gloo")
    try:
        yield Process(distributed.get_rank(), ranks, place)
    finally:
        distributed.destroy_process_group()
