"""What is refused before a single tensor of an ONNX file is used, with `onnx` and without."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from runtime.contract import onnx_safety, onnx_wire
from runtime.contract.card import CARD_KEY
from runtime.contract.errors import InputError, MissingError, UsageError
from runtime.contract.external_data import DATA_SHA256_KEY
from runtime.contract.files import sha256_of
from runtime.contract.onnx_safety import check_model_proto, load_checked, message_bytes, read_card, write_card
from runtime.contract.onnx_wire import check_model_file, read_model
from tests.onnx_toys import CARD, save, toy_model

VALUES = np.arange(12, dtype=np.float32).reshape(3, 4)


def external(**fields: str) -> TensorProto:
    """A tensor [3, 4] whose values are in ``weights.bin`` (or where ``fields`` say)."""
    tensor = TensorProto(name="outside", data_type=TensorProto.FLOAT, dims=[3, 4], data_location=TensorProto.EXTERNAL)
    for key, value in {"location": "weights.bin", **fields}.items():
        tensor.external_data.add(key=key, value=value)
    return tensor


def model_with(tensor: TensorProto) -> onnx.ModelProto:
    model = toy_model()
    model.graph.initializer.append(tensor)
    return model


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    inner = tmp_path / "inner"
    inner.mkdir()
    (inner / "weights.bin").write_bytes(VALUES.tobytes())
    (tmp_path / "secret.bin").write_bytes(VALUES.tobytes())
    return inner


def in_function(tensor: TensorProto) -> onnx.ModelProto:
    model = toy_model()
    model.functions[0].node.append(helper.make_node("Constant", [], ["k"], value=tensor))
    return model


def in_subgraph(tensor: TensorProto) -> onnx.ModelProto:
    model = toy_model()
    body = helper.make_graph([helper.make_node("Identity", ["outside"], ["o"])], "b", [], [], [tensor])
    model.graph.node.append(helper.make_node("If", ["yes"], ["z"], then_branch=body, else_branch=body))
    return model


def in_sparse(tensor: TensorProto) -> onnx.ModelProto:
    model = toy_model()
    model.graph.sparse_initializer.add(values=tensor, indices=numpy_helper.from_array(np.arange(12), "i"), dims=[99])
    return model


PLACES: list[Callable[[TensorProto], onnx.ModelProto]] = [model_with, in_function, in_subgraph, in_sparse]


def test_a_good_file_is_read_whole(tmp_path: Path) -> None:
    path = save(toy_model(), tmp_path / "toy.onnx")
    assert load_checked(path, onnx) == toy_model()
    data, card = check_model_file(path)
    assert (data, card) == (path.read_bytes(), CARD)


@pytest.mark.parametrize("place", PLACES)
def test_external_data_beside_the_model_is_brought_in(folder: Path, place: Callable[..., onnx.ModelProto]) -> None:
    (folder / "weights.bin").write_bytes(b"12345678" + VALUES.tobytes() + b"rest")
    path = save(place(external(offset="8", length="48")), folder / "m.onnx")
    model = load_checked(path, onnx)
    assert not any(t.external_data or t.data_location for _, t in onnx_safety._walk(model, path) if hasattr(t, "dims"))
    found = [t for kind, t in onnx_safety._walk(model, path) if kind == "tensor" and t.name == "outside"]
    assert found
    for tensor in found:
        np.testing.assert_array_equal(numpy_helper.to_array(tensor), VALUES)


@pytest.mark.parametrize("place", PLACES)
def test_a_device_takes_no_external_data_at_all(folder: Path, place: Callable[..., onnx.ModelProto]) -> None:
    path = save(place(external()), folder / "m.onnx")
    with pytest.raises(InputError, match="keeps tensors in other files"):
        check_model_file(path)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    "location",
    [
        "../secret.bin",
        "/etc/passwd",
        "sub/weights.bin",
        "..",
        ".",
        "",
        "..\\secret.bin",
        "C:x",
        "a\0b",
        "./weights.bin",
    ],
)
def test_locations_outside_the_folder_are_refused(
    folder: Path, place: Callable[..., onnx.ModelProto], location: str
) -> None:
    path = save(place(external(location=location)), folder / "m.onnx")
    with pytest.raises(InputError, match="plain file beside the model"):
        load_checked(path, onnx)


@pytest.mark.parametrize("place", PLACES[1:])
def test_a_device_takes_external_weights_of_the_main_graph_only(
    folder: Path, place: Callable[..., onnx.ModelProto]
) -> None:
    path = save(place(external()), folder / "m.onnx")
    with pytest.raises(InputError, match="keeps tensors in other files"):
        read_model(path)


def test_a_device_reads_weights_beside_the_model(folder: Path) -> None:
    (folder / "weights.bin").write_bytes(b"12345678" + VALUES.tobytes() + b"rest")
    path = save(model_with(external(offset="8", length="48")), folder / "m.onnx")
    found = read_model(path)
    assert (found.data, found.card) == (path.read_bytes(), CARD)
    assert found.external.keys() == {"outside"}
    np.testing.assert_array_equal(found.external["outside"], VALUES)
    assert found.external["outside"].dtype == np.float32
    assert read_model(save(toy_model(), folder / "toy.onnx")).external == {}


@pytest.mark.parametrize("read", [lambda path: load_checked(path, onnx), read_model], ids=["onnx", "wire"])
@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"location": "../secret.bin"}, "plain file beside the model"),
        ({"location": "/etc/passwd"}, "plain file beside the model"),
        ({"location": "soft.bin"}, "cannot be opened as a plain file"),
        ({"location": "hard.bin"}, "is a link"),
        ({"location": "pipe.bin"}, "is a link or not a regular file"),
        ({"location": "absent.bin"}, "absent.bin"),
        ({"length": "47"}, "announces 47 bytes"),
        ({"offset": "1"}, "has 48 bytes where 49 are needed"),
        ({"offset": "-8"}, "number of bytes"),
        ({"raw_data": "x"}, "unexpected external data field"),
    ],
)
def test_both_readers_refuse_the_same(
    folder: Path, read: Callable[[Path], object], fields: dict[str, str], words: str
) -> None:
    (folder / "soft.bin").symlink_to(folder.parent / "secret.bin")
    os.link(folder.parent / "secret.bin", folder / "hard.bin")
    os.mkfifo(folder / "pipe.bin")
    with pytest.raises(InputError, match=words):
        read(save(model_with(external(**fields)), folder / "m.onnx"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda tensor: tensor.ClearField("data_location"), "in a way that this project does not write"),
        (lambda tensor: tensor.ClearField("name"), "in a way that this project does not write"),
        (lambda tensor: setattr(tensor, "data_type", TensorProto.STRING), "in a way that this project does not write"),
        (lambda tensor: tensor.dims.append(-1), "each must be"),
        (lambda tensor: tensor.dims.extend([1 << 31, 1 << 31]), "more than"),
        (lambda tensor: tensor.dims.extend([1] * 40), "has the dimensions"),
    ],
)
def test_odd_descriptions_are_refused_on_devices(
    folder: Path, change: Callable[[TensorProto], object], words: str
) -> None:
    tensor = external()
    change(tensor)
    with pytest.raises(InputError, match=words):
        read_model(save(model_with(tensor), folder / "m.onnx"))


def test_the_data_file_is_the_one_that_was_written(folder: Path) -> None:
    model = model_with(external())
    model.metadata_props.add(key=DATA_SHA256_KEY, value=sha256_of(folder / "weights.bin"))
    path = save(model, folder / "m.onnx")
    assert DATA_SHA256_KEY not in {entry.key for entry in load_checked(path, onnx).metadata_props}
    assert read_model(path).external.keys() == {"outside"}
    (folder / "weights.bin").write_bytes(VALUES[::-1].tobytes())
    for read in (lambda: load_checked(path, onnx), lambda: read_model(path)):
        with pytest.raises(InputError, match="is not the file that was written with it"):
            read()
    second = external(location="more.bin")
    second.name = "second"
    model.graph.initializer.append(second)
    (folder / "more.bin").write_bytes(VALUES.tobytes())
    path = save(model, folder / "m.onnx")
    for read in (lambda: load_checked(path, onnx), lambda: read_model(path)):
        with pytest.raises(InputError, match="one data file in its metadata and 2"):
            read()


def test_two_weights_of_one_name_are_refused(folder: Path) -> None:
    model = model_with(external())
    model.graph.initializer.append(external())
    with pytest.raises(InputError, match="two weights called 'outside'"):
        read_model(save(model, folder / "m.onnx"))


def test_weights_in_very_many_files_are_refused(folder: Path) -> None:
    model = toy_model()
    for index in range(100):
        tensor = external(location=f"{index}.bin")
        tensor.name = f"weight {index}"
        model.graph.initializer.append(tensor)
        (folder / f"{index}.bin").write_bytes(VALUES.tobytes())
    path = save(model, folder / "m.onnx")
    for read in (lambda: load_checked(path, onnx), lambda: read_model(path)):
        with pytest.raises(InputError, match="more than 64 files"):
            read()


def test_messages_of_more_than_two_gibibytes(monkeypatch: pytest.MonkeyPatch) -> None:
    model = toy_model()
    assert onnx.load_model_from_string(message_bytes(model, "m.onnx")) == model
    monkeypatch.setattr(onnx_safety, "MAX_FILE_BYTES", 1000)
    with pytest.raises(UsageError, match=r"m\.onnx has more than 2 GiB"):
        message_bytes(model, "m.onnx")


def test_symbolic_and_hard_links_are_refused(folder: Path) -> None:
    (folder / "soft.bin").symlink_to(folder.parent / "secret.bin")
    os.link(folder.parent / "secret.bin", folder / "hard.bin")
    for name, words in (("soft.bin", "cannot be opened as a plain file"), ("hard.bin", "is a link")):
        path = save(model_with(external(location=name)), folder / "m.onnx")
        with pytest.raises(InputError, match=words):
            load_checked(path, onnx)


def test_pipes_and_folders_are_refused_without_waiting(folder: Path) -> None:
    os.mkfifo(folder / "pipe.bin")
    (folder / "folder.bin").mkdir()
    for name in ("pipe.bin", "folder.bin", "absent.bin"):
        path = save(model_with(external(location=name)), folder / "m.onnx")
        with pytest.raises(InputError, match=name):
            load_checked(path, onnx)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"length": "47"}, "announces 47 bytes"),
        ({"length": "999999999999"}, "announces"),
        ({"offset": "1"}, "has 48 bytes where 49 are needed"),
        ({"offset": "-8"}, "number of bytes"),
        ({"offset": "0x8"}, "number of bytes"),
        ({"offset": "٣"}, "number of bytes"),
        ({"offset": "9" * 40}, "number of bytes"),
        ({"raw_data": "x"}, "unexpected external data field"),
    ],
)
def test_lying_external_data_is_refused(folder: Path, fields: dict[str, str], words: str) -> None:
    with pytest.raises(InputError, match=words):
        load_checked(save(model_with(external(**fields)), folder / "m.onnx"), onnx)


def test_a_field_given_twice_is_refused(folder: Path) -> None:
    tensor = external()
    tensor.external_data.add(key="location", value="../secret.bin")
    with pytest.raises(InputError, match="unexpected external data field"):
        load_checked(save(model_with(tensor), folder / "m.onnx"), onnx)


def test_external_entries_without_the_mark_are_refused(folder: Path) -> None:
    tensor = external()
    tensor.ClearField("data_location")
    with pytest.raises(InputError, match="plain file beside"):
        load_checked(save(model_with(tensor), folder / "m.onnx"), onnx)


@pytest.mark.parametrize(
    ("dims", "words"),
    [
        ([-1], "each must be"),
        ([1 << 40], "each must be"),
        ([1 << 31, 1 << 31, 1 << 31], "more than"),  # 2^93 elements: 0 if it overflowed
        ([1 << 29, 1 << 5], "more than"),
    ],
)
def test_invented_sizes_are_refused(tmp_path: Path, dims: list[int], words: str) -> None:
    with pytest.raises(InputError, match=words):
        check_model_proto(
            model_with(TensorProto(name="t", data_type=TensorProto.FLOAT, dims=dims)), tmp_path / "m.onnx"
        )


def test_values_and_shape_must_agree(tmp_path: Path) -> None:
    tensor = numpy_helper.from_array(VALUES, "t")
    tensor.raw_data = tensor.raw_data[:-1]
    with pytest.raises(InputError, match="holds 47 bytes where its shape needs 48"):
        check_model_proto(model_with(tensor), tmp_path / "m.onnx")


@pytest.mark.parametrize("kind", [0, 99])
def test_unknown_types_are_refused(tmp_path: Path, kind: int) -> None:
    with pytest.raises(InputError, match=f"data type {kind}"):
        check_model_proto(model_with(TensorProto(name="t", data_type=kind, dims=[1])), tmp_path / "m.onnx")


def test_every_type_that_onnx_knows_has_its_size(tmp_path: Path) -> None:
    for name, number in TensorProto.DataType.items():
        if name in ("UNDEFINED", "STRING"):
            continue
        dtype = helper.tensor_dtype_to_np_dtype(number)
        if dtype.itemsize * 8 == onnx_safety._BITS[number]:
            continue
        assert onnx_safety._BITS[number] < 8, name  # packed: numpy has no such type


def test_sums_and_counts_have_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(toy_model(), tmp_path / "m.onnx")
    for name, value in (("MAX_NODES", 5), ("MAX_TENSORS", 2), ("MAX_TOTAL_BYTES", 100), ("MAX_FILE_BYTES", 1000)):
        with monkeypatch.context() as patch:
            patch.setattr(onnx_safety, name, value)
            with pytest.raises(InputError):
                load_checked(path, onnx)
    monkeypatch.setattr(onnx_wire, "MAX_NODES", 5)
    with pytest.raises(InputError, match="more than 5 nodes"):
        check_model_file(path)


def test_endless_nesting_is_refused(tmp_path: Path) -> None:
    model = toy_model()
    graph = helper.make_graph([helper.make_node("Identity", ["a"], ["b"])], "leaf", [], [])
    for _ in range(20):
        graph = helper.make_graph([helper.make_node("If", ["a"], ["b"], then_branch=graph)], "n", [], [])
    model.graph.node.append(helper.make_node("If", ["a"], ["b"], then_branch=graph))
    path = save(model, tmp_path / "m.onnx")
    for check in (lambda: load_checked(path, onnx), lambda: check_model_file(path)):
        with pytest.raises(InputError, match="deep"):
            check()


def test_training_graphs_are_refused(tmp_path: Path) -> None:
    model = toy_model()
    model.training_info.add()
    path = save(model, tmp_path / "m.onnx")
    for check in (lambda: load_checked(path, onnx), lambda: check_model_file(path)):
        with pytest.raises(InputError, match="training graphs"):
            check()


def test_every_truncation_and_most_noise_is_one_error(tmp_path: Path) -> None:
    """A truncated file either fails or has lost something that is checked; nothing but `InputError` may come out."""
    data = toy_model().SerializeToString()
    path = tmp_path / "m.onnx"
    generator = np.random.default_rng(0)
    damaged = [data[:length] for length in range(0, len(data), 37)] + [generator.bytes(300) for _ in range(40)]
    for content in damaged:
        path.write_bytes(content)
        with pytest.raises(InputError):
            read_card(load_checked(path, onnx), path)
        with pytest.raises(InputError):
            check_model_file(path)


def test_flipped_bits_never_give_another_exception(folder: Path) -> None:
    path = folder / "m.onnx"
    data = bytearray(model_with(external(offset="0", length="48")).SerializeToString())
    for at in np.random.default_rng(1).integers(0, len(data) * 8, 300):
        flipped = bytearray(data)
        flipped[at // 8] ^= 1 << (at % 8)
        path.write_bytes(flipped)
        checks = (
            lambda: read_card(load_checked(path, onnx), path),
            lambda: check_model_file(path),
            lambda: read_model(path),
        )
        for check in checks:
            with suppress(InputError):
                check()


def test_absent_empty_and_odd_files(tmp_path: Path) -> None:
    (tmp_path / "empty.onnx").touch()
    (tmp_path / "folder.onnx").mkdir()
    for name in ("none.onnx", "empty.onnx", "folder.onnx"):
        for check in (lambda p: load_checked(p, onnx), check_model_file):
            with pytest.raises(InputError, match=name):
                check(tmp_path / name)


def test_unreadable_files_are_missing_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(toy_model(), tmp_path / "m.onnx")

    def denied(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", denied)
    with pytest.raises(MissingError, match="no permission"):
        load_checked(path, onnx)


def test_the_card_is_replaced_and_other_metadata_kept() -> None:
    model = toy_model()
    model.metadata_props.add(key="other", value="stays")
    card = replace(CARD, precision="fp16")
    write_card(model, card)
    write_card(model, card)
    assert read_card(model, "m") == card
    assert [entry.key for entry in model.metadata_props] == [CARD_KEY, "other"]


@pytest.mark.parametrize("count", [0, 2])
def test_exactly_one_card_is_wanted(tmp_path: Path, count: int) -> None:
    model = toy_model()
    del model.metadata_props[:]
    for _ in range(count):
        model.metadata_props.add(key=CARD_KEY, value=CARD.to_json())
    path = save(model, tmp_path / "m.onnx")
    words = "not exported by lggan" if count == 0 else "2 model cards"
    with pytest.raises(InputError, match=words):
        read_card(load_checked(path, onnx), path)
    with pytest.raises(InputError, match=words):
        check_model_file(path)


def test_the_wire_reader_knows_all_number_forms(tmp_path: Path) -> None:
    """Unknown fields of every wire type are skipped; groups, which onnx.proto never had, are refused."""
    data = toy_model().SerializeToString()
    unknown = bytes([0xF8, 0x06, 0xFF, 0x01])  # field 111, varint
    unknown += bytes([0xF9, 0x06]) + struct.pack("<d", 1.0)  # field 111, 64 bits
    unknown += bytes([0xFD, 0x06]) + struct.pack("<f", 1.0)  # field 111, 32 bits
    path = tmp_path / "m.onnx"
    path.write_bytes(data + unknown)
    assert check_model_file(path)[1] == CARD
    path.write_bytes(data + bytes([0xFB, 0x06]))  # field 111, start of a group
    with pytest.raises(InputError, match="damaged"):
        check_model_file(path)
