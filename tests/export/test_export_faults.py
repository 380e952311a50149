"""What keeps an export from its end: bad input, no place to write, a full disk, a signal. Nothing may be left."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import resource
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from safetensors.torch import load_file, save_file

import cli
import export.onnx_export
import export.onnx_file
import export.proof_graph
from export.onnx_export import ExportResult, export_onnx
from export.onnx_file import read_onnx, write_onnx
from export.options import ExportOptions
from lggan.networks.discriminator import PatchDiscriminator
from runtime.contract.card import CARD_KEY, ModelCard
from runtime.contract.errors import InputError, MissingError
from runtime.contract.external_data import data_path
from tests.export.samples import Case, Sample

LIMIT = 100_000  # bytes: above it, a model is written as a pair
PATIENCE = 60.0  # seconds; machines are slow at times


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture(autouse=True)
def _never_traced(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of this is found before PyTorch's exporter starts."""

    def never(*_: object, **__: object) -> None:
        raise AssertionError("the exporter was started")

    monkeypatch.setattr(export.proof_graph, "trace", never)


# --- foreign checkpoints ---


def edited(sample: Sample, path: Path, **changes: Any) -> Path:
    """The checkpoint with another card; ``generator`` and ``sau`` are changed entry by entry."""
    plain = dict(sample.card.generator)
    plain["sau"] = {**plain["sau"], **changes.pop("sau", {})}
    card = replace(sample.card, generator={**plain, **changes.pop("generator", {})}, **changes)
    save_file(load_file(sample.path), path, metadata={CARD_KEY: card.to_json()})
    return path


def discriminator(sample: Sample, path: Path) -> Path:
    state = {name: tensor.contiguous() for name, tensor in PatchDiscriminator(7, 8).state_dict().items()}
    save_file(state, path, metadata={CARD_KEY: sample.card.to_json()})
    return path


def pickled(sample: Sample, path: Path) -> Path:
    path.write_bytes(pickle.dumps(load_file(sample.path)))
    return path


def torch_saved(sample: Sample, path: Path) -> Path:
    path = path.with_suffix(".pth")
    torch.save(load_file(sample.path), path)
    return path


def of_another_project(sample: Sample, path: Path) -> Path:
    save_file(load_file(sample.path), path, metadata={"format": "pt"})
    return path


def onnx_file(sample: Sample, path: Path) -> Path:
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph([], "empty", [], [])), str(path))
    return path


