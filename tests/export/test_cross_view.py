"""Cross-view models: the exported graph against the network of specification A.7, written out once more by hand."""

from __future__ import annotations

import importlib.util
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor
from torch.nn import functional

import export.proof_graph
from export.canonical import canonicalize
from export.graph_module import picture_graph
from export.layouts import built_in
from export.onnx_export import ExportResult, export_onnx
from export.options import ExportOptions, OutputKind
from export.rewrites.plan import rewritten
from export.sau_function import attach_sau_function
from export.target import Target
from lggan.config import SauMask, SauPlacement, SauWindow
from lggan.cross_view_config import CrossViewConfig
from lggan.import_weights import import_official
from lggan.networks.cross_view_inputs import encode_cross_view
from lggan.preset import load_preset
from runtime.contract.card import TensorInfo
from runtime.contract.errors import InputError
from runtime.contract.labels import check_label_map
from runtime.session import Session
from tests.export.samples import Case, Sample

PUBLISHED = Case(SauPlacement.NONE, cross_view=True)
PLACEMENTS = [
    Case(SauPlacement.DECODERS, cross_view=True),
    Case(SauPlacement.ENCODER, mask=SauMask.SAME_CLASS, cross_view=True),
    Case(SauPlacement.GLOBAL, window=SauWindow.EXPANDED, cross_view=True),
]
SIZES = [(1, 32, 32), (2, 8, 20), (3, 44, 12)]


def views(n: int, height: int, width: int) -> dict[str, np.ndarray]:
    """Noise as source; blocks of classes, void and, in a corner, a value that is no class."""
    draw = np.random.default_rng(height + width)
    ids = draw.choice(np.array([0, 1, 2, 3, 4, 255], np.uint8), (n, 1, height // 4, width // 4))
    label = ids.repeat(4, axis=2).repeat(4, axis=3)
    label[:, :, :2, :3] = 77
    return {"source": draw.integers(0, 256, (n, height, width, 3), dtype=np.uint8), "label": label}


def by_hand(state: dict[str, Tensor], config: CrossViewConfig, feeds: dict[str, np.ndarray]) -> np.ndarray:
    """Specification A.7 without semantic-aware upsampling, in float64: the final picture [N, 3, H, W]."""
    source, label = feeds["source"], feeds["label"][:, 0]
    n, height, width = label.shape
    painted, group = np.zeros((n, height, width, 3)), np.full((n, height, width), -1)
    for index in np.ndindex(n, height, width):
        if label[index] < config.classes:
            painted[index], group[index] = config.colors[label[index]], config.groups[label[index]]
    both = np.concatenate([source, painted], axis=3) / 127.5 - 1
    w = {name: tensor.double() for name, tensor in state.items()}

    def conv(x: Tensor, name: str, stride: int = 1, reflect: int = 0, zeros: int = 0) -> Tensor:
        x = functional.pad(x, (reflect,) * 4, mode="reflect") if reflect else x
        return functional.conv2d(x, w[f"{name}.weight"], w[f"{name}.bias"], stride, zeros)

    def norm(x: Tensor) -> Tensor:
        centred = x - x.mean(dim=(2, 3), keepdim=True)
        return centred / (centred.square().mean(dim=(2, 3), keepdim=True) + 1e-5).sqrt()

    def decode(x: Tensor, branch: str) -> Tensor:
        for layer in ("up1", "up2"):
            weight, bias = w[f"{branch}.decoder.{layer}.weight"], w[f"{branch}.decoder.{layer}.bias"]
            x = norm(functional.conv_transpose2d(x, weight, bias, 2, 1, 1)).relu()
        return x

    x = torch.from_numpy(both).permute(0, 3, 1, 2)
    x = norm(conv(x, "encoder.conv1", reflect=3)).relu()
    x = norm(conv(x, "encoder.conv2", 2, zeros=1)).relu()
    x = norm(conv(x, "encoder.conv3", 2, zeros=1)).relu()
    for block in range(config.residual_blocks):
        inner = norm(conv(x, f"tower.{block}.conv1", reflect=1)).relu()
        x = x + norm(conv(inner, f"tower.{block}.conv2", reflect=1))
    feature = decode(x, "local_branch")
    local = torch.zeros(n, 3, height, width, dtype=torch.float64)
    for head in range(config.heads):
        masked = functional.pad(feature * torch.from_numpy(group == head)[:, None], (3,) * 4, mode="reflect")
        weight, bias = w["local_branch.heads.weight"][head], w["local_branch.heads.bias"][head]
        local += functional.conv2d(masked, weight, bias).tanh()
    overall = conv(decode(x, "global_branch"), "global_branch.image", reflect=3).tanh()
    share = conv(decode(x, "attention"), "attention.weights").softmax(dim=1)
    final: np.ndarray = (share[:, :1] * local + share[:, 1:] * overall).numpy()
    return final


def session_of(model: bytes) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])


