from __future__ import annotations

import errno
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper
from safetensors.torch import load_file, save_file
from torch import nn

import export.onnx_export
import export.proof_graph
from export.canonical import canonicalize
from export.graph_module import LabelsToPicture
from export.onnx_export import ExportResult, export_onnx
from export.opset import OPSET
from export.options import ExportOptions, OutputKind
from export.rewrites.plan import rewritten
from export.sau_function import attach_sau_function
from export.target import Target
from export.trace import trace
from export.variants import Variant
from lggan.config import SauMask, SauPlacement, SauWindow
from lggan.networks.class_routed import HeadForm
from lggan.networks.generator import LGGANGenerator
from lggan.networks.local_branch import class_map, head_map, head_masks
from lggan.networks.semantics import decode_image, encode_semantics
from runtime.contract.card import CARD_KEY, TensorInfo
from runtime.contract.errors import GateError, InputError, MissingError, UsageError
from runtime.contract.files import sha256_of
from runtime.contract.graph_report import GRAPH_KEY
from runtime.contract.labels import check_label_map
from tests.export.samples import Case, Sample

WHOLE = [Case(), Case(SauPlacement.GLOBAL, edges=True)]
PARTS = [
    Case(SauPlacement.NONE, edges=True),
    Case(SauPlacement.ENCODER, mask=SauMask.SAME_CLASS),
    Case(SauPlacement.ENCODER, window=SauWindow.EXPANDED, kernel=5),
]
SIZES = [(1, 32, 32), (2, 32, 96), (3, 64, 32), (1, 96, 128)]


def _inputs(sample: Sample, n: int, height: int, width: int) -> dict[str, np.ndarray]:
    """Blocks of 4 x 4 pixels of random classes, and instances that cut some of them."""
    draw = np.random.default_rng(height + width)
    label = draw.integers(0, len(sample.card.classes), (n, 1, height // 4, width // 4), dtype=np.uint8)
    feeds = {"label": label.repeat(4, axis=2).repeat(4, axis=3)}
    if sample.card.instances:
        columns = np.arange(width, dtype=np.int32) // 7
        feeds["instance"] = (feeds["label"].astype(np.int32) * 1000 + columns).astype(np.int32)
    return feeds


def _in_torch(generator: nn.Module, feeds: dict[str, np.ndarray]) -> torch.Tensor:
    instance = torch.from_numpy(feeds["instance"]) if "instance" in feeds else None
    with torch.no_grad():
        return generator(encode_semantics(torch.from_numpy(feeds["label"]), 4, instance)).final


def _session(path: Path) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])


class _WithoutGlobal(nn.Module):
    """A generator less its global branch, which is the same for these cases and takes PyTorch long to export."""

    def __init__(self, generator: LGGANGenerator) -> None:
        super().__init__()
        self.config = generator.config
        self.encoder = generator.encoder
        self.local_branch = generator.local_branch
        self.attention = generator.attention

    def forward(self, semantics: torch.Tensor) -> SimpleNamespace:
        ids = class_map(semantics, self.config.classes)
        heads = head_map(ids, self.config.classes, self.config.heads)
        if self.local_branch.form is HeadForm.DENSE:
            heads = head_masks(semantics, self.config.classes, self.config.heads)
        same_class = ids if self.config.sau.needs_classes else None
        quarter = self.encoder(semantics, same_class).quarter
        local = self.local_branch(quarter, heads, same_class).image
        return SimpleNamespace(final=local * self.attention(quarter, same_class))


@pytest.mark.parametrize("case", WHOLE, ids=lambda case: case.placement.value)
def test_file_equals_pytorch_at_every_size(make_sample: Callable[[Case], Sample], case: Case, tmp_path: Path) -> None:
    sample = make_sample(case)
    result = export_onnx(sample.path, tmp_path / "image.onnx")
    export_onnx(sample.path, tmp_path / "float.onnx", ExportOptions(output=OutputKind.FLOAT))
    image, floats = _session(tmp_path / "image.onnx"), _session(tmp_path / "float.onnx")
    for n, height, width in SIZES:
        feeds = _inputs(sample, n, height, width)
        expected = _in_torch(sample.generator, feeds)
        assert float(expected.std()) > 0.1
        assert float(np.abs(floats.run(None, feeds)[0] - expected.numpy()).max()) < 1e-3
        picture = image.run(None, feeds)[0]
        assert picture.shape == (n, height, width, 3)
        assert picture.dtype == np.uint8
        levels = picture.astype(np.int64) - decode_image(expected).numpy()
        assert int(np.abs(levels).max()) <= 1
    figures = result.card.verification
    assert figures["maps"] >= 3
    assert 0 < figures["max_abs"] <= 1e-3
    assert figures["max_levels"] <= 1


