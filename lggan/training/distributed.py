"""One or many processes: what ``torchrun`` sets in the environment, read once."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from lggan.training.synchronised_norm import synchronise_batch_norms
from runtime.contract.errors import BackendError, MissingError, UsageError

PEER_TIMEOUT = 600.0  # seconds

# Groups are never let go of. Else the last to do so can be the wrapper of a network, which holds Python's lock while it
# ends gloo's threads; one of them that still waits for the lock, to free a tensor, then hangs the process for ever.
_kept: list[object] = []


class FollowerStoppedError(BackendError):
    """Every process stops for the same reason, which the leading one tells; this is what the others raise."""


class LostPeerError(BackendError):
    """Another process died or does not answer.

    PyTorch's threads still wait for it: a process that ends in good order may be aborted by one of them on its way out.
    A command line should leave at once (``os._exit``) with the error's own code.
    """


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
        places = [self.device.index] if self.device.type == "cuda" else None
        return DistributedDataParallel(network, device_ids=places, gradient_as_bucket_view=True)

    def local_gradients(self, network: nn.Module) -> AbstractContextManager[object]:
        """Within it, backward passes through a wrapped network add to its gradients without averaging them."""
        return network.no_sync() if isinstance(network, DistributedDataParallel) else nullcontext()

    def synchronise_norms(self, network: nn.Module) -> nn.Module:
        """The network with batch statistics over all processes: by PyTorch's own layer on GPUs, by ours elsewhere."""
        if self.ranks > 1 and self.device.type == "cuda":
            return nn.SyncBatchNorm.convert_sync_batchnorm(network)
        if self.ranks > 1:
            synchronise_batch_norms(network)
        return network

    def total(self, values: Tensor) -> Tensor:
        """The sum of ``values`` over all processes, the same bits in each of them; any shape."""
        if self.ranks == 1:
            return values
        summed = values.detach().clone()
        distributed.all_reduce(summed)
        return summed

    def any_of(self, flag: bool) -> bool:
        """Whether the flag is up in any process."""
        return flag if self.ranks == 1 else bool(self.total(torch.tensor([float(flag)], device=self.device)).item())

    def barrier(self) -> None:
        """Wait for the others."""
        if self.ranks > 1:
            distributed.barrier()

    def stop_together(self, error: BackendError) -> BackendError:
        """What to raise where every process fails alike: the leading one the error, the others one without words."""
        return error if self.leads else FollowerStoppedError(str(error))


@contextmanager
def process_group(device: str, peer_timeout: float = PEER_TIMEOUT) -> Iterator[Process]:
    """Join the processes that ``torchrun`` started, or be alone.

    Args:
        device: ``cpu``, ``cuda`` or ``auto`` (CUDA if there is a GPU).
        peer_timeout: seconds to wait for another process before it counts as lost.

    Raises:
        MissingError: CUDA asked for but absent, or fewer GPUs than processes.
        UsageError: an unknown device.
        LostPeerError: another process died, or did not answer in time.
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
    if kind == "cuda":
        if local_rank >= torch.cuda.device_count():
            raise MissingError(
                f"process {local_rank} of this machine finds only {torch.cuda.device_count()} GPUs; "
                "start as many processes as there are GPUs (torchrun --nproc-per-node)"
            )
        torch.cuda.set_device(place)
    with _explained(ranks):
        distributed.init_process_group("nccl" if kind == "cuda" else "gloo", timeout=timedelta(seconds=peer_timeout))
        _kept.append(distributed.group.WORLD)
        yield Process(distributed.get_rank(), ranks, place)
    distributed.destroy_process_group()


@contextmanager
def _explained(ranks: int) -> Iterator[None]:
    """A lost peer in our words. The broken group is left as it is: taking it apart would wait for the lost one."""
    rank = int(os.environ.get("RANK", "0"))
    try:
        yield
    except RuntimeError as error:
        if not _tells_of_a_lost_peer(error):
            raise
        reason = re.sub(r"^\[[^]]*\]\s*", "", str(error).strip().splitlines()[0])  # without the line of its source
        reason = reason.split(". ")[0]
        raise LostPeerError(
            f"process {rank} of {ranks} stops: another one died or does not answer ({reason}); the state of the last "
            "saving is whole: find what that process said, then start all of them again with --resume"
        ) from error


def _tells_of_a_lost_peer(error: RuntimeError) -> bool:
    """Both backends report through plain RuntimeErrors, told apart by the library's name in their text."""
    text = str(error).lower()
    return isinstance(error, distributed.DistError) or "gloo" in text or "nccl" in text
