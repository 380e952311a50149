"""Folders of label maps to folders of pictures."""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from runtime.contract.errors import InputError, MissingError, UsageError
from runtime.contract.labels import colorize, fit_label_map
from runtime.contract.pictures import read_photo
from runtime.contract.progress import SilentProgress
from runtime.contract.strips import Direction
from runtime.inference import InferOptions, infer, parse_fit
from runtime.session import Session
from tests.runtime.toy_models import (
    CARD,
    CLASSES,
    CROSS_VIEW_CARD,
    INSTANCE_CARD,
    cross_view_nodes,
    cross_view_picture,
    instance_nodes,
    write_model,
)


@pytest.fixture
def session(tmp_path: Path):
    with Session.open(write_model(tmp_path / "toy.onnx")) as opened:
        yield opened


@pytest.fixture
def maps(tmp_path: Path) -> list[Path]:
    """Three label maps of 8x12 in three forms."""
    folder = tmp_path / "maps"
    folder.mkdir()
    ids = label_map()
    Image.fromarray(ids).save(folder / "grey.png")
    Image.fromarray(colorize(ids, CLASSES)).save(folder / "rgb.png")
    np.save(folder / "array.npy", ids[None].astype(np.int64))
    return [folder / "grey.png", folder / "rgb.png", folder / "array.npy"]


def label_map() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 4, (8, 12), dtype=np.uint8)


def painted(label: np.ndarray) -> np.ndarray:
    return np.stack([10 * label] * 3, axis=-1)


class CountingProgress(SilentProgress):
    """Remembers what was reported."""

    def __init__(self) -> None:
        self.events: list[tuple] = []

    def task(self, name: str, total: float | None = None):
        self.events.append((name, total))
        task = super().task(name, total)
        task.advance = lambda steps=1.0, note="": self.events.append((steps, note))  # type: ignore[method-assign]
        return task


def test_folder(session: Session, maps: list[Path], tmp_path: Path) -> None:
    progress = CountingProgress()
    report = infer(session, maps, tmp_path / "new" / "out", progress=progress)
    assert sorted(path.name for path in (tmp_path / "new" / "out").iterdir()) == ["array.png", "grey.png", "rgb.png"]
    for image in report.images:
        np.testing.assert_array_equal(read_photo(image.output), painted(label_map()))
        assert (image.height, image.width) == (image.source_height, image.source_width) == (8, 12)
        assert 0 < image.latency_ms < 1e3 * report.total_seconds
    assert [image.source for image in report.images] == maps
    assert progress.events == [("infer", 3), (1.0, "grey.png"), (1.0, "rgb.png"), (1.0, "array.npy")]


def test_one_file(session: Session, maps: list[Path], tmp_path: Path) -> None:
    report = infer(session, maps[:1], tmp_path / "a" / "one.PNG")
    assert report.images[0].output == tmp_path / "a" / "one.PNG"
    np.testing.assert_array_equal(read_photo(tmp_path / "a" / "one.PNG"), painted(label_map()))


def test_report_as_json(session: Session, maps: list[Path], tmp_path: Path) -> None:
    report = infer(session, maps, tmp_path / "out", InferOptions(warmup=False))
    data = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    latencies = sorted(image["latency_ms"] for image in data["images"])
    assert data["schema"] == 1
    assert data["backend"] == "onnxruntime-cpu"
    assert data["threads"] == session.threads
    assert data["warmup_excluded"] is False
    assert data["latency_ms"] == {"count": 3, "min": latencies[0], "median": latencies[1], "max": latencies[2]}
    assert data["images"][2]["output"] == str(tmp_path / "out" / "array.png")
    assert data["images"][0]["size"] == data["images"][0]["source_size"] == [8, 12]


