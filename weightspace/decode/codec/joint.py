"""Whole numbers of a network chosen together: coordinate descent on its answers, to second order.

At weights `w` on their grids, `g` the gradient of the divergence from the original's answers, and `G^T G` the Fisher
information of the answers, seen through one random row an input:

    divergence(w + d) = divergence(w) + g d + |G d|^2 / 2, about

One number after the other takes the value of least divergence and price of its bits, given all others; the price
follows the bits until they meet the budget. Where the divergence itself has not fallen, all is undone and tried again
with more damping, as Levenberg and Marquardt do.

Source: Nagel et al. (2020), "Up or down? Adaptive rounding for post-training quantization", section 3 (rounding is to
be chosen jointly, by a second-order model); Martens (2020), "New insights and perspectives on the natural gradient
method", section 5 (Fisher information in the place of the Hessian). Ours: all layers at once, and bits in the sum.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64
from torch import Generator, Tensor

from weightspace.decode.codec.budget import entropy, write
from weightspace.decode.codec.coder import SymbolReader
from weightspace.decode.codec.grid import Grid, read_grids
from weightspace.decode.codec.layout import Layout
from weightspace.decode.codec.masses import LARGEST as LARGEST_NUMBER
from weightspace.decode.codec.source import Behaviour, Source, Target
from weightspace.execute.stack import run_stacked

LARGEST = 2**27
"""Weights times inputs, at most: so many numbers are held."""

SWEEPS, PART = 3, 512
"""Over all weights in a round; networks run at once, one an input."""

DAMPING, BEGIN, RAISE, LOWER = 0.05, 1.0, 4.0, 3.0
"""Share of a weight's own curvature that is added to it: least, at first; factors by which it rises and falls."""

EVERY, PULL, FIRST, AIM = 128, 2.0, 0.05, 0.992
"""Weights after which the price follows, how fast, where it begins over divergence a weight, and the aimed share of the
budget."""


UNSEEN = 0.1
"""Times that numbers count as seen beside those that they were."""


@dataclass(frozen=True, eq=False)
class Chosen:
    """Numbers of a network, and what they lose and take.

    Args:
        numbers: Of steps, all tensors after each other as they are stored.
        loss: Divergence from the original.
        stream: Of the scheme.
    """

    numbers: Int64[np.ndarray, " weights"]
    loss: float
    stream: bytes


@dataclass(frozen=True, eq=False)
class Joint:
    """One network whose numbers are chosen together.

    Args:
        source: The network.
        target: Its own answers to all inputs.
        steps: Index of the step of each tensor.
        stream: Of grids to begin with.
    """

    source: Source
    target: Target
    steps: tuple[int, ...]
    stream: bytes

    @classmethod
    def of(cls, source: Source, target: Target, stream: bytes) -> Joint:
        """Return the network of a stream of grids, which may take more than the budget."""
        grids = read_grids(SymbolReader(stream), source.layout)
        return cls(source, target, tuple(grids[p.name].step for p in source.layout.places), stream)

    @cached_property
    def begun(self) -> Chosen:
        """Numbers of the stream, and what they lose."""
        grids = read_grids(SymbolReader(self.stream), self.layout)
        numbers = np.concatenate([p.stored(grids[p.name].values).ravel() for p in self.layout.places])
        return Chosen(numbers, self.loss(numbers), self.stream)

    @property
    def layout(self) -> Layout:
        """Of the tensors."""
        return self.source.layout

    @property
    def behaviour(self) -> Behaviour:
        """How the network is run."""
        assert self.source.behaviour is not None
        return self.source.behaviour

    @property
    def is_small(self) -> bool:
        """Whether the rows of the network can be held."""
        return self.layout.weights * len(self.behaviour.inputs) <= LARGEST

    def grids(self, numbers: Int64[np.ndarray, " weights"]) -> list[Grid]:
        """Return the grids of numbers."""
        parts = np.split(numbers, np.cumsum([math.prod(p.shape) for p in self.layout.places])[:-1])
        pairs = zip(self.layout.places, parts, self.steps, strict=True)
        return [Grid(p.matrix(part.reshape(p.shape)), step) for p, part, step in pairs]

    def tensors(self, numbers: Int64[np.ndarray, " weights"]) -> dict[str, Tensor]:
        """Return all tensors of the network with these numbers."""
        device = self.behaviour.inputs.device
        grids = zip(self.layout.places, self.grids(numbers), strict=True)
        found = self.source.restored({p.name: grid.matrix for p, grid in grids})
        return {name: t.to(device) for name, t in {**self.source.tensors, **found}.items()}

    def loss(self, numbers: Int64[np.ndarray, " weights"]) -> float:
        """Return how far the answers are from the original's."""
        logits = self.behaviour.all_logits({name: t[None] for name, t in self.tensors(numbers).items()})
        loss = float(self.target.divergence(logits)[0])
        return loss if math.isfinite(loss) else math.inf

    def fits(self, chosen: Chosen) -> bool:
        """Whether a stream meets the budget."""
        return 8 * len(chosen.stream) <= self.source.budget

    def improve(self, rounds: int) -> Chosen:
        """Return numbers of less divergence that fit the budget; those begun with where none are found."""
        best, damping = self.begun, BEGIN
        price = FIRST * best.loss / self.layout.weights
        local: Local | None = None
        for turn in range(rounds if self.is_small else 0):
            local = local or Local.at(self, best.numbers, Generator().manual_seed(self.source.seed + turn))
            search = _Search(self, local, best, (damping, price))
            tried = search.run(np.random.default_rng(self.source.seed + turn))
            price = search.price
            if self.fits(tried) and (tried.loss < best.loss or not self.fits(best)):
                best, local, damping = tried, None, max(damping / LOWER, DAMPING)
            else:
                damping *= RAISE
        return best


