"""`torch.compile` for the networks, which says so when it cannot instead of doing without."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from lggan.training.computing import Execution
from runtime.contract.errors import BackendError


def prepare(execution: Execution, *networks: nn.Module) -> None:
    """Compile the networks in place, where that is asked for; it happens at their first call.

    Their state-dict keys stay. What depends on the data, such as the routing of the class heads, stays outside of the
    compiled parts, which PyTorch calls graph breaks.
    """
    if execution is Execution.EAGER:
        return
    import torch._dynamo.config as config

    config.suppress_errors = False  # a network that does not compile is an error, not a slow network
    config.fail_on_recompile_limit_hit = True  # so is one that is compiled over and over
    for network in networks:
        network.compile()


@contextmanager
def explained(execution: Execution) -> Iterator[None]:
    """Errors of the compiler in our words.

    Raises:
        BackendError: a network cannot be compiled here.
    """
    if execution is Execution.EAGER:
        yield
        return
    from torch._dynamo.exc import FailOnRecompileLimitHit, TorchDynamoException

    try:
        yield
    except (TorchDynamoException, FailOnRecompileLimitHit) as error:
        reason = " ".join(str(error).split("\n")[:2]).strip()  # who refused, and why
        raise BackendError(f"torch.compile failed ({reason}); leave out --compile") from error
