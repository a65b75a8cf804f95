"""What an objective says of networks: vectors, predicted properties, and how wrong they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
import torch
from torch import Tensor

from weightspace.train.data import Group
from weightspace.train.objective import EncoderObjective
from weightspace.train.shown import Part, stacked

TOGETHER = 1024
MAIN = ("test_accuracy", "label")
"""What the validation part is judged by: the first of these that a group has."""
MOST = 256
"""Networks of a group that are looked at to judge."""


@torch.no_grad()
def read_vectors(objective: EncoderObjective, group: Group, *, run: bool) -> Tensor:
    """Return the vectors of a group, `(models, latent)`.

    Args:
        objective: Trained.
        group: Of any part.
        run: Whether the networks are run on the probes.
    """
    objective.eval()
    found = []
    for start in range(0, len(group), TOGETHER):
        parts = [(group, _places(group, start, TOGETHER))]
        weights = stacked(parts)
        told = objective.ask(parts, weights) if run else None
        found.append(objective.encode(parts, weights, told=told).vector)
    return torch.cat(found)


@torch.no_grad()
def predict(objective: EncoderObjective, group: Group, *, run: bool) -> pd.DataFrame:
    """Return a column for each predicted property of a group, in its own unit; arguments as for `read_vectors`."""
    columns = dict[str, object]()
    for name, told in objective.predictor(read_vectors(objective, group, run=run)).items():
        names = objective.predictor.classes.get(name)
        columns[name] = told.cpu().numpy() if names is None else [names[i] for i in told.argmax(1).tolist()]
    return pd.DataFrame(columns)


@torch.no_grad()
def validation_losses(objective: EncoderObjective, groups: Sequence[Group], populations: Sequence[str]) -> Tensor:
    """Return the sum of the losses of the main property and how many were added, `(2, populations)`.

    Half of them are of networks run on the probes. Groups without a main property add nothing.
    """
    objective.eval()
    found = torch.zeros(2, len(populations), device=objective.predictor.margins.device)
    for group in groups:
        parts = [(group, _places(group, 0, MOST))]
        weights = stacked(parts)
        for told in (objective.ask(parts, weights), None):
            vector = objective.encode(parts, weights, told=told).vector
            loss = main_loss(objective, parts, vector, objective.show.recorded(parts))
            if loss is not None:
                found[:, populations.index(group.population)] += torch.stack([loss, found.new_ones(())])
    return found


def main_loss(
    objective: EncoderObjective, parts: Sequence[Part], vector: Tensor, wanted: Mapping[str, Tensor]
) -> Tensor | None:
    """Return the loss of the main property, see `EncoderObjective.property_losses`; None where there is none."""
    losses = objective.property_losses(parts, vector, wanted)
    return next((losses[name] for name in MAIN if name in losses), None)


def _places(group: Group, start: int, most: int) -> Tensor:
    device = next(iter(group.weights.values())).device
    return torch.arange(start, min(start + most, len(group)), device=device)