@dataclass(frozen=True, eq=False)
class Local:
    """The divergence around some weights, to second order.

    Args:
        rows: `G` transposed.
        gradient: Of each weight.
        curvature: Squares of the rows, summed.
    """

    rows: Float32[np.ndarray, "weights inputs"]
    gradient: Float[np.ndarray, " weights"]
    curvature: Float[np.ndarray, " weights"]

    @classmethod
    def at(cls, joint: Joint, numbers: Int64[np.ndarray, " weights"], generator: Generator) -> Local:
        """Return the model at the weights of these numbers."""
        tensors = joint.tensors(numbers)
        rows = _rows(joint, tensors, generator)
        gradient = _gradient(joint, tensors)
        curvature = np.einsum("ij,ij->i", rows, rows).astype(np.float64)
        return cls(rows, gradient, curvature + 1e-12 * curvature.mean() + 1e-30)


def _rows(joint: Joint, tensors: Mapping[str, Tensor], generator: Generator) -> Float32[np.ndarray, "weights inputs"]:
    """One row an input: the gradient of a random mixture of its answers whose square is their Fisher information."""
    names, found, target = [p.name for p in joint.layout.places], [], joint.target
    inputs = joint.behaviour.inputs
    for part in inputs.split(PART):
        each = {name: t.expand(len(part), *t.shape) for name, t in tensors.items()}
        learned = {name: each[name].clone().requires_grad_() for name in names}
        logits = run_stacked(joint.behaviour.module, each | learned, part[:, None], own=True)
        scaled = logits.reshape(len(part), -1, logits.shape[-1] if target.is_choice else 1) * target.scale[0]
        signs = torch.randint(2, scaled.shape, generator=generator).to(scaled) * 2 - 1
        if target.is_choice:
            chances = scaled.detach().softmax(-1)
            mixed = signs * chances.sqrt()
            mixture = mixed - chances * mixed.sum(-1, keepdim=True)
        else:
            mixture = signs * math.sqrt(2)
        mixture = mixture / math.sqrt(scaled.shape[1] * len(inputs))
        gradients = torch.autograd.grad((scaled * mixture).sum(), list(learned.values()), materialize_grads=True)
        found.append(torch.cat([g.flatten(1) for g in gradients], 1).T.contiguous().cpu())
    return torch.cat(found, 1).nan_to_num().numpy()


