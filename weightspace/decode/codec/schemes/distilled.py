"""Grids learned through the answers: weights, steps and rates are trained until the answers are those of the original.

    loss = divergence(answers, answers of the original) + price * (bits a weight + damping * squared gap to the grid)

Rounding passes gradients straight through; bits are those of a double exponential over the unrounded weights; the
price of each network follows its measured entropy until it meets the budget; damping grows from nothing, and keeps
weights from swinging between two points. Training starts where feedback ends. Of the states of the last third, the one
of least divergence whose stream fits is kept. Numbers of networks that feedback leaves near to their answers are chosen
together instead (`codec.joint`), as are those of states that take a little too much. Inputs need no labels.

Source: Bengio et al. (2013), "Estimating or propagating gradients through stochastic neurons"; Esser et al. (2020),
"Learned step size quantization"; Oktay et al. (2020), "Scalable model compression by entropy penalized
reparameterization"; Nagel et al. (2022), "Overcoming oscillations in quantization-aware training". Ours: the price
that is steered network by network, damping in proportion to it, and the exact stream as the judge.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Generator, Tensor

from weightspace.decode.codec.budget import write
from weightspace.decode.codec.coder import SymbolReader
from weightspace.decode.codec.grid import Grid, grid_bits, read_grids
from weightspace.decode.codec.joint import Joint
from weightspace.decode.codec.schemes.feedback import Fed, feed_back, feedback_factors, fit_feedback
from weightspace.decode.codec.schemes.rounding import step_rules
from weightspace.decode.codec.schemes.scheme import Scheme, choose, decode_grids
from weightspace.decode.codec.sensitivity import sensitive_steps
from weightspace.decode.codec.source import Behaviour, Source, Target
from weightspace.decode.codec.student import Student
from weightspace.errors import CodecError

UPDATES, SHOWN, RATE = 500, 64, 0.03
"""Updates, inputs shown in each, and learning rate over the root mean square of a tensor,
less where steps are finer than that."""

PRICE, STEERING, NUDGE, SMOOTHING, EVERY = 0.02, 2.0, 0.2, 0.66, 4
"""Price of a bit a weight to begin with, how fast it and the steps follow the measured entropy, its memory, and the
updates from one measurement to the next."""

CALM, SIDES = 0.1, 20
"""Share of the updates before steps follow; times that what streams take beside the entropy is measured."""

FAR, ROUNDS = 0.003, 1
"""Divergence from which networks are trained, and rounds in which the numbers of others are chosen together."""

DAMPING = 20.0
"""Price of the squared distance to the grid at the end beside that of a bit."""

AIM, STATES, JUDGED = 0.982, 8, 2048
"""Share of the budget that is aimed at; states that are judged, and inputs that they are judged on."""

ENDING = 16.0
"""Bits that a stream takes to end, about."""


def encode(sources: Sequence[Source]) -> list[bytes]:
    """Return grids of numbers chosen together, or learned where feedback leaves networks far from their answers."""
    starts = [_start(source) for source in sources]
    behaviour, names = sources[0].behaviour, list(sources[0].tensors)
    assert behaviour is not None
    device = behaviour.inputs.device
    stack = {name: torch.stack([s.tensors[name] for s in sources]).to(device) for name in names}
    target = Target(behaviour.all_logits(stack))
    joints = [
        Joint.of(s, target.of([i]), start.stream) for i, (s, start) in enumerate(zip(sources, starts, strict=True))
    ]
    far = [i for i, joint in enumerate(joints) if joint.begun.loss > FAR]
    found = [[joint.begun] if i in far else [joint.begun, joint.improve(ROUNDS)] for i, joint in enumerate(joints)]
    if far:
        some = {name: t[far] for name, t in stack.items()}
        best = _Best.begin([sources[i] for i in far], some, target.of(far), [starts[i] for i in far])
        _train(best, sources[0].seed)
        for i, stream, draft in zip(far, best.streams, best.drafts, strict=True):
            ends = [Joint.of(sources[i], target.of([i]), data) for data in {stream, draft}]
            found[i] += [end.begun if joints[i].fits(end.begun) else end.improve(ROUNDS) for end in ends]
    pairs = zip(joints, found, strict=True)
    return [min((c for c in options if joint.fits(c)), key=lambda c: c.loss).stream for joint, options in pairs]


@dataclass(frozen=True, eq=False)
class _Start:
    """What training begins with: the best of feedback with every rule for steps."""

    stream: bytes
    fed: Mapping[str, Fed]


def _start(source: Source) -> _Start:
    factors = feedback_factors(source)
    rules = [*step_rules(source), sensitive_steps(source)]
    stream = choose(source, [fit_feedback(source, factors, steps) for steps in rules], decode_grids)
    grids = read_grids(SymbolReader(stream), source.layout)
    return _Start(stream, {name: _fed(m, factors.get(name), grids[name]) for name, m in source.matrices.items()})


def _fed(matrix: np.ndarray, upper: np.ndarray | None, grid: Grid) -> Fed:
    """Feedback once more with the step that was read; a grid of zeros has none."""
    step = grid.size if grid.values.any() else 4 * float(np.abs(matrix).max(initial=1e-12))
    return feed_back(matrix, upper, step)


@dataclass(eq=False)
class _Best:
    """The best stream of each network so far, and the best draft.

    A draft may take more than the budget: `4^bits` of its divergence is expected of it without these bits a weight.

    Args:
        streams: Those of feedback to begin with.
        student: What is judged.
        target: Answers to be kept.
        behaviour: How networks are run.
        budgets: Bits of each network.
    """

    streams: list[bytes]
    student: Student
    target: Target
    behaviour: Behaviour
    budgets: Float[Tensor, " models"]

    @classmethod
    def begin(
        cls, sources: Sequence[Source], stack: Mapping[str, Tensor], target: Target, starts: Sequence[_Start]
    ) -> _Best:
        """Return the streams that training begins with, and the student."""
        behaviour = sources[0].behaviour
        assert behaviour is not None
        student = Student(sources, stack, [start.fed for start in starts])
        budgets = torch.tensor([float(s.budget) for s in sources], device=behaviour.inputs.device)
        return cls([start.stream for start in starts], student, target, behaviour, budgets)

    def __post_init__(self) -> None:
        self.side = torch.zeros_like(self.budgets)
        pairs = zip(self.student.sources, self.streams, strict=True)
        found = [source.restored(decode_grids(data, source.layout)) for source, data in pairs]
        decoded = {name: torch.stack([one[name] for one in found]).to(self.side.device) for name in found[0]}
        self.drafts = list(self.streams)
        self.losses = self._losses({**self.student.stack, **decoded})
        self.expected = self.losses.tolist()

    @torch.no_grad()
    def _losses(self, tensors: Mapping[str, Tensor]) -> Tensor:
        logits = self.behaviour.all_logits(tensors, JUDGED)
        return self.target.divergence(logits, slice(0, logits.shape[1])).nan_to_num(torch.inf, torch.inf)

    @torch.no_grad()
    def judge(self) -> None:
        """Keep what the student has become where it fits and loses less."""
        rounded = self.student.rounded()
        losses, counted = self._losses(rounded.tensors), self.student.entropy(rounded.numbers)
        for model in (losses < self.losses).nonzero().flatten().tolist():
            try:
                data = write(self.student.grids(rounded, model))
            except CodecError:  # too fine to be written
                continue
            self.side[model] = 8 * len(data) - counted[model]
            over = max(8 * len(data) - float(self.budgets[model]), 0.0) / self.student.layout.weights
            if not over:
                self.streams[model], self.losses[model] = data, losses[model]
            if float(losses[model]) * 4**over < self.expected[model]:
                self.drafts[model], self.expected[model] = data, float(losses[model]) * 4**over

    @torch.no_grad()
    def measure_side(self) -> None:
        """Note what streams take beside the entropy of their numbers."""
        rounded = self.student.rounded()
        counted = self.student.entropy(rounded.numbers)
        for model in range(len(self.side)):
            try:
                bits = sum(grid_bits(grid.values) for grid in self.student.grids(rounded, model)) + ENDING
            except CodecError:  # too fine to be written
                continue
            self.side[model] = bits - float(counted[model])


def _train(best: _Best, seed: int) -> None:
    student, inputs, device = best.student, best.behaviour.inputs, best.budgets.device
    generator = Generator(device).manual_seed(seed)
    pace = RATE * float((student.steps.detach().exp() / student.sizes).median().clamp(max=1))
    rates = ((student.values, pace), (student.steps, pace / 2), (student.spreads, RATE))
    optimiser = torch.optim.Adam([{"params": [p], "base": rate} for p, rate in rates], betas=(0.9, 0.99))
    price, over = torch.full_like(best.budgets, math.log(PRICE)), torch.zeros_like(best.budgets)
    places = torch.arange(best.target.logits.shape[1] // len(inputs), device=device)
    for update in range(UPDATES):
        if update % (UPDATES // SIDES) == 0:
            best.measure_side()
        done = update / UPDATES
        for group in optimiser.param_groups:
            group["lr"] = group["base"] * (0.5 + 0.5 * math.cos(math.pi * done) + 0.01)
        shown = torch.randint(len(inputs), (min(SHOWN, len(inputs)),), generator=generator, device=device)
        rounded = student.rounded()
        logits = best.behaviour.logits(rounded.tensors, inputs[shown])
        lost = best.target.divergence(logits, (shown[:, None] * len(places) + places).flatten())
        paid = price.exp() * (rounded.bits + DAMPING * done * rounded.gap) / student.layout.weights
        optimiser.zero_grad()
        (lost + paid).nan_to_num().sum().backward()
        optimiser.step()
        if update % EVERY == 0:
            measured = (student.entropy(rounded.numbers) + best.side) / best.budgets - AIM
            over = SMOOTHING * over + (1 - SMOOTHING) * measured
            price += (STEERING * over).clamp(-0.4, 0.4)
            if done > CALM:
                with torch.no_grad():
                    student.steps += (NUDGE * over).clamp(-0.08, 0.08)[:, None]
        if done > 2 / 3 and (UPDATES - 1 - update) % (UPDATES // (3 * STATES)) == 0:
            best.judge()


SCHEME = Scheme(encode, decode_grids, needs_inputs=True)