def test_warm_up_runs_once_per_size(
    session: Session, maps: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.save(tmp_path / "other.npy", np.zeros((4, 4), np.uint8))
    shapes = []
    generate = Session.generate

    def counted(self: Session, label: np.ndarray, *others: np.ndarray | None) -> np.ndarray:
        shapes.append(label.shape)
        return generate(self, label, *others)

    monkeypatch.setattr(Session, "generate", counted)
    report = infer(session, [*maps, tmp_path / "other.npy"], tmp_path / "out")
    assert report.warmup_excluded
    assert shapes == [(8, 12)] * 4 + [(4, 4)] * 2
    shapes.clear()
    infer(session, maps, tmp_path / "cold", InferOptions(warmup=False))
    assert shapes == [(8, 12)] * 3


def test_fit(session: Session, tmp_path: Path) -> None:
    odd = np.random.default_rng(1).integers(0, 4, (9, 13), dtype=np.uint8)
    Image.fromarray(odd).save(tmp_path / "odd.png")
    with pytest.raises(InputError, match=r"odd\.png is 9x13 .*--fit 8x12 or 12x16"):
        infer(session, [tmp_path / "odd.png"], tmp_path / "out.png")
    assert not (tmp_path / "out.png").exists()
    report = infer(session, [tmp_path / "odd.png"], tmp_path / "out.png", InferOptions(fit=(16, 8)))
    np.testing.assert_array_equal(read_photo(tmp_path / "out.png"), painted(fit_label_map(odd, 16, 8)))
    image = report.images[0]
    assert (image.source_height, image.source_width, image.height, image.width) == (9, 13, 16, 8)


def test_parse_fit() -> None:
    assert parse_fit("16x8", CARD) == (16, 8)
    assert parse_fit("model", CARD) == (CARD.height, CARD.width)
    for text, message in [
        ("16", "no size"),
        ("16x", "no size"),
        ("ax8", "no size"),
        ("-8x8", "no size"),
        ("0x8", "not possible"),
        ("8x99999", "not possible"),
        ("6x8", r"--fit is 6x8 .*--fit 4x8 or 8x8"),
    ]:
        with pytest.raises(UsageError, match=message):
            parse_fit(text, CARD)


def test_fit_of_the_options_is_checked(session: Session, maps: list[Path], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="multiples of 4"):
        infer(session, maps, tmp_path / "out", InferOptions(fit=(6, 8)))


def test_existing_pictures_are_refused_before_any_work(session: Session, maps: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "array.png").write_bytes(b"precious")
    with pytest.raises(UsageError, match=r"array\.png exists already; pass --force"):
        infer(session, maps, out)
    assert [path.name for path in out.iterdir()] == ["array.png"]
    infer(session, maps, out, InferOptions(force=True))
    np.testing.assert_array_equal(read_photo(out / "array.png"), painted(label_map()))


def test_equal_names_are_refused_before_any_work(session: Session, maps: list[Path], tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    np.save(tmp_path / "more" / "grey.npy", label_map())
    with pytest.raises(UsageError, match=r"maps/grey\.png and .*more/grey\.npy would both become .*out/grey\.png"):
        infer(session, [*maps, tmp_path / "more" / "grey.npy"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_label_maps_are_never_replaced(session: Session, maps: list[Path]) -> None:
    before = maps[0].read_bytes()
    for output in (maps[0].parent, maps[0], maps[0].parent / ".." / "maps" / "grey.png"):
        with pytest.raises(UsageError, match="would replace the input"):
            infer(session, maps[:1], output, InferOptions(force=True))
    assert maps[0].read_bytes() == before


def test_contradicting_outputs(session: Session, maps: list[Path], tmp_path: Path) -> None:
    (tmp_path / "file.txt").touch()
    for inputs, output, message in [
        (maps, tmp_path / "one.png", "3 label maps do not fit into the one picture"),
        (maps, tmp_path / "file.txt", r"is a file, but no \.png"),
        ([], tmp_path / "out", "no label map was given"),
    ]:
        with pytest.raises(UsageError, match=message):
            infer(session, inputs, output)


def test_folder_that_is_called_png(session: Session, maps: list[Path], tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    infer(session, maps, tmp_path / "folder.png")
    assert len(list((tmp_path / "folder.png").iterdir())) == 3


def test_broken_label_map_leaves_whole_pictures_only(session: Session, maps: list[Path], tmp_path: Path) -> None:
    maps[1].write_bytes(maps[1].read_bytes()[:-20])
    with pytest.raises(InputError, match=r"rgb\.png is truncated"):
        infer(session, maps, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["grey.png"]
    np.testing.assert_array_equal(read_photo(tmp_path / "out" / "grey.png"), painted(label_map()))


def test_full_disk(session: Session, maps: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Image.Image, stream: Path, format: str) -> None:  # noqa: A002
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(MissingError, match="no space left"):
        infer(session, maps, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_instance_maps(tmp_path: Path) -> None:
    ids = label_map()
    numbers = np.arange(96, dtype=np.uint16).reshape(8, 12)
    (tmp_path / "maps").mkdir()
    (tmp_path / "inst").mkdir()
    Image.fromarray(ids).save(tmp_path / "maps" / "a_labelIds.png")
    Image.fromarray(ids).save(tmp_path / "maps" / "b.png")
    Image.fromarray(numbers).save(tmp_path / "inst" / "a_instanceIds.png")
    np.save(tmp_path / "inst" / "b.npy", numbers)
    inputs = [tmp_path / "maps" / "a_labelIds.png", tmp_path / "maps" / "b.png"]
    with Session.open(write_model(tmp_path / "i.onnx", INSTANCE_CARD, instance_nodes())) as session:
        infer(session, inputs, tmp_path / "out", InferOptions(instances=tmp_path / "inst"))
        for name in ("a_labelIds.png", "b.png"):
            np.testing.assert_array_equal(read_photo(tmp_path / "out" / name)[..., 0], 10 * ids + numbers)
        infer(session, inputs[:1], tmp_path / "one.png", InferOptions((4, 4), tmp_path / "inst" / "a_instanceIds.png"))
        expected = 10 * fit_label_map(ids, 4, 4) + fit_label_map(numbers, 4, 4)
        np.testing.assert_array_equal(read_photo(tmp_path / "one.png")[..., 2], expected)

        with pytest.raises(UsageError, match=r"needs instance maps; .*--instances"):
            infer(session, inputs, tmp_path / "new")
        with pytest.raises(UsageError, match="2 label maps need a folder"):
            infer(session, inputs, tmp_path / "new", InferOptions(instances=tmp_path / "inst" / "b.npy"))
        np.save(tmp_path / "inst" / "b.npy", numbers[:4])
        with pytest.raises(InputError, match=r"b\.npy is 4x12, its label map .*b\.png 8x12"):
            infer(session, inputs[1:], tmp_path / "new", InferOptions(instances=tmp_path / "inst"))
        (tmp_path / "inst" / "b.npy").unlink()
        with pytest.raises(InputError, match=r"holds no instance map b\.png or \.npy for .*maps/b\.png"):
            infer(session, inputs, tmp_path / "new", InferOptions(instances=tmp_path / "inst"))
    assert not (tmp_path / "new").exists()


def test_instance_maps_for_a_model_without(session: Session, maps: list[Path], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="takes no instance maps"):
        infer(session, maps, tmp_path / "out", InferOptions(instances=tmp_path))


def test_void_of_the_card_is_used(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.full((4, 4), 255, np.uint8))
    with Session.open(write_model(tmp_path / "void.onnx", replace(CARD, void=2))) as session:
        infer(session, [tmp_path / "a.npy"], tmp_path / "a.png")
    assert (read_photo(tmp_path / "a.png") == 20).all()
    with (
        Session.open(write_model(tmp_path / "strict.onnx", replace(CARD, void=None))) as session,
        pytest.raises(InputError, match="255 is no void here"),
    ):
        infer(session, [tmp_path / "a.npy"], tmp_path / "b.png")


# --- cross-view models -----------------------------------------------------------------------------------------------


@pytest.fixture
def views(tmp_path: Path) -> Iterator[Session]:
    with Session.open(write_model(tmp_path / "views.onnx", CROSS_VIEW_CARD, cross_view_nodes())) as session:
        yield session


def test_source_photos(views: Session, tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    labels, photos = tmp_path / "labels", tmp_path / "photos"
    labels.mkdir()
    photos.mkdir()
    for name in ("a", "b"):
        Image.fromarray(draw.integers(0, 3, (8, 12), dtype=np.uint8)).save(labels / f"{name}.png")
        Image.fromarray(draw.integers(0, 256, (8, 12, 3), dtype=np.uint8)).save(photos / f"{name}.png")
    inputs = [labels / "a.png", labels / "b.png"]
    report = infer(views, inputs, tmp_path / "out", InferOptions(source=photos))
    for image in report.images:
        label, photo = np.asarray(Image.open(image.source)), read_photo(photos / image.source.name)
        np.testing.assert_array_equal(read_photo(image.output), cross_view_picture(label, photo))
        assert image.photo == photos / image.source.name
    assert report.to_dict()["images"][0]["photo"] == str(photos / "a.png")
    before = (photos / "a.png").read_bytes()
    with pytest.raises(UsageError, match=r"would replace the input .*photos/a\.png"):
        infer(views, inputs, photos, InferOptions(source=photos, force=True))
    assert (photos / "a.png").read_bytes() == before


def test_strips(views: Session, tmp_path: Path) -> None:
    side = 12
    panels = np.zeros((6, side, side, 3), np.uint8)
    panels[0], panels[1] = 30, 200
    panels[2], panels[3] = CROSS_VIEW_CARD.classes[1].color, CROSS_VIEW_CARD.classes[2].color
    Image.fromarray(np.concatenate(panels, axis=1)).save(tmp_path / "s.png")
    for direction, level in ((Direction.A2G, 30), (Direction.G2A, 200)):
        output = tmp_path / f"{direction.value}.png"
        infer(views, [tmp_path / "s.png"], output, InferOptions(strips=direction))
        np.testing.assert_array_equal(read_photo(output), np.full((side, side, 3), level))
    Image.fromarray(np.concatenate(panels[:5], axis=1)).save(tmp_path / "short.png")
    with pytest.raises(InputError, match=r"short\.png is 12x60 .* 12x72 at this height"):
        infer(views, [tmp_path / "short.png"], tmp_path / "no.png", InferOptions(strips=Direction.A2G))
    assert not (tmp_path / "no.png").exists()


def test_fit_of_a_cross_view_model_has_a_smallest_size(views: Session) -> None:
    assert parse_fit("8x8", views.card) == (8, 8)
    with pytest.raises(UsageError, match="multiples of 4 from 8 on"):
        parse_fit("4x8", views.card)
