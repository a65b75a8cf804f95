"""What a trained objective says of networks: vectors and predicted properties."""

from __future__ import annotations

import pandas as pd
import torch
from torch import Tensor

from weightspace.train.data import Group
from weightspace.train.objective import EncoderObjective, single

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
    vectors = list[Tensor]()
    for start in range(0, len(group), TOGETHER):
        weights = {name: single(tensor[start : start + TOGETHER]) for name, tensor in group.weights.items()}
        vectors.append(objective.encode(group, weights, run=run))
    vector, columns = torch.cat(vectors), dict[str, object]()
    for name, told in objective.predictor(vector).items():
        names = objective.predictor.classes.get(name)
        columns[name] = told.cpu().numpy() if names is None else [names[i] for i in told.argmax(1).tolist()]
    return vector, pd.DataFrame(columns)
