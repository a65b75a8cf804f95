"""Gaussians over places and codes together, conditioned on the codes that are known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Generator, Tensor


@dataclass(frozen=True, eq=False)
class Given:
    """A Gaussian over places once some codes are known: mean `centre + codes @ gain`, covariance `axes sizes axes^T`.

    Args:
        centre: Mean where all codes are 0.
        gain: What each column of the codes moves; zeros where it is not known.
        axes: Orthonormal columns.
        sizes: Variance along each.
    """

    centre: Float[Tensor, " numbers"]
    gain: Float[Tensor, "columns numbers"]
    axes: Float[Tensor, "numbers numbers"]
    sizes: Float[Tensor, " numbers"]

    def mean(self, codes: Tensor) -> Float[Tensor, "models numbers"]:
        """Return the mean for each row of codes."""
        return self.centre + codes @ self.gain

    def coloured(self, noise: Tensor) -> Float[Tensor, "models numbers"]:
        """Return noise with this covariance."""
        return noise * self.sizes.sqrt() @ self.axes.T


@dataclass(frozen=True, eq=False)
class JointGaussians:
    """A mixture of Gaussians over `[places, codes]`.

    Args:
        weights: Of the components, summing to one.
        means: Of places and codes together.
        covariances: Of places and codes together.
        numbers: How many of the numbers are places.
    """

    weights: Float[Tensor, " components"]
    means: Float[Tensor, "components both"]
    covariances: Float[Tensor, "components both both"]
    numbers: int

    @classmethod
    def of(cls, both: Float[Tensor, "rows both"], numbers: int, ridge: float) -> JointGaussians:
        """Return one component with the moments of rows, and a ridge on every variance."""
        both = both.double()
        covariance = torch.cov(both.T) + ridge * torch.eye(both.shape[1], dtype=torch.float64)
        return cls(torch.ones(1, dtype=torch.float64), both.mean(0)[None], covariance[None], numbers)

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor]) -> JointGaussians:
        """Return the mixture that `state` came from."""
        return cls(state["weights"], state["means"], state["covariances"], int(state["numbers"]))

    def draw(self, codes: Tensor, known: Tensor, generator: Generator) -> Float[Tensor, "models numbers"]:
        """Draw a place for each row of codes; rows that are asked the same columns are drawn together.

        With `m` the means, `S` the covariances and `c` the known codes of a component:
        `z ~ N(m_z + S_zc S_cc^-1 (c - m_c), S_zz - S_zc S_cc^-1 S_cz)`, components weighed by `N(c; m_c, S_cc)`.
        """
        found = torch.empty(len(codes), self.numbers)
        masks, which = torch.unique(known, dim=0, return_inverse=True)
        for i, mask in enumerate(masks):
            rows = (which == i).nonzero().flatten()
            found[rows] = self._draw(codes[rows][:, mask].double(), mask, generator).float()
        return found

    def _draw(self, asked: Tensor, mask: Tensor, generator: Generator) -> Tensor:
        n = self.numbers
        columns = n + mask.nonzero().flatten()
        means, covariances = self.means.double(), self.covariances.double()
        m_z, m_c = means[:, :n], means[:, columns]
        s_zz, s_zc, s_cc = (
            covariances[:, :n, :n],
            covariances[:, :n][:, :, columns],
            covariances[:, columns][:, :, columns],
        )
        factor = torch.linalg.cholesky(s_cc)
        off = asked[:, None] - m_c  # (models, components, asked)
        solved = torch.cholesky_solve(off.permute(1, 2, 0), factor).permute(2, 0, 1)
        surprise = (off * solved).sum(2) / 2 + factor.diagonal(dim1=1, dim2=2).log().sum(1)
        picked = torch.multinomial((self.weights.double().log() - surprise).softmax(1), 1, generator=generator)[:, 0]
        left = s_zz - s_zc @ torch.cholesky_solve(s_zc.mT, factor)
        spread = torch.linalg.cholesky(left + 1e-8 * torch.eye(n, dtype=left.dtype))
        rows = torch.arange(len(asked))
        mean = m_z[picked] + torch.einsum("mnc,mc->mn", s_zc[picked], solved[rows, picked])
        noise = torch.randn(len(asked), n, generator=generator, dtype=torch.float64)
        return mean + torch.einsum("mnk,mk->mn", spread[picked], noise)

    def given(self, mask: Tensor) -> Given:
        """Return the first component as it is where the columns of a mask are known."""
        n, columns = self.numbers, self.numbers + mask.nonzero().flatten()
        mean, covariance = self.means[0].double(), self.covariances[0].double()
        s_cz = covariance[columns][:, :n]
        gain = torch.linalg.solve(covariance[columns][:, columns], s_cz)
        sizes, axes = torch.linalg.eigh(covariance[:n, :n] - s_cz.T @ gain)
        whole = torch.zeros(len(mask), n, dtype=torch.float64)
        whole[mask] = gain
        centre = mean[:n] - mean[n:] @ whole
        return Given(*(x.float() for x in (centre, whole, axes, sizes.clamp_min(1e-6))))

    def state(self) -> dict[str, Tensor]:
        """Return all numbers."""
        return {
            "weights": self.weights.float(),
            "means": self.means.float(),
            "covariances": self.covariances.float(),
            "numbers": torch.tensor(self.numbers),
        }
