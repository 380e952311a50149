# ruff: noqa: T201 - a script by hand, its output is the table
"""The class-specific heads as published, over the whole picture for every class, against the routed ones.

From the local branch's feature map to the losses' gradients: the heads, the convolution that fuses them, the masked L1
and the class-feature classification. Three forms, whose results are checked to be equal:

* published: for each class mask the features, pad them, convolve; all answers stacked;
* shared padding: the same with the features padded once, the form of the graph exported for TensorRT;
* routed: each class where its pixels are, the form of training.

Run by hand; without label maps of your own it draws some:

    python benchmarks/class_heads.py --labels camvid='data/camvid/train/labels/*.png' \
        cityscapes='data/cityscapes/gtFine/**/*_labelIds.png' ade20k='data/ade20k/annotations/**/*.png'

Times are CPU seconds of one thread, the least of some runs, with the forms taking turns, so that a busy machine changes
them little. Memory is the growth of the process's peak, each form in a process of its own.
"""

from __future__ import annotations

import argparse
import glob
import json
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import conv2d, cross_entropy, pad

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from lggan.losses.class_losses import classification_loss, local_loss  # noqa: E402
from lggan.networks.class_routed import ClassRoutedConv2d  # noqa: E402
from lggan.networks.classification import ClassFeatureClassifier  # noqa: E402
from lggan.networks.head_fusion import fused_heads  # noqa: E402
from lggan.networks.head_routes import find_routes  # noqa: E402


@dataclass(frozen=True)
class Case:
    """A setting of the local branch. ``source`` is the entry of ``--labels`` that its maps come from, or a drawing.

    Ids beyond the heads go to the last one.
    """

    title: str
    source: str
    heads: int
    height: int
    width: int
    ngf: int
    batch: int


CASES = (
    Case("CamVid", "camvid", 12, 192, 256, 64, 1),
    Case("Cityscapes", "cityscapes", 35, 256, 512, 64, 1),
    Case("ADE20K", "ade20k", 52, 256, 256, 64, 1),
    Case("CamVid, preset's size", "camvid", 12, 96, 128, 16, 4),
    Case("one class alone", "flat", 12, 96, 128, 16, 4),
    Case("noise", "noise", 12, 96, 128, 16, 4),
    Case("noise", "noise", 52, 256, 256, 64, 1),
)
REGIONS = {"camvid": (30, 10), "cityscapes": (60, 15), "ade20k": (20, 10)}  # drawn maps: regions, classes among them


class Heads(nn.Module):
    """The parameters that all forms share, with biases that are not zero."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.bank = ClassRoutedConv2d(case.heads, case.ngf, 3, 7)
        self.fuse = nn.Conv2d(3 * case.heads, 3, 3, padding=1)
        self.classifier = ClassFeatureClassifier(case.ngf, case.heads)
        nn.init.normal_(self.bank.bias, std=0.1)


def routed(module: Heads, feature: Tensor, heads: Tensor, photo: Tensor) -> tuple[Tensor, Tensor]:
    """The fused picture and the sum of the two losses."""
    answers = module.bank(feature, heads)
    assert module.fuse.bias is not None
    picture = fused_heads(answers, module.fuse.weight, module.fuse.bias).tanh()
    return picture, local_loss(answers, heads, photo) + classification_loss(module.classifier(feature, heads))


def published(module: Heads, feature: Tensor, heads: Tensor, photo: Tensor) -> tuple[Tensor, Tensor]:
    masks, bank = _masks(heads, module), module.bank
    masked = [feature * masks[:, c : c + 1] for c in range(masks.shape[1])]  # [N, C, H, W] each
    padded = [pad(each, (3, 3, 3, 3), mode="reflect") for each in masked]
    answers = [conv2d(each, bank.weight[c], bank.bias[c]).tanh() for c, each in enumerate(padded)]
    means = torch.stack(masked, dim=1).mean(dim=(3, 4))  # [N, K, C]
    return _dense_losses(module, torch.stack(answers, dim=1), means, masks, photo)


def shared_padding(module: Heads, feature: Tensor, heads: Tensor, photo: Tensor) -> tuple[Tensor, Tensor]:
    masks = _masks(heads, module)
    answers = module.bank.dense(feature, masks).tanh()
    means = torch.einsum("nkp,ncp->nkc", masks.flatten(2), feature.flatten(2)) / heads[0].numel()
    return _dense_losses(module, answers, means, masks, photo)


Form = Callable[[Heads, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
FORMS: dict[str, Form] = {"published": published, "shared padding": shared_padding, "routed": routed}


def _masks(heads: Tensor, module: Heads) -> Tensor:
    return (heads.unsqueeze(1) == torch.arange(len(module.bank.weight)).view(1, -1, 1, 1)).float()


def _dense_losses(module: Heads, answers: Tensor, means: Tensor, masks: Tensor, photo: Tensor) -> tuple[Tensor, Tensor]:
    """From answers [N, K, 3, H, W] and the classes' mean features [N, K, C]."""
    picture = module.fuse(answers.flatten(1, 2)).tanh()
    local = (answers - photo.unsqueeze(1) * masks.unsqueeze(2)).abs().mean(dim=(0, 2, 3, 4)).sum()
    present = masks.amax(dim=(2, 3)) > 0
    target = torch.arange(masks.shape[1]).expand(masks.shape[0], -1)[present]
    return picture, local + cross_entropy(module.classifier.linear(means)[present], target)


