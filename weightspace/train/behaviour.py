"""What the encoder is asked beside properties: how its networks answer."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Generator, Tensor, nn

from weightspace.nn.seeded import draw


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
