"""Models on their way into a backend: from memory or by their handle, checked alike."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from runtime.contract import file_range, loadable_model
from runtime.contract.card import CARD_KEY, ModelCard
from runtime.contract.errors import InputError
from runtime.contract.loadable_model import open_model
from runtime.contract.onnx_wire import check_model_file, self_contained_card
from runtime.contract.opened_file import OpenedFile
from tests.onnx_toys import CARD, save, toy_model

LINUX = pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="this system has no paths of handles")


@pytest.fixture
def by_handle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small files are treated like large ones, and their parts like those of gigabytes."""
    monkeypatch.setattr(loadable_model, "READ_WHOLE", 0)
    monkeypatch.setattr(file_range, "_WINDOW", 16)


def outside(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with the values of ``w1`` in the file ``w.bin``."""
    tensor = next(t for t in model.graph.initializer if t.name == "w1")
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="w.bin")
    return model


def test_a_small_file_is_read(tmp_path: Path) -> None:
    path = save(toy_model(), tmp_path / "toy.onnx")
    with open_model(path) as model:
        assert (model.source, model.card, model.external) == (path.read_bytes(), CARD, {})


@LINUX
@pytest.mark.usefixtures("by_handle")
def test_a_large_file_is_named(tmp_path: Path) -> None:
    path = save(toy_model(), tmp_path / "toy.onnx")
    with open_model(path) as model:
        assert isinstance(model.source, str)
        assert os.path.samefile(model.source, path)
        assert (model.card, model.external) == (CARD, {})
    assert not os.path.exists(model.source)


@pytest.mark.usefixtures("by_handle")
def test_a_large_file_is_read_where_handles_have_no_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OpenedFile, "link", lambda self: None)
    path = save(toy_model(), tmp_path / "toy.onnx")
    with open_model(path) as model:
        assert (model.source, model.card) == (path.read_bytes(), CARD)


@pytest.mark.usefixtures("by_handle")
def test_a_pair_of_files_is_read(tmp_path: Path) -> None:
    (weight,) = (t for t in toy_model().graph.initializer if t.name == "w1")
    (tmp_path / "w.bin").write_bytes(weight.raw_data)
    path = save(outside(toy_model()), tmp_path / "pair.onnx")
    with open_model(path) as model:
        assert model.source == path.read_bytes()
        assert list(model.external) == ["w1"]
        np.testing.assert_array_equal(model.external["w1"], onnx.numpy_helper.to_array(weight))


@LINUX
def test_the_check_by_parts_says_what_the_check_in_memory_says(tmp_path: Path, by_handle: None) -> None:
    """Whole, cut off, damaged, with a long card, with values elsewhere: the same card or the same message."""
    draw = np.random.default_rng(3)
    whole = toy_model().SerializeToString()
    cases = [whole, outside(toy_model()).SerializeToString()]
    cases += [whole[:length] for length in range(1, len(whole), 211)]
    for at in draw.integers(0, len(whole) * 8, 150).tolist():
        damaged = bytearray(whole)
        damaged[at // 8] ^= 1 << at % 8
        cases.append(bytes(damaged))
    long = toy_model()
    long.metadata_props.add(key="long", value="x" * 100_000)
    del long.graph.initializer[:]
    cases.append(long.SerializeToString())
    two = toy_model()
    two.metadata_props.add(key=CARD_KEY, value=CARD.to_json())
    cases.append(two.SerializeToString())

    path = tmp_path / "m.onnx"
    found = []
    for content in cases:
        path.write_bytes(content)
        with OpenedFile(path, 1 << 30) as file:
            by_parts = outcome(lambda file=file: self_contained_card(file.parts(), path))
        assert by_parts == outcome(lambda content=content: self_contained_card(memoryview(content), path))
        found.append(by_parts)
    assert found[0] == CARD
    assert found[1] is None
    assert sum(isinstance(result, str) for result in found) > 30


def outcome(check: Callable[[], ModelCard | None]) -> ModelCard | str | None:
    """The card, or the message of the error."""
    try:
        return check()
    except InputError as error:
        return str(error)


@pytest.mark.usefixtures("by_handle")
def test_a_file_that_is_written_to_meanwhile(tmp_path: Path) -> None:
    path = save(toy_model(), tmp_path / "toy.onnx")
    os.utime(path, (1, 1))
    with pytest.raises(InputError, match=r"toy\.onnx was changed while"), open_model(path):
        save(toy_model(), path)
    assert check_model_file(path)[1] == CARD


@LINUX
@pytest.mark.usefixtures("by_handle")
def test_a_file_that_is_cut_off_during_its_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(toy_model(), tmp_path / "toy.onnx")
    os.utime(path, (1, 1))
    parts = OpenedFile.parts

    def cut(self: OpenedFile) -> file_range.FileRange:
        os.truncate(path, 100)
        return parts(self)

    monkeypatch.setattr(OpenedFile, "parts", cut)
    with pytest.raises(InputError, match=r"toy\.onnx was changed while"), open_model(path):
        pytest.fail("it was taken for whole")