def main() -> None:
    arguments = _arguments()
    torch.set_num_threads(1)
    if arguments.child is not None:
        index, form = arguments.child
        print(json.dumps(_memory(_inputs(CASES[int(index)], arguments), FORMS[form])))
        return
    print("| label maps | K | H x W | ngf | N | present | heads per pixel | form | forward ms | + backward ms | MiB |")
    print("|---|---:|---:|---:|---:|---:|---:|---|---:|---:|---:|")
    for index, case in enumerate(CASES):
        print(_rows(index, case, arguments), flush=True)
    print(f"\n{_machine()}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--labels", nargs="*", default=[], metavar="NAME=GLOB", help=f"label maps; NAME is one of {', '.join(REGIONS)}"
    )
    parser.add_argument("--runs", type=int, default=3, help="of which the fastest counts")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    for entry in arguments.labels:
        if entry.partition("=")[0] not in REGIONS:
            parser.error(f"--labels {entry}: the name must be one of {', '.join(REGIONS)}")
    return arguments


def _rows(index: int, case: Case, arguments: argparse.Namespace) -> str:
    inputs = _inputs(case, arguments)
    forward, both = _times(inputs, arguments.runs)
    heads = inputs[2]
    present = sum(len(one[one < case.heads].unique()) for one in heads) / len(heads)
    per_pixel = len(find_routes(heads, case.heads, 7).pixel) / heads.numel()
    size = f"{case.height} x {case.width}"
    setting = f"{case.title} | {case.heads} | {size} | {case.ngf} | {case.batch} | {present:.0f} | {per_pixel:.2f}"
    lines = []
    for form in FORMS:
        mebibytes = _in_child(index, form, arguments)
        lines.append(f"| {setting} | {form} | {forward[form]:.0f} | {both[form]:.0f} | {mebibytes:.0f} |")
        setting = " | " * 6
    return "\n".join(lines)


Inputs = tuple[Heads, Tensor, Tensor, Tensor]


def _inputs(case: Case, arguments: argparse.Namespace) -> Inputs:
    module = Heads(case)
    draw = torch.Generator().manual_seed(1)
    feature = torch.randn(case.batch, case.ngf, case.height, case.width, generator=draw).relu_().requires_grad_()
    photo = torch.rand(case.batch, 3, case.height, case.width, generator=draw) * 2 - 1
    return module, feature, _label_maps(case, arguments), photo


