from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from export.external_data import is_large, serialized, skeleton
from export.onnx_export import ExportResult
from export.onnx_file import check_graph, check_written, onnx_bytes, read_onnx, write_onnx
from export.variants import Variant, to_variant
from runtime.contract.card import CARD_KEY
from runtime.contract.errors import BackendError, InputError, MissingError, UsageError
from runtime.contract.external_data import DATA_SHA256_KEY
from runtime.contract.files import sha256_of
from runtime.contract.graph_report import GRAPH_KEY
from runtime.contract.onnx_wire import check_model_file, read_model

LIMIT = 100_000  # bytes: above it, the models of these tests are taken for larger than 2 GiB


def test_round_trip(exported: ExportResult, tmp_path: Path) -> None:
    model, card = read_onnx(exported.path)
    assert card == exported.card
    write_onnx(tmp_path / "again.onnx", model)
    assert (tmp_path / "again.onnx").read_bytes() == exported.path.read_bytes()
    with pytest.raises(UsageError, match="--force"):
        write_onnx(tmp_path / "again.onnx", model)


def test_devices_without_the_onnx_package_can_read_it(exported: ExportResult) -> None:
    data, card = check_model_file(exported.path)
    assert card == exported.card
    assert len(data) == exported.size


@pytest.mark.parametrize("keep", [0, 1, 100, 0.5, 0.999])
def test_truncated_file(exported: ExportResult, tmp_path: Path, keep: float) -> None:
    data = exported.path.read_bytes()
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(data[: int(keep * len(data)) if isinstance(keep, float) else keep])
    with pytest.raises(InputError):
        read_onnx(broken)


def test_files_from_elsewhere(tmp_path: Path) -> None:
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    other = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    graph = helper.make_graph([helper.make_node("Neg", ["x"], ["y"])], "foreign", [value], [other])
    onnx.save(helper.make_model(graph), str(tmp_path / "foreign.onnx"))
    with pytest.raises(InputError, match="not exported by lggan"):
        read_onnx(tmp_path / "foreign.onnx")
    (tmp_path / "text.onnx").write_text("hello")
    with pytest.raises(InputError):
        read_onnx(tmp_path / "text.onnx")
    with pytest.raises(InputError, match="does not exist"):
        read_onnx(tmp_path / "absent.onnx")


