"""How every neural peer is trained, ours too: one loop, one budget, one way to choose.

- Targets: an accuracy is read by a sigmoid under cross-entropy, a number standardised, a class by softmax (`target`);
  raw output 0 means the training mean.
- Each learning rate of a short list gets an equal share of the seconds that are left, and a whole run of its own:
  AdamW, 5 % warm-up, cosine to 0 over its share of the budget or `epochs`, whichever ends first, gradients clipped
  at norm 1.
- After each epoch the validation networks are scored; the best state of all runs is kept (by the mean of tau and R2, or
  by accuracy). Where there are two heads, how much each counts is chosen with it. A run that has not got better for
  `patience` of its epochs is ended, its seconds go to the next.
- Test networks are seen once, by `predict`.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, final, runtime_checkable

import numpy as np
import torch
from torch import Generator, Tensor, nn

from benchmarks.encoder.data import Architecture, Batch, Group, Networks
from benchmarks.encoder.target import Target
from weightspace.encode.predictor import EVEN, best_share, merged
from weightspace.train.recorded import Recorded, add_gradients


class Peer(Protocol):
    """What is compared. `fit` keeps to its seconds, `predict` scores networks in the order of their rows."""

    parameters: int
    chosen: dict[str, Any]

    def fit(self, train: Networks, validation: Networks, *, seed: int, budget: float) -> None:
        """Learn from training networks, choose by validation networks."""

    def predict(self, networks: Networks) -> np.ndarray:
        """Return `(networks,)`, or `(networks, classes)`."""


Build = Callable[[Networks, int], nn.Module]
"""Takes training networks and how many raw outputs; gives a module that takes a `Batch`.

