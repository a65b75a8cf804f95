"""The sweep encoder: a forward and a backward pass of messages over a plan, and what is read off on the way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import final

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn
from torch.nn.functional import layer_norm, silu

from weightspace.encode.plan import SIZES, Plan
from weightspace.encode.signals import Signals, evened
from weightspace.encode.states import ROLES, AxisStates, UnitStates, joined
from weightspace.encode.visit import About, Visit, said_of
from weightspace.encode.weights import Weights, measure_weights, ready_weights, thrifty
from weightspace.execute.threads import one_thread, one_thread_back
from weightspace.nn.answers import AnswerMap, ProbeReadout
from weightspace.nn.constants import on
from weightspace.nn.cosines import depth_cosines
from weightspace.nn.energies import SCORES, evenness
from weightspace.nn.names import WordTable
from weightspace.nn.pictures import PictureMap
from weightspace.nn.probes import ROWS, ProbeBank
from weightspace.nn.products import PLAIN, Products
from weightspace.nn.readout import Fingerprint, FixedReadOut, ReadOut, moments
from weightspace.nn.seeded import draw
from weightspace.nn.statistics import APART, RELATIVE, STATISTICS, describe
from weightspace.nn.tiles import as_matrix

EMPHASIS = {
    "sizes": 0.55,
    "blocks": 0.55,
    "fingerprint": 0.2,
    "stages": 0.17,
    "axes": 0.32,
    "order": 0.3,
    "signals": 0.3,
}
"""How much each part of the read-out counts before training: enough of the fingerprint to see every broken tie."""
FIXED, LEARNED_SHARE = {**EMPHASIS, "fingerprint": 0.16, "order": 0.0, "signals": 0.0}, 0.3
"""How much each part counts in the fixed numbers of a vector, and the deviation of its learned numbers (decision 014).

