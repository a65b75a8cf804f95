"""What a scheme is given: weights, a budget, and where it can be run the network's own answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from weightspace.decode.codec.layout import Layout, Matrices
from weightspace.execute.stack import run_stacked

SHOWN = 1024
"""Inputs that schemes are compared on."""

SHARPEST = 4.0
"""Answers of less spread than this are scaled up to it, so that networks of faint answers count as much."""


@dataclass(frozen=True, eq=False)
class Behaviour:
    """How networks of one architecture are run, and on what.

    Args:
        module: Holds the architecture; its own weights are not used.
        inputs: `(inputs, ...)`, on the device where networks are run; no labels are needed.
    """

    module: nn.Module
    inputs: Tensor

    def logits(self, stack: Mapping[str, Tensor], inputs: Tensor) -> Float[Tensor, "models answers classes"]:
        """Return the answers of networks; several places of an output count as so many inputs."""
        found = run_stacked(self.module, stack, inputs)
        return found.reshape(len(found), -1, found.shape[-1] if found.ndim > 2 else 1)

    @torch.no_grad()
    def all_logits(self, stack: Mapping[str, Tensor], count: int | None = None) -> Tensor:
        """Return the answers to the first `count` inputs, some at a time."""
        return torch.cat([self.logits(stack, part) for part in self.inputs[:count].split(256)], 1)


@dataclass(frozen=True, eq=False)
class Target:
    """Answers to be kept.

    Args:
        logits: `(models, answers, classes)` of the originals.
    """

    logits: Tensor
    scale: Tensor = field(init=False)

    def __post_init__(self) -> None:
        centred = self.logits - self.logits.mean(-1, keepdim=True) if self.is_choice else self.logits
        spread = centred.std((1, 2), correction=0).clamp(min=1e-12)
        scale = (SHARPEST / spread).clamp(min=1) if self.is_choice else 1 / spread
        object.__setattr__(self, "scale", scale[:, None, None])

    def of(self, models: Sequence[int]) -> Target:
        """Return the answers of some of the originals."""
        return Target(self.logits[list(models)])

    @property
    def is_choice(self) -> bool:
        """Whether answers choose among classes."""
        return self.logits.shape[-1] > 1

    def divergence(self, logits: Tensor, which: slice | Tensor = slice(None)) -> Float[Tensor, " models"]:
        """Return how far answers are from those of the originals: Kullback-Leibler, or relative squared error."""
        wanted = self.logits[:, which]
        if not self.is_choice:
            return ((logits - wanted) * self.scale).square().mean((1, 2))
        p, q = (wanted * self.scale).log_softmax(-1), (logits * self.scale).log_softmax(-1)
        return (p.exp() * (p - q)).sum(-1).mean(1)


@dataclass(frozen=True, eq=False)
class Source:
    """One network to be compressed.

    Args:
        layout: Of its graph.
        tensors: All of them as they are stored; floating-point ones in single precision.
        budget: Bits that a scheme may take.
        behaviour: None where it can't be run, or there is nothing to run it on.
        seed: Of whatever is drawn at random.
        foretold: What both sides know of the weights beforehand, by tensor name; only the rest is compressed.
    """

    layout: Layout
    tensors: Mapping[str, Tensor]
    budget: int
    behaviour: Behaviour | None = None
    seed: int = 0
    foretold: Matrices | None = None

    @cached_property
    def whole(self) -> Matrices:
        """The tensors of the layout as matrices."""
        return {p.name: p.matrix(self.tensors[p.name].numpy()) for p in self.layout.places}

    @cached_property
    def matrices(self) -> Matrices:
        """What is to be compressed: the tensors as matrices, less what is foretold of them."""
        if self.foretold is None:
            return self.whole
        return {name: m - self.foretold[name] for name, m in self.whole.items()}

    def restored(self, matrices: Matrices) -> dict[str, Tensor]:
        """Return tensors as they are stored of what has become of `matrices`."""
        found = added(matrices, self.foretold)
        return {p.name: torch.from_numpy(stored_float(p.stored(found[p.name]))) for p in self.layout.places}

    @cached_property
    def target(self) -> Target:
        """Answers of the network itself to the inputs that schemes are compared on."""
        assert self.behaviour is not None
        return Target(self.behaviour.all_logits(self._stack(self.tensors), SHOWN))

    def loss(self, matrices: Matrices) -> float:
        """Return what is lost: of the answers where the network can be run, else of the weights."""
        if self.behaviour is None:
            return relative_error(self.whole, added(matrices, self.foretold))
        found = self.behaviour.all_logits(self._stack({**self.tensors, **self.restored(matrices)}), SHOWN)
        loss = float(self.target.divergence(found)[0])
        return loss if np.isfinite(loss) else np.inf

    def _stack(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        assert self.behaviour is not None
        return {name: t[None].to(self.behaviour.inputs.device) for name, t in tensors.items()}


def added(matrices: Matrices, foretold: Matrices | None) -> Matrices:
    """Return matrices and what is foretold of them together."""
    return matrices if foretold is None else {name: m + foretold[name] for name, m in matrices.items()}


def stored_float(array: np.ndarray) -> np.ndarray:
    """Return a contiguous array of single precision."""
    return np.ascontiguousarray(array, np.float32)


def relative_error(before: Matrices, after: Matrices) -> float:
    """Return the squared error of each tensor over its own mean square, weighted by its size."""
    lost = weights = 0.0
    for name, matrix in before.items():
        power = float(np.square(matrix, dtype=np.float64).mean()) if matrix.size else 0.0
        if power:
            lost += float(np.square(matrix - after[name], dtype=np.float64).sum()) / power
        weights += matrix.size
    return lost / max(weights, 1)