@pytest.fixture(scope="module")
def published(make_sample: Callable[[Case], Sample]) -> Sample:
    return make_sample(PUBLISHED)


@pytest.fixture(scope="module")
def image(published: Sample, tmp_path_factory: pytest.TempPathFactory) -> ExportResult:
    return export_onnx(published.path, tmp_path_factory.mktemp("cross_view") / "image.onnx")


def test_float_graph_is_the_published_network(published: Sample, tmp_path: Path) -> None:
    export_onnx(published.path, tmp_path / "float.onnx", ExportOptions(output=OutputKind.FLOAT))
    session = session_of((tmp_path / "float.onnx").read_bytes())
    config = published.generator.config
    assert isinstance(config, CrossViewConfig)
    beyond = 0.0
    for size in SIZES:
        feeds = views(*size)
        expected = by_hand(published.generator.state_dict(), config, feeds)
        assert expected.std() > 0.1
        assert np.abs(session.run(None, feeds)[0] - expected).max() < 1e-3
        beyond = max(beyond, float(np.abs(expected).max()))
    assert beyond > 1  # the sum of heads is not squashed, and the float graph does not clamp it


def test_session_clamps_and_rounds(published: Sample, image: ExportResult) -> None:
    config = published.generator.config
    assert isinstance(config, CrossViewConfig)
    with Session.open(image.path) as session:
        for size in SIZES:
            feeds = views(*size)
            feeds["label"][feeds["label"] == 77] = 255  # a session refuses values that are neither class nor void
            final = by_hand(published.generator.state_dict(), config, feeds).transpose(0, 2, 3, 1)
            expected = np.rint((np.clip(final, -1, 1) + 1) * 127.5)
            picture = session.generate(feeds["label"], source=feeds["source"])
            assert picture.dtype == np.uint8
            assert np.abs(picture - expected).max() <= 1
            assert (np.abs(final) > 1).any()


@pytest.mark.parametrize("case", PLACEMENTS, ids=lambda case: f"{case.placement.value}-{case.mask.value}")
def test_placements_and_masks_equal_pytorch(make_sample: Callable[[Case], Sample], case: Case) -> None:
    generator = make_sample(case).generator
    assert isinstance(generator.config, CrossViewConfig)
    model = canonicalize(
        export.proof_graph.trace(picture_graph(rewritten(generator, Target.TENSORRT), Target.TENSORRT))
    )
    attach_sau_function(model)
    nodes = Counter(node.op_type for node in model.graph.node)
    wanted = {SauPlacement.DECODERS: 3 * 2, SauPlacement.ENCODER: 1, SauPlacement.GLOBAL: 2}
    assert nodes["SemanticAwareUpsample"] == wanted[case.placement]
    session = session_of(model.SerializeToString())
    for size in SIZES:
        feeds = views(*size)
        with torch.no_grad():
            inputs = encode_cross_view(*(torch.from_numpy(feed) for feed in feeds.values()), generator.config)
            expected = generator(*inputs).final.numpy()
        assert expected.std() > 0.1
        assert np.abs(session.run(None, feeds)[0] - expected).max() < 1e-3


