"""Conditional flow matching: noise is carried to places along paths that a network has learned to follow.

The velocity is that of the normal distribution with the same moments, which is known, plus what the network adds. So
the flow begins as a Gaussian prior and is kept only where it tells held-out points better.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import final

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import layer_norm, silu

from weightspace.generate.priors.conditional import Given, JointGaussians
from weightspace.generate.priors.gaussian import joint_moments
from weightspace.generate.priors.prior import LatentPrior, Points, draw_masks
from weightspace.nn.seeded import draw

WIDTH, LAYERS, TURNS = 128, 3, 8
UPDATES, BATCH, RATE, LOOKS, MASKS = 2000, 128, 1e-3, 100, 32
"""Updates at most, rows in one, learning rate, updates between two looks at held-out points, sets of known codes."""
KEPT, STEPS = 0.99, 32
"""Of the averaged weights, an update; steps from noise to places."""


class FlowNetwork(nn.Module):
    """What is added to the velocity of a place on its way; nothing before training.

    Args:
        numbers: Of a place.
        columns: Of the codes.
        generator: Draws the weights.
    """

    def __init__(self, numbers: int, columns: int, *, generator: Generator) -> None:
        super().__init__()
        self.x = draw(numbers, WIDTH, generator=generator)
        self.c = draw(2 * columns + 2 * TURNS, WIDTH, generator=generator)
        self.first = draw(LAYERS, WIDTH, WIDTH, generator=generator)
        self.about = draw(LAYERS, WIDTH, 2 * WIDTH, generator=generator, scale=0.1 * WIDTH**-0.5)
        self.second = draw(LAYERS, WIDTH, WIDTH, generator=generator, scale=0.1 * WIDTH**-0.5)
        self.out = nn.Parameter(torch.zeros(WIDTH, numbers))

    def forward(self, x: Tensor, t: Tensor, codes: Tensor, known: Tensor) -> Tensor:
        """Return velocities `(models, numbers)` at times `(models,)` from 0 to 1."""
        angles = t[:, None] * torch.pi * torch.arange(1, TURNS + 1, dtype=x.dtype)
        about = silu(torch.cat([codes * known, known.to(x.dtype), angles.sin(), angles.cos()], 1) @ self.c)
        h = x @ self.x + about
        for first, said, second in zip(self.first, self.about, self.second, strict=True):
            gain, shift = (about @ said).chunk(2, 1)
            h = h + silu(layer_norm(h, h.shape[1:]) @ first * (1 + gain) + shift) @ second
        return layer_norm(h, h.shape[1:]) @ self.out


@final
class FlowPrior(LatentPrior):
    """Flow matching with classifier-free guidance; the state that tells held-out velocities best is kept.

    Source:
        Lipman et al. (2023), "Flow matching for generative modeling", section 4.1 (straight paths); Ho and Salimans
        (2022), "Classifier-free diffusion guidance". Any set of properties may be hidden, so any may be asked for.
    """

    guided = True

    def __init__(self, network: FlowNetwork, joint: JointGaussians) -> None:
        self.network, self.joint = network.eval().requires_grad_(False), joint

    @classmethod
    def fit(cls, train: Points, held_out: Points, *, seed: int = 0) -> FlowPrior:
        """Return the flow after training, seconds to a minute on a CPU."""
        generator = Generator().manual_seed(seed)
        joint = joint_moments(train)
        network = FlowNetwork(train.places.shape[1], train.codes.shape[1], generator=generator)
        masks = draw_masks(train.owners, MASKS, generator)
        given = [joint.given(mask) for mask in masks]
        averaged = copy.deepcopy(network).requires_grad_(False)
        optimizer = torch.optim.AdamW(network.parameters(), RATE, weight_decay=0.1)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, UPDATES, pct_start=0.05)
        best, least = copy.deepcopy(averaged), _judge(averaged, held_out, masks, given)
        for update in range(UPDATES):
            rows = torch.randint(len(train), (BATCH,), generator=generator)
            which = int(torch.randint(MASKS, (), generator=generator))
            picked = Points(train.places[rows], train.codes[rows], train.owners)
            loss = _loss(network, picked, masks[which], given[which], generator)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            average(averaged, network, min(KEPT, (1 + update) / (10 + update)))
            if (update + 1) % LOOKS == 0 and (found := _judge(averaged, held_out, masks, given)) < least:
                best, least = copy.deepcopy(averaged), found
        return cls(best, joint)

    @torch.no_grad()
    def sample(
        self, codes: Tensor, known: Tensor, *, generator: Generator, guidance: float = 1.0, temperature: float = 1.0
    ) -> Tensor:
        """See `LatentPrior.sample`; steps of the midpoint rule."""
        found = temperature * torch.randn(len(codes), self.joint.numbers, generator=generator)
        masks, which = torch.unique(known, dim=0, return_inverse=True)
        for i, mask in enumerate(masks):
            rows = (which == i).nonzero().flatten()
            found[rows] = self._follow(found[rows], codes[rows], mask, guidance)
        return found

    def _follow(self, x: Tensor, codes: Tensor, mask: Tensor, guidance: float) -> Tensor:
        """Places at the end of the way, `v = v0 + guidance (v_c - v0)` with `v0` the velocity when nothing is asked."""
        none = torch.zeros_like(mask)
        told, free = self.joint.given(mask), self.joint.given(none)

        def velocity(x: Tensor, time: float) -> Tensor:
            t = x.new_full((len(x),), time)
            v = _gaussian(told, x, t, codes) + self.network(x, t, codes, mask.expand(len(x), -1))
            if guidance == 1.0:
                return v
            v0 = _gaussian(free, x, t, codes) + self.network(x, t, codes, none.expand(len(x), -1))
            return v0 + guidance * (v - v0)

        for step in range(STEPS):
            middle = x + velocity(x, step / STEPS) / (2 * STEPS)
            x = x + velocity(middle, (step + 0.5) / STEPS) / STEPS
        return x

    def state(self) -> dict[str, Tensor]:
        """See `LatentPrior.state`."""
        return self.network.state_dict() | {f"joint.{name}": value for name, value in self.joint.state().items()}

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor]) -> FlowPrior:
        """See `LatentPrior.from_state`."""
        joint = {name.removeprefix("joint."): value for name, value in state.items() if name.startswith("joint.")}
        columns = (state["c"].shape[0] - 2 * TURNS) // 2
        network = FlowNetwork(state["x"].shape[0], columns, generator=Generator().manual_seed(0))
        network.load_state_dict({name: value for name, value in state.items() if not name.startswith("joint.")})
        return cls(network, JointGaussians.from_state(joint))


def average(old: nn.Module, new: nn.Module, kept: float) -> None:
    """Move the averaged parameters towards the new ones, of which `1 - kept` is taken."""
    with torch.no_grad():
        for mine, theirs in zip(old.parameters(), new.parameters(), strict=True):
            mine.lerp_(theirs, 1 - kept)


def _gaussian(given: Given, x: Tensor, t: Tensor, codes: Tensor) -> Tensor:
    """Velocity that carries noise to `N(m, S)` along straight lines, paired at random.

    `v = m + (t S - (1 - t) I) ((1 - t)^2 I + t^2 S)^-1 (x - t m)`
    """
    mean, t = given.mean(codes), t[:, None]
    rate = (t * given.sizes - (1 - t)) / ((1 - t).square() + t.square() * given.sizes)
    return mean + rate * ((x - t * mean) @ given.axes) @ given.axes.T


def _loss(network: FlowNetwork, points: Points, mask: Tensor, given: Given, generator: Generator) -> Tensor:
    """Squared error of velocities at drawn times between drawn noise and the places."""
    noise = torch.randn(points.places.shape, generator=generator)
    t = torch.rand(len(points), generator=generator)
    x = noise + t[:, None] * (points.places - noise)
    wanted = points.places - noise - _gaussian(given, x, t, points.codes)
    return (network(x, t, points.codes, mask.expand(len(x), -1)) - wanted).square().mean()


@torch.no_grad()
def _judge(network: FlowNetwork, points: Points, masks: Tensor, given: Sequence[Given], most: int = 8) -> float:
    """Loss on held-out points, with the same draws each time."""
    generator = Generator().manual_seed(0)
    losses = [_loss(network, points, *pair, generator) for pair in zip(masks[:most], given[:most], strict=True)]
    return float(torch.stack(losses).mean())
