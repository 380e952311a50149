"""Official weights: imported ones draw the pictures that the published networks draw; bad files are named, not run."""

from __future__ import annotations

import hashlib
import json
import time
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

import cli
from lggan.checkpoint import load_generator
from lggan.config import GeneratorConfig, SauPlacement, SauWindow, UpsamplingDepth
from lggan.import_weights import FOREIGN_LICENCE, LICENCE, import_official
from lggan.networks.build import build_generator
from lggan.networks.cross_view import CrossViewGenerator
from lggan.networks.cross_view_inputs import encode_cross_view
from lggan.networks.generator import LGGANGenerator, Synthesis
from lggan.networks.semantics import encode_semantics
from lggan.official.convert import convert
from lggan.official.layout import is_statistic, origins, unused_entries
from lggan.preset import Preset, load_preset
from lggan.task import Task
from runtime.contract.card import ClassInfo
from runtime.contract.errors import UsageError
from tests.lggan import official_cross_view
from tests.lggan.official_reference import Outputs, Shape, official_state, run

MERGED = Shape(classes=5, edges=True, heads=3, scored=2, ngf=2, doublings=6, spade_hidden=8)
PLAIN = Shape(classes=4, edges=False, heads=4, scored=4, ngf=2, doublings=5, spade_hidden=8)
TWELVE = replace(PLAIN, classes=12, heads=12, scored=12)  # deconv5_10 comes before deconv5_2 in the alphabet
ADE20K = Shape(classes=151, edges=False, heads=52, scored=51, ngf=2, doublings=5)
RESAMPLED = replace(MERGED, sau_kernel=5, residual_blocks=2)
CROSS_VIEW_PRESETS = ("dayton_a2g", "dayton_g2a", "dayton_a2g_64", "dayton_g2a_64", "cvusa", "sva")


def preset_of(shape: Shape) -> Preset:
    classes = tuple(ClassInfo(f"class {index}", (index, 0, 0)) for index in range(shape.classes))
    generator = GeneratorConfig(
        classes=shape.classes,
        height=64,
        width=128,
        edges=shape.edges,
        heads=shape.heads,
        ngf=64,  # the file's widths count, not the preset's
        spade_hidden=128,
        depth=UpsamplingDepth.MORE if shape.doublings == 6 else UpsamplingDepth.NORMAL,
    )
    return replace(load_preset("tiny"), classes=classes, void=None, generator=generator)


