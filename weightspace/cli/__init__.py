"""The `weightspace` command: one file a verb, argument parsing and printing only.

Exit status: 0; 1 where some inputs failed (each is named, the rest is done); 2 for wrong usage, nothing done; 130
after Ctrl-C and 141 where the reader of a pipe went away, as shells have it.

A verb is a function in its own file and a line in `VERBS`; it is imported when it is called.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cyclopts import App

VERBS = {
    "embed": "Write one latent a checkpoint into a Parquet table.",
    "map": "Draw the map of a latent table: one page, a picture, or places to add to.",
    "dedupe": "Find copies that no hash finds: relabelled, rescaled, rounded or noised networks.",
    "explore": "Explore a latent table in a browser: map, networks, and networks decoded live.",
    "compress": "Write the weights of a checkpoint in few bits, and say what is lost.",
    "decompress": "Write a compressed checkpoint as safetensors again.",
    "decode": "Write the network that a latent stands for, in any architecture.",
    "generate": "Make networks that were never trained, as asked for, and audit them.",
    "bench": "Measure a decoder or a generator on a population of yours.",
    "diff": "Show what became of one checkpoint in another, unit by unit.",
    "attribute": "Show which units, blocks and stages carry what is told of a network.",
    "lineage": "Show who descends from whom among checkpoints.",
    "inspect": "Show what checkpoints hold, from their headers alone.",
    "probe": "Say what latents tell of properties, held out by run, beside chance and a control.",
    "cluster": "Group checkpoints whose latents lie together, and name what sets groups apart.",
    "report": "Write everything that one checkpoint shows onto one page.",
    "search": "Find the checkpoints nearest to one, exactly, with filters.",
    "train": "Train an encoder, or a decoder, on populations of networks.",
    "zoo": "Make populations of small networks, look into them, measure, import and export them.",
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and leave the process with its exit status.

    Args:
        arguments: As on the command line, without the program's name; `sys.argv` by default.

    Raises:
        SystemExit: Always.
    """
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: Sequence[str]) -> int:
    """Run the command and return its exit status; errors are one line on standard error."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        status = _run_verb(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except KeyboardInterrupt:
        return 130
    return status


def _run_verb(arguments: Sequence[str]) -> int:
    from cyclopts import CycloptsError

    from weightspace.cli.manners import UsageError, complain
    from weightspace.errors import WeightspaceError

    try:
        status = app()(arguments, exit_on_error=False, print_error=False, result_action="return_value")
    except (CycloptsError, UsageError) as error:
        complain(f"{error} See `weightspace {' '.join([*arguments[:1], '--help'])}`.")
        return 2
    except WeightspaceError as error:
        complain(str(error))
        return 1
    return int(status or 0)


def app() -> App:
    """Return the command with its verbs, none of them imported."""
    from cyclopts import App, Parameter

    command = App(
        name="weightspace",
        help="Trained checkpoints as points you can read, map and draw from.",
        version=_version,
        default_parameter=Parameter(negative=""),
        suppress_keyboard_interrupt=False,
    )
    for verb, help_text in VERBS.items():
        command.command(f"weightspace.cli.{verb}:{verb}", name=verb, help=help_text)
    command.register_install_completion_command(help="Install shell completion.")
    return command


def _version() -> str:
    from importlib.metadata import version

    return version("weightspace")
