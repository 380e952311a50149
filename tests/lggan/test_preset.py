"""Presets: those that come with the package, and what the user's own TOML file can get wrong."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from lggan.data.pairs import Layout
from lggan.losses.perceptual import PerceptualFeatures
from lggan.preset import Fakes, Preset, TrainConfig, load_preset, preset_names, resized
from runtime.contract.card import ModelCard
from runtime.contract.errors import InputError, LgganError, UsageError

MINIMAL = """
name = "mine"
classes = [{ name = "a", color = [0, 0, 0] }, { name = "b", color = [255, 0, 9] }]
[generator]
height = 32
width = 64
"""


def test_the_presets_of_the_package() -> None:
    assert preset_names() == ["ade20k", "camvid", "cityscapes", "tiny"]


@pytest.mark.parametrize("name", ["ade20k", "camvid", "cityscapes", "tiny"])
def test_a_preset_is_whole(name: str) -> None:
    preset = load_preset(name)
    assert preset.name == name
    assert preset.generator.classes == len(preset.classes)
    assert all(len(info.color) == 3 and all(0 <= part <= 255 for part in info.color) for info in preset.classes)
    assert all(info.name for info in preset.classes)
    assert preset.train.load_height >= preset.generator.height
    assert preset.train.load_width >= preset.generator.width
    card = ModelCard.from_json(preset.card().to_json())
    assert card == replace(preset.card(), classes=preset.classes)
    assert card.instances is preset.generator.edges
    assert json.loads(json.dumps(preset.to_dict()))["generator"] == preset.generator.to_dict()


def test_published_settings() -> None:
    city, ade = load_preset("cityscapes"), load_preset("ade20k")
    for preset, batch in ((city, 8), (ade, 24)):
        train = preset.train
        assert (train.lr_generator, train.lr_discriminator, train.beta1, train.beta2) == (1e-4, 4e-4, 0.0, 0.9)
        assert (train.epochs, train.decay_epochs, train.batch, train.flip) == (100, 100, batch, True)
        assert (train.perceptual, train.fakes) == (PerceptualFeatures.VGG19, Fakes.REGENERATED)
        assert preset.generator.ngf == train.discriminator_width == 64
        assert (preset.generator.spade_hidden, preset.generator.residual_blocks) == (128, 9)
    assert (len(city.classes), city.generator.heads, city.generator.edges, city.generator.stride) == (35, 35, True, 64)
    assert (city.train.load_height, city.train.load_width) == (256, 512)
    assert (len(ade.classes), ade.generator.heads, ade.generator.edges, ade.generator.stride) == (151, 52, False, 32)
    assert (ade.train.load_height, ade.train.load_width) == (286, 286)
    assert [preset.layout for preset in (city, ade)] == [Layout.CITYSCAPES, Layout.ADE20K]
    assert city.classes[26].name == "car"
    assert city.classes[7].color == (128, 64, 128)


@pytest.mark.parametrize("name", ["ade20k", "camvid", "cityscapes"])
def test_names_and_colours_are_those_of_the_data(name: str, shared_dir: Path) -> None:
    rows = [line.split("\t") for line in (shared_dir / "data" / name / "classes.tsv").read_text().splitlines()]
    assert rows[0][:2] == ["id", "name"]
    listed = {int(row[0]): tuple(int(part) for part in row[2:5]) for row in rows[1:] if row[0].isdigit()}
    classes = load_preset(name).classes
    assert len(set(range(len(classes))) - listed.keys()) <= 1  # Cityscapes' table leaves its last class out
    for index, info in enumerate(classes):
        assert info.color == listed.get(index, info.color), f"{index} {info.name}"


def load(tmp_path: Path, text: str) -> Preset:
    path = tmp_path / "mine.toml"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    return load_preset(str(path))


def test_a_file_of_the_user_fills_in_the_published_defaults(tmp_path: Path) -> None:
    preset = load(tmp_path, MINIMAL + "[train]\nbatch = 3\nlr_generator = 1\nfakes = 'reused'\n[losses]\nlocal = 2\n")
    assert preset.train == TrainConfig(batch=3, lr_generator=1.0, fakes=Fakes.REUSED)
    assert preset.losses.local == 2.0
    assert preset.losses.feature_matching == 10.0
    assert preset.void is None
    assert preset.generator.heads == 2


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "lacks the entry"),
        ("name = ", "TOML"),
        ("\udcff\udcfe", "TOML"),
        ("[" * 5000, "TOML|nest"),
        (MINIMAL.replace('name = "mine"', ""), "name"),
        (MINIMAL.replace("height = 32\n", ""), "height"),
        (MINIMAL.replace("255", "256"), "colour"),
        (MINIMAL.replace("255", "1.5"), "colour"),
        (MINIMAL.replace("[0, 0, 0]", "[0, 0]"), "colour"),
        (MINIMAL.replace("height = 32", "height = '32'"), "height|not supported"),
        ("colour = 1\n" + MINIMAL, "colour"),
        ("void = 2\n" + MINIMAL, "void"),
        ("void = 'b'\n" + MINIMAL, "void|not supported"),
        ("layout = 'zip'\n" + MINIMAL, "zip"),
        ("losses = 5\n" + MINIMAL, "losses|table"),
        ("train = [1]\n" + MINIMAL, "train|table"),
        (MINIMAL.replace("[generator]", "[[generator]]"), "generator|table"),
        (MINIMAL + "depht = 'more'\n", "depht"),
        (MINIMAL + "classes = 7\n", "classes"),
        (MINIMAL + "[train]\nbatches = 2\n", "batches"),
        (MINIMAL + "[train]\nbatch = 2.5\n", "batch"),
        (MINIMAL + "[train]\nbatch = true\n", "batch"),
        (MINIMAL + "[train]\nflip = 1\n", "flip"),
        (MINIMAL + "[train]\nfakes = 'old'\n", "old"),
        (MINIMAL + "[train]\nperceptual = 'resnet'\n", "resnet"),
        (MINIMAL + "[losses]\nlocal = 'much'\n", "local"),
        (MINIMAL + "[losses]\nlocal = nan\n", "local"),
        (MINIMAL + "[train]\nlr_generator = inf\n", "lr_generator"),
    ],
)
def test_files_that_are_no_preset(tmp_path: Path, text: str, word: str) -> None:
    with pytest.raises(InputError, match=word):
        load(tmp_path, text)


@pytest.mark.parametrize(
    "line",
    [
        "batch = 0",
        "lr_generator = -1.0",
        "ema = 1.0",
        "beta1 = -0.1",
        "epochs = -1",
        "epochs = 0\ndecay_epochs = 0",
        "seed = -1",
        "discriminator_width = 0",
    ],
)
def test_training_settings_without_sense(tmp_path: Path, line: str) -> None:
    with pytest.raises(LgganError, match=line.split()[0]):
        load(tmp_path, f"{MINIMAL}[train]\n{line}\n")


def test_unknown_names_list_the_known_ones(tmp_path: Path) -> None:
    for name in ("citiscapes", str(tmp_path / "absent.toml")):
        with pytest.raises(UsageError, match="ade20k, camvid, cityscapes, tiny"):
            load_preset(name)


def test_another_size_keeps_the_margin_of_the_crop() -> None:
    preset = resized(load_preset("camvid"), 192, 256)
    assert (preset.generator.height, preset.generator.width) == (192, 256)
    assert (preset.train.load_height, preset.train.load_width) == (208, 276)
    with pytest.raises(UsageError, match="multiple of 32"):
        resized(load_preset("camvid"), 100, 256)
