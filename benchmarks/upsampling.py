# ruff: noqa: T201 - a script by hand, its output is the table
"""What semantic-aware upsampling buys: the same training with it, with its same-class mask, and without it.

Trains the CamVid preset once per way of upsampling and seed, with equal steps, data order and schedule, and lets the
segmenter judge each. Run by hand; it takes hours on a CPU:

    python benchmarks/upsampling.py --data data/camvid --judge espnet_camvid.pth --out runs/upsampling --epochs 10 6

Runs found in the folder are continued, finished ones are not repeated.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PRESET = ROOT / "lggan" / "presets" / "camvid.toml"

# Name in the table, and the lines that differ in the preset's [generator.sau].
VARIANTS = {
    "none (transposed convolutions)": {"placement": "none"},
    "semantic-aware (default)": {"placement": "decoders"},
    "semantic-aware, same class only": {"placement": "decoders", "mask": "same_class"},
}


@dataclass(frozen=True)
class Result:
    """One trained generator: agreement with the label maps in 0..1, parameters, multiplications for a picture."""

    miou: float
    pixel_accuracy: float
    parameters: int
    macs: int


def main() -> None:
    arguments = _arguments()
    results: dict[str, list[Result]] = {name: [] for name in VARIANTS}
    for seed in arguments.seeds:
        for index, (name, lines) in enumerate(VARIANTS.items()):
            folder = arguments.out / f"variant_{index}_seed_{seed}"
            preset = _variant(arguments.out / f"variant_{index}.toml", lines)
            print(f"{name}, seed {seed}: {folder}", file=sys.stderr, flush=True)
            _train(preset, folder, seed, arguments)
            results[name].append(_judge(folder, arguments))
    print(_table(results, arguments))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="CamVid: {train,val}/{images,labels}")
    parser.add_argument("--judge", type=Path, required=True, help="ESPNet's weights for CamVid")
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--epochs", type=int, nargs=2, default=(10, 6), metavar=("N", "M"))
    parser.add_argument("--seeds", type=int, nargs="+", default=(1,))
    parser.add_argument("--precision", default="bf16")
    parser.add_argument("--perceptual-weights", type=Path, help="SqueezeNet's; without them there is no such term")
    return parser.parse_args()


def _variant(path: Path, lines: dict[str, str]) -> Path:
    """The preset with other entries in [generator.sau]."""
    head, mark, tail = PRESET.read_text(encoding="utf-8").partition('[generator.sau]\nplacement = "decoders"\n')
    if not mark:
        raise SystemExit(f"{PRESET} does not begin [generator.sau] with its placement any more; adapt this script")
    entries = "".join(f'{name} = "{value}"\n' for name, value in lines.items())
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{head}[generator.sau]\n{entries}{tail}", encoding="utf-8")
    return path


def _train(preset: Path, folder: Path, seed: int, arguments: argparse.Namespace) -> None:
    command = ["train", "--preset", str(preset), "--data", str(arguments.data), "--out", str(folder)]
    command += ["--seed", str(seed), "--precision", arguments.precision, "--sample-every", "100000"]
    command += ["--epochs", *map(str, arguments.epochs)]
    if arguments.perceptual_weights:
        command += ["--perceptual", "squeezenet", "--perceptual-weights", str(arguments.perceptual_weights)]
    if (folder / "state.safetensors").exists():
        command.append("--resume")
    _lggan(command)


def _judge(folder: Path, arguments: argparse.Namespace) -> Result:
    checkpoint = folder / "generator.safetensors"
    command = ["evaluate", str(checkpoint), "--data", str(arguments.data), "--judge", str(arguments.judge), "--json"]
    figures = {entry["name"]: entry["value"] for entry in json.loads(_lggan(command))["metrics"]}
    total = json.loads(_lggan(["inspect", str(checkpoint), "--cost", "--json"]))["generator"]["total"]
    return Result(
        miou=figures["miou"],
        pixel_accuracy=figures["pixel_accuracy"],
        parameters=total["parameters"],
        macs=total["routed_macs"],
    )


def _lggan(command: list[str]) -> str:
    run = subprocess.run([sys.executable, str(ROOT / "cli.py"), *command], stdout=subprocess.PIPE, text=True)
    if run.returncode:
        raise SystemExit(run.returncode)
    return run.stdout


def _table(results: dict[str, list[Result]], arguments: argparse.Namespace) -> str:
    lines = [
        "| upsampling | parameters | GMACs | mean IoU | pixel accuracy |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, each in results.items():
        ious = ", ".join(f"{result.miou:.3f}" for result in each)
        accuracies = ", ".join(f"{result.pixel_accuracy:.3f}" for result in each)
        lines.append(f"| {name} | {each[0].parameters:,} | {each[0].macs / 1e9:.2f} | {ious} | {accuracies} |")
    seeds = ", ".join(map(str, arguments.seeds))
    return "\n".join([*lines, "", f"Seeds {seeds}; {sum(arguments.epochs)} epochs, {arguments.precision}."])


if __name__ == "__main__":
    main()