What it returns is `(networks, outputs)`, or of two heads `(heads, networks, outputs)`: each head learns.
"""


@runtime_checkable
class Apart(Protocol):
    """A module that does each architecture for itself, and draws what it learns from apart from what it says of it.

    On a CUDA device its updates are recorded, one for each architecture and number of networks, and replayed: small
    networks are launched more slowly than they run.
    """

    def show(self, group: Group) -> list[Tensor]:
        """Return what is said is made of; everything random is drawn here, but what is dropped."""

    def read(self, architecture: Architecture, shown: list[Tensor]) -> Tensor:
        """Return raw outputs, the networks on the last axis but one."""


@dataclass(frozen=True)
class Schedule:
    """How a neural peer is trained.

    Args:
        rates: Learning rates to try, in this order.
        epochs: At most so many a run.
        batch: Networks a step; fewer where that makes less than 16 steps of an epoch, though not below 8.
        weight_decay: Of AdamW.
        patience: Share of the epochs without a better validation score that ends a run.
    """

    rates: tuple[float, ...] = (1e-3, 3e-3, 3e-4)
    epochs: int = 150
    batch: int = 64
    weight_decay: float = 1e-2
    patience: float = 0.4


@final
@dataclass
class NeuralPeer:
    """A module trained as above.

    Args:
        build: Makes the module, freshly drawn.
        schedule: How it is trained.
    """

    build: Build
    schedule: Schedule = Schedule()
    chosen: dict[str, Any] = field(default_factory=dict)
    parameters: int = 0
    share: float = EVEN

    def fit(self, train: Networks, validation: Networks, *, seed: int, budget: float) -> None:
        """Train once for each learning rate and keep the best state of all; building the module is not counted."""
        self._target = Target.of(train)
        best, state, left = -math.inf, None, budget
        for i, rate in enumerate(self.schedule.rates):
            if i and left <= 0:
                break
            with torch.random.fork_rng():
                torch.manual_seed(seed)
                module = self.build(train, self._target.outputs).to(train.device)
            run, start = Run(module, self._target, self.schedule, rate), time.perf_counter()
            run.train(train, validation, seed=seed, seconds=left / (len(self.schedule.rates) - i))
            left -= time.perf_counter() - start
            if state is None or run.best > best:
                best, state, self.share = run.best, run.state, run.share
                self.chosen = {"learning_rate": rate, "epoch": run.best_epoch, "validation": run.best}
                self.chosen["share"] = run.share
            self.chosen["epochs"] = self.chosen.get("epochs", 0) + run.epochs
        module.load_state_dict(state)
        self.module = module.eval()
        self.parameters = sum(p.numel() for p in module.parameters() if p.requires_grad)

    def predict(self, networks: Networks) -> np.ndarray:
        """Return scores in the order of the rows."""
        raw = read_networks(self.module, networks)
        return self._target.read(merged(raw, self.share)).float().nan_to_num().cpu().numpy()


@torch.no_grad()
def read_networks(module: nn.Module, networks: Networks, size: int = 128, recorded: Recorded | None = None) -> Tensor:
    """Return the raw outputs of all networks `(heads, networks, outputs)` in the order of their rows.

    Args:
        module: What reads them.
        networks: To read.
        size: How many at once.
        recorded: Keeps what was recorded of a module that is `Apart`, for parameters that change in place.
    """
    module.eval()

    def read(batch: Batch) -> Tensor:
        if recorded is None or not isinstance(module, Apart):
            return _heads(module(batch))
        return torch.cat([_heads(_read_apart(module, group, recorded)) for group in batch.groups], 1)

    batches = list(networks.batches(size))
    raw = torch.cat([read(batch) for batch in batches], 1)
    ordered = torch.empty_like(raw)
    ordered[:, torch.cat([batch.rows for batch in batches])] = raw
    return ordered


def _read_apart(module: Apart, group: Group, recorded: Recorded) -> Tensor:
    def told(*shown: Tensor) -> Tensor:
        return module.read(group.architecture, list(shown))

    return recorded.gradients(group.architecture.identity, told, module.show(group))[0]


def choose_share(raw: Tensor, target: Target, values: Tensor) -> tuple[float, float]:
    """Return how much the second of two heads counts where networks are told best, even of one head; and how well.

    Args:
        raw: Of the networks, `(heads, networks, outputs)`.
        target: What the outputs mean.
        values: The truth.
    """

    def loss(share: float) -> float:
        return -target.quality(values, target.read(merged(raw, share)).nan_to_num())

    share = best_share(loss) if len(raw) > 1 else EVEN
    return share, -loss(share)


def _heads(told: Tensor) -> Tensor:
    """Raw outputs `(heads, networks, outputs)`."""
    return told if told.ndim == 3 else told[None]


@final
class Run:
    """One training run at one learning rate."""

    def __init__(self, module: nn.Module, target: Target, schedule: Schedule, rate: float):
        self.module, self.target, self.schedule, self.rate = module, target, schedule, rate
        self.best, self.best_epoch, self.epochs, self.share = -math.inf, 0, 0, EVEN
        self.state: dict[str, Tensor] = {}
        self.optimizer = torch.optim.AdamW(module.parameters(), rate, weight_decay=schedule.weight_decay)
        self.updates, self.readings = Recorded(module.parameters()), Recorded(())

    def train(self, train: Networks, validation: Networks, *, seed: int, seconds: float) -> None:
        """Train until the seconds, the epochs or the patience are over."""
        generator, start, step = Generator().manual_seed(seed), time.perf_counter(), 0
        size = max(8, min(self.schedule.batch, len(train) // 16))
        steps = self.schedule.epochs * max(1, math.ceil(len(train) / size))
        for epoch in range(1, self.schedule.epochs + 1):
            self.module.train()
            for batch in train.batches(size, generator):
                spent = (time.perf_counter() - start) / max(seconds, 1e-9)
                if spent >= 1:
                    break
                self._step(batch, train.target, max(spent, step / steps), step)
                step += 1
            self.epochs = epoch
            self._select(validation, epoch)
            late = epoch - self.best_epoch > self.schedule.patience * self.schedule.epochs
            if late or time.perf_counter() - start >= seconds:
                return

    def _step(self, batch, values: Tensor, progress: float, step: int) -> None:
        """One update; the rate follows how much of the run is over."""
        warm = min(1.0, progress / 0.05, (step + 1) / 10)
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate * warm * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
        self.optimizer.zero_grad(set_to_none=True)
        if isinstance(self.module, Apart):
            self._learn_apart(self.module, batch, values)
        else:
            self._loss(self.module(batch), values[batch.rows]).backward()
        norm = nn.utils.clip_grad_norm_(self.module.parameters(), 1.0)
        if torch.isfinite(norm):
            self.optimizer.step()

    def _learn_apart(self, module: Apart, batch: Batch, values: Tensor) -> None:
        """Take the gradients of a batch, architecture by architecture."""
        total = [torch.zeros_like(parameter) for parameter in self.updates.parameters]
        for group in batch.groups:

            def loss(values: Tensor, *shown: Tensor, known: Architecture = group.architecture) -> Tensor:
                return self._loss(module.read(known, list(shown)), values)

            told = [values[group.rows], *module.show(group)]
            _, found = self.updates.gradients(group.architecture.identity, loss, told)
            add_gradients(total, found, len(group.rows) / len(batch.rows))
        for parameter, grad in zip(self.updates.parameters, total, strict=True):
            parameter.grad = grad

    def _loss(self, told: Tensor, values: Tensor) -> Tensor:
        told = _heads(told)
        return self.target.loss(told.flatten(0, 1), values.repeat(len(told)))

    def _select(self, validation: Networks, epoch: int) -> None:
        raw = read_networks(self.module, validation, recorded=self.readings)
        share, quality = choose_share(raw, self.target, validation.target)
        if quality > self.best or not self.state:
            self.best, self.best_epoch, self.share = quality, epoch, share
            self.state = copy.deepcopy(self.module.state_dict())
