"""Presets: those that come with the package, and what the user's own TOML file can get wrong."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lggan.config import GeneratorConfig, SauConfig, SauPlacement, UpsamplingDepth
from lggan.cross_view_config import CrossViewConfig
from lggan.data.layout import Folders, Layout
from lggan.data.strips import LabelReading, StripConfig
from lggan.losses.config import CrossViewLossWeights, LossWeights
from lggan.losses.perceptual import PerceptualFeatures
from lggan.networks.build import build_generator
from lggan.preset import Fakes, Preset, TrainConfig, load_preset, preset_names, resized
from lggan.task import Task
from runtime.contract.card import ModelCard
from runtime.contract.errors import InputError, LgganError, UsageError
from runtime.contract.strips import Direction

MINIMAL = """
name = "mine"
classes = [{ name = "a", color = [0, 0, 0] }, { name = "b", color = [255, 0, 9] }]
[generator]
height = 32
width = 64
"""


CROSS_VIEW = """
name = "mine"
task = "cross-view"
layout = "strips"
classes = [
    { name = "a", color = [0, 0, 0], group = 1 },
    { name = "b", color = [255, 0, 9] },
    { name = "c", color = [255, 9, 9], group = 0 },
]
[generator]
height = 32
width = 64
"""

SYNTHESIS = ("cityscapes", "ade20k", "coco_stuff", "facades", "celeba_mask", "deepfashion")
STRIPS = ("dayton_a2g", "dayton_g2a", "dayton_a2g_64", "dayton_g2a_64", "cvusa", "sva")
NAMES = sorted([*SYNTHESIS, *STRIPS, "camvid", "tiny", "tiny_cross_view"])
# Grey level of the strips by colour (specification D.2): the group is the level / 10 - 1.
LEVELS = {
    10: {"car": (0, 0, 142), "truck": (0, 0, 70), "bus": (0, 60, 100), "train": (0, 80, 100),
         "motorcycle": (0, 0, 230), "bicycle": (119, 11, 32)},
    20: {"road": (128, 64, 128), "sidewalk": (244, 35, 232), "terrain": (152, 251, 152)},
    30: {"pole": (153, 153, 153), "traffic light": (250, 170, 30), "traffic sign": (220, 220, 0),
         "person": (220, 20, 60), "rider": (255, 0, 0)},
    40: {"building": (70, 70, 70), "wall": (102, 102, 156), "fence": (190, 153, 153)},
    50: {"sky": (70, 130, 180)},
    60: {"vegetation": (107, 142, 35)},
}  # fmt: skip


def test_the_presets_of_the_package() -> None:
    assert preset_names() == NAMES


@pytest.mark.parametrize("name", NAMES)
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
    plain = json.loads(json.dumps(preset.to_dict()))
    assert plain["generator"] == preset.generator.to_dict()
    assert plain["task"] == preset.task.value == card.task
    assert preset.task is (Task.CROSS_VIEW if name in STRIPS or "cross" in name else Task.SEMANTIC_SYNTHESIS)
    assert (preset.strips is not None) is (preset.layout is Layout.STRIPS) is (preset.task is Task.CROSS_VIEW)
    assert isinstance(preset.losses, CrossViewLossWeights if preset.strips else LossWeights)


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


# name: labels, input channels S, heads, edges, doublings, batch, epochs, loading size (specification A.1, C.4, D.2)
TABLE = {
    "cityscapes": (35, 36, 35, True, 6, 8, 100, (256, 512)),
    "ade20k": (151, 151, 52, False, 5, 24, 100, (286, 286)),
    "coco_stuff": (183, 184, 183, True, 5, 32, 50, (286, 286)),
    "facades": (13, 13, 13, False, 5, 4, 50, (286, 286)),
    "celeba_mask": (19, 19, 19, False, 5, 16, 50, (286, 286)),
    "deepfashion": (20, 20, 20, False, 5, 32, 50, (286, 286)),
}


@pytest.mark.parametrize("name", SYNTHESIS)
def test_settings_of_semantic_synthesis(name: str) -> None:
    preset = load_preset(name)
    generator, train = preset.generator, preset.train
    assert isinstance(generator, GeneratorConfig)
    labels, channels, heads, edges, doublings, batch, epochs, load = TABLE[name]
    assert (len(preset.classes), generator.semantic_channels, generator.heads) == (labels, channels, heads)
    assert (generator.edges, generator.depth.doublings) == (edges, doublings)
    assert (train.batch, train.epochs, train.decay_epochs) == (batch, epochs, epochs)
    assert (train.load_height, train.load_width) == load
    assert (generator.height, generator.width) == ((256, 512) if name == "cityscapes" else (256, 256))
    assert (train.lr_generator, train.lr_discriminator, train.beta1, train.beta2) == (1e-4, 4e-4, 0.0, 0.9)
    assert (generator.ngf, generator.sau.placement, train.flip) == (64, SauPlacement.DECODERS, True)
    assert preset.losses == LossWeights(1.0, 10.0, 10.0, 1.0, 1.0, 0.0)
    assert generator.depth is (UpsamplingDepth.MORE if name == "cityscapes" else UpsamplingDepth.NORMAL)
    assert preset.void == (182 if name == "coco_stuff" else None)
    layouts = {"celeba_mask": "stems", "deepfashion": "stems"}
    assert preset.layout.value == layouts.get(name, name)
    assert preset.folders == Folders("{split}_img", "{split}_label")


@pytest.mark.parametrize("name", STRIPS)
def test_settings_of_cross_view_translation(name: str) -> None:
    """Specification C.3 and D.2."""
    preset = load_preset(name)
    generator, train, small = preset.generator, preset.train, name.endswith("64")
    assert isinstance(generator, CrossViewConfig)
    assert (len(preset.classes), generator.heads, generator.stride, preset.void) == (19, 6, 4, 255)
    assert (generator.height, generator.width) == ((64, 64) if small else (256, 256))
    assert (train.load_height, train.load_width) == ((72, 72) if small else (286, 286))
    epochs = {"cvusa": (15, 15), "sva": (10, 10)}.get(name, (50, 50) if small else (20, 15))
    assert (train.epochs, train.decay_epochs, train.batch) == (*epochs, 16 if small else 4)
    assert (train.lr_generator, train.lr_discriminator, train.beta1, train.beta2) == (2e-4, 2e-4, 0.5, 0.999)
    assert (train.flip, train.perceptual) == (False, PerceptualFeatures.VGG19)
    assert preset.losses == CrossViewLossWeights(1.0, 100.0, 100.0, 10.0, 1e-6)
    direction = Direction.G2A if "g2a" in name else Direction.A2G
    assert preset.strips == StripConfig(direction, LabelReading.NEAREST)
    found: dict[int, dict[str, tuple[int, int, int]]] = {level: {} for level in LEVELS}
    for info, group in zip(preset.classes, generator.groups, strict=True):
        found[10 * (group + 1)][info.name] = info.color
    assert found == LEVELS
    assert generator.colors == tuple(info.color for info in preset.classes)


def test_the_classes_of_strips_are_the_training_classes_of_cityscapes(shared_dir: Path) -> None:
    rows = [line.split("\t") for line in (shared_dir / "data/cityscapes/classes.tsv").read_text().splitlines()[1:]]
    listed = {int(row[5]): (row[1], tuple(int(part) for part in row[2:5])) for row in rows if int(row[5]) < 255}
    classes = load_preset("sva").classes
    assert [(info.name, info.color) for info in classes] == [listed[index] for index in range(19)]


def parameters(config: GeneratorConfig | CrossViewConfig) -> int:
    with torch.device("meta"):
        generator = build_generator(replace(config, sau=SauConfig(placement=SauPlacement.NONE)))
    return sum(parameter.numel() for parameter in generator.parameters())


@pytest.mark.parametrize("name", SYNTHESIS)
def test_parameters_of_semantic_synthesis(name: str) -> None:
    """From the published count for Cityscapes without its unused layer, by what each channel and head adds (E.2)."""
    config = load_preset(name).generator
    assert isinstance(config, GeneratorConfig)
    _, channels, heads, *_ = TABLE[name]
    scored = {"ade20k": 51}.get(name, heads)
    expected = 111_123_495 - (1024 * 36 * 9 + 1024)
    expected += (channels - 36) * (64 * 7 * 7 + 18 * 128 * 3 * 3)  # conv1, mlp_shared of 18 norms
    expected += (heads - 35) * (3 * 64 * 7 * 7 + 3 + 3 * 3 * 3 * 3)  # its own convolution, its share of deconv9
    expected += (scored - 35) * (64 + 1)  # fc2
    assert parameters(config) == expected
    if name == "ade20k":
        assert expected == 115_091_019 - (1024 * 151 * 9 + 1024)


@pytest.mark.parametrize("name", STRIPS)
def test_parameters_of_cross_view_translation(name: str) -> None:
    """Specification E.5, without deconv5_7, which nothing uses."""
    assert parameters(load_preset(name).generator) == 12_191_258 - (3 * 64 * 7 * 7 + 3)


def test_what_is_inferred_is_marked() -> None:
    """No script of LGGAN exists for these four: their schedules are DAGAN's."""
    folder = Path(__file__).parents[2] / "lggan" / "presets"
    for name in ("coco_stuff", "facades", "celeba_mask", "deepfashion"):
        text = (folder / f"{name}.toml").read_text(encoding="utf-8")
        for entry in ("epochs", "decay_epochs", "batch", "load_height", "load_width", "lr_generator"):
            assert re.search(rf"^{entry} = .*# inferred", text, re.MULTILINE), (name, entry)
    for name in (*SYNTHESIS, *STRIPS):
        assert re.search(r"^ema = .*# ours", (folder / f"{name}.toml").read_text(encoding="utf-8"), re.MULTILINE)


