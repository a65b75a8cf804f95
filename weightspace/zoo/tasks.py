"""What networks learn: examples with labels, one image each, or control. A task knows its loss and its measures."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor

from weightspace.zoo.families.signature import Signature
from weightspace.zoo.seeds import make_generator

Run = Callable[..., Tensor]  # run(inputs, own=False) -> outputs of all networks, (models, inputs, ...)


class Task(ABC):
    """What a stack of networks learns together. Subclasses are final.

    `state` holds tensors that a resumed training must find again; `signature` is what a network must fit; `exact` tasks
    are trained in single precision on an accelerator too.
    """

    exact: bool = False
    signature: Signature
    steps_per_epoch: int
    state: dict[str, Tensor]

    @abstractmethod
    def loss(self, run: Run, step: int) -> Tensor:
        """Return the loss of each network at a step, with gradients."""

    @abstractmethod
    def measure(self, run: Run) -> dict[str, Tensor]:
        """Return properties of each network, by name."""


def at_least_single(x: Tensor) -> Tensor:
    """Return `x` in single precision, or double where it is: losses are never taken in half."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def example_losses(outputs: Tensor, y: Tensor) -> Tensor:
    """Return the loss of each example of each network: cross-entropy for labels, squared error for values.

    Args:
        outputs: `(models, examples, ..., classes or values)`.
        y: Labels `(examples, ...)`, or values `(models, examples, ..., values)`.
    """
    outputs = at_least_single(outputs)
    if y.is_floating_point():
        return (outputs - y).square().flatten(2).mean(-1)
    labels = y.expand(len(outputs), *y.shape)
    losses = F.cross_entropy(outputs.flatten(0, -2), labels.flatten(), reduction="none")
    return losses.view(len(outputs), len(y), -1).mean(-1)


@dataclass(frozen=True)
class Sampling:
    """Which examples a stack is trained and scored on, and in which order.

    Args:
        fraction: Of the training examples that is used.
        batch_size: Examples a step, at most.
        score_on: Training examples that `measure` looks at, at most.
        seed: Of the order of examples.
    """

    fraction: float = 1.0
    batch_size: int = 128
    score_on: int = 5000
    seed: int = 0


@final
class Examples(Task):
    """Mini-batches of one order, shared by the whole stack; the inputs are shared, values may be each network's own.

    Networks that train on a fraction share it too: the fraction is the start of one shuffled list, so fractions nest.

    Args:
        train: Inputs and labels.
        test: Inputs and labels to test on; None where training is all there is.
        outputs: Classes, characters or channels.
        sampling: Which examples are used, and in which order.
    """

    def __init__(
        self,
        train: tuple[Tensor, Tensor],
        test: tuple[Tensor, Tensor] | None,
        *,
        outputs: int,
        sampling: Sampling = Sampling(),
    ):
        self.x, self.y = train
        self.exact = self.y.is_floating_point()  # coordinates have more than bfloat16's eight bits
        self.test, self.seed, self.score_on = test, sampling.seed, sampling.score_on
        self.signature = Signature(tuple(self.x.shape[1:]), outputs)
        self.state: dict[str, Tensor] = {}
        chosen = torch.randperm(len(self.x), generator=make_generator("subset", self.seed))
        self.subset = chosen[: max(1, round(sampling.fraction * len(self.x)))].to(self.x.device)
        self.batch_size = min(sampling.batch_size, len(self.subset))
        self.steps_per_epoch = len(self.subset) // self.batch_size
        self._order: tuple[int, Tensor] = (-1, self.subset)

    def _indices(self, step: int) -> Tensor:
        epoch, place = divmod(step, self.steps_per_epoch)
        if self._order[0] != epoch:
            order = torch.randperm(len(self.subset), generator=make_generator("order", self.seed, epoch))
            self._order = (epoch, self.subset[order.to(self.subset.device)])
        return self._order[1][place * self.batch_size : (place + 1) * self.batch_size]

    def loss(self, run: Run, step: int) -> Tensor:
        """Return each network's mean loss on the mini-batch of a step."""
        here = self._indices(step)
        y = self.y[:, here] if self.y.is_floating_point() else self.y[here]
        return example_losses(run(self.x[here]), y).mean(1)

    def measure(self, run: Run) -> dict[str, Tensor]:
        """Return accuracy and loss on the examples trained on (at most `score_on`), on the test ones, and the gap."""
        here = self.subset[: self.score_on]
        if self.y.is_floating_point():
            loss = example_losses(run(self.x[here]), self.y[:, here]).mean(1)
            return {"train_loss": loss, "psnr": 10 * torch.log10(4 / loss)}  # values span [-1, 1]
        assert self.test is not None, "labels come with a test part"
        train_accuracy, train_loss = self._score(run, self.x[here], self.y[here])
        test_accuracy, test_loss = self._score(run, *self.test)
        return {
            "train_accuracy": train_accuracy,
            "train_loss": train_loss,
            "test_accuracy": test_accuracy,
            "test_loss": test_loss,
            "generalisation_gap": train_accuracy - test_accuracy,
        }

    def _score(self, run: Run, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        right: Tensor | float = 0.0
        loss: Tensor | float = 0.0
        for part_x, part_y in zip(x.split(1000), y.split(1000), strict=True):
            outputs = run(part_x)
            hits = (outputs.argmax(-1) == part_y).float()
            right = right + hits.flatten(2).mean(-1).sum(1) if hits.ndim > 2 else right + hits.sum(1)
            loss = loss + example_losses(outputs, part_y).sum(1)
        assert isinstance(right, Tensor) and isinstance(loss, Tensor), "never without examples"
        return right / len(x), loss / len(x)
