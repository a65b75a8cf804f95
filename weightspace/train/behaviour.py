"""What the encoder is asked beside properties: how its networks answer."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Generator, Tensor, nn
from torch.nn.functional import silu

from weightspace.nn.seeded import draw


class BehaviourHead(nn.Module):
    """Answers of the network to real inputs of its dataset, from the vector.

    Args:
        latent: Width of the vector.
        answers: Inputs times outputs, by dataset.
        hidden: Width of the layer between.
        generator: Draws the weights.
    """

    def __init__(self, latent: int, answers: Mapping[str, int], *, hidden: int = 512, generator: Generator) -> None:
        super().__init__()
        self.names = sorted(answers)
        self.first = draw(latent, hidden, generator=generator)
        self.second = nn.ParameterList(draw(hidden, answers[name], generator=generator) for name in self.names)

    def forward(self, vector: Tensor, dataset: str) -> Tensor:
        """Return `(models, answers)`."""
        return silu(vector @ self.first) @ self.second[self.names.index(dataset)]
