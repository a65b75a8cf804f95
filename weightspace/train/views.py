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


def are_places(inputs: Float[Tensor, "inputs ..."]) -> bool:
    """Whether inputs are places, as an implicit network takes."""
    return inputs.ndim == 2 and inputs.shape[1] <= PLACES


def moved(probes: Float[Tensor, "probes ..."], most: float, generator: Generator) -> Tensor:
    """Return probes that are places all turned, stretched and moved alike, a little; other inputs as they are.

    An implicit network then shows the same picture from another place, so that its class stays what it was.

    Args:
        probes: Inputs of one shape.
        most: Deviation of each number of the map from that of staying, for places between -1 and 1.
        generator: Draws the map.
    """
    if not are_places(probes):
        return probes
    size = probes.shape[1]
    drawn = most * torch.randn(size + 1, size, generator=generator, device=generator.device).to(probes)
    return probes + probes @ drawn[:size] + drawn[size]


def dropped(vector: Tensor, share: float, generator: Generator) -> Tensor:
    """Vectors with a share of their numbers set to 0 and the rest enlarged, so that no read-out leans on a few."""
    if not share:
        return vector
    kept = torch.rand(vector.shape, generator=generator, device=vector.device) >= share
    return vector * kept / (1 - share)