def random_semantics(shape: Shape, height: int = 64, width: int = 128) -> Tensor:
    """Blocks of 8 pixels, as far as possible of every class but the last."""
    draw = torch.Generator().manual_seed(5)
    blocks = torch.randint(0, shape.classes - 1, (2, 1, height // 8, width // 8), generator=draw)
    label = blocks.repeat_interleave(8, dim=2).repeat_interleave(8, dim=3)
    return encode_semantics(label, shape.classes, label // 2 if shape.edges else None)


def assert_equal(ours: Synthesis, theirs: Outputs | official_cross_view.Outputs, tolerance: float) -> None:
    pairs = {
        "final": (ours.final, theirs.final),
        "global": (ours.global_image, theirs.result_global),
        "local": (ours.local_image, theirs.result_local),
        "attention": (ours.attention_local, theirs.attention_local),
    }
    if isinstance(theirs, Outputs):
        assert ours.classification is not None
        pairs["score"] = (ours.classification.scores, theirs.score)
        pairs["valid"] = (ours.classification.present, theirs.valid)
    for name, (mine, reference) in pairs.items():
        assert mine.shape == reference.shape, name
        assert (mine - reference).abs().max().item() < tolerance, name


def imported(state: dict[str, Tensor], preset: Preset, folder: Path) -> LGGANGenerator | CrossViewGenerator:
    torch.save(state, folder / "200_net_G.pth")
    import_official(folder / "200_net_G.pth", preset, folder / "ours.safetensors", force=True)
    return load_generator(folder / "ours.safetensors")[0]


@pytest.mark.parametrize("shape", [MERGED, PLAIN, TWELVE, RESAMPLED])
def test_imported_network_equals_the_published_one(shape: Shape, tmp_path: Path) -> None:
    """In float64; only the folded weights were rounded, once."""
    state = official_state(shape, seed=1)
    torch.save(state, tmp_path / "200_net_G.pth")
    result = import_official(tmp_path / "200_net_G.pth", preset_of(shape), tmp_path / "ours.safetensors")
    generator, card = load_generator(result.output)
    assert isinstance(generator, LGGANGenerator)
    assert result.ngf == card.generator["ngf"] == shape.ngf
    assert (result.heads, result.residual_blocks) == (shape.heads, shape.residual_blocks)
    assert result.entries == len(state)
    assert set(result.dropped) == {name for name in state if name.startswith("fc.") or name.endswith("tracked")}
    assert generator.config.spade_hidden == shape.spade_hidden
    assert card.licence == result.licence
    assert result.licence == (FOREIGN_LICENCE if shape.sau_kernel else LICENCE)
    assert "CC BY-NC-SA 4.0" in LICENCE

    semantics = random_semantics(shape).double()
    with torch.no_grad():
        assert_equal(generator.double()(semantics), run(state, shape, semantics), 2e-5)


def test_ade20k_with_its_merged_head(tmp_path: Path) -> None:
    """151 classes, 52 heads of which the last has a hundred classes, 51 scores, five doublings, no edges."""
    state = official_state(ADE20K, seed=2)
    assert len(state) == 398  # specification E.2
    generator = imported(state, load_preset("ade20k"), tmp_path)
    semantics = random_semantics(ADE20K, 64, 64).double()
    assert semantics[:, 51:].sum() > 0
    with torch.no_grad():
        assert_equal(generator.double()(semantics), run(state, ADE20K, semantics), 2e-5)


@pytest.mark.parametrize("name", CROSS_VIEW_PRESETS)
def test_cross_view_network_equals_the_published_one(name: str, tmp_path: Path) -> None:
    """Every preset paints and groups the label map as the published network got it."""
    state = official_cross_view.official_state(ngf=3, seed=3)
    assert len(state) == 72
    generator = imported(state, load_preset(name), tmp_path)
    assert isinstance(generator, CrossViewGenerator)
    draw = np.random.default_rng(4)
    source = draw.integers(0, 256, (2, 16, 24, 3), dtype=np.uint8)
    label = draw.choice([*range(19), 255], (2, 4, 6)).astype(np.uint8).repeat(4, axis=1).repeat(4, axis=2)
    conditions, groups = encode_cross_view(torch.from_numpy(source), torch.from_numpy(label)[:, None], generator.config)
    published = official_cross_view.published_inputs(source, label, torch.float64)
    with torch.no_grad():
        assert_equal(generator.double()(conditions.double(), groups), official_cross_view.run(state, *published), 2e-5)


def test_semantic_aware_upsampling_of_the_public_layout(tmp_path: Path) -> None:
    """Kernel, window and width of the prediction are read off the file."""
    generator = imported(official_state(RESAMPLED, seed=1), preset_of(RESAMPLED), tmp_path)
    sau = generator.config.sau
    assert sau.placement is SauPlacement.DECODERS
    assert (sau.kernel, sau.encoder_kernel, sau.compressed, sau.window) == (5, 1, 6, SauWindow.EXPANDED)


def test_folding_is_exact_before_the_rounding_to_single(tmp_path: Path) -> None:
    """Compared in float64: every folded weight is the nearest float32 of W / (u^T W v)."""
    state = official_state(PLAIN, seed=2)
    ours = imported(state, preset_of(PLAIN), tmp_path).state_dict()
    checked = 0
    for name in state:
        if not name.endswith(".weight_orig"):
            continue
        stem = name.removesuffix(".weight_orig")
        weight, u, v = (state[f"{stem}.weight_{kind}"].double().numpy() for kind in ("orig", "u", "v"))
        expected = weight / (u @ weight.reshape(weight.shape[0], -1) @ v)
        index = ("head_0", "G_middle_0", "G_middle_1", "up_0", "up_1", "up_2", "up_3").index(stem.split(".")[0])
        found = ours[f"global_branch.blocks.{index}.{stem.split('.')[1]}.weight"].double().numpy()
        np.testing.assert_allclose(found, expected, rtol=6.1e-8)
        checked += 1
    assert checked == 18


def test_official_cityscapes_numbers(shared_dir: Path, tmp_path: Path) -> None:
    """The published network at ngf 8; its weights are drawn anew from the key names, as the reference's README says."""
    folder = shared_dir / "reference"
    state = _drawn_from_names(json.loads((folder / "keys_cityscapes_ngf8.json").read_text()))
    generator = imported(state, load_preset("cityscapes"), tmp_path)
    stored = np.load(folder / "cityscapes_ngf8.npz")
    label, instance = (torch.from_numpy(stored[name].astype(np.int32))[:, None] for name in ("label", "instance"))
    with torch.no_grad():
        made = generator(encode_semantics(label, 35, instance))
    _compare(made, stored)
    np.testing.assert_allclose(made.classification.scores[0].numpy(), stored["class_score"], rtol=0, atol=1e-4)
    np.testing.assert_array_equal(made.classification.present[0].numpy(), stored["class_valid"])


def test_official_cross_view_numbers(shared_dir: Path, tmp_path: Path) -> None:
    folder = shared_dir / "reference"
    state = _drawn_from_names(json.loads((folder / "keys_cross_view_ngf8.json").read_text()))
    generator = imported(state, load_preset("dayton_a2g"), tmp_path)
    assert isinstance(generator, CrossViewGenerator)
    stored = np.load(folder / "cross_view_ngf8.npz")
    source, label = torch.from_numpy(stored["source"]), torch.from_numpy(stored["label"])[:, None]
    with torch.no_grad():
        _compare(generator(*encode_cross_view(source, label, generator.config)), stored)


def _compare(made: Synthesis, stored: dict[str, np.ndarray]) -> None:
    for name, tensor in (
        ("final", made.final),
        ("result_global", made.global_image),
        ("result_local", made.local_image),
        ("attention_local", made.attention_local),
    ):
        np.testing.assert_allclose(tensor.numpy(), stored[name], rtol=0, atol=1e-4, err_msg=name)


def _drawn_from_names(keys: dict[str, tuple[list[int], str]]) -> dict[str, Tensor]:
    """PCG64 seeded by the CRC-32 of each key; the scale follows from what kind of entry it is."""
    state: dict[str, np.ndarray] = {}
    for key, (shape, _) in keys.items():
        draw = np.random.Generator(np.random.PCG64(zlib.crc32(key.encode())))
        match key.rsplit(".", 1)[-1]:
            case "num_batches_tracked":
                state[key] = np.array(1)
            case "running_var":
                state[key] = draw.random(shape) + 0.5
            case "running_mean":
                state[key] = 0.2 * draw.standard_normal(shape)
            case "bias":
                state[key] = 0.1 * draw.standard_normal(shape)
            case "weight_u":
                vector = draw.standard_normal(shape)
                state[key] = (vector / np.linalg.norm(vector)).astype(np.float32)
            case "weight_v":
                pass  # follows from u
            case _:
                state[key] = draw.standard_normal(shape) / np.sqrt(np.prod(shape[1:]) if len(shape) > 1 else shape[0])
    for key in [key for key in state if key.endswith("weight_orig")]:
        matrix = state[key].astype(np.float32).astype(np.float64).reshape(state[key].shape[0], -1)
        u = state[key.replace("_orig", "_u")].astype(np.float64)
        for _ in range(15):
            v = matrix.T @ u
            v /= np.linalg.norm(v)
            u = matrix @ v
            u /= np.linalg.norm(u)
        state[key.replace("_orig", "_u")], state[key.replace("_orig", "_v")] = u, v
    return {key: torch.from_numpy(np.asarray(value, np.float32)) for key, value in state.items()}


@pytest.mark.parametrize(
    ("name", "parameters", "entries"),
    [("cityscapes", 111_123_495, 364), ("ade20k", 115_091_019, 398), ("dayton_a2g", 12_191_258, 72)],
)
def test_full_width_counts(name: str, parameters: int, entries: int) -> None:
    """Specification E.2 and E.5: what the rules expect of a file, with the dead entries, is what the files hold."""
    config = load_preset(name).generator
    config = replace(config, sau=replace(config.sau, placement=SauPlacement.NONE))
    with torch.device("meta"):
        state = build_generator(config).state_dict()
    expected = {key: shape for origin in origins(state, config).values() for key, shape in origin.entries}
    if isinstance(config, GeneratorConfig):
        dead = {"fc.weight": (1024, config.semantic_channels, 3, 3), "fc.bias": (1024,)}
        counters = sum(key.endswith("num_batches_tracked") for key in state)
    else:
        dead, counters = {"deconv5_7.weight": (3, 64, 7, 7), "deconv5_7.bias": (3,)}, 0
    assert len(expected) + len(dead) + counters == entries
    assert set(unused_entries([*expected, *dead], config)) == set(dead)
    sizes = (expected | dead).items()
    learned = [np.prod(shape) for key, shape in sizes if not key.endswith(("_u", "_v")) and not is_statistic(key)]
    assert sum(learned) == parameters


def test_a_cross_view_file_of_full_width(tmp_path: Path) -> None:
    state = official_cross_view.official_state(ngf=64, seed=1)
    torch.save(state, tmp_path / "35_net_G.pth")
    result = import_official(tmp_path / "35_net_G.pth", load_preset("dayton_a2g"), tmp_path / "ours.safetensors")
    assert result.parameters + result.dropped_parameters == 12_191_258
    assert result.dropped == ("deconv5_7.weight", "deconv5_7.bias")
    assert (result.task, result.ngf, result.heads) == (Task.CROSS_VIEW, 64, 6)
    assert result.sha256 == hashlib.sha256((tmp_path / "35_net_G.pth").read_bytes()).hexdigest()
    assert load_generator(result.output)[1].void == 255


def test_keys_of_a_parallel_training_are_understood(tmp_path: Path) -> None:
    state = official_state(PLAIN, seed=3)
    single = imported(state, preset_of(PLAIN), tmp_path).state_dict()
    parallel = imported({f"module.{name}": tensor for name, tensor in state.items()}, preset_of(PLAIN), tmp_path)
    assert [name for name, tensor in parallel.state_dict().items() if not torch.equal(single[name], tensor)] == []


def test_the_format_of_pytorch_1_0(tmp_path: Path) -> None:
    """The released files are older than the zip archives of today."""
    state = official_state(PLAIN, seed=3)
    torch.save(state, tmp_path / "old_net_G.pth", _use_new_zipfile_serialization=False)
    import_official(tmp_path / "old_net_G.pth", preset_of(PLAIN), tmp_path / "old.safetensors")
    new = imported(state, preset_of(PLAIN), tmp_path).state_dict()
    old = load_file(tmp_path / "old.safetensors")
    assert [name for name in old if not torch.equal(old[name], new[name])] == []


def test_types_and_memory_of_the_file_do_not_matter(tmp_path: Path) -> None:
    """Doubles, parameters, channels-last and tensors that share memory are the same numbers."""
    state = official_cross_view.official_state(ngf=2, seed=6)
    state["deconv4_global.weight"] = state["deconv4_local.weight"]
    plain = imported(state, load_preset("sva"), tmp_path).state_dict()
    state = {name: tensor.double() for name, tensor in state.items()}
    state["conv2.weight"] = state["conv2.weight"].to(memory_format=torch.channels_last)
    state["conv1.bias"] = torch.nn.Parameter(state["conv1.bias"])
    state["deconv4_global.weight"] = state["deconv4_local.weight"]
    odd = imported(state, load_preset("sva"), tmp_path).state_dict()
    assert [name for name in plain if not torch.equal(plain[name], odd[name])] == []


def test_statistics_of_old_instance_norms_are_dropped(tmp_path: Path) -> None:
    """Before PyTorch 0.4 an InstanceNorm kept running statistics; SPADE's batch norms still do, and need them."""
    state = official_cross_view.official_state(ngf=2, seed=6)
    old = [f"{name}_norm.running_{kind}" for name in ("conv1", "resnet_blocks3.conv2") for kind in ("mean", "var")]
    state |= {name: torch.zeros(2) for name in old}
    torch.save(state, tmp_path / "net_G.pth")
    result = import_official(tmp_path / "net_G.pth", load_preset("cvusa"), tmp_path / "ours.safetensors")
    assert set(result.dropped) == {*old, "deconv5_7.weight", "deconv5_7.bias"}
    semantic = official_state(PLAIN, seed=1)
    config = preset_of(PLAIN).generator
    assert not any("param_free_norm.running" in name for name in unused_entries(semantic, config))


def test_a_residual_tower_of_another_height_is_taken_and_told(tmp_path: Path) -> None:
    state = official_state(replace(PLAIN, residual_blocks=2), seed=1)
    torch.save(state, tmp_path / "net_G.pth")
    result = import_official(tmp_path / "net_G.pth", preset_of(PLAIN), tmp_path / "ours.safetensors")
    assert result.residual_blocks == 2
    assert any("residual_blocks is 2" in note and "9" in note for note in result.notes)


def test_every_origin_gives_its_tensor_back() -> None:
    """The rules lose nothing: entries made from ours, all numbers different, come back as they were."""
    config = load_preset("tiny_cross_view").generator
    ours = build_generator(replace(config, sau=replace(config.sau, placement=SauPlacement.NONE)))
    rules = origins(ours.state_dict(), ours.config)
    official: dict[str, Tensor] = {}
    for name, origin in rules.items():
        tensor = ours.state_dict()[name]
        parts = tensor.unbind() if len(origin.entries) > 1 else [tensor]
        official |= {key: part for (key, _), part in zip(origin.entries, parts, strict=True)}
    back, faults = convert(official, rules, [])
    assert not faults
    assert [name for name, tensor in ours.state_dict().items() if not torch.equal(back[name], tensor)] == []


def test_an_existing_output_is_kept_unless_forced(tmp_path: Path) -> None:
    torch.save(official_state(PLAIN, seed=7), tmp_path / "net_G.pth")
    output = tmp_path / "ours.safetensors"
    output.write_bytes(b"precious")
    with pytest.raises(UsageError, match="force"):
        import_official(tmp_path / "net_G.pth", preset_of(PLAIN), output)
    assert output.read_bytes() == b"precious"
    import_official(tmp_path / "net_G.pth", preset_of(PLAIN), output, force=True)
    assert isinstance(load_generator(output)[0], LGGANGenerator)


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save(official_cross_view.official_state(ngf=2, seed=6), tmp_path / "35_net_G.pth")
    arguments = ["import-weights", str(tmp_path / "35_net_G.pth"), "--preset", "dayton_g2a", "--force"]
    arguments += ["-o", str(tmp_path / "ours.safetensors")]
    assert cli.main(arguments) == 0
    printed = capsys.readouterr()
    assert "72 entries of 35_net_G.pth" in printed.out
    assert "deconv5_7.weight, deconv5_7.bias" in printed.out
    assert "CC BY-NC-SA" in printed.err
    assert cli.main([*arguments, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["kind"], document["schema"]) == ("lggan-import-weights", 1)
    assert document["task"] == "cross-view"
    assert document["dropped"] == ["deconv5_7.weight", "deconv5_7.bias"]
    assert document["licence"] == LICENCE
    assert len(document["sha256"]) == 64


@pytest.mark.parametrize("width", [0, 1, 1000, 10**12])
def test_a_lying_width_costs_nothing(tmp_path: Path, width: int) -> None:
    """A stored tensor can claim any size with one number behind it: no network of that size may be made."""
    state = official_state(PLAIN, seed=4)
    for name in state:
        if name == "conv1.weight" or "mlp_shared.0.weight" in name:
            state[name] = torch.zeros(1, 1, 1, 1).expand(width, 4, 7, 7)
    torch.save(state, tmp_path / "net_G.pth")
    begin = time.monotonic()
    assert cli.main(["import-weights", str(tmp_path / "net_G.pth"), "--preset", "tiny", "-o", str(tmp_path / "o")]) == 3
    assert time.monotonic() - begin < 3
