"""One hierarchy of errors; every class carries the exit code that the command line returns for it.

A message is one sentence or two: what happened, with which value, and the command or change that fixes it.
"""


class LgganError(Exception):
    """Base of every error that this project raises on purpose."""

    exit_code = 5


class GateError(LgganError):
    """A quality or latency gate answered no: the work was done, its result is not good enough."""

    exit_code = 1


class UsageError(LgganError):
    """The request itself makes no sense: contradicting options, an unknown preset, a missing argument."""

    exit_code = 2


class InputError(LgganError):
    """Bad or untrusted input: a broken picture, an id out of range, a foreign or damaged model file."""

    exit_code = 3


class MissingError(LgganError):
    """Something of the surroundings is missing: a package, a driver, disk space, a permission."""

    exit_code = 4


class BackendError(LgganError):
    """A backend (ONNX Runtime, TensorRT, PyTorch) took the work and failed at it."""

    exit_code = 5
