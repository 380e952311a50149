"""The command line `lggan`. Help is instant because the rooms are entered inside the commands."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from commands.calibrating import calibrate
from commands.data import data
from commands.evaluating import evaluate
from commands.looking import doctor, inspect
from commands.making import build, export
from commands.ranges import ranges
from commands.running import demo, infer, profile, verify
from commands.training import import_weights, train
from runtime.command_line import program, run, version_option


@program
@version_option
def lggan() -> None:
    """LGGAN with semantic-aware upsampling: photos from label maps, from training to the edge device.

    \b
    The way of a model:  train → export → calibrate → build → infer, profile
    Every verb has --help with an example, --json, -q and -v.
    """


# in the order of use
for command in (
    doctor, demo, data, train, evaluate, import_weights, export, calibrate, ranges, build, infer, profile, verify,
    inspect,
):  # fmt: skip
    lggan.add_command(command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code (see `runtime.command_line`)."""
    return run(lggan, arguments)


if __name__ == "__main__":
    sys.exit(main())
