from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from export.onnx_export import ExportResult
from export.onnx_file import onnx_bytes, read_onnx, write_onnx
from export.variants import Variant, to_variant
from runtime.contract.errors import InputError, MissingError, UsageError
from runtime.contract.onnx_wire import check_model_file


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
        assert [entry.value for entry in model.metadata_props] == [card.to_json()]
        onnx.checker.check_model(model)


def test_too_large_for_one_file(monkeypatch: pytest.MonkeyPatch, exported: ExportResult, tmp_path: Path) -> None:
    monkeypatch.setattr("export.onnx_file.MAX_FILE_BYTES", 1000)
    model = onnx.load_model_from_string(exported.path.read_bytes())
    with pytest.raises(UsageError, match="2 GiB"):
        write_onnx(tmp_path / "large.onnx", model)
    assert not list(tmp_path.iterdir())


def test_destination_is_a_folder(exported: ExportResult, tmp_path: Path) -> None:
    model = onnx.load_model_from_string(exported.path.read_bytes())
    with pytest.raises(MissingError, match="folder"):
        write_onnx(tmp_path, model)