@pytest.mark.parametrize("case", PARTS, ids=lambda case: f"{case.placement.value}-{case.mask.value}")
def test_graph_equals_pytorch_at_every_size(make_sample: Callable[[Case], Sample], case: Case) -> None:
    sample = make_sample(case)
    part = _WithoutGlobal(sample.generator)
    model = _float_graph(part)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    for n, height, width in SIZES:
        feeds = _inputs(sample, n, height, width)
        expected = _in_torch(part, feeds)
        assert float(expected.std()) > 0.1
        assert float(np.abs(session.run(None, feeds)[0] - expected.numpy()).max()) < 1e-3


def test_tracing_twice_gives_equal_bytes(make_sample: Callable[[Case], Sample]) -> None:
    part = _WithoutGlobal(make_sample(PARTS[-1]).generator)
    again = canonicalize(trace(LabelsToPicture(rewritten(part, Target.TENSORRT))))
    attach_sau_function(again)
    assert again.SerializeToString(deterministic=True) == _float_graph(part).SerializeToString(deterministic=True)


def _float_graph(generator: nn.Module) -> onnx.ModelProto:
    model = canonicalize(export.proof_graph.trace(LabelsToPicture(rewritten(generator, Target.TENSORRT))))
    attach_sau_function(model)
    return model


def test_nodes_of_the_graph(exported: ExportResult) -> None:
    model = onnx.load(str(exported.path))
    assert {entry.domain: entry.version for entry in model.opset_import} == {"": OPSET, "lggan": 1}
    count = Counter(node.op_type for node in model.graph.node)
    assert count["SemanticAwareUpsample"] == 4  # two in the local, two in the attention decoder
    assert count["BatchNormalization"] == 0
    assert count["InstanceNormalization"] == 5 + 2 + 2 + 2
    node = next(node for node in model.graph.node if node.op_type == "SemanticAwareUpsample")
    assert node.name == "local_branch/decoder/up1/SemanticAwareUpsample"
    values = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
    assert values == {"kernel": 3, "scale": 2, "dilation": 2, "plugin_namespace": b"lggan", "plugin_version": b"1"}
    assert [function.name for function in model.functions] == ["SemanticAwareUpsample"]
    onnx.checker.check_model(model, full_check=True)


def test_card(exported: ExportResult, sample: Sample) -> None:
    card = exported.card
    assert card.inputs == (TensorInfo("label", "uint8", ("N", 1, "H", "W")),)
    assert card.outputs == (TensorInfo("image", "uint8", ("N", "H", "W", 3)),)
    assert card.checkpoint_sha256 == sha256_of(sample.path)
    assert (card.precision, card.stride, card.licence) == ("fp32", 32, "test only")
    assert len(card.provenance) == 1
    assert {"torch", "onnxruntime", "one_class", "mean_abs", "psnr_db"} <= card.verification.keys()
    model = onnx.load(str(exported.path))
    assert {entry.key: entry.value for entry in model.metadata_props} == {
        CARD_KEY: card.to_json(),
        GRAPH_KEY: exported.graph.to_json(),
    }


def test_nothing_of_the_machine_is_in_the_file(exported: ExportResult) -> None:
    data = exported.path.read_bytes()
    for trace_of in (b".py", os.getcwd().encode(), str(Path.home()).encode(), b"stack_trace"):
        assert trace_of not in data


