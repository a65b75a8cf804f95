"""Train an encoder from a configuration, in one process or in several started by `torchrun`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from weightspace.encode.encoder import Encoder
from weightspace.errors import ConfigError
from weightspace.execute.processes import processes
from weightspace.train.config import TrainConfig
from weightspace.train.data import load_corpus
from weightspace.train.finish import finish
from weightspace.train.loop import EncoderTraining, Report
from weightspace.zoo.store import find_population


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


def train_encoder(config: TrainConfig, place: Place, *, report: Report | None = None) -> Encoder | None:
    """Return the trained encoder; None in all processes but the first where there are several.

    A training that was stopped goes on from `place.state`.

    Raises:
        ConfigError: There are more processes than groups in an update.
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
        inputs = config.inputs if config.behaviour else 0
        corpus = load_corpus(populations, inputs=inputs, data_dir=place.data_dir, device=team.device)
        training = EncoderTraining(config, corpus, device=team.device)
        training.run(state=place.state, report=report if team.first else None)
        return finish(training) if team.first else None
