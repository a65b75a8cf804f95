"""Latents in the coordinates of a prior: principal components of standardised numbers, each of deviation one."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import final

import numpy as np
from jaxtyping import Float

SHARE, MOST = 0.99, 64
"""Of the variance that is kept; components, at most."""


@final
@dataclass(frozen=True, eq=False)
class Coordinates:
    """`place = ((vector - mean) / spread) @ axes / scale`; what is left over is dropped.

    Args:
        mean: Of each number of a latent.
        spread: Deviation of each number.
        axes: Orthonormal columns, `(latent, numbers)`.
        scale: Deviation along each.
    """

    mean: Float[np.ndarray, " latent"]
    spread: Float[np.ndarray, " latent"]
    axes: Float[np.ndarray, "latent numbers"]
    scale: Float[np.ndarray, " numbers"]

    @classmethod
    def fit(cls, vectors: Float[np.ndarray, "rows latent"], *, share: float = SHARE, most: int = MOST) -> Coordinates:
        """Return the coordinates of latents: fewest components that keep a share of the variance."""
        x = vectors.astype(np.float64)
        mean, spread = x.mean(0), x.std(0) + 1e-3
        _, sizes, axes = np.linalg.svd((x - mean) / spread, full_matrices=False)
        kept = np.cumsum(sizes**2) / max(float((sizes**2).sum()), 1e-12)
        count = max(1, min(int(np.searchsorted(kept, share)) + 1, most, len(x) - 1, len(sizes)))
        scale = sizes[:count] / len(x) ** 0.5 + 1e-6
        return cls(*(a.astype(np.float32) for a in (mean, spread, axes[:count].T, scale)))

    def standardise(self, vectors: np.ndarray) -> np.ndarray:
        """Return vectors of mean zero and deviation one in each number."""
        return ((vectors - self.mean) / self.spread).astype(np.float32)

    def restore(self, standard: np.ndarray) -> np.ndarray:
        """Return latents, the inverse of `standardise`."""
        return (standard * self.spread + self.mean).astype(np.float32)

    def places(self, vectors: Float[np.ndarray, "rows latent"]) -> Float[np.ndarray, "rows numbers"]:
        """Return the places of latents."""
        return self.standardise(vectors) @ self.axes / self.scale

    def vectors(self, places: Float[np.ndarray, "rows numbers"]) -> Float[np.ndarray, "rows latent"]:
        """Return the latents at places, the inverse of `places` on what they span."""
        return self.restore(np.asarray(places, np.float32) * self.scale @ self.axes.T)

    def state(self) -> dict[str, np.ndarray]:
        """Return everything that `Coordinates(**state)` takes."""
        return {f.name: getattr(self, f.name) for f in fields(self)}
