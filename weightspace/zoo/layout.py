"""Where each weight of a module sits in one flat row, so that a stack of networks is one matrix."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from jaxtyping import Float
from torch import Tensor, nn


@dataclass(frozen=True)
class Layout:
    """Names and shapes of the learned tensors of one architecture, in order.

    Args:
        shapes: By tensor name.
    """

    shapes: dict[str, tuple[int, ...]]

    @classmethod
    def of(cls, module: nn.Module) -> Layout:
        """Return the layout of a module's parameters."""
        return cls({name: tuple(p.shape) for name, p in module.named_parameters()})

    @property
    def size(self) -> int:
        """Weights of one network."""
        return sum(map(prod, self.shapes.values()))

    def view(self, flat: Float[Tensor, "models weights"]) -> dict[str, Tensor]:
        """Return each tensor `(models, *shape)` as a view of the matrix."""
        parts = flat.split([prod(shape) for shape in self.shapes.values()], dim=1)
        return {
            n: part.unflatten(1, s) if s else part[:, 0]
            for (n, s), part in zip(self.shapes.items(), parts, strict=True)
        }
