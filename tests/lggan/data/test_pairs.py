"""Finding pairs in every layout of photos and label maps, and folders where photos and label maps do not match up."""

from __future__ import annotations

from pathlib import Path

import pytest

from lggan.data.layout import Folders, Layout
from lggan.data.pairs import Pair, find_pairs
from runtime.contract.errors import InputError, UsageError


def touch(root: Path, *names: str) -> Path:
    """Empty files: pairs are found by their names alone."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def test_folder_layout_in_natural_order(tmp_path: Path) -> None:
    names = ["b2", "b10", "a7"]
    root = touch(tmp_path, *(f"train/images/{n}.JPG" for n in names), *(f"train/labels/{n}.png" for n in names))
    touch(root, "train/instances/b2.npy", "train/images/.b3.jpg", "train/images/readme.txt", "val/images/z.png")
    train = root / "train"
    assert find_pairs(root, "train") == [
        Pair("a7", train / "images/a7.JPG", train / "labels/a7.png"),
        Pair("b2", train / "images/b2.JPG", train / "labels/b2.png", train / "instances/b2.npy"),
        Pair("b10", train / "images/b10.JPG", train / "labels/b10.png"),
    ]


def test_cityscapes_layout(tmp_path: Path) -> None:
    for city, frame in (("ulm", "ulm_000010_000019"), ("aachen", "aachen_000002_000019"), ("ulm", "ulm_000009_000019")):
        touch(
            tmp_path,
            f"leftImg8bit/val/{city}/{frame}_leftImg8bit.png",
            f"gtFine/val/{city}/{frame}_gtFine_labelIds.png",
            f"gtFine/val/{city}/{frame}_gtFine_instanceIds.png",
            f"gtFine/val/{city}/{frame}_gtFine_color.png",
            f"gtFine/val/{city}/{frame}_gtFine_polygons.json",
        )
    pairs = find_pairs(tmp_path, "val", Layout.CITYSCAPES)
    assert [pair.name for pair in pairs] == ["aachen_000002_000019", "ulm_000009_000019", "ulm_000010_000019"]
    stem = "ulm_000010_000019"
    assert pairs[2] == Pair(
        stem,
        tmp_path / f"leftImg8bit/val/ulm/{stem}_leftImg8bit.png",
        tmp_path / f"gtFine/val/ulm/{stem}_gtFine_labelIds.png",
        tmp_path / f"gtFine/val/ulm/{stem}_gtFine_instanceIds.png",
    )


def test_ade20k_layout(tmp_path: Path) -> None:
    for phase, tag in (("training", "train"), ("validation", "val")):
        touch(tmp_path, f"images/{phase}/ADE_{tag}_00000001.jpg", f"annotations/{phase}/ADE_{tag}_00000001.png")
    for split, phase in (("train", "training"), ("val", "validation")):
        (pair,) = find_pairs(tmp_path, split, Layout.ADE20K)
        assert pair.photo == tmp_path / f"images/{phase}/ADE_{split}_00000001.jpg"
        assert pair.label == tmp_path / f"annotations/{phase}/ADE_{split}_00000001.png"
        assert pair.instance is None


def test_ade20k_in_any_tree(tmp_path: Path) -> None:
    """Without the usual folders, the names decide: which split, photo or label map."""
    touch(
        tmp_path,
        "a/b/ADE_train_00000002.jpg",
        "c/ADE_train_00000002.png",
        "ADE_train_00000010.jpg",
        "d/ADE_train_00000010.png",
        "d/ADE_val_00000001.png",
        "ADE_val_00000001.jpg",
        "._ADE_train_00000003.jpg",
        "ADE_train_list.txt",
        "ADE_frame_00000003.jpg",
    )
    assert find_pairs(tmp_path, "train", Layout.ADE20K) == [
        Pair("ADE_train_00000002", tmp_path / "a/b/ADE_train_00000002.jpg", tmp_path / "c/ADE_train_00000002.png"),
        Pair("ADE_train_00000010", tmp_path / "ADE_train_00000010.jpg", tmp_path / "d/ADE_train_00000010.png"),
    ]
    assert [pair.name for pair in find_pairs(tmp_path, "val", Layout.ADE20K)] == ["ADE_val_00000001"]
    touch(tmp_path, "e/ADE_val_00000001.jpg")
    with pytest.raises(InputError, match="same name"):
        find_pairs(tmp_path, "val", Layout.ADE20K)


def test_coco_stuff_layout(tmp_path: Path) -> None:
    """Portraits, which some preparations keep apart, belong to the training pictures too."""
    for kind, suffix in (("img", "jpg"), ("label", "png"), ("inst", "png")):
        touch(tmp_path, f"val_{kind}/000000000139.{suffix}", f"val_{kind}/000000000009.{suffix}")
        touch(tmp_path, f"train_{kind}/000000000009.{suffix}", f"train_{kind}_portrait/000000000009.{suffix}")
    assert find_pairs(tmp_path, "val", Layout.COCO_STUFF) == [
        Pair(
            name,
            tmp_path / "val_img" / f"{name}.jpg",
            tmp_path / "val_label" / f"{name}.png",
            tmp_path / "val_inst" / f"{name}.png",
        )
        for name in ("000000000009", "000000000139")
    ]
    pairs = find_pairs(tmp_path, "train", Layout.COCO_STUFF)
    assert [pair.name for pair in pairs] == ["000000000009", "portrait/000000000009"]
    assert pairs[1].photo == tmp_path / "train_img_portrait/000000000009.jpg"
    assert pairs[1].instance == tmp_path / "train_inst_portrait/000000000009.png"


def test_facades_layout(tmp_path: Path) -> None:
    touch(tmp_path, "train_img/cmp_b0001.jpg", "train_label/cmp_b0001.png", "train_inst/cmp_b0001.png")
    photo, label = tmp_path / "train_img/cmp_b0001.jpg", tmp_path / "train_label/cmp_b0001.png"
    assert find_pairs(tmp_path, "train", Layout.FACADES) == [Pair("cmp_b0001", photo, label)]
    assert find_pairs(tmp_path, "train", Layout.STEMS) == [Pair("cmp_b0001", photo, label)]


def test_folders_of_any_name(tmp_path: Path) -> None:
    for split in ("train", "test"):
        touch(tmp_path, f"photos/{split}_img/7.jpg", f"maps/{split}/7.png", f"edges/{split}/7.png")
    folders = Folders("photos/{split}_img", "maps/{split}", "edges/{split}", val="test")
    for split, folder in (("train", "train"), ("val", "test")):
        assert find_pairs(tmp_path, split, Layout.STEMS, folders) == [
            Pair(
                "7",
                tmp_path / f"photos/{folder}_img/7.jpg",
                tmp_path / f"maps/{folder}/7.png",
                tmp_path / f"edges/{folder}/7.png",
            )
        ]


@pytest.mark.parametrize("name", ["img", "", "/data/{split}", "../{split}_img"])
def test_names_that_are_no_folders(name: str) -> None:
    with pytest.raises(UsageError, match=r"folders\.photos"):
        Folders(photos=name)


@pytest.mark.parametrize("layout", [layout for layout in Layout if layout is not Layout.STRIPS])
def test_a_folder_of_another_layout_says_what_was_expected(tmp_path: Path, layout: Layout) -> None:
    touch(tmp_path, "pictures/one.jpg", "maps/one.png")
    with pytest.raises(InputError, match=f"the layout '{layout.value}' is .*holds maps, pictures"):
        find_pairs(tmp_path, "train", layout)


@pytest.mark.parametrize(
    ("name", "layout"),
    [("ade20k", Layout.ADE20K), ("cityscapes", Layout.CITYSCAPES), ("coco_stuff", Layout.COCO_STUFF)],
)
def test_samples_of_the_real_data_sets(name: str, layout: Layout, shared_dir: Path) -> None:
    pairs = [pair for split in ("train", "val") for pair in find_pairs(shared_dir / "data" / name, split, layout)]
    assert pairs
    assert all(pair.photo.is_file() and pair.label.is_file() for pair in pairs)


def test_camvid_as_it_lies_on_the_disk(shared_dir: Path) -> None:
    for split in ("train", "val"):
        listed = (shared_dir / "data" / "camvid" / f"{split}.txt").read_text().split()
        assert len(find_pairs(shared_dir / "data" / "camvid", split)) == len(listed)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "images is absent"),
        (["train/images/a.png"], "labels is absent"),
        (["train/labels/a.png"], "images is absent"),
        (["train/images/a.txt", "train/labels/a.png"], "images holds no photos"),
        (["train/images/a.png", "train/labels/a.jpg"], "labels holds no label maps"),
        (["train/images/a.png", "train/images/b.png", "train/labels/a.png"], "1 of 2 .*labels.*'b'"),
        (["train/images/a.png", "train/labels/a.png", "train/labels/b.npy"], "1 of 2 .*images.*'b'"),
        (["train/images/a.png", "train/images/a.jpg", "train/labels/a.png"], "same name"),
        (["train/images/a.png", "train/labels/a.png", "train/labels/a.npy"], "same name"),
    ],
)
def test_folders_that_do_not_match_up(tmp_path: Path, names: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        find_pairs(touch(tmp_path, *names), "train")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "leftImg8bit/train is absent"),
        (["leftImg8bit/train/ulm/ulm_0_0_leftImg8bit.png"], "gtFine/train is absent"),
        (["leftImg8bit/train/x.txt", "gtFine/train/x.txt"], r"\(\*_leftImg8bit.png\) holds no photos"),
        (["leftImg8bit/train/ulm/ulm_0_0_leftImg8bit.png", "gtFine/train/x.txt"], r"Ids.png\) holds no label maps"),
        (
            ["leftImg8bit/train/ulm/ulm_0_0_leftImg8bit.png", "gtFine/train/ulm/ulm_0_1_gtFine_labelIds.png"],
            "1 of 1 files have no partner",
        ),
    ],
)
def test_cityscapes_that_does_not_match_up(tmp_path: Path, names: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        find_pairs(touch(tmp_path, *names), "train", Layout.CITYSCAPES)


def test_root_that_is_no_folder(tmp_path: Path) -> None:
    for root in (tmp_path / "absent", touch(tmp_path, "file") / "file"):
        with pytest.raises(InputError, match="not a folder"):
            find_pairs(root, "train")


def test_digits_that_are_no_numbers(tmp_path: Path) -> None:
    """A superscript is a digit to Unicode, not a number to int()."""
    names = ["m2²1", "m1²2", "٣", "²"]
    root = touch(tmp_path, *(f"train/images/{n}.png" for n in names), *(f"train/labels/{n}.png" for n in names))
    assert len(find_pairs(root, "train")) == 4
