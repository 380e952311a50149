"""One variant in a fresh process of its own, seen from the outside: memory and threads are its alone."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import Pipe
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.contract.errors import BackendError, GateError, InputError, LgganError, MissingError, UsageError
from runtime.profiler.text import printable
from runtime.profiler.variant import Variant
from runtime.profiler.worker import (
    Failure,
    LabelMap,
    MakePicture,
    Open,
    Opened,
    QueryRun,
    RunQueries,
    TellMemory,
    Tick,
)

_START_SECONDS = 60.0
_CLOSE_SECONDS = 10.0
_KILL_SECONDS = 5.0
_HURRY_SECONDS = 0.5
_BOOT = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from runtime.profiler.worker import main; main()"
_ERRORS: dict[str, type[LgganError]] = {
    error.__name__: error for error in (GateError, UsageError, InputError, MissingError, BackendError)
}


class VariantProcess:
    """A measuring process; use it as a context manager, which always ends the process.

    Args:
        variant: what it opens.
        label_maps: what its timed queries cycle through.
        timeout_seconds: longest silence before it counts as hung.

    Every method raises the error that the variant raised (its class kept, its message led by the variant's name), or
    BackendError when the process died, hangs, or raised something foreign.
    """

    def __init__(self, variant: Variant, label_maps: tuple[LabelMap, ...], timeout_seconds: float) -> None:
        self.variant = variant
        self.name = printable(variant.name)
        self._label_maps = label_maps
        self._timeout = timeout_seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._connection, self._far_end = Pipe()

    def __enter__(self) -> VariantProcess:
        try:
            self._process = self._start()
            self._far_end.close()
            self._wait(_START_SECONDS + self._timeout)
        except BaseException:
            self._end(patient=False)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end(patient=kind is None)

    def open(self) -> Opened:
        """Open the variant there."""
        try:
            opener = pickle.dumps(self.variant.opener)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise UsageError(
                f"variant '{self.name}': its opener cannot be sent to another process ({error}); "
                "use a function of a module's top level and plain arguments"
            ) from error
        return self._ask(Open(opener, self._label_maps), Opened)

    def picture(self, label_map: LabelMap) -> NDArray[np.uint8]:
        """One picture, uint8 [H, W, 3]."""
        return self._ask(MakePicture(label_map), np.ndarray)

    def run(self, request: RunQueries, on_tick: Callable[[Tick], None] | None = None) -> QueryRun:
        """Timed queries; ``on_tick`` is called about four times a second."""
        return self._ask(request, QueryRun, on_tick)

    def peak_memory(self) -> int:
        """Largest resident set of the process so far, bytes."""
        return self._ask(TellMemory(), int)

    def _start(self) -> subprocess.Popen[bytes]:
        """A fresh interpreter with this one's import path.

        Neither `multiprocessing`'s fork nor its spawn: the one inherits memory and threads, the other imports the main
        script again, and the memory of what that imports (PyTorch, say) would be counted as the variant's. The process
        has a session of its own, so that Ctrl-C in a terminal reaches this process alone, which then ends it.
        """
        far_end = self._far_end.fileno()
        try:
            return subprocess.Popen(
                [sys.executable, "-c", _BOOT, json.dumps([os.path.abspath(path) for path in sys.path]), str(far_end)],
                stdin=subprocess.DEVNULL,
                pass_fds=(far_end,),
                start_new_session=True,
            )
        except OSError as error:
            raise BackendError(f"variant '{self.name}': cannot start a process for it ({error})") from error

    def _ask(self, request: object, kind: type[Any], on_tick: Callable[[Tick], None] | None = None) -> Any:
        try:
            self._connection.send(request)
        except OSError as error:
            raise self._died() from error
        answer = self._wait(self._timeout, on_tick)
        if isinstance(answer, Failure):
            error_class = _ERRORS.get(answer.error, BackendError)
            raise error_class(f"variant '{self.name}': {printable(answer.message, 600)}")
        if not isinstance(answer, kind):
            raise BackendError(f"variant '{self.name}': answered {type(answer).__name__} instead of {kind.__name__}")
        return answer

    def _wait(self, timeout: float, on_tick: Callable[[Tick], None] | None = None) -> object:
        while True:
            try:
                if not self._connection.poll(timeout):
                    raise BackendError(
                        f"variant '{self.name}': no answer within {timeout:g} s, its process was ended; "
                        "use a smaller picture or a longer time-out"
                    )
                answer = self._connection.recv()
            except (EOFError, OSError) as error:
                raise self._died() from error
            if not isinstance(answer, Tick):
                return answer
            if on_tick is not None:
                on_tick(answer)

    def _died(self) -> BackendError:
        code = self._wait_for_end(_KILL_SECONDS)
        if code is None:
            how = "closed its pipe"
        elif code < 0:
            how = f"was killed by {_signal_name(-code)}"
            if -code == signal.SIGKILL:
                how += " (the system kills a process that way when memory runs out)"
        else:
            how = f"ended with exit code {code}"
        return BackendError(f"variant '{self.name}': its process {how}; run `lggan infer` on it alone to see why")

    def _end(self, *, patient: bool) -> None:
        """Leave no process behind: ask (when all is well), then terminate, then kill."""
        if self._process is not None:
            if patient:
                with suppress(OSError):
                    self._connection.send(None)
                    self._wait_for_end(_CLOSE_SECONDS)
            if self._process.poll() is None:
                self._process.terminate()
                self._wait_for_end(_KILL_SECONDS if patient else _HURRY_SECONDS)
            if self._process.poll() is None:
                self._process.kill()
                self._wait_for_end(_KILL_SECONDS)
        self._connection.close()
        self._far_end.close()

    def _wait_for_end(self, seconds: float) -> int | None:
        """The exit code of the process, or None if it still runs after so long."""
        if self._process is None:
            return None
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