def test_variants_differ_as_they_should(exported: ExportResult) -> None:
    full, card = read_onnx(exported.path)
    plugin, inlined = to_variant(full, Variant.PLUGIN), to_variant(full, Variant.INLINED)
    assert [len(model.functions) for model in (full, plugin, inlined)] == [1, 0, 0]
    assert len(full.functions) == 1  # the original is left alone
    domains = [{node.domain for node in model.graph.node} for model in (full, plugin, inlined)]
    assert domains == [{"", "lggan"}, {"", "lggan"}, {""}]
    assert {entry.domain for entry in inlined.opset_import} == {""}
    assert onnx_bytes(to_variant(full, Variant.FULL)) == onnx_bytes(full)
    for model in (plugin, inlined):
        assert {entry.key: entry.value for entry in model.metadata_props} == {
            CARD_KEY: card.to_json(),
            GRAPH_KEY: exported.graph.to_json(),
        }
        onnx.checker.check_model(model)


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def run(path_or_bytes: str | bytes, external: Mapping[str, np.ndarray]) -> np.ndarray:
    """The picture of a fixed label map, in ONNX Runtime."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    if external:
        values = [onnxruntime.OrtValue.ortvalue_from_numpy(array) for array in external.values()]
        options.add_external_initializers(list(external), values)
    session = onnxruntime.InferenceSession(path_or_bytes, options, providers=["CPUExecutionProvider"])
    label = np.random.default_rng(0).integers(0, 4, (1, 1, 32, 64), dtype=np.uint8)
    picture: np.ndarray = session.run(None, {"label": label})[0]
    return picture


@pytest.fixture
def model(exported: ExportResult) -> onnx.ModelProto:
    return onnx.load_model_from_string(exported.path.read_bytes())


@pytest.fixture
def pair(model: onnx.ModelProto, tmp_path: Path) -> Path:
    """The usual export, written as if it were too large for one file."""
    path = tmp_path / "pair" / "model.onnx"
    write_onnx(path, model, limit=LIMIT)
    return path


def test_too_large_for_one_message(model: onnx.ModelProto) -> None:
    assert is_large(model, LIMIT)
    assert not is_large(model)
    with pytest.raises(UsageError, match="2 GiB"):
        onnx_bytes(model, LIMIT)


def test_a_large_model_becomes_a_pair(pair: Path, model: onnx.ModelProto, exported: ExportResult) -> None:
    assert left_in(pair.parent) == ["model.onnx", "model.onnx.data"]
    data = pair.with_name("model.onnx.data")
    graph = onnx.load(str(pair), load_external_data=False)
    metadata = {entry.key: entry.value for entry in graph.metadata_props}
    assert metadata == {
        CARD_KEY: exported.card.to_json(),
        GRAPH_KEY: exported.graph.to_json(),
        DATA_SHA256_KEY: sha256_of(data),
    }
    ends = [0]
    for tensor in graph.graph.initializer:
        size = int(np.prod(tensor.dims)) * helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
        fields = {entry.key: entry.value for entry in tensor.external_data}
        assert bool(fields) == (size >= 1024)
        if fields:
            assert fields["location"] == "model.onnx.data"
            assert int(fields["offset"]) % 65536 == 0
            assert int(fields["offset"]) >= ends[-1]
            assert int(fields["length"]) == size
            ends.append(int(fields["offset"]) + size)
    assert len(ends) > 50
    assert data.stat().st_size == ends[-1]
    assert pair.stat().st_size < exported.size / 4
    check_written(pair)


def test_a_pair_is_read_as_the_same_model(pair: Path, model: onnx.ModelProto, exported: ExportResult) -> None:
    assert read_onnx(pair) == (model, exported.card)
    again = read_model(pair)
    assert again.card == exported.card
    expected = run(exported.path.read_bytes(), {})
    assert np.array_equal(run(str(pair), {}), expected)  # other programs
    assert np.array_equal(run(again.data, again.external), expected)  # our devices
    apart = serialized(model, LIMIT)
    assert apart.external.keys() == again.external.keys()
    assert np.array_equal(run(apart.data, apart.external), expected)  # without any file
    assert serialized(model).external == {}
    assert read_model(exported.path).external == {}
    with pytest.raises(InputError, match="keeps tensors in other files"):
        check_model_file(pair)


def test_pairs_are_written_alike(pair: Path, model: onnx.ModelProto, tmp_path: Path) -> None:
    write_onnx(tmp_path / "model.onnx", model, limit=LIMIT)
    for name in ("model.onnx", "model.onnx.data"):
        assert (tmp_path / name).read_bytes() == (pair.parent / name).read_bytes()


def test_existing_pairs(pair: Path, model: onnx.ModelProto) -> None:
    before = pair.read_bytes()
    with pytest.raises(UsageError, match=r"model\.onnx exists already; pass --force"):
        write_onnx(pair, model, limit=LIMIT)
    pair.unlink()
    with pytest.raises(UsageError, match=r"model\.onnx\.data exists already; pass --force"):
        write_onnx(pair, model, limit=LIMIT)
    write_onnx(pair, model, limit=LIMIT, force=True)
    assert pair.read_bytes() == before
    write_onnx(pair, model, force=True)
    assert left_in(pair.parent) == ["model.onnx"]  # the data belonged to what is no more
    assert read_onnx(pair)[0] == model


def test_a_data_file_of_another_model_is_refused(pair: Path) -> None:
    data = pair.with_name("model.onnx.data")
    content = bytearray(data.read_bytes())
    content[-1] ^= 1
    for changed, words in (
        (bytes(content), "is not the file that was written with it"),
        (data.read_bytes() + b"more", "is not the file that was written with it"),
        (data.read_bytes()[:-1], "are needed"),
        (None, "cannot be opened as a plain file"),
    ):
        data.unlink()
        if changed is not None:
            data.write_bytes(changed)
        for read in (read_onnx, read_model):
            with pytest.raises(InputError, match=words):
                read(pair)
        data.write_bytes(bytes(content[:-1]) + bytes([content[-1] ^ 1]))


def test_an_invalid_pair_is_not_left(model: onnx.ModelProto, tmp_path: Path) -> None:
    model.graph.node[3].op_type = "NoSuchOperator"
    with pytest.raises(BackendError, match="NoSuchOperator"):
        write_onnx(tmp_path / "model.onnx", model, limit=LIMIT)
    assert not left_in(tmp_path)
    with pytest.raises(BackendError, match="NoSuchOperator"):
        check_graph(model)


def test_the_skeleton_has_everything_but_the_weights(model: onnx.ModelProto) -> None:
    bare = skeleton(model)
    assert bare.ByteSize() < model.ByteSize() / 10
    assert bare.graph.node == model.graph.node
    assert bare.functions == model.functions
    assert bare.metadata_props == model.metadata_props
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    assert {tensor.name for tensor in bare.graph.initializer} | {v.name for v in bare.graph.input} == {
        "label", *weights
    }  # fmt: skip
    for tensor in bare.graph.initializer:
        assert tensor == weights[tensor.name]
    check_graph(model)


def test_values_that_are_not_raw_bytes(tmp_path: Path) -> None:
    values = np.arange(600, dtype=np.float32)
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "w"], ["y"])],
        "floats",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [600])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [600])],
        [helper.make_tensor("w", TensorProto.FLOAT, [600], values)],  # float_data
    )
    write_onnx(tmp_path / "m.onnx", helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]), limit=2000)
    assert (tmp_path / "m.onnx.data").read_bytes() == values.tobytes()


def test_destination_is_a_folder(exported: ExportResult, tmp_path: Path) -> None:
    model = onnx.load_model_from_string(exported.path.read_bytes())
    with pytest.raises(MissingError, match="folder"):
        write_onnx(tmp_path, model)
    with pytest.raises(MissingError, match="folder"):
        write_onnx(tmp_path, model, limit=LIMIT)
