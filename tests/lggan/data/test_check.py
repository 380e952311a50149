"""Walking through data sets that are whole, half downloaded, or of another kind."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import lggan.data.check as module
from lggan.data.check import check_data
from lggan.data.report import DataReport, Sample, SizeCount, SplitReport
from lggan.preset import Preset, load_preset, preset_names
from runtime.contract.errors import InputError
from tests.miniatures import draw_scene, draw_strip, write_miniature


def split_of(report: DataReport, name: str = "train") -> SplitReport:
    return next(split for split in report.splits if split.split == name)


def texts(report: DataReport) -> list[str]:
    return [str(fault) for fault in report.faults]


@pytest.mark.parametrize("name", preset_names())
def test_every_miniature_is_usable(name: str, tmp_path: Path) -> None:
    preset = load_preset(name)
    report = check_data(preset, write_miniature(preset, tmp_path, size=(32, 32), examples=2))
    assert report.usable, report.faults
    assert [split.split for split in report.splits] == ["train", "val"]
    for split in report.splits:
        assert (split.photos, split.labels, split.examples, split.checked) == (2, 2, 2, 2)
        assert split.instances == (2 if preset.generator.edges else None)
        assert split.photo_sizes == split.label_sizes == (SizeCount(32, 32, 2),)
        assert sum(entry.pixels for entry in split.classes) == round(2 * 32 * 32 * (1 - (split.void or 0.0)))
        assert (split.strips is not None) is (preset.strips is not None)


def test_the_histogram_counts_pixels_and_files(tmp_path: Path) -> None:
    preset = load_preset("tiny")
    root = write_miniature(preset, tmp_path, size=(32, 48), examples=3, splits=("train",))
    split = split_of(check_data(preset, root, ("train",)))
    labels = []
    for seed in range(3):
        label = draw_scene(preset, (32, 48), seed).label
        label[:2, :2] = 3  # void
        labels.append(label)
    for entry in split.classes:
        assert entry.pixels == sum(int((label == entry.id).sum()) for label in labels)
        assert entry.files == sum((label == entry.id).any() for label in labels)
        assert entry.share == pytest.approx(entry.pixels / (3 * 32 * 48))
        assert entry.name == preset.classes[entry.id].name
    assert split.unseen == [entry.name for entry in split.classes if entry.pixels == 0]
    assert split.void is None


def test_everything_that_is_wrong_is_counted(tmp_path: Path) -> None:
    root = write_miniature("coco_stuff", tmp_path, examples=9, splits=("train",))
    photos, labels, instances = (sorted((root / f"train_{kind}").iterdir()) for kind in ("img", "label", "inst"))
    photos[0].write_bytes(photos[0].read_bytes()[:900])  # a download that broke off
    labels[1].write_bytes(b"")
    labels[2].write_bytes(labels[2].read_bytes()[:100])
    photos[3].unlink()
    labels[4].unlink()
    instances[5].unlink()
    ids = np.array(Image.open(labels[6]))
    ids[10:15, :3], ids[20, 20] = 200, 201
    Image.fromarray(ids).save(labels[6])
    Image.fromarray(np.zeros((20, 64, 3), np.uint8)).save(photos[7])
    photos[8].with_suffix(".png").write_bytes(photos[8].read_bytes())
    instances[8].write_bytes(b"GIF89a")
    report = check_data(load_preset("coco_stuff"), root, ("train",))
    split = split_of(report)
    assert not report.usable
    stems = [path.stem for path in photos]
    assert (split.photos, split.labels, split.instances, split.examples, split.checked) == (8, 8, 8, 7, 7)
    assert split.without_label == Sample(1, (stems[4],))
    assert split.without_photo == Sample(1, (stems[3],))
    assert split.without_instance == Sample(1, (stems[5],))
    assert split.duplicates == Sample(1, (f"train_img/{stems[8]}.jpg and train_img/{stems[8]}.png",))
    assert split.broken.count == 4
    for line, name, reason in zip(
        split.broken.first,
        (f"train_img/{stems[0]}.jpg", f"train_label/{stems[1]}.png", f"train_label/{stems[2]}.png",
         f"train_inst/{stems[8]}.png"),
        ("truncated", "empty", "truncated", "neither a PNG"),
        strict=True,
    ):  # fmt: skip
        assert line.startswith(name)
        assert reason in line
    assert [(entry.id, entry.pixels, entry.files) for entry in split.unknown] == [
        (200, 15, Sample(1, (f"train_label/{stems[6]}.png",))),
        (201, 1, Sample(1, (f"train_label/{stems[6]}.png",))),
    ]
    assert split.mismatched == Sample(1, (f"{stems[7]}: the photo is 64x20, its label map 64x64",))
    said = "\n".join(texts(report))
    for part in ("1 photo without a label map", "1 label map without a photo", "1 label map without an instance map",
                 "1 pair of files with the same name", "4 files cannot be used", "id 200 is no class, yet 15 pixels",
                 "1 example does not fit together"):  # fmt: skip
        assert f"train: {part}" in said
    assert len(report.faults) == 8
    assert report.to_dict()["usable"] is False


def test_many_missing_partners_are_counted_and_the_first_named(tmp_path: Path) -> None:
    root = write_miniature("facades", tmp_path, size=(8, 8), examples=30, splits=("train",))
    for path in sorted((root / "train_label").iterdir())[5:]:
        path.unlink()
    report = check_data(load_preset("facades"), root, ("train",))
    assert split_of(report).without_label.count == 25
    assert len(split_of(report).without_label.first) == 20
    assert texts(report) == ["train: 25 photos without a label map: scene_2, scene_3, scene_4 and 22 others"]


def test_nothing_to_train_on(tmp_path: Path) -> None:
    root = write_miniature("facades", tmp_path, size=(8, 8), examples=1)
    for path in (root / "train_label").iterdir():
        path.unlink()
    report = check_data(load_preset("facades"), root)
    assert "train: there is no photo with a label map" in texts(report)
    assert split_of(report, "val").faults == []


def test_a_split_that_is_absent(tmp_path: Path) -> None:
    """Without ``val`` a training can begin; without ``train`` it cannot."""
    preset = load_preset("facades")
    root = write_miniature(preset, tmp_path, size=(8, 8), splits=("train",))
    report = check_data(preset, root)
    assert report.usable
    assert any(note.split == "val" and "val_img is absent" in note.text for note in report.notes)
    assert not check_data(preset, root, ("val",), required=("val",)).usable
    (root / "train_img").rename(root / "val_img")
    (root / "train_label").rename(root / "val_label")
    report = check_data(preset, root)
    assert not report.usable
    assert "the layout 'facades' is SPLIT_img, SPLIT_label" in texts(report)[0]
    with pytest.raises(InputError, match="not a folder"):
        check_data(preset, root / "absent")


def test_a_limit_opens_a_part_and_matches_all_names(tmp_path: Path) -> None:
    preset = load_preset("facades")
    root = write_miniature(preset, tmp_path, size=(8, 8), examples=10, splits=("train",))
    (root / "train_label" / "scene_7.png").unlink()
    split = split_of(check_data(preset, root, ("train",), limit=4))
    assert (split.photos, split.examples, split.checked, split.without_label.count) == (10, 9, 4, 1)
    assert any("4 of 9 examples were opened" in note.text for note in split.notes)
    assert module._spread(list(range(10)), 4) == [0, 2, 5, 7]
    assert module._spread([], 4) == module._spread([1], 0) == []


def test_an_id_that_void_explains_is_not_unknown(tmp_path: Path) -> None:
    root = write_miniature("coco_stuff", tmp_path, size=(16, 16), examples=1, splits=("train",))
    (path,) = (root / "train_label").iterdir()
    ids = np.array(Image.open(path))
    ids[5, 5] = 190  # the file is read by the forgiving path now
    Image.fromarray(ids).save(path)
    split = split_of(check_data(load_preset("coco_stuff"), root, ("train",)))
    assert [entry.id for entry in split.unknown] == [190]
    assert split.classes[182].pixels == 4
    preset = load_preset("facades")
    root = write_miniature(preset, tmp_path / "facades", size=(16, 16), examples=1, splits=("train",))
    (path,) = (root / "train_label").iterdir()
    Image.fromarray(np.full((16, 16), 255, np.uint8)).save(path)
    assert [entry.id for entry in split_of(check_data(preset, root, ("train",))).unknown] == [255]


def broken_strips(root: Path, preset: Preset) -> Path:
    write_miniature(preset, root, size=(32, 32), examples=5, splits=("train",))
    paths = sorted((root / "train").iterdir())
    for index, path in enumerate(paths):
        strip = np.array(Image.open(path))
        if index == 0:
            strip = strip[:, :-5]
        if index == 1:
            strip[:, 5 * 32 :] += 4
        if index == 2:
            strip[:, 3 * 32 : 4 * 32] = (200, 255, 255)
        if index == 3:
            strip[:4, 5 * 32 :] = 60 - strip[:4, 5 * 32 :] + 10  # whole groups, but others
        Image.fromarray(strip).save(path)
    paths[4].write_bytes(paths[4].read_bytes()[:500])
    return root


def test_strips_that_are_wrong(tmp_path: Path) -> None:
    preset = load_preset("dayton_a2g")
    split = split_of(check_data(preset, broken_strips(tmp_path, preset), ("train",)))
    assert split.broken.count == 4
    for line, name, reason in zip(
        split.broken.first,
        ("0000001", "0000002", "0000003", "0000005"),
        ("32x187", "1024 of 1024 pixels of the grey panel are off the grid", "100% of the colour panel", "truncated"),
        strict=True,
    ):
        assert line.startswith(f"train/{name}.png")
        assert reason in line
    assert split.strips is not None
    assert split.strips.off_grid == pytest.approx(1 / 3)  # of the three strips that could be opened
    assert split.strips.off_palette == pytest.approx(1 / 3)
    strip = draw_strip(preset, 32, seed=3)
    changed = (strip[:4, 5 * 32 :, 0] != 35).mean() * 4 / 32  # every level becomes 70 - level
    groups_gone = 1.0  # the third strip has groups and no classes
    assert split.strips.disagree == pytest.approx((changed + groups_gone) / 3)
    assert (split.strips.worst, split.strips.worst_disagree) == ("0000003", 1.0)
    assert split.strips.lossless == 3


def test_the_tolerance_of_the_preset_counts(tmp_path: Path) -> None:
    preset = load_preset("cvusa")
    assert preset.strips is not None
    root = write_miniature(preset, tmp_path, size=(32, 32), examples=3, splits=("train",))
    shares = []
    for tolerance in (10.0, 48.0):
        strict = replace(preset, strips=replace(preset.strips, tolerance=tolerance))
        split = split_of(check_data(strict, root, ("train",)))
        assert split.strips is not None
        shares.append(split.strips.off_palette)
        assert split.void == pytest.approx(split.strips.off_palette, abs=0.01)
        assert split.strips.lossless == 0
    assert shares[0] > shares[1]


@pytest.mark.parametrize(
    ("name", "folder", "counts"),
    [("cityscapes", "cityscapes", (6, 2)), ("ade20k", "ade20k", (1, 1)), ("coco_stuff", "coco_stuff", (13, 4)),
     ("dayton_a2g", "cross_view/dayton", (10, 4)), ("dayton_g2a", "cross_view/dayton", (10, 4)),
     ("cvusa", "cross_view/cvusa", (11, 6)), ("sva", "cross_view/sva", (11, 5))],
)  # fmt: skip
def test_real_samples(name: str, folder: str, counts: tuple[int, int], shared_dir: Path) -> None:
    report = check_data(load_preset(name), shared_dir / "data" / folder)
    assert report.usable, report.faults
    assert tuple(split.examples for split in report.splits) == counts
    for split in report.splits:
        if split.strips is not None:
            most = 0.045 if name == "cvusa" else 0.0
            assert split.strips.disagree <= most
            assert split.strips.off_palette <= most
            assert split.strips.off_grid <= most