def test_no_two_classes_of_a_generated_palette_look_alike() -> None:
    for name in ("coco_stuff", "deepfashion", "celeba_mask", "facades"):
        colors = [info.color for info in load_preset(name).classes]
        assert len(set(colors)) == len(colors)


def test_names_of_coco_stuff(shared_dir: Path) -> None:
    rows = [line.split("\t") for line in (shared_dir / "data/coco_stuff/classes.tsv").read_text().splitlines()[1:]]
    classes = load_preset("coco_stuff").classes
    assert [info.name for info in classes[:182]] == [row[1] for row in rows if int(row[0]) < 182]
    assert classes[182].name == "unlabeled"


@pytest.mark.parametrize("name", ["ade20k", "camvid", "cityscapes"])
def test_names_and_colours_are_those_of_the_data(name: str, shared_dir: Path) -> None:
    rows = [line.split("\t") for line in (shared_dir / "data" / name / "classes.tsv").read_text().splitlines()]
    assert rows[0][:2] == ["id", "name"]
    listed = {int(row[0]): tuple(int(part) for part in row[2:5]) for row in rows[1:] if row[0].isdigit()}
    classes = load_preset(name).classes
    assert len(set(range(len(classes))) - listed.keys()) <= 1  # Cityscapes' table leaves its last class out
    for index, info in enumerate(classes):
        assert info.color == listed.get(index, info.color), f"{index} {info.name}"