def test_card_and_graph(image: ExportResult) -> None:
    card = image.card
    assert card.task == "cross-view"
    assert card.inputs == (
        TensorInfo("source", "uint8", ("N", "H", "W", 3)),
        TensorInfo("label", "uint8", ("N", 1, "H", "W")),
    )
    assert card.outputs == (TensorInfo("image", "uint8", ("N", "H", "W", 3)),)
    assert (card.stride, card.void, card.wants_source, card.instances) == (4, 255, True, False)
    assert "batch norm" not in card.provenance[-1]
    assert card.verification["maps"] == 4
    model = onnx.load(str(image.path))
    nodes = Counter(node.op_type for node in model.graph.node)
    assert nodes["InstanceNormalization"] == 3 + 2 + 2 + 2 + 2
    assert not nodes.keys() & {"NonZero", "ScatterElements", "ScatterND", "Loop", "If"}  # no shapes that data decide
    # TensorRT has bytes at the edges of a network only
    readers = [node.op_type for node in model.graph.node if {"source", "label"} & set(node.input)]
    assert set(readers) == {"Cast"}
    biased = [node.name for node in model.graph.node if node.op_type == "Conv" and len(node.input) == 3]
    assert not [name for name in biased if name.startswith(("encoder", "tower"))]  # dead before an instance norm


def test_equal_checkpoints_give_equal_bytes(published: Sample, image: ExportResult, tmp_path: Path) -> None:
    export_onnx(published.path, tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == image.path.read_bytes()


def test_check_inputs(published: Sample) -> None:
    checks = built_in(published.card)
    assert any((check.label == 255).any() for check in checks)
    for check, again in zip(checks, built_in(published.card), strict=True):
        assert check.source is not None
        assert check.source.shape == (len(check.label), *check.label.shape[2:], 3)
        assert check.source.std() > 20
        check_label_map(check.label, published.card, check.name)
        np.testing.assert_array_equal(check.source, again.source)
        assert list(check.batch.feeds()) == ["source", "label"]


def test_given_maps_may_hold_void_but_nothing_else(published: Sample, tmp_path: Path) -> None:
    label = np.full((16, 24), 255, np.uint8)
    label[:8] = 2
    result = export_onnx(published.path, tmp_path / "model.onnx", ExportOptions(maps=[label]))
    assert result.card.verification["maps"] == 1
    for bad in (np.full((16, 24), 77, np.uint8), np.zeros((18, 24), np.uint8), np.zeros((4, 24), np.uint8)):
        with pytest.raises(InputError, match="given map 1"):
            export_onnx(published.path, tmp_path / "other.onnx", ExportOptions(maps=[bad]))
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]


def test_released_weights_reach_the_session(shared_dir: Path, tmp_path: Path) -> None:
    """From an official checkpoint to pictures: the numbers of the authors' own network."""
    folder = shared_dir / "reference"
    spec = importlib.util.spec_from_file_location("weights", folder / "weights.py")
    assert spec is not None
    assert spec.loader is not None
    weights = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(weights)
    state = weights.state_dict(folder / "keys_cross_view_ngf8.json")
    torch.save({name: torch.from_numpy(array) for name, array in state.items()}, tmp_path / "net_G.pth")
    import_official(tmp_path / "net_G.pth", load_preset("dayton_a2g_64"), tmp_path / "g.safetensors")
    export_onnx(tmp_path / "g.safetensors", tmp_path / "g.onnx", ExportOptions(output=OutputKind.FLOAT))
    stored = np.load(folder / "cross_view_ngf8.npz")
    feeds = {"source": stored["source"], "label": stored["label"][:, None]}
    session = session_of((tmp_path / "g.onnx").read_bytes())
    assert np.abs(session.run(None, feeds)[0] - stored["final"]).max() < 1e-3
    levels = (np.clip(stored["final"], -1, 1).transpose(0, 2, 3, 1) + 1) * 127.5
    with Session.open(tmp_path / "g.onnx") as opened:
        assert np.abs(opened.generate(stored["label"], source=stored["source"]) - levels).max() < 0.5 + 1e-3 * 127.5
