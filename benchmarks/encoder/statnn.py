"""StatNN: seven statistics of each tensor, read by gradient boosting or by a small network.

Source: Unterthiner et al. (2020), "Predicting neural network accuracy from weights", section 4: mean, variance and
quantiles 0, 25, 50, 75, 100. We tell the architecture's description too where architectures differ.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any, final

import numpy as np
import torch
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from torch import Tensor, nn

from benchmarks.encoder.data import Batch, Group, Networks
from benchmarks.encoder.parts import Description, Head, Standard
from benchmarks.encoder.target import Target

QUANTILES = (0.0, 0.25, 0.5, 0.75, 1.0)
MOST_VALUES = 8_000_000  # torch.quantile takes 16 million numbers at once


def seven_statistics(tensor: Tensor) -> Tensor:
    """Return mean, variance and five quantiles of each network's tensor, `(models, 7)`.

    Example:
        >>> seven_statistics(torch.tensor([[1.0, 2.0, 3.0, 4.0, 5.0]])).tolist()
        [[3.0, 2.0, 1.0, 2.0, 3.0, 4.0, 5.0]]
    """
    flat = tensor.flatten(1)
    q = torch.tensor(QUANTILES, device=flat.device)
    parts = flat.split(max(1, MOST_VALUES // flat.shape[1]))
    quantiles = torch.cat([torch.quantile(part, q, dim=1).T for part in parts])
    return torch.cat([flat.mean(1, keepdim=True), flat.var(1, correction=0, keepdim=True), quantiles], 1)


class Statistics:
    """Seven statistics a tensor in columns that fit all architectures of a population.

    Where all have the same tensors, a tensor is a column group. Else tensors are counted from the first and from the
    last, so that the k-th from either end always lies in the same columns; those that a network lacks are NaN.
    """

    def __init__(self, train: Networks):
        names = {tuple(group.architecture.layout.shapes) for group in train.groups}
        self.slots = max(map(len, names))
        self.both_ends = len(names) > 1

    def __call__(self, batch: Batch) -> Tensor:
        """Return `(networks, columns)`."""
        return torch.cat([self._of(group) for group in batch.groups])

    def _of(self, group: Group) -> Tensor:
        found = torch.stack([seven_statistics(t) for t in group.weights.values()], 1)[:, : self.slots]
        missing = found.new_full((len(found), self.slots - found.shape[1], 7), float("nan"))
        sides = [torch.cat([found, missing], 1)]
        if self.both_ends:
            sides.append(torch.cat([found.flip(1), missing], 1))
        return torch.cat(sides, 1).flatten(1)


@final
class StatNet(nn.Module):
    """StatNN's network: statistics, logarithmic beyond a thousandth, standardised, into a head."""

    def __init__(self, train: Networks, outputs: int, hidden: int = 512):
        super().__init__()
        self.statistics, self.description = Statistics(train), Description(train)
        self.standard = Standard(self._features(Batch(train.groups)))
        self.head = Head(self.standard.width + self.description.width, outputs, hidden)

    def _features(self, batch: Batch) -> Tensor:
        x = self.statistics(batch)
        return x.sign() * torch.log10(1 + 1000 * x.abs())

    def forward(self, batch: Batch) -> Tensor:
        """Return raw outputs `(networks, outputs)`."""
        return self.head(torch.cat([self.standard(self._features(batch)), self.description(batch)], 1))


@final
@dataclass
class StatBoosting:
    """StatNN by gradient boosting; the same on every device, for trees grow on the CPU.

    Settings are tried in a random order that starts with the middle one, as many as the budget allows; validation
    picks the setting and the number of trees.
    """

    chosen: dict[str, Any] = field(default_factory=dict)
    parameters: int = 0
    _target: Target | None = None

    def fit(self, train: Networks, validation: Networks, *, seed: int, budget: float) -> None:
        """Fit on training networks within `budget` seconds; one setting is always fitted."""
        start, random = time.perf_counter(), np.random.default_rng(seed)
        self._statistics, self._target = Statistics(train), Target.of(train)
        x, y = self._features(train)
        x_val, y_val = self._features(validation)
        settings = [
            {"learning_rate": rate, "max_leaf_nodes": leaves, "l2_regularization": l2, "max_features": share}
            for rate in (0.05, 0.02, 0.1)
            for leaves in (15, 7, 31)
            for l2 in (1.0, 0.0)
            for share in (0.3, 1.0)
        ]
        order = [0, *(1 + random.permutation(len(settings) - 1))]
        best = -np.inf
        for tried, i in enumerate(order):
            spent = time.perf_counter() - start
            if tried and spent * (tried + 1) / tried > budget:
                break
            model = self._model(settings[i] | {"random_state": seed}).fit(x, y)
            for trees, scores in enumerate(self._staged(model, x_val)):
                if trees % 10 == 9 and (quality := self._target.quality(torch.tensor(y_val), scores)) > best:
                    best, self._best = quality, (model, trees + 1)
                    self.chosen = settings[i] | {"trees": trees + 1, "tried": tried + 1}
        self.chosen["tried"] = tried + 1 if tried == len(order) - 1 else tried
        self.parameters = sum(len(p.nodes) for trees in self._best[0]._predictors[: self._best[1]] for p in trees)

    def predict(self, networks: Networks) -> np.ndarray:
        """Return scores in the order of the rows."""
        model, trees = self._best
        x, _ = self._features(networks)
        for i, scores in enumerate(self._staged(model, x)):
            if i + 1 == trees:
                return scores.numpy()
        raise AssertionError("fewer trees than were fitted")

    def _features(self, networks: Networks) -> tuple[np.ndarray, np.ndarray]:
        every = Batch(networks.groups)
        x = torch.cat([self._statistics(every), every.describe()], 1)
        ordered = torch.empty_like(x)
        ordered[every.rows] = x
        return ordered.cpu().numpy(), networks.target.cpu().numpy()

    def _model(self, setting: dict[str, Any]):
        kind = HistGradientBoostingClassifier if self._target.kind == "class" else HistGradientBoostingRegressor
        return kind(max_iter=400, early_stopping=False, min_samples_leaf=10, **setting)

    def _staged(self, model, x: np.ndarray):
        """Scores after each tree; a class that training lacks gets the lowest."""
        if self._target.kind != "class":
            yield from map(torch.tensor, model.staged_predict(x))
            return
        for found in model.staged_predict_proba(x):
            scores = torch.full((len(x), self._target.outputs), -1.0)
            scores[:, torch.tensor(model.classes_)] = torch.tensor(found).float()
            yield scores
