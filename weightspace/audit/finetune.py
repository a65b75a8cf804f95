"""How training goes on from networks: k-step curves of several starts, each at its best learning rate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from weightspace.execute.stack import run_stacked
from weightspace.zoo.allowed import HYPERPARAMETERS
from weightspace.zoo.data import Dataset
from weightspace.zoo.tasks import Examples, Sampling
from weightspace.zoo.training import StackTraining

RATES = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
"""Learning rates that every start is tried at; the best by the mean accuracy along the curve counts."""
VALIDATION = 1000
"""Training examples that are kept back to choose the learning rate by."""


@dataclass(frozen=True, eq=False)
class Curve:
    """Accuracy along training, mean over networks, at the learning rate that does best on kept-back examples.

    Args:
        steps: At which it was measured.
        accuracy: Test accuracy of each network, `(steps, models)`.
        rate: The learning rate.
    """

    steps: tuple[int, ...]
    accuracy: np.ndarray
    rate: float

    @property
    def mean(self) -> np.ndarray:
        """Over the networks."""
        return self.accuracy.mean(1)

    def steps_to(self, target: float) -> float:
        """Return the step at which the mean reaches a target, linear between measurements; infinite if never.

        Example:
            >>> Curve((0, 10), np.array([[0.0], [1.0]]), 0.1).steps_to(0.5)
            5.0
        """
        mean = self.mean
        there = np.flatnonzero(mean >= target)
        if not len(there):
            return float("inf")
        i = int(there[0])
        if i == 0:
            return float(self.steps[0])
        share = (target - mean[i - 1]) / (mean[i] - mean[i - 1])
        return float(self.steps[i - 1] + share * (self.steps[i] - self.steps[i - 1]))


@dataclass(frozen=True)
class Plan:
    """How starts are trained, all alike.

    Args:
        steps: At which accuracy is measured, rising; training ends at the last.
        batch_size: Examples a step.
        optimizer: As a recipe names it.
        rates: Learning rates to choose from.
        test: Test examples that are looked at, at most.
        seed: Of the order of examples.
    """

    steps: tuple[int, ...] = (0, 1, 10, 30, 100, 300)
    batch_size: int = 128
    optimizer: str = "adam"
    rates: Sequence[float] = RATES
    test: int = 2000
    seed: int = 0


def train_rates(module: nn.Module, start: Mapping[str, Tensor], data: Dataset, plan: Plan) -> list[Curve]:
    """Return one curve a learning rate, trained on the device of the module, the best on kept-back examples first.

    Best is the highest mean along the curve. A rate that is fast at first can level off early: whoever asks for steps
    to a target looks at all of them.

    Args:
        module: Of the architecture.
        start: First weights, stacked.
        data: To learn from and to test on.
        plan: How.
    """
    device = next(module.parameters()).device
    kept = min(VALIDATION, len(data.x) // 5)
    held = (data.x[:kept].to(device), data.y[:kept].to(device))
    test = (data.x_test[: plan.test].to(device), data.y_test[: plan.test].to(device))
    found: list[tuple[float, Curve]] = []
    for rate in plan.rates:
        task = Examples(
            (data.x[kept:].to(device), data.y[kept:].to(device)),
            None,
            outputs=data.outputs,
            sampling=Sampling(batch_size=plan.batch_size, seed=plan.seed),
        )
        models = len(next(iter(start.values())))
        training = StackTraining(module, task, [_run(plan, rate, i) for i in range(models)], start=start)
        seen, told = [], []
        for step in range(plan.steps[-1] + 1):
            if step in plan.steps:
                weights = training.layout.view(training.weights.detach()) | training.buffers
                told.append(_accuracy(module, weights, *held))
                seen.append(_accuracy(module, weights, *test))
            if step < plan.steps[-1]:
                training.advance()
        found.append((float(np.mean(told)), Curve(plan.steps, np.stack(seen), rate)))
    return [curve for _, curve in sorted(found, key=lambda pair: -pair[0])]


def _run(plan: Plan, rate: float, number: int) -> dict[str, Any]:
    defaults = {key: rule.default for key, rule in HYPERPARAMETERS.items()}
    return defaults | {"optimizer": plan.optimizer, "learning_rate": rate, "weight_decay": 0.0, "seed": number}


@torch.no_grad()
def _accuracy(module: nn.Module, weights: Mapping[str, Tensor], x: Tensor, y: Tensor) -> np.ndarray:
    module.eval()
    right = [
        (run_stacked(module, weights, a).argmax(2) == b).float().sum(1)
        for a, b in zip(x.split(500), y.split(500), strict=True)
    ]
    return (torch.stack(right).sum(0) / len(y)).cpu().numpy()
