"""Our encoder of the sizes that are trained, as a module that takes a `Batch`: vectors to time, and as a peer."""

from __future__ import annotations

from functools import partial
from typing import final

import torch
from torch import Generator, Tensor, nn

from benchmarks.encoder.data import Architecture, Batch, Group, Networks
from benchmarks.encoder.parts import Head
from weightspace.encode.answers import run_networks
from weightspace.encode.network import SweepConfig, SweepNetwork, learned_numbers
from weightspace.encode.plan import Plan, compile_plan
from weightspace.graph.trace import trace_graph
from weightspace.train.config import LEARNED
from weightspace.train.start import Asked, start_answers
from weightspace.train.views import are_places, draw_move, moved, with_noise

NOISE, MOVED, TOGETHER = 0.2, 0.04, 32
"""Noise of weights in training and how far places are moved, see `views`; networks that see them at the same places."""


@final
class SweepNet(nn.Module):
    """Vectors of networks, by their weights alone or with what they answer to the probes.

    Args:
        train: Networks to learn from. An architecture is traced when it first comes, these at once.
        outputs: Not looked at: what comes back is the vector.
        run: Whether networks are run on the probes.
        sizes: Of the encoder.
    """

    def __init__(self, train: Networks, outputs: int, *, run: bool = False, sizes: SweepConfig = LEARNED):
        super().__init__()
        self.encoder = SweepNetwork(sizes, generator=Generator().manual_seed(torch.initial_seed()))
        self.draw = Generator(train.device).manual_seed(torch.initial_seed())
        self.run, self._known = run, dict[str, tuple[nn.Module, Plan]]()
        for group in train.groups:
            self._know(group.architecture)

    def start(self, train: Networks) -> None:
        """Begin at real inputs and at principal components."""
        asked = []
        for group in train.groups:
            module, _ = self._know(group.architecture)
            asked.append(Asked(module.to(train.device), group.architecture.signature.inputs, group.weights))
        generator = Generator().manual_seed(torch.initial_seed())
        start_answers(self.encoder.to(train.device), train.inputs, [asked], generator)

    def forward(self, batch: Batch) -> Tensor:
        """Return vectors `(networks, latent)`."""
        return torch.cat([self.see(group.architecture, self.show(group)) for group in batch.groups])

    def show(self, group: Group) -> list[Tensor]:
        """Return what vectors are made of: weights, and in training those with noise and how places are moved."""
        if not self.training:
            return [group.flat]
        module, _ = self._know(group.architecture)
        noisy = with_noise(group.weights, [name for name, _ in module.named_parameters()], NOISE, self.draw)
        shape = group.architecture.signature.inputs
        parts = group.flat.split(TOGETHER) if self.run and are_places(shape) else ()
        return [group.flat, *noisy.values(), *(draw_move(shape, MOVED, self.draw) for _ in parts)]

    def see(self, architecture: Architecture, shown: list[Tensor]) -> Tensor:
        """Return vectors `(networks, latent)` of what is shown of networks of one architecture; nothing is drawn."""
        module, plan = self._know(architecture)
        flat, *rest = shown
        names = list(architecture.layout.shapes)
        weights = dict(zip(names, rest, strict=False)) if rest else architecture.layout.view(flat)
        told = self._ask(module, architecture, flat, rest[len(names) :]) if self.run else None
        return self.encoder(plan, weights, told).vector

    def _know(self, architecture: Architecture) -> tuple[nn.Module, Plan]:
        """What runs networks and how they are encoded, made when an architecture first comes."""
        if architecture.identity not in self._known:
            module = architecture.module().requires_grad_(False)
            graph = trace_graph(module, (torch.zeros(2, *architecture.signature.inputs),))
            self._known[architecture.identity] = module, compile_plan(graph)
        return self._known[architecture.identity]

    def _ask(self, module: nn.Module, architecture: Architecture, flat: Tensor, moves: list[Tensor]) -> Tensor:
        """What networks answer to the probes; where these are moved, each few networks to others."""
        probes = self.encoder.probes(architecture.signature.inputs)
        module, parts = module.to(probes.device), flat.split(TOGETHER) if moves else (flat,)
        each = zip(parts, moves or [None], strict=True)
        views = ((architecture.layout.view(part), moved(probes, move)) for part, move in each)
        return torch.cat([run_networks(module, weights, inputs) for weights, inputs in views])


@final
class SweepRead(nn.Module):
    """The learned numbers of our vectors, with the head that every peer has for those of weights and of answers.

    Probes begin at real training inputs, where the population's dataset is at hand and its networks take such inputs,
    and what reads the answers at their principal components, as in our trainings. Inputs that are places, as of
    implicit networks, are moved a little while it learns, as there: a picture seen from elsewhere keeps its class.
    Weights have noise while it learns, as there.
    """

    def __init__(self, train: Networks, outputs: int, *, run: bool):
        super().__init__()
        self.vectors = SweepNet(train, outputs, run=run)
        if run:
            self.vectors.start(train)
        of_weights = LEARNED.latent - LEARNED.fixed - LEARNED.answers
        self.numbers = [of_weights, LEARNED.answers]
        self.heads = nn.ModuleList(Head(n, outputs) for n in self.numbers[: 1 + run])

    def forward(self, batch: Batch) -> Tensor:
        """Return raw outputs `(heads, networks, outputs)`."""
        return torch.cat([self.read(group.architecture, self.show(group)) for group in batch.groups], 1)

    def show(self, group: Group) -> list[Tensor]:
        """Return what is said of networks is made of, all that is drawn with it."""
        return self.vectors.show(group)

    def read(self, architecture: Architecture, shown: list[Tensor]) -> Tensor:
        """Return raw outputs `(heads, networks, outputs)` of what is shown of networks of one architecture."""
        parts = learned_numbers(self.vectors.see(architecture, shown), LEARNED.fixed).split(self.numbers, 1)
        return torch.stack([head(part) for head, part in zip(self.heads, parts, strict=False)])


SUBJECTS = {"encoder": SweepNet, "encoder+probes": partial(SweepNet, run=True)}
