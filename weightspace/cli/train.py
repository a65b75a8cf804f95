"""`weightspace train`: fit an encoder, or a decoder, to populations of networks."""

from __future__ import annotations

import json as jsonlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter
from cyclopts.validators import Number

from weightspace.cli.manners import UsageError

train = App(name="train", default_parameter=Parameter(negative=""))


@train.command
def encoder(
    *,
    config: Path,
    output: Annotated[Path, Parameter(name=("--output", "-o"))],
    data_dir: Path | None = None,
    device: Literal["cpu", "cuda"] = "cpu",
    steps: Annotated[int | None, Parameter(validator=Number(gte=1))] = None,
    json: bool = False,
) -> int:
    """Train an encoder and write it to a folder, calibrated on runs that it did not learn from.

    Stopped and called again, it goes on where it was. Several processes share the work: `torchrun --nproc-per-node N
    -m weightspace train encoder ...`.

    Args:
        config: A YAML file with a name and populations at least; see `weightspace.train.config.TrainConfig`.
        output: The encoder's folder; a new one, or that of a stopped training.
        data_dir: Folder of dataset files, such as mnist.npz.
        device: Where to train.
        steps: Updates, instead of those of the configuration.
        json: Print one JSON object.
    """
    from dataclasses import replace

    from weightspace.encode.pretrained import CONFIG
    from weightspace.train.config import read_config
    from weightspace.train.encoder import Place, train_encoder

    if (output / CONFIG).exists():
        raise UsageError(f"{output} holds an encoder already: choose another folder.")
    wanted = read_config(config)
    wanted = wanted if steps is None else replace(wanted, steps=steps)
    output.mkdir(parents=True, exist_ok=True)
    state = output / "training.pt"
    with _bar() as report:
        found = train_encoder(wanted, Place(state, str(data_dir) if data_dir else None, device), report=report)
    if found is None:
        return 0
    found.save(output)
    state.unlink(missing_ok=True)
    summary = {"encoder": found.id, "folder": str(output), "steps": wanted.steps}
    print(jsonlib.dumps(summary) if json else f"{found.id}: {wanted.steps} steps, written to {output}")
    return 0


@train.command
def decoder(
    *,
    config: Path,
    output: Annotated[Path, Parameter(name=("--output", "-o"))],
    data_dir: Path | None = None,
    device: Literal["cpu", "cuda"] = "cpu",
    steps: Annotated[int | None, Parameter(validator=Number(gte=1))] = None,
    json: bool = False,
) -> int:
    """Train a decoder of an encoder's latents and write it to a folder.

    Stopped and called again, it goes on where it was, at most a minute back.

    Args:
        config: A YAML file with a name, populations and an encoder at least; see
            `weightspace.train.decoder_run.DecoderTrainConfig`.
        output: The decoder's folder; a new one, or that of a stopped training.
        data_dir: Folder of dataset files, such as mnist.npz.
        device: Where to train.
        steps: Updates, instead of those of the configuration.
        json: Print one JSON object.
    """
    from dataclasses import replace

    from weightspace.decode.pretrained import CONFIG
    from weightspace.train.decoder_run import read_decoder_config, train_decoder
    from weightspace.train.encoder import Place

    if (output / CONFIG).exists():
        raise UsageError(f"{output} holds a decoder already: choose another folder.")
    wanted = read_decoder_config(config)
    wanted = wanted if steps is None else replace(wanted, steps=steps)
    output.mkdir(parents=True, exist_ok=True)
    state = output / "training.pt"
    with _bar() as report:
        found = train_decoder(wanted, Place(state, str(data_dir) if data_dir else None, device), report=report)
    found.save(output)
    state.unlink(missing_ok=True)
    summary = {"decoder": found.id, "encoder": found.encoder, "folder": str(output)}
    print(jsonlib.dumps(summary) if json else f"{found.id}: latents of {found.encoder}, written to {output}")
    return 0


@contextmanager
def _bar() -> Iterator[Callable[[int, int, dict[str, float]], None]]:
    """A bar with the latest losses on standard error, where that is a terminal."""
    if not sys.stderr.isatty():
        yield lambda done, total, losses: None
        return
    from tqdm import tqdm

    with tqdm(unit="step", leave=False) as bar:

        def update(done: int, total: int, losses: dict[str, float]) -> None:
            bar.n, bar.total = done, total
            if losses:
                bar.set_postfix({name: f"{value:.3f}" for name, value in losses.items()}, refresh=False)
            bar.update(0)

        yield update
