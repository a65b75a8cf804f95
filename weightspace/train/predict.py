"""What an objective says of networks: vectors, predicted properties, and how wrong they are."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import torch
from torch import Tensor

from weightspace.train.data import Group
from weightspace.train.objective import EncoderObjective, single

TOGETHER = 1024
MAIN = ("test_accuracy", "label")
"""What the validation part is judged by: the first of these that a group has."""
MOST = 256
"""Networks of a group that are looked at to judge."""


@torch.no_grad()
def predict(objective: EncoderObjective, group: Group, *, run: bool) -> tuple[Tensor, pd.DataFrame]:
    """Return the vectors `(models, latent)` of a group and a column for each predicted property, in its own unit.

    Args:
        objective: Trained.
        group: Of any part.
        run: Whether the networks are run on the probes.
    """
    objective.eval()
    vectors = list[Tensor]()
    for start in range(0, len(group), TOGETHER):
        weights = {name: single(tensor[start : start + TOGETHER]) for name, tensor in group.weights.items()}
        vectors.append(objective.encode(group, weights, run=run))
    vector, columns = torch.cat(vectors), dict[str, object]()
    for name, told in objective.predictor(vector).items():
        names = objective.predictor.classes.get(name)
        columns[name] = told.cpu().numpy() if names is None else [names[i] for i in told.argmax(1).tolist()]
    return vector, pd.DataFrame(columns)


@torch.no_grad()
def validation_loss(objective: EncoderObjective, groups: Sequence[Group]) -> float:
    """Return the mean loss of the main property over groups, half of it with networks run on the probes.

    It is 0 where no group has one: then every state is as good as the one before.
    """
    objective.eval()
    found = list[Tensor]()
    for group in groups:
        weights = {name: single(tensor[:MOST]) for name, tensor in group.weights.items()}
        places = torch.arange(min(MOST, len(group)), device=next(iter(weights.values())).device)
        for run in (True, False):
            losses = objective.property_losses(group, places, objective.encode(group, weights, run=run))
            found += [losses[name] for name in MAIN if name in losses][:1]
    return float(torch.stack(found).mean()) if found else 0.0
