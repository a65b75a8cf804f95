"""Train an encoder from a configuration, in one process or in several started by `torchrun`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from weightspace.encode.encoder import Encoder
from weightspace.errors import ConfigError
from weightspace.execute.processes import processes
from weightspace.train.config import TrainConfig
from weightspace.train.data import load_corpus
from weightspace.train.finish import finish
from weightspace.train.loop import PARTS, EncoderTraining, Report, learns
from weightspace.zoo.store import Population, find_population


@dataclass(frozen=True)
class Place:
    """Where an encoder is trained.

    Args:
        state: File that a stopped training goes on from.
        data_dir: Folder of dataset files, for the inputs on which answers are predicted.
        device: `cpu` or `cuda`.
    """

    state: Path
    data_dir: str | None = None
    device: str = "cpu"


def start_training(
    config: TrainConfig, populations: Sequence[Population], place: Place, *, device: str
) -> EncoderTraining:
    """Return a training at its beginning, or at that of going on from a trained encoder.

    Raises:
        ConfigError: What learns is no part of the encoder, or the encoder to go on from has no read-outs.
        EncoderError: There is none of this name.
        ZooError: A population holds nothing to train on.
        DataError: A dataset is missing.
    """
    start = Encoder.from_pretrained(config.start) if config.start else None
    classes = None
    if start is not None:
        if start.predictor is None:
            raise ConfigError(f"start: {config.start} has learned nothing; name a trained encoder.")
        config, classes = replace(config, sizes=start.network.config), start.predictor.classes
    inputs = config.inputs if config.behaviour else 0
    corpus = load_corpus(populations, classes=classes, inputs=inputs, data_dir=place.data_dir, device=device)
    training = EncoderTraining(config, corpus, start, device=device)
    parts = [name for name, _ in training.objective.named_parameters() if name.startswith(PARTS)]
    if not any(learns(name, config) for name in parts):
        known = sorted({".".join(name.split(".")[:2]) for name in parts})
        raise ConfigError(f"only: {config.only!r} is no part of an encoder; there are {known}.")
    return training


def train_encoder(config: TrainConfig, place: Place, *, report: Report | None = None) -> Encoder | None:
    """Return the trained encoder; None in all processes but the first where there are several.

    A training that was stopped goes on from `place.state`.

    Raises:
        ConfigError: There are more processes than groups in an update, or see `start_training`.
        ZooError: A population is missing or holds nothing to train on.
        DataError: A dataset is missing.
    """
    with processes(place.device) as team:
        if team.world > config.groups:
            raise ConfigError(
                f"groups: {config.groups} a step are too few for {team.world} processes; set at least so many."
            )
        torch.set_float32_matmul_precision("high")
        populations = [find_population(name) for name in config.populations]
        training = start_training(config, populations, place, device=team.device)
        training.run(state=place.state, report=report if team.first else None)
        return finish(training) if team.first else None