def _label_maps(case: Case, arguments: argparse.Namespace) -> Tensor:
    """int64 [N, H, W] of head ids."""
    draw = np.random.default_rng(2)
    patterns = dict(entry.partition("=")[::2] for entry in arguments.labels)
    if case.source == "noise":
        maps = [draw.integers(0, case.heads, (case.height, case.width)) for _ in range(case.batch)]
    elif case.source == "flat":
        maps = [np.full((case.height, case.width), 3) for _ in range(case.batch)]
    elif case.source in patterns:
        files = sorted(glob.glob(patterns[case.source], recursive=True))
        if not files:
            raise SystemExit(f"no file matches {patterns[case.source]!r}")
        chosen = [files[position] for position in np.linspace(0, len(files) - 1, case.batch).astype(int)]
        maps = [_read(Path(path), case) for path in chosen]
    else:
        maps = [_drawn(draw, case) for _ in range(case.batch)]
    return torch.from_numpy(np.stack(maps).astype(np.int64)).clamp(max=case.heads - 1)


def _read(path: Path, case: Case) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.resize((case.width, case.height), Image.Resampling.NEAREST))


def _drawn(draw: np.random.Generator, case: Case) -> np.ndarray:
    """Regions around random points, which a wave bends; several regions share a class."""
    regions, classes = REGIONS[case.source]
    y, x = np.mgrid[: case.height, : case.width].astype(float)
    y += 6 * np.sin(x / 17)
    x += 6 * np.sin(y / 13)
    points = draw.random((regions, 2)) * (case.height, case.width)
    nearest = np.argmin([(y - py) ** 2 + (x - px) ** 2 for py, px in points], axis=0)
    chosen = draw.choice(case.heads, classes, replace=False)
    return chosen[draw.integers(0, classes, regions)][nearest]


def _times(inputs: Inputs, runs: int) -> tuple[dict[str, float], dict[str, float]]:
    """Milliseconds of the forward pass without gradients, and of forward and backward pass, by form."""
    module, feature, heads, photo = inputs
    forward = dict.fromkeys(FORMS, float("inf"))
    both = dict.fromkeys(FORMS, float("inf"))
    results = {}
    for _ in range(runs):
        for name, form in FORMS.items():
            start = time.process_time()
            with torch.no_grad():
                form(module, feature, heads, photo)
            forward[name] = min(forward[name], 1e3 * (time.process_time() - start))
            start = time.process_time()
            results[name] = _step(inputs, form)
            both[name] = min(both[name], 1e3 * (time.process_time() - start))
    for name in FORMS:
        for ours, theirs in zip(results["routed"], results[name], strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)
    return forward, both


def _step(inputs: Inputs, form: Form) -> tuple[Tensor, ...]:
    """The picture, the loss, and the gradients of all parameters and of the feature."""
    module, feature, heads, photo = inputs
    picture, loss = form(module, feature, heads, photo)
    gradients = torch.autograd.grad(loss + (picture * photo).mean(), [feature, *module.parameters()])
    return picture.detach(), loss.detach(), *gradients


def _in_child(index: int, form: str, arguments: argparse.Namespace) -> float:
    command = [sys.executable, __file__, "--child", str(index), form, "--labels", *arguments.labels]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)


def _memory(inputs: Inputs, form: Form) -> float:
    """Growth of this process's peak memory in MiB by one forward and backward pass."""
    module, feature, _, _ = inputs
    small = torch.zeros(1, feature.shape[1], 8, 8, requires_grad=True)
    _step((module, small, torch.zeros(1, 8, 8, dtype=torch.int64), torch.zeros(1, 3, 8, 8)), form)  # loads libraries
    with suppress(OSError):  # on Linux, forgets the peak of the preparations
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    before = _peak()
    _step(inputs, form)
    return _peak() - before


def _peak() -> float:
    """MiB. Linux hands `ru_maxrss` on to child processes, so that there the kernel's own table is read."""
    for line in _lines("/proc/self/status"):
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 2**10
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def _machine() -> str:
    names = [line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    processor = names[0] if names else platform.processor() or platform.machine()
    return f"{processor}, 1 thread, float32, torch {torch.__version__}, Python {platform.python_version()}."


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8").splitlines()
    except OSError:
        return []


if __name__ == "__main__":
    main()
