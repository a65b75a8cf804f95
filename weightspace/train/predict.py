"""What a trained objective says of networks: vectors and predicted properties."""

from __future__ import annotations

import pandas as pd
import torch
from torch import Tensor

from weightspace.train.data import Group
from weightspace.train.objective import EncoderObjective

TOGETHER = 1024


@torch.no_grad()
def predict(objective: EncoderObjective, group: Group, *, run: bool) -> tuple[Tensor, pd.DataFrame]:
    """Return the vectors `(models, latent)` of a group and a column for each predicted property, in its own unit.

    Args:
        objective: Trained.
        group: Of any part.
        run: Whether the networks are run on the probes.
    """
    objective.eval()
    vectors, told = list[Tensor](), list[dict[str, Tensor]]()
    for start in range(0, len(group), TOGETHER):
        weights = {name: tensor[start : start + TOGETHER].float() for name, tensor in group.weights.items()}
        vectors.append(objective.encode(group, weights, run=run))
        told.append(objective.heads(vectors[-1])[1])
    columns: dict[str, object] = {}
    for name in told[0]:
        values = torch.cat([each[name] for each in told]).cpu()
        if name in objective.classes:
            columns[name] = [objective.classes[name][i] for i in values.argmax(1).tolist()]
        else:
            mean, spread = objective.scales.get(name, (0.0, 1.0))
            columns[name] = (values[:, 0] * spread + mean).numpy()
    return torch.cat(vectors), pd.DataFrame(columns)
