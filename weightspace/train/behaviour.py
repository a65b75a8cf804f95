"""What the encoder is asked beside properties: how its networks answer to real inputs."""

from __future__ import annotations

from collections.abc import Mapping
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn

from weightspace.encode.answers import run_networks
from weightspace.nn.seeded import draw
from weightspace.train.data import Group

TOGETHER = 512


class BehaviourHead(nn.Module):
    """Answers of the network to real inputs of its dataset, from the vector by one matrix: in plain sight.

    Args:
        latent: Width of the vector.
        answers: Inputs times outputs, by dataset.
        generator: Draws the weights.
    """

    def __init__(self, latent: int, answers: Mapping[str, int], *, generator: Generator) -> None:
        super().__init__()
        self.names = sorted(answers)
        self.matrices = nn.ParameterList(draw(latent, answers[name], generator=generator) for name in self.names)

    def forward(self, vector: Tensor, dataset: str) -> Tensor:
        """Return `(models, answers)`."""
        return vector @ self.matrices[self.names.index(dataset)]


class RealAnswers:
    """What networks answer to real inputs of their dataset; networks as they are, are run once and remembered.

    Args:
        inputs: By dataset, `(inputs, *shape)`.
        labels: Of the same inputs, where they have some.
    """

    def __init__(self, inputs: Mapping[str, Tensor], labels: Mapping[str, Tensor]) -> None:
        self.inputs, self.labels = dict(inputs), dict(labels)
        self._known: WeakKeyDictionary[Group, Tensor] = WeakKeyDictionary()

    def shown(self, group: Group) -> Float[Tensor, "inputs ..."] | None:
        """Return the inputs of a group; None where its networks take others."""
        inputs = self.inputs.get(group.dataset)
        return inputs if inputs is not None and tuple(inputs.shape[1:]) == group.shape else None

    @torch.no_grad()
    def of_weights(self, group: Group, weights: Mapping[str, Tensor]) -> Float[Tensor, "models inputs outputs"] | None:
        """Return what networks like those of a group answer with these weights; None where they take other inputs."""
        inputs = self.shown(group)
        return None if inputs is None else run_networks(group.module, weights, inputs)

    def of_group(self, group: Group, places: Tensor) -> Float[Tensor, "models inputs outputs"] | None:
        """Return what networks of a group answer as they are, None where they take other inputs.

        They are remembered in half precision, and come in single: squares of large ones would not fit.

        Args:
            group: Of the networks.
            places: Which of them.
        """
        if self.shown(group) is None:
            return None
        if group not in self._known:
            parts = torch.arange(len(group), device=places.device).split(TOGETHER)
            self._known[group] = torch.cat([self._half(group, part) for part in parts])
        return self._known[group][places].float()

    def accuracy(self, group: Group, told: Tensor | None) -> Float[Tensor, " models"] | None:
        """Return the share of inputs that networks get right, given their answers; None where there are no labels."""
        labels = self.labels.get(group.dataset)
        return None if told is None or labels is None else (told.argmax(2) == labels).float().mean(1)

    def _half(self, group: Group, places: Tensor) -> Tensor:
        most = torch.finfo(torch.float16).max
        told = self.of_weights(group, group.pick(places))
        assert told is not None
        return told.clamp(-most, most).half()
