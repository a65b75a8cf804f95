"""What training does to networks, and to the inputs on which they are run, before they are encoded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from weightspace.graph.symmetry.gates import Gates

MOST_DAMAGED = 0.3
"""Share of hidden units that a damaged network lacks at most."""
PLACES = 3
"""Numbers of an input that is a place, as of an implicit network, at most."""


def with_noise(
    weights: Mapping[str, Tensor], names: Sequence[str], most: float, generator: Generator
) -> dict[str, Tensor]:
    """Weights with noise: up to `most` of each tensor's root mean square, another share for each network."""
    found, device = dict(weights), generator.device
    share = most * torch.rand(len(weights[names[0]]), generator=generator, device=device)
    for name in names:
        tensor = weights[name]
        size = (share * tensor.square().flatten(1).mean(1).sqrt()).view(-1, *[1] * (tensor.ndim - 1))
        found[name] = tensor + size * torch.randn(tensor.shape, generator=generator, device=device)
    return found


def with_shuffled(
    weights: Mapping[str, Tensor], names: Sequence[str], where: Tensor, generator: Generator
) -> dict[str, Tensor]:
    """Weights with the entries of each tensor in random order in some of the networks."""
    found = dict(weights)
    for name in names:
        flat = weights[name].flatten(1)
        order = torch.rand(flat.shape, generator=generator, device=generator.device).argsort(1)
        found[name] = torch.where(where[:, None], flat.gather(1, order), flat).view_as(weights[name])
    return found


def with_damage(gates: Gates, weights: Mapping[str, Tensor], generator: Generator) -> dict[str, Tensor]:
    """Weights without some hidden units, another share of them for each network."""
    models = len(next(iter(weights.values())))
    share = MOST_DAMAGED * torch.rand(models, 1, generator=generator, device=generator.device)
    kept = torch.rand(models, len(gates.units), generator=generator, device=generator.device) >= share
    return gates.apply(weights, kept.float())


def are_places(shape: tuple[int, ...]) -> bool:
    """Whether inputs of a shape are places, as an implicit network takes."""
    return len(shape) == 1 and shape[0] <= PLACES


def draw_move(shape: tuple[int, ...], most: float, generator: Generator) -> Float[Tensor, "rows places"] | None:
    """Return how places are turned, stretched and moved, all alike and a little; None for other inputs.

    An implicit network then shows the same picture from another place, so that its class stays what it was.

    Args:
        shape: Of an input.
        most: Deviation of each number of the map from that of staying, for places between -1 and 1.
        generator: Draws the map.
    """
    if not are_places(shape):
        return None
    return most * torch.randn(shape[0] + 1, shape[0], generator=generator, device=generator.device)


def moved(probes: Float[Tensor, "probes ..."], drawn: Tensor | None) -> Tensor:
    """Return probes moved as `draw_move` says."""
    return probes if drawn is None else probes + probes @ drawn[:-1] + drawn[-1]


def draw_kept(sizes: Sequence[int], share: float, generator: Generator) -> Float[Tensor, "models numbers"] | None:
    """Return factors that set a share of the numbers of vectors to 0 and enlarge the rest; None where all are kept.

    No read-out then leans on a few.
    """
    if not share:
        return None
    return (torch.rand(sizes, generator=generator, device=generator.device) >= share) / (1 - share)
