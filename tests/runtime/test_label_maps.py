"""Reading sets of label maps for comparing and profiling."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from runtime.contract.errors import InputError, UsageError
from runtime.input_files import InputOptions
from runtime.label_maps import load_label_maps
from tests.runtime.toy_models import CARD, INSTANCE_CARD


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for index in range(12):
        Image.fromarray(np.full((8, 16), index % 3, np.uint8)).save(tmp_path / f"{index}_labelIds.png")
    return tmp_path


def test_all_and_a_spread_of_them(folder: Path) -> None:
    maps = load_label_maps([folder], CARD)
    assert [entry.name for entry in maps] == [f"{index}_labelIds.png" for index in range(12)]
    assert maps[4].label.tolist() == np.full((8, 16), 1).tolist()
    some = load_label_maps([folder], CARD, limit=3)
    assert [entry.name for entry in some] == ["0_labelIds.png", "4_labelIds.png", "8_labelIds.png"]
    with pytest.raises(UsageError, match="the limit is 0"):
        load_label_maps([folder], CARD, limit=0)


def test_sizes_are_checked_or_fitted(folder: Path) -> None:
    Image.fromarray(np.zeros((9, 16), np.uint8)).save(folder / "odd.png")
    with pytest.raises(InputError, match=r"odd\.png is 9x16"):
        load_label_maps([folder], CARD)
    assert load_label_maps([folder / "odd.png"], CARD, InputOptions(fit=(8, 8)))[0].label.shape == (8, 8)


def test_instance_maps(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    instances = tmp_path_factory.mktemp("instances")
    with pytest.raises(UsageError, match="needs instance maps"):
        load_label_maps([folder], INSTANCE_CARD)
    with pytest.raises(UsageError, match="takes no instance maps"):
        load_label_maps([folder], CARD, InputOptions(instances=instances))
    with pytest.raises(InputError, match=r"holds no instance map 0_instanceIds\.png"):
        load_label_maps([folder], INSTANCE_CARD, InputOptions(instances=instances))
    np.save(instances / "0_instanceIds.npy", np.arange(128, dtype=np.int32).reshape(8, 16))
    options = InputOptions(fit=(4, 8), instances=instances)
    entry = load_label_maps([folder / "0_labelIds.png"], INSTANCE_CARD, options)[0]
    assert entry.instance is not None
    assert entry.instance.shape == entry.label.shape == (4, 8)
    np.save(instances / "1_instanceIds.npy", np.zeros((4, 4), np.int32))
    with pytest.raises(InputError, match=r"1_instanceIds\.npy is 4x4, its label map .*8x16"):
        load_label_maps([folder / "1_labelIds.png"], INSTANCE_CARD, InputOptions(instances=instances))
