"""From a finished training to an encoder that can be saved, calibrated on runs that it did not learn from."""

from __future__ import annotations

import torch
from torch import Tensor

from weightspace.encode.encoder import Encoder
from weightspace.train.data import Group
from weightspace.train.loop import EncoderTraining
from weightspace.train.predict import read_vectors


def finish(training: EncoderTraining) -> Encoder:
    """Return the trained encoder, calibrated on the validation part, both with networks run on the probes and without.

    The parts `test` of all populations stay untouched.
    """
    objective, groups = training.objective, training.corpus.groups
    ways = (True, False) if training.config.sizes.probes else (False,)
    learned = torch.cat([read_vectors(objective, g, run=run) for run in ways for g in groups["train"]])
    held_out = torch.cat([read_vectors(objective, g, run=run) for run in ways for g in groups["validation"]])
    objective.predictor.calibrate(learned, held_out, _targets([g for _ in ways for g in groups["validation"]]))
    return Encoder(training.config.name, objective.encoder.cpu(), objective.predictor.cpu())


def _targets(groups: list[Group]) -> dict[str, Tensor]:
    """Targets of all groups in their order, NaN where a group has none."""
    names = {name for group in groups for name in group.targets}
    return {name: torch.cat([group.target(name) for group in groups]) for name in names}