def test_exporting_twice_gives_equal_bytes(exported: ExportResult, sample: Sample, tmp_path: Path) -> None:
    export_onnx(sample.path, tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == exported.path.read_bytes()


def test_off_stride_sizes_do_not_pass(exported: ExportResult, sample: Sample, tmp_path: Path) -> None:
    odd = np.zeros((40, 64), np.uint8)
    with pytest.raises(InputError):
        check_label_map(odd, exported.card, "label.png")  # what every caller asks first
    with pytest.raises(Exception, match=r"Add|Mul|Sub"):
        _session(exported.path).run(None, {"label": odd[None, None]})
    with pytest.raises(InputError, match="given map 1"):
        export_onnx(sample.path, tmp_path / "x.onnx", ExportOptions(maps=[odd]))
    assert not list(tmp_path.iterdir())


def test_given_maps_are_used(sample: Sample, tmp_path: Path) -> None:
    draw = np.random.default_rng(5)
    maps = [draw.integers(0, 4, size, dtype=np.uint8) for size in [(32, 64), (64, 64), (32, 32), (64, 96)]]
    result = export_onnx(sample.path, tmp_path / "model.onnx", ExportOptions(maps=maps))
    assert result.card.verification["maps"] == 4
    maps[2][0, 0] = 9
    with pytest.raises(InputError, match="given map 3"):
        export_onnx(sample.path, tmp_path / "other.onnx", ExportOptions(maps=maps))


def test_variants(exported: ExportResult, sample: Sample, tmp_path: Path) -> None:
    feeds = _inputs(sample, 2, 32, 64)
    expected = _session(exported.path).run(None, feeds)[0].astype(np.int64)
    export_onnx(sample.path, tmp_path / "inlined.onnx", ExportOptions(variant=Variant.INLINED))
    inlined = onnx.load(str(tmp_path / "inlined.onnx"))
    assert not inlined.functions
    assert {node.domain for node in inlined.graph.node} == {""}
    picture = _session(tmp_path / "inlined.onnx").run(None, feeds)[0]
    assert int(np.abs(picture - expected).max()) <= 1
    export_onnx(sample.path, tmp_path / "plugin.onnx", ExportOptions(variant=Variant.PLUGIN))
    plugin = onnx.load(str(tmp_path / "plugin.onnx"))
    assert not plugin.functions
    assert sum(node.domain == "lggan" for node in plugin.graph.node) == 4


def test_a_wrong_graph_is_not_written(
    monkeypatch: pytest.MonkeyPatch, exported: ExportResult, sample: Sample, tmp_path: Path
) -> None:
    honest = export.proof_graph.trace

    def slightly_wrong(module: LabelsToPicture) -> onnx.ModelProto:
        model = honest(module)
        for tensor in model.graph.initializer:
            if tensor.name == "generator.local_branch.fuse.bias":
                tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) + np.float32(0.05), tensor.name))
        return model

    monkeypatch.setattr(export.proof_graph, "trace", slightly_wrong)
    with pytest.raises(GateError, match="fault of the export") as caught:
        export_onnx(sample.path, tmp_path / "wrong.onnx")
    assert caught.value.exit_code == 1
    assert not list(tmp_path.iterdir())


def test_nan_weights_name_the_tensor(sample: Sample, tmp_path: Path) -> None:
    state = load_file(sample.path)
    state["local_branch.fuse.weight"][0, 0, 0, 0] = float("nan")
    broken = tmp_path / "nan.safetensors"
    save_file(state, broken, metadata={CARD_KEY: sample.card.to_json()})
    with pytest.raises(InputError, match=r"local_branch\.fuse\.weight"):
        export_onnx(broken, tmp_path / "model.onnx")
    assert [entry.name for entry in tmp_path.iterdir()] == ["nan.safetensors"]


@pytest.mark.parametrize("content", [b"", b"\x00" * 40, b"not a checkpoint at all, but long enough"])
def test_foreign_checkpoints(content: bytes, tmp_path: Path) -> None:
    broken = tmp_path / "model.safetensors"
    broken.write_bytes(content)
    with pytest.raises(InputError):
        export_onnx(broken, tmp_path / "model.onnx")
    with pytest.raises(InputError):
        export_onnx(tmp_path / "absent.safetensors", tmp_path / "model.onnx")
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.safetensors"]


def test_an_existing_file_is_refused_before_the_work(
    monkeypatch: pytest.MonkeyPatch, sample: Sample, exported: ExportResult, tmp_path: Path
) -> None:
    target = tmp_path / "model.onnx"
    target.write_text("mine")

    def never(module: LabelsToPicture) -> onnx.ModelProto:
        raise AssertionError("traced although the destination was taken")

    with monkeypatch.context() as patch:
        patch.setattr(export.proof_graph, "trace", never)
        with pytest.raises(UsageError, match="--force"):
            export_onnx(sample.path, target)
        with pytest.raises(MissingError):
            export_onnx(sample.path, target / "below a file" / "model.onnx")
    assert target.read_text() == "mine"
    export_onnx(sample.path, target, force=True)
    assert target.read_bytes() == exported.path.read_bytes()


def test_interrupted_or_out_of_space_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, sample: Sample, exported: ExportResult, tmp_path: Path
) -> None:
    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(export.onnx_export, "compare", interrupt)
        with pytest.raises(KeyboardInterrupt):
            export_onnx(sample.path, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())

    def full(path: Path, data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(MissingError, match="no space"):
            export_onnx(sample.path, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())