def test_a_cross_view_preset_of_the_user(tmp_path: Path) -> None:
    strips = "[strips]\ndirection = 'g2a'\nreading = 'bicubic'\ntolerance = 9\n"
    preset = load(tmp_path, "void = 255\n" + CROSS_VIEW + strips)
    assert preset.strips == StripConfig(Direction.G2A, LabelReading.BICUBIC, 9.0)
    assert preset.generator == CrossViewConfig(3, 32, 64, ((0, 0, 0), (255, 0, 9), (255, 9, 9)), (1, -1, 0))
    assert preset.losses == CrossViewLossWeights()
    assert load(tmp_path, CROSS_VIEW).void == 255


def test_groups_without_a_gap(tmp_path: Path) -> None:
    with pytest.raises(LgganError, match=r"groups are \[0, 3\]"):
        load(tmp_path, CROSS_VIEW.replace("group = 1", "group = 3"))


def test_folders_of_the_user(tmp_path: Path) -> None:
    text = "layout = 'stems'\n" + MINIMAL
    assert load(tmp_path, text).folders == Folders()
    folders = "[folders]\nphotos = 'images/{split}_img'\nlabels = 'labels/{split}_label'\nval = 'test'\n"
    preset = load(tmp_path, text + folders)
    assert preset.folders == Folders("images/{split}_img", "labels/{split}_label", "", "test")
    with pytest.raises(LgganError, match=r"folders\.photos is 'photos'"):
        load(tmp_path, text + "[folders]\nphotos = 'photos'\n")


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
        ("task = 'segmentation'\n" + MINIMAL, "segmentation"),
        ("task = 'cross-view'\n" + MINIMAL, "folder.*cross-view"),
        ("layout = 'strips'\n" + MINIMAL, "strips.*semantic"),
        (MINIMAL + "[strips]\ndirection = 'a2g'\n", "strips"),
        (MINIMAL + "[folders]\nphotos = '{split}'\n", "stems"),
        (MINIMAL.replace("[255, 0, 9]", "[255, 0, 9], group = 1"), "'b'.*group"),
        (CROSS_VIEW.replace("group = 1", "group = 'x'"), "whole number"),
        (CROSS_VIEW + "groups = [0, 0, 0]\n", "generator.groups"),
        (CROSS_VIEW + "colors = []\n", "generator.colors"),
        (CROSS_VIEW + "heads = 2\n", "heads"),
        ("void = 1\n" + CROSS_VIEW, "void.*255"),
        (CROSS_VIEW + "[strips]\ndirection = 'up'\n", "up"),
        (CROSS_VIEW + "[strips]\nreading = 'bilinear'\n", "bilinear"),
        (CROSS_VIEW + "[losses]\nfeature_matching = 1\n", "feature_matching"),
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
        with pytest.raises(UsageError, match=r"ade20k, camvid, celeba_mask, cityscapes, .*tiny"):
            load_preset(name)


def test_another_size_keeps_the_margin_of_the_crop() -> None:
    preset = resized(load_preset("camvid"), 192, 256)
    assert (preset.generator.height, preset.generator.width) == (192, 256)
    assert (preset.train.load_height, preset.train.load_width) == (208, 276)
    with pytest.raises(UsageError, match="multiple of 32"):
        resized(load_preset("camvid"), 100, 256)
    preset = resized(load_preset("dayton_a2g"), 64, 64)
    assert (preset.generator.height, preset.train.load_height) == (64, 72)  # 71.5: what the small models use