FOREIGN: dict[str, tuple[Callable[[Sample, Path], Path], str]] = {
    "discriminator": (discriminator, "does not fit its card"),
    "pickle": (pickled, "is not a safetensors checkpoint"),
    "pth": (torch_saved, "lggan import-weights"),
    "of another project": (of_another_project, "no model card of lggan"),
    "an ONNX file": (onnx_file, "is not a safetensors checkpoint"),
    "absent": (lambda sample, path: path, "cannot be read"),
    "a folder": (lambda sample, path: path.mkdir() or path, "cannot be read"),  # type: ignore[func-returns-value]
    "other width": (lambda s, p: edited(s, p, generator={"ngf": s.card.generator["ngf"] * 2}), "has shape"),
    "fewer heads": (lambda s, p: edited(s, p, generator={"heads": 2}), "does not fit its card"),
    "other stride": (lambda s, p: edited(s, p, generator={"depth": "more"}), "multiple of 64"),
    "other task": (lambda s, p: edited(s, p, task="cross-view"), ""),
    "unknown task": (lambda s, p: edited(s, p, task="segmentation"), "segmentation"),
    "too many classes": (lambda s, p: edited(s, p, generator={"classes": 300}), "between 1 and 256"),
    "even kernel": (lambda s, p: edited(s, p, sau={"kernel": 4}), "must be odd"),
    "negative kernel": (lambda s, p: edited(s, p, sau={"kernel": -3}), "must be odd and positive"),
    "another kernel": (lambda s, p: edited(s, p, sau={"kernel": 7}), "has shape"),
    "unknown placement": (lambda s, p: edited(s, p, sau={"placement": "everywhere"}), "everywhere"),
    "unknown window": (lambda s, p: edited(s, p, sau={"window": "round"}), "round"),
    "unknown mask": (lambda s, p: edited(s, p, sau={"mask": "other_class"}), "other_class"),
    "scale": (lambda s, p: edited(s, p, sau={"scale": 3}), "scale"),
    "one kernel per node": (lambda s, p: edited(s, p, sau={"kernel": [3, 5]}), "kernel"),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_foreign_checkpoints(sample: Sample, kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make, words = FOREIGN[kind]
    path = make(sample, tmp_path / "model.safetensors")
    before = left_in(tmp_path)
    assert cli.main(["export", str(path), "-o", str(tmp_path / "new" / "model.onnx")]) == InputError.exit_code
    message = capsys.readouterr().err
    assert words in message
    assert "Traceback" not in message
    assert left_in(tmp_path) == before


@pytest.mark.parametrize(("height", "width"), [(40, 64), (32, 65), (0, 32), (16, 32)])
def test_sizes_off_the_stride(sample: Sample, tmp_path: Path, height: int, width: int) -> None:
    label = np.zeros((height, width), np.uint8)
    with pytest.raises(InputError, match="given map 1"):
        export_onnx(sample.path, tmp_path / "model.onnx", ExportOptions(maps=[label]))
    assert not left_in(tmp_path)


def test_sizes_below_the_smallest(make_sample: Callable[[Case], Sample], tmp_path: Path) -> None:
    """A cross-view model reflects more than its stride."""
    sample = make_sample(Case(cross_view=True))
    label = np.zeros((sample.card.stride, sample.card.stride), np.uint8)
    with pytest.raises(InputError, match="given map 1"):
        export_onnx(sample.path, tmp_path / "model.onnx", ExportOptions(maps=[label]))
    assert not left_in(tmp_path)


# --- places that cannot be written ---


def test_the_checkpoint_is_not_replaced(sample: Sample, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(sample.path.read_bytes())
    assert cli.main(["export", str(path), "-o", str(path), "--force"]) == 2
    assert "choose another name" in capsys.readouterr().err
    assert path.read_bytes() == sample.path.read_bytes()
    assert left_in(tmp_path) == ["model.safetensors"]


def test_places_that_cannot_be_written(sample: Sample, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("mine")
    for place, words in ((tmp_path, "is a folder"), (tmp_path / "file" / "below" / "m.onnx", "is not a folder")):
        assert cli.main(["export", str(sample.path), "-o", str(place), "--force"]) == MissingError.exit_code
        assert words in capsys.readouterr().err
    assert left_in(tmp_path) == ["file"]


def test_a_read_only_folder(sample: Sample, read_only: Path, capsys: pytest.CaptureFixture[str]) -> None:
    destination = read_only / "m.onnx"
    assert cli.main(["export", str(sample.path), "-o", str(sample.path)]) == 2  # brings in what the verb imports
    with not_as_root():
        assert cli.main(["export", str(sample.path), "-o", str(destination)]) == MissingError.exit_code
    assert f"no permission to write {destination}" in capsys.readouterr().err
    assert not left_in(read_only)


@pytest.fixture
def read_only() -> Iterator[Path]:
    """An empty folder that everybody can look into and nobody but root can write to."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o555)
        yield folder
        folder.chmod(0o755)


@contextmanager
def not_as_root() -> Iterator[None]:
    """Root may write to folders that are read-only: within the block, it is somebody who may not."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="no /proc, where nobody may write")
def test_a_file_system_that_takes_no_files(sample: Sample, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["export", str(sample.path), "-o", "/proc/self/model.onnx"]) == MissingError.exit_code
    assert "/proc/self" in capsys.readouterr().err


# --- cut short, in a process of its own ---


def in_child(work: Callable[..., int], *arguments: object, number: int | None = None) -> int:
    """Exit code of ``work`` in a forked process, which is sent signal ``number`` when it reports that it is there."""
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    child = context.Process(target=_exit_with, args=(work, ready, *arguments))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads; the child uses none of them
        child.start()
    assert child.pid is not None
    if number is not None:
        assert ready.wait(PATIENCE)
        os.kill(child.pid, number)
    child.join(PATIENCE)
    assert child.exitcode is not None
    return child.exitcode


def _exit_with(work: Callable[..., int], ready: Any, *arguments: object) -> None:
    try:
        code = work(ready, *arguments)
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)


def _sleep_at(ready: Any) -> Callable[..., None]:
    def sleep(*_: object, **__: object) -> None:
        ready.set()
        time.sleep(PATIENCE)

    return sleep


def export_until(ready: Any, place: str, checkpoint: Path, output: Path) -> int:
    """``lggan export``, asleep when it comes to ``place``."""
    setattr(export.onnx_export, place, _sleep_at(ready))
    return cli.main(["export", str(checkpoint), "-o", str(output)])


def write_until(ready: Any, moment: str, model: onnx.ModelProto, output: Path) -> int:
    """Write a model over whatever is there, asleep in the midst of it."""
    honest, moves = os.replace, iter(range(2))

    def half(path: Path, data: bytes) -> int:
        with path.open("wb") as stream:
            stream.write(data[: len(data) // 2])
        _sleep_at(ready)()
        return 0

    def move(source: Path, destination: Path) -> None:
        if next(moves) == (moment == "between the moves"):
            _sleep_at(ready)()
        honest(source, destination)

    if moment == "half written":
        Path.write_bytes = half  # type: ignore[method-assign,assignment]
    else:
        os.replace = move  # type: ignore[assignment]
    write_onnx(output, model, force=True, limit=LIMIT if output.name == "pair.onnx" else 1 << 30)
    return 0


def run_into_a_limit(ready: Any, size: int, model: onnx.ModelProto, output: Path) -> int:
    """Write where no file may have more than ``size`` bytes."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    try:
        write_onnx(output, model, limit=LIMIT if output.name == "pair.onnx" else 1 << 30)
    except MissingError as error:
        return error.exit_code
    return 0


@pytest.mark.parametrize("place", ["proof_graph", "load_generator"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_killed_while_it_works(sample: Sample, tmp_path: Path, place: str, number: int) -> None:
    code = in_child(export_until, place, sample.path, tmp_path / "new" / "model.onnx", number=number)
    assert code == (130 if number == signal.SIGINT else -number)
    assert not left_in(tmp_path)


MOMENTS = [
    ("model.onnx", "half written"),
    ("model.onnx", "before the moves"),
    ("pair.onnx", "half written"),
    ("pair.onnx", "before the moves"),
    ("pair.onnx", "between the moves"),
]


@pytest.mark.parametrize(("name", "moment"), MOMENTS)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_killed_while_it_writes(exported: ExportResult, tmp_path: Path, name: str, moment: str, number: int) -> None:
    """An older model of that name stays whole, or is refused; the next export goes through."""
    new = onnx.load_model_from_string(exported.path.read_bytes())
    old = onnx.ModelProto()
    old.CopyFrom(new)
    weight = max(old.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    weight.raw_data = bytes(len(weight.raw_data))
    path = tmp_path / name
    limit = LIMIT if name == "pair.onnx" else 1 << 30
    for before in (None, old):
        if before is not None:
            write_onnx(path, before, limit=limit)
        kept = left_in(tmp_path)
        code = in_child(write_until, moment, new, path, number=number)
        assert code == (130 if number == signal.SIGINT else -number)
        left = left_in(tmp_path)
        hidden = [entry for entry in left if entry.startswith(f".{path.stem}-")]
        assert len(hidden) == (number == signal.SIGKILL)
        if moment == "between the moves":
            assert set(left) - set(hidden) == {*kept, data_path(path).name}
            with pytest.raises(InputError, match="does not exist" if before is None else "written with it"):
                read_onnx(path)
        else:
            assert set(left) - set(hidden) == set(kept)
            if before is not None:
                assert read_onnx(path)[0] == before
        write_onnx(path, new, limit=limit, force=True)
        assert read_onnx(path)[0] == new
        for entry in tmp_path.iterdir():
            _remove(entry)


def _remove(path: Path) -> None:
    if path.is_dir():
        for inner in path.iterdir():
            inner.unlink()
        path.rmdir()
    else:
        path.unlink()


@pytest.mark.parametrize("size", [0, 1000, 200_000])
@pytest.mark.parametrize("name", ["model.onnx", "pair.onnx"])
def test_a_full_disk(exported: ExportResult, tmp_path: Path, name: str, size: int) -> None:
    model = onnx.load_model_from_string(exported.path.read_bytes())
    assert in_child(run_into_a_limit, size, model, tmp_path / name) == MissingError.exit_code
    assert not left_in(tmp_path)


def test_the_card_of_the_samples_is_sound(sample: Sample) -> None:
    """Else the tests above would see other faults than they make."""
    assert ModelCard.from_json(sample.card.to_json()) == sample.card
