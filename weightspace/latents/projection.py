"""From vectors of many numbers to two: PCA, t-SNE and UMAP, all seeded."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from weightspace.errors import TableError

COMPONENTS, LEAST = 50, 10
PERPLEXITY, MANY, PERPLEXITY_OF_MANY = 30.0, 20_000, 10.0
"""Principal components that t-SNE works on; rows below which every method is PCA; the perplexity of t-SNE, and the one
above so many rows, where a third of the neighbours costs a third of the time and shows the same clusters."""

Vectors = Float[np.ndarray, "rows latent"]
Places = Float[np.ndarray, "rows 2"]


def project(vectors: Vectors, *, method: str = "tsne", seed: int = 0) -> tuple[Places, str]:
    """Return a place in two dimensions for each vector, and the method that found it.

    Fewer than ten vectors, or vectors on one line, have no neighbourhoods to keep: their places are by PCA.

    Args:
        vectors: Finite.
        method: `tsne`, `pca` or `umap`.
        seed: Of the random draws; the same seed gives the same places.

    Raises:
        TableError: The method is none of these, or needs a package that is not installed.

    Source:
        van der Maaten & Hinton (2008), "Visualizing data using t-SNE"; Linderman et al. (2019), "Fast
        interpolation-based t-SNE", as implemented by openTSNE, which starts from PCA and keeps the large distances.
    """
    if method not in METHODS:
        raise TableError(f"there is no way {method!r} to draw a map; take one of {', '.join(METHODS)}.")
    reduced = principal_places(vectors, vectors, COMPONENTS)
    flat = bool((np.abs(reduced[:, 1:]).max(initial=0) <= 1e-9 * np.abs(reduced[:, 0]).max(initial=0)).all())
    used = "pca" if len(vectors) < LEAST or flat else method
    return METHODS[used](reduced, seed).astype(np.float32), used


def principal_places(
    fitted: Vectors, vectors: Float[np.ndarray, "fresh latent"], count: int = 2
) -> Float[np.ndarray, "fresh axes"]:
    """Return the coordinates of `vectors` along the `count` principal axes of `fitted`; at least two, padded by 0.

    The largest entry of each axis is positive, so that no sign is left to chance.
    """
    centre = fitted.mean(0, dtype=np.float64)
    apart = fitted - centre
    _, axes = np.linalg.eigh(apart.T @ apart)
    axes = axes[:, ::-1][:, : min(count, *fitted.shape)]
    axes = axes * np.sign(axes[np.abs(axes).argmax(0), np.arange(axes.shape[1])])
    found = (vectors - centre) @ axes
    return np.pad(found, ((0, 0), (0, max(0, 2 - found.shape[1]))))


def _pca(reduced: Vectors, seed: int) -> Places:
    return reduced[:, :2]


def _tsne(reduced: Vectors, seed: int) -> Places:
    from openTSNE import TSNE

    usual = PERPLEXITY if len(reduced) <= MANY else PERPLEXITY_OF_MANY
    perplexity = min(usual, (len(reduced) - 1) / 3)
    return np.asarray(TSNE(perplexity=perplexity, n_jobs=-1, random_state=seed).fit(reduced))


def _umap(reduced: Vectors, seed: int) -> Places:
    try:
        from umap import UMAP
    except ImportError:
        raise TableError(
            "UMAP is not installed: `pip install 'weightspace[umap]'`, or take the default method, tsne."
        ) from None
    return UMAP(n_neighbors=min(15, len(reduced) - 1), random_state=seed, n_jobs=1).fit_transform(reduced)


METHODS: dict[str, Callable[[Vectors, int], Places]] = {"tsne": _tsne, "pca": _pca, "umap": _umap}