With more of the fingerprint small broken ties show more, and networks of one kind lie less close.
"""
EVENNESS, WHOLE = 0.1, 4
"""How much fixed numbers count that only tell how unevenly energy is spread over rows and columns; and which part of
the waves beside fixed numbers is of the whole network, one in so many."""


@dataclass(frozen=True)
class SweepConfig:
    """Sizes of a sweep encoder.

    Args:
        width: Of a unit's state.
        pairs: Correlations read off each block.
        waves: Width of the fingerprint.
        features: Random features of each block's statistics.
        stage: Width of a stage's latent.
        latent: Width of the vector.
        words: Rows of the tables of layer kinds and operations.
        signals: Signals on which networks are run by their graph alone; 0 for none.
        depths: Cosines over the depth at which stages are read in their order; 0 pools them only.
        probes: Learned inputs; 0 where a network is never run.
        hidden: Width of the layers between what is read off and the vector; 0 for a linear read-out.
        fixed: Numbers of the vector along fixed directions of what any network has, so that networks unlike those
            learned from keep their distances; the last `SCORES` of them tell of the energies of rows and columns alone,
            by which trained tensors differ from shuffled ones. The rest is learned. 0 for none.
        answers: Numbers of the vector, the last ones, that tell what the network answers to the probes; 0 in networks
            that were not run. All others are of the weights alone.
        picture: Channels of the first of the convolutions that read the pictures of networks which take places in a
            plane; 0 where these are asked for rows of numbers as others are.
    """

    width: int = 32
    pairs: int = 64
    waves: int = 256
    features: int = 96
    stage: int = 64
    latent: int = 256
    words: int = 64
    signals: int = 0
    depths: int = 0
    probes: int = 0
    hidden: int = 0
    fixed: int = 0
    answers: int = 0
    picture: int = 0


@dataclass(frozen=True, eq=False)
class Encoding:
    """What a sweep encoder says of `models` checkpoints of one architecture.

    Args:
        vector: `(models, latent)`.
        units: Axis to `(models, units, width)`.
        stages: `(models, stages, width)`.
        flawed: Blocks that may hold what is not finite, and counts as zero: `(models, edges)`.
    """

    vector: Tensor
    units: dict[str, Tensor]
    stages: Tensor
    flawed: Tensor


def learned_numbers(vector: Float[Tensor, "models latent"], fixed: int) -> Float[Tensor, "models numbers"]:
    """Return the numbers of vectors that were learned, those of answers last, of deviation one if some are `fixed`."""
    return vector[:, fixed:] / LEARNED_SHARE if fixed else vector


@final
class SweepNetwork(nn.Module):
    """Weights to latents by two sweeps; equivariant in its unit states, invariant in its vector.

    For every legal relabelling `p` of a checkpoint `x`: `vector(p x) = vector(x)` and `units(p x) = p units(x)`. The
    order of units counts only on input and output axes, where it has a meaning.

    Args:
        config: Sizes.
        generator: Draws every parameter.
    """

    def __init__(self, config: SweepConfig, *, generator: Generator) -> None:
        super().__init__()
        self.config = config
        context = 2 * config.width
        self.kinds = WordTable(config.words, config.width, generator=generator)
        self.operations = WordTable(config.words, config.width, generator=generator)
        self.states = AxisStates(config.width, generator=generator)
        self.visits = nn.ModuleDict(
            {
                name: Visit(config.width, context, config.pairs, back=back, own=own, generator=generator)
                for name, back, own in (("ahead", False, True), ("back", True, bool(config.waves) and not config.fixed))
            }
        )
        said = config.pairs + config.width
        if config.waves:
            whole = config.waves // WHOLE if config.fixed else 0
            self.fingerprint = Fingerprint(2 * said, config.waves, whole=whole, generator=generator)
        self.scale = draw(RELATIVE, config.width, generator=generator)
        self.shape = draw(STATISTICS + context, config.features, generator=generator)
        self.phase = draw(1, config.features, generator=generator, scale=3.0)
        self.stage = draw(config.features + 2 * said, config.stage, generator=generator)
        if config.probes:
            self.probes = ProbeBank(config.probes, plane=bool(config.picture), generator=generator)
            self.images = AnswerMap(config.probes, config.answers, generator=generator)
            self.rows = AnswerMap(ROWS * config.probes, config.answers, generator=generator)
            if config.picture:
                side = self.probes.side
                self.pictures = PictureMap(side, config.answers, config.picture, generator=generator)
        if config.signals:
            self.signals = Signals(config.signals, generator=generator)
            self.heard = draw(config.signals, config.width, generator=generator)
            self.told = ProbeReadout(config.signals, config.features, generator=generator)
            self.silent = draw(1, config.features, generator=generator, scale=0.5)
        emphasis = {name: (width, EMPHASIS[name]) for name, width in self._widths().items()}
        if config.fixed:
            told = [(width, FIXED[name]) for name, width in self._widths().items() if FIXED[name]]
            self.likeness = FixedReadOut(told, config.fixed - SCORES, generator=generator)
        learned = config.latent - config.fixed - config.answers
        self.head = ReadOut([emphasis[name] for name in self._learned()], learned, config.hidden, generator=generator)

    def forward(
        self, plan: Plan, weights: Mapping[str, Tensor], answers: Tensor | None = None, how: Products = PLAIN
    ) -> Encoding:
        """Encode checkpoints of one architecture; each operation has one thread where more would not pay.

        Args:
            plan: The architecture's.
            weights: Tensor name to `(models, *stored shape)`, finite, of any float dtype; converted tile by tile.
            answers: What the networks answer to `probes`, `(models, probes, outputs)`; None where they are not run.
            how: Products of weights with states are made.
        """
        if not thrifty(weights):
            return self._encode(plan, weights, answers, how)
        with one_thread():
            found = self._encode(plan, weights, answers, how)
        return replace(found, vector=one_thread_back(found.vector))

    def _encode(self, plan: Plan, weights: Mapping[str, Tensor], answers: Tensor | None, how: Products) -> Encoding:
        matrices = {e.tensor: as_matrix(weights[e.tensor], e.order, e.sizes) for e in plan.edges}
        measures = measure_weights(plan, matrices, self.scale.dtype, how.team)
        known, rms = describe(measures, tuple(edge.sizes for edge in plan.edges))
        contexts = self._contexts(plan, known)
        features = (torch.cat([known, contexts], 2) @ self.shape + self.phase).sin()
        ready = ready_weights(plan, matrices, rms, how)
        h = self.states.start(plan)
        told = self._signal(plan, h, ready, rms) if self.config.signals else None
        said = torch.cat([said_of(self._sweep(h, plan, ready, contexts, way)) for way in ("ahead", "back")], 2)
        means = on(plan.owners, said)
        heard = means @ said
        stages = torch.cat([means @ features, heard], 2) @ self.stage
        together = heard / means.square().sum(1, keepdim=True).sqrt()  # the sum over the square root of how many
        parts = self._parts(plan, h, (features, together, stages))
        energies = EVENNESS * evenness(measures[..., APART])
        if self.config.signals:
            parts.append(self.silent.expand(len(rms), -1) if told is None else self.told(told))
        units = {name: state.expand(len(rms), -1, -1) for name, state in h.items()}
        return Encoding(self._vector(parts, energies, answers), units, stages, measures[..., -1] > 0)

    def _signal(self, plan: Plan, h: UnitStates, ready: list[Weights], rms: Tensor) -> Tensor | None:
        """Let all units know their signals; return those of the outputs, `(models, signals, outputs)`."""
        signals = self.signals(plan, ready, rms)
        for name, x in signals.items():
            h[name] = h[name] + evened(x) @ self.heard
        outputs = [signals[name].expand(len(rms), -1, -1) for name, axis in plan.axes.items() if axis.role == "output"]
        return joined(outputs).transpose(1, 2) if outputs else None

    def _contexts(self, plan: Plan, known: Tensor) -> Float[Tensor, "models edges context"]:
        """What each block says about itself: statistics and kind, and the operations of its stage."""
        kinds = self.kinds(tuple((edge.kind,) for edge in plan.edges))
        operations = self.operations(tuple(stage.ops for stage in plan.stages for _ in stage.edges))
        return torch.cat([known[..., :RELATIVE] @ self.scale + kinds, operations.expand(len(known), -1, -1)], 2)

    def _sweep(
        self, h: UnitStates, plan: Plan, ready: list[Weights], contexts: Tensor, direction: str
    ) -> list[tuple[Tensor, Tensor]]:
        """Visit every block, updating `h`; what is heard comes in the order of the plan.

        Blocks on one side alone carry nothing from one stage to another, so the way back passes them by, unless there
        is a fingerprint, which is to see every broken tie.
        """
        visit = self.visits[direction]
        assert isinstance(visit, Visit)
        blocks, plain = list(zip(plan.edges, ready, *visit.gates(contexts), strict=True)), visit.plain()
        heard = []
        for edge, weights, gate, said in reversed(blocks) if visit.back else blocks:
            if (edge.target is None and edge.source is None) or (visit.own is None and not edge.between):
                pairs, width = (contexts.new_zeros(len(contexts), 1, n) for n in (self.config.pairs, self.config.width))
                heard.append((pairs, width))
                continue
            _, far = edge.ends(visit.back)
            about = About(weights, gate, said, self.states.above(h, plan, far), plain)
            heard.append(visit(h, edge, about))
            self.states.share(h, plan, far)
        return heard[::-1] if visit.back else heard

    def _parts(self, plan: Plan, h: UnitStates, read: tuple[Tensor, Tensor, Tensor]) -> list[Tensor]:
        """What the vector is made of, in the order of `EMPHASIS`."""
        features, heard, stages = read
        sizes = on(plan.sizes, stages).expand(len(stages), -1)
        parts = [sizes, moments(features), moments(stages), self.states.pooled(plan, h, len(stages))]
        if self.config.waves:
            parts.insert(2, self.fingerprint(heard))
        if self.config.depths:
            order = on(depth_cosines(stages.shape[1], self.config.depths), stages)
            parts.append(torch.einsum("msw,sd->mdw", silu(stages), order).flatten(1) / stages.shape[1])
        return parts

    def _vector(self, parts: list[Tensor], energies: Tensor, answers: Tensor | None) -> Float[Tensor, "models latent"]:
        """Fixed numbers, learned ones, and those of the answers; the latter two of one deviation in every network."""
        named, config = dict(zip(self._widths(), parts, strict=True)), self.config
        found = [self.head([named[name] for name in self._learned()])]
        if config.fixed:
            alike = self.likeness([part for name, part in named.items() if FIXED[name]])
            found = [alike, energies, LEARNED_SHARE * layer_norm(found[0], found[0].shape[1:])]
        if config.answers:
            found.append(self._read(answers, len(parts[0])))
        return torch.cat(found, 1)

    def _read(self, answers: Tensor | None, models: int) -> Float[Tensor, "models numbers"]:
        """Numbers of the answers to the probes; 0 where there are none."""
        if answers is None:
            return self.stage.new_zeros(models, self.config.answers)
        told = self.reader(answers.shape[1])(answers)
        return LEARNED_SHARE * layer_norm(told, told.shape[1:])

    def reader(self, asked: int) -> AnswerMap | PictureMap:
        """Return what reads the answers to so many inputs: to images, to rows of numbers, or to places of a picture."""
        known = {self.config.probes: self.images, ROWS * self.config.probes: self.rows}
        return known[asked] if asked in known else self.pictures

    def _learned(self) -> list[str]:
        """Parts that the learned numbers are of: waves tell networks apart, and nothing of what they are."""
        return [name for name in self._widths() if name != "fingerprint" or not self.config.fixed]

    def _widths(self) -> dict[str, int]:
        """Width of each part of the read-out."""
        c = self.config
        widths = {"sizes": SIZES, "blocks": 2 * c.features, "fingerprint": c.waves, "stages": 2 * c.stage}
        widths |= {
            "axes": 2 * len(ROLES) * c.width,
            "order": c.depths * c.stage,
            "signals": c.features * bool(c.signals),
        }
        return {name: width for name, width in widths.items() if width}