def _gradient(joint: Joint, tensors: Mapping[str, Tensor]) -> Float[np.ndarray, " weights"]:
    behaviour, names = joint.behaviour, [p.name for p in joint.layout.places]
    learned = {name: tensors[name][None].clone().requires_grad_() for name in names}
    total: list[Tensor] = [torch.zeros_like(t) for t in learned.values()]
    places = joint.target.logits.shape[1] // len(behaviour.inputs)
    for start in range(0, len(behaviour.inputs), PART):
        part = behaviour.inputs[start : start + PART]
        logits = behaviour.logits({name: t[None] for name, t in tensors.items()} | learned, part)
        lost = joint.target.divergence(logits, slice(start * places, (start + len(part)) * places)).sum()
        gradients = torch.autograd.grad(lost, list(learned.values()), materialize_grads=True)
        total = [t + g * (len(part) / len(behaviour.inputs)) for t, g in zip(total, gradients, strict=True)]
    return torch.cat([t.flatten() for t in total]).nan_to_num().double().cpu().numpy()


class _Search:
    """Coordinate descent from some numbers on one local model, with a damping and a price to begin with."""

    def __init__(self, joint: Joint, local: Local, begun: Chosen, held: tuple[float, float]) -> None:
        self.joint, self.local, self.aim = joint, local, AIM
        self.damping, self.price = held
        self.numbers = begun.numbers.copy()
        self.side = 8 * len(begun.stream) - entropy(joint.grids(begun.numbers))
        counts = [math.prod(p.shape) for p in joint.layout.places]
        self.tensor = np.repeat(np.arange(len(counts)), counts)
        self.sizes = np.array([grid.size for grid in joint.grids(begun.numbers)])[self.tensor]
        self.moved = np.zeros(len(self.numbers))
        self.pulled = np.zeros(local.rows.shape[1], np.float32)

    def run(self, generator: np.random.Generator) -> Chosen:
        """Return what the sweeps arrive at; more of them where it doesn't fit, which it may not even then."""
        budget = self.joint.source.budget
        for sweep in range(2 * SWEEPS):
            self._sweep(generator.permutation(len(self.numbers)))
            if sweep + 1 >= SWEEPS:
                stream = write(self.joint.grids(self.numbers))
                if 8 * len(stream) <= budget:
                    break
                self.aim -= 8 * len(stream) / budget - AIM
        return Chosen(self.numbers, self.joint.loss(self.numbers), stream)

    def _bits(self) -> list[list[float]]:
        """What each magnitude takes in each tensor, two magnitudes beyond the largest ones too."""
        found = []
        for sizes in np.split(np.abs(self.numbers), np.flatnonzero(np.diff(self.tensor)) + 1):
            counts = np.bincount(sizes, minlength=min(int(sizes.max(initial=1)) + 3, LARGEST_NUMBER + 1)) + UNSEEN
            counts[1:] /= 2
            found.append((-np.log2(counts / (counts[0] + 2 * counts[1:].sum()))).tolist())
        return found

    def _sweep(self, order: Int64[np.ndarray, " weights"]) -> None:
        table, budget = self._bits(), self.joint.source.budget
        pairs = zip(self.tensor.tolist(), np.abs(self.numbers).tolist(), strict=True)
        total = self.side + sum(table[tensor][size] for tensor, size in pairs)
        rows, gradient, curved = self.local.rows, self.local.gradient, self.local.curvature
        for place, j in enumerate(order.tolist()):
            number, size, bits = int(self.numbers[j]), float(self.sizes[j]), table[self.tensor[j]]
            own = float(curved[j])
            slope = float(rows[j] @ self.pulled) + gradient[j] + self.damping * own * self.moved[j]
            bent = own * (1 + self.damping) * size * size
            best = number - slope * size / bent
            chosen = _cheapest(best, bent, bits, self.price, number)
            if chosen != number:
                self.pulled += rows[j] * np.float32((chosen - number) * size)
                self.moved[j] += (chosen - number) * size
                self.numbers[j] = chosen
                total += bits[abs(chosen)] - bits[abs(number)]
            if place % EVERY == 0:
                self.price *= math.exp(min(max(PULL * (total / budget - self.aim), -0.2), 0.2))


def _cheapest(best: float, bent: float, bits: list[float], price: float, number: int) -> int:
    """Of the numbers beside `best`, zero and the present one, that of least `bent (n - best)^2 / 2 + price bits(n)`."""
    low = math.floor(min(max(best, -1e9), 1e9))
    options = [n for n in (low, low + 1, 0, number) if abs(n) < len(bits)]
    return min(options, key=lambda n: bent * (n - best) ** 2 / 2 + price * bits[abs(n)])
