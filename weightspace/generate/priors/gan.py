"""Generator against detector: one bends noise into places, the other tells them from those of networks.

The noise is that of the normal distribution with the same moments, so the generator begins as a Gaussian prior.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import final

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import leaky_relu, softplus

from weightspace.generate.priors.conditional import Given, JointGaussians
from weightspace.generate.priors.flow import average
from weightspace.generate.priors.gaussian import joint_moments
from weightspace.generate.priors.prior import LatentPrior, Points, draw_masks, energy_distance
from weightspace.nn.seeded import draw

WIDTH, LAYERS = 128, 3
UPDATES, BATCH, RATE, LOOKS, PENALTY, MASKS = 2000, 128, 3e-4, 100, 1.0, 32
KEPT = 0.99


class Player(nn.Module):
    """A perceptron that is told codes beside its input; it says nothing before training.

    Args:
        ins: Numbers of the input.
        columns: Of the codes.
        outs: Numbers that come out.
        generator: Draws the weights.
    """

    def __init__(self, ins: int, columns: int, outs: int, *, generator: Generator) -> None:
        super().__init__()
        self.first = draw(ins + 2 * columns, WIDTH, generator=generator)
        self.middle = draw(LAYERS - 1, WIDTH, WIDTH, generator=generator, scale=1.3 * WIDTH**-0.5)
        self.last = nn.Parameter(torch.zeros(WIDTH, outs))

    def forward(self, x: Tensor, codes: Tensor, mask: Tensor) -> Tensor:
        """Return `(models, outs)`; only the columns of the mask are told."""
        h = leaky_relu(torch.cat([x, codes * mask, mask.to(x.dtype).expand(len(x), -1)], 1) @ self.first, 0.2)
        for weight in self.middle:
            h = leaky_relu(h @ weight, 0.2)
        return h @ self.last


@final
class GANPrior(LatentPrior):
    """A conditional adversarial generator; the state whose sample is nearest to held-out points is kept.

    `place = m + S^(1/2) (noise + G(noise, c))` with `m`, `S` the mean and covariance of places given `c`.

    Source:
        Goodfellow et al. (2014), "Generative adversarial nets" (the loss that does not saturate); Mescheder et al.
        (2018), "Which training methods for GANs do actually converge?" (gradient penalty on data).
    """

    def __init__(self, maker: Player, joint: JointGaussians) -> None:
        self.maker, self.joint = maker.eval().requires_grad_(False), joint

    @classmethod
    def fit(cls, train: Points, held_out: Points, *, seed: int = 0) -> GANPrior:
        """Return the generator after training, seconds to a minute on a CPU."""
        rng, joint = Generator().manual_seed(seed), joint_moments(train)
        numbers, columns = train.places.shape[1], train.codes.shape[1]
        maker, detector = Player(numbers, columns, numbers, generator=rng), Player(numbers, columns, 1, generator=rng)
        masks = draw_masks(train.owners, MASKS, rng)
        given = [joint.given(mask) for mask in masks]
        averaged = copy.deepcopy(maker).requires_grad_(False)
        players = [torch.optim.Adam(p.parameters(), RATE, betas=(0.0, 0.99)) for p in (maker, detector)]
        best, least = copy.deepcopy(averaged), _distance(averaged, held_out, masks, given)
        for update in range(UPDATES):
            rows = torch.randint(len(train), (BATCH,), generator=rng)
            which = int(torch.randint(MASKS, (), generator=rng))
            real, codes, mask = train.places[rows], train.codes[rows], masks[which]
            fake = _made(maker, torch.randn(BATCH, numbers, generator=rng), codes, mask, given[which])
            _step(players[1], _detect(detector, real, fake.detach(), codes, mask))
            _step(players[0], softplus(-detector(fake, codes, mask)).mean())
            average(averaged, maker, min(KEPT, (1 + update) / (10 + update)))
            if (update + 1) % LOOKS == 0 and (found := _distance(averaged, held_out, masks, given)) < least:
                best, least = copy.deepcopy(averaged), found
        return cls(best, joint)

    @torch.no_grad()
    def sample(
        self, codes: Tensor, known: Tensor, *, generator: Generator, guidance: float = 1.0, temperature: float = 1.0
    ) -> Tensor:
        """See `LatentPrior.sample`."""
        found = torch.randn(len(codes), self.joint.numbers, generator=generator)
        masks, which = torch.unique(known, dim=0, return_inverse=True)
        for i, mask in enumerate(masks):
            rows = (which == i).nonzero().flatten()
            found[rows] = _made(self.maker, found[rows], codes[rows], mask, self.joint.given(mask))
        return found

    def state(self) -> dict[str, Tensor]:
        """See `LatentPrior.state`."""
        return self.maker.state_dict() | {f"joint.{name}": value for name, value in self.joint.state().items()}

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor]) -> GANPrior:
        """See `LatentPrior.from_state`."""
        joint = {name.removeprefix("joint."): value for name, value in state.items() if name.startswith("joint.")}
        numbers = state["last"].shape[1]
        maker = Player(numbers, (len(state["first"]) - numbers) // 2, numbers, generator=Generator().manual_seed(0))
        maker.load_state_dict({name: value for name, value in state.items() if not name.startswith("joint.")})
        return cls(maker, JointGaussians.from_state(joint))


def _made(maker: Player, noise: Tensor, codes: Tensor, mask: Tensor, given: Given) -> Tensor:
    """Places out of noise."""
    return given.mean(codes) + given.coloured(noise + maker(noise, codes, mask))


def _detect(detector: Player, real: Tensor, fake: Tensor, codes: Tensor, mask: Tensor) -> Tensor:
    """Loss of the detector, with the squared slope at the data."""
    real = real.clone().requires_grad_()
    told = detector(real, codes, mask)
    (slope,) = torch.autograd.grad(told.sum(), real, create_graph=True)
    apart = softplus(-told).mean() + softplus(detector(fake, codes, mask)).mean()
    return apart + PENALTY * slope.square().sum(1).mean()


def _step(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


@torch.no_grad()
def _distance(maker: Player, points: Points, masks: Tensor, given: Sequence[Given], most: int = 4) -> float:
    """Energy distance of samples, asked for what held-out points have, to these; codes count as places do."""
    rng, found = Generator().manual_seed(0), 0.0
    there = torch.cat([points.places, points.codes], 1)
    for mask, known in zip(masks[:most], given[:most], strict=True):
        made = _made(maker, torch.randn(points.places.shape, generator=rng), points.codes, mask, known)
        found += energy_distance(torch.cat([made, points.codes], 1), there)
    return found / min(most, len(masks))
