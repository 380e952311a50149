"""What a run writes down as it goes: losses as JSON lines and for TensorBoard."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from torch.utils.tensorboard import SummaryWriter

from runtime.contract.errors import InputError
from runtime.contract.files import explain_os_error, write_text

FILE = "metrics.jsonl"


class Journal:
    """Appends one line per logged step to ``metrics.jsonl`` and mirrors it to ``tensorboard/``.

    On resuming, lines after the resumed step (written between the last saving and the kill) are dropped, so that each
    step stands in the file once.

    Raises:
        MissingError: the disk is full, the folder cannot be written.
    """

    def __init__(self, run: Path, resumed_step: int) -> None:
        self._path = run / FILE
        with self._explained():
            self._drop_after(resumed_step)
            self._stream = self._path.open("a", encoding="utf-8")
            self._board = SummaryWriter(str(run / "tensorboard"), purge_step=resumed_step + 1 if resumed_step else None)

    def write(self, step: int, epoch: int, seconds_per_step: float, terms: dict[str, float]) -> None:
        """Log one step (from 1); values are weighted loss terms."""
        line = {"step": step, "epoch": epoch, "seconds_per_step": round(seconds_per_step, 4), **terms}
        with self._explained():
            self._stream.write(json.dumps(line) + "\n")
            self._stream.flush()
            for name, value in terms.items():
                self._board.add_scalar(f"loss/{name}", value, step)

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._explained():
            try:
                self._stream.close()
            finally:
                self._board.close()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise explain_os_error(error, self._path) from error

    def _drop_after(self, step: int) -> None:
        if self._path.exists():
            kept = [json.dumps(line) + "\n" for line in _whole_lines(self._path) if line["step"] <= step]
            write_text(self._path, "".join(kept), force=True)


def read_journal(run: Path) -> list[dict[str, float]]:
    """The lines of a run's journal; a last line that a kill cut off, or that is being written, is left out.

    Raises:
        InputError: there is none.
    """
    path = run / FILE
    if not path.is_file():
        raise InputError(f"{path} does not exist; is {run} the folder of a training run?")
    return list(_whole_lines(path))


def _whole_lines(path: Path) -> Iterator[dict[str, float]]:
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and isinstance(entry.get("step"), int):
            yield entry
