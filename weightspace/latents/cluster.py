"""Clusters of a latent table: which, how firm, what each is, and what belongs to none."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Int64
from sklearn.cluster import HDBSCAN, AgglomerativeClustering, KMeans
from sklearn.decomposition import PCA
from sklearn.metrics import adjusted_rand_score, silhouette_score

from weightspace.errors import TableError
from weightspace.latents.naming import Name, name_groups
from weightspace.latents.table import LatentTable

Method = Literal["hdbscan", "kmeans", "agglomerative"]
NOISE, NOTHING = -1, -2
"""Labels of rows that no cluster takes in, and of rows without a vector."""
LEAST, DIRECTIONS, PAIRWISE, SAMPLE = 10, 10, 20_000, 2_000
MOST_CLUSTERS, DRAWS, SHARE, MOST = 12, 10, 0.8, 10_000


@dataclass(frozen=True)
class ClusterSettings:
    """How rows are clustered.

    Args:
        method: `hdbscan` finds how many clusters there are and leaves noise over; the others take all rows in.
        clusters: How many; for k-means and agglomerative clustering alone. The silhouette chooses from 2 to 12 by
            default.
        seed: Of all that is drawn.
    """

    method: Method = "hdbscan"
    clusters: int | None = None
    seed: int = 0


@dataclass(frozen=True)
class Cluster:
    """One cluster, or the noise.

    Args:
        label: Its number, the largest cluster 0; -1 is noise.
        rows: How many it has.
        name: What sets it apart from all other clustered rows and the noise.
    """

    label: int
    rows: int
    name: Name


@dataclass(frozen=True, eq=False)
class Clustering:
    """Clusters of a table.

    Args:
        method: What found them.
        labels: Of each row: its cluster, -1 for noise, -2 where there is no vector.
        clusters: The largest first, and the noise last where there is any.
        noise: Share of the rows with a vector.
        silhouette: Mean over clustered rows, -1 to 1; None for fewer than two clusters.
        stability: Adjusted Rand index between these labels and those found anew among 80 % of the rows, or 10,000
            where there are more, mean of 10 draws; 1 is the same, 0 chance. Noise counts as a label.
        spread: Its standard deviation over the draws.
        directions: Principal components that were clustered.
    """

    method: Method
    labels: Int64[np.ndarray, " rows"]
    clusters: tuple[Cluster, ...]
    noise: float
    silhouette: float | None
    stability: float
    spread: float
    directions: int

    def as_dict(self) -> dict[str, Any]:
        """Return all but the labels as JSON's types."""
        found = {name: value for name, value in vars(self).items() if name not in ("labels", "clusters")}
        left_out = int((self.labels == NOTHING).sum())
        return found | {"left_out": left_out, "clusters": [asdict(cluster) for cluster in self.clusters]}

    def column(self) -> list[int | None]:
        """Return labels for `LatentTable.assign`; null where there is no vector."""
        return [None if label == NOTHING else label for label in self.labels.tolist()]


def cluster(table: LatentTable, settings: ClusterSettings | None = None) -> Clustering:
    """Return the clusters of a table's rows.

    Columns of the vectors are standardised, and the ten principal components that vary most are clustered: in more
    dimensions all rows are about equally far apart. A cluster of HDBSCAN has a hundredth of the rows or more.

    Args:
        table: Of latents.
        settings: How.

    Raises:
        TableError: Fewer than ten rows hold a finite vector, all are the same, there are more rows than agglomerative
            clustering can pair, or a number of clusters that does not fit.

    Source:
        Campello, Moulavi, Sander (2013), "Density-based clustering based on hierarchical density estimates". Hennig
        (2007), "Cluster-wise assessment of cluster stability", for subsets; there the Jaccard index a cluster.
    """
    how = settings or ClusterSettings()
    vectors = table.vectors
    rows = np.flatnonzero(np.isfinite(vectors).all(1))
    points = _prepare(vectors[rows], how, len(table))
    count = how.clusters or (2 if how.method == "hdbscan" else _choose(points, how))
    found = _sorted(_find(points, how.method, count, how.seed))
    agreed = _agreements(points, found, how, count)
    labels = np.full(len(table), NOTHING, np.int64)
    labels[rows] = found
    clear = found != NOISE
    several = len(set(found[clear].tolist())) > 1 and clear.sum() > len(set(found[clear].tolist()))
    return Clustering(
        how.method,
        labels,
        _named(table, labels, how.seed),
        float(np.mean(~clear)),
        _silhouette(points[clear], found[clear], how.seed) if several else None,
        float(np.mean(agreed)),
        float(np.std(agreed)),
        points.shape[1],
    )


def _prepare(vectors: np.ndarray, how: ClusterSettings, rows: int) -> Float[np.ndarray, "rows directions"]:
    count = len(vectors)
    if count < LEAST:
        raise TableError(f"{count} of {rows} rows hold a finite vector; clusters take {LEAST}. Embed more checkpoints.")
    if how.method == "hdbscan" and how.clusters is not None:
        raise TableError(f"HDBSCAN finds how many clusters there are; leave {how.clusters} away or take kmeans.")
    if how.clusters is not None and not 2 <= how.clusters <= count // 2:
        raise TableError(f"{how.clusters} clusters of {count} rows: ask for 2 to {count // 2}.")
    if how.method == "agglomerative" and count > PAIRWISE:
        raise TableError(f"agglomerative clustering compares all pairs of {count} rows; take kmeans beyond {PAIRWISE}.")
    x = vectors.astype(np.float64)
    spread = x.std(0)
    varied = spread > 1e-6 * np.abs(x).max(0)
    if not varied.any():
        raise TableError(f"all {count} vectors are the same, so there is nothing to cluster.")
    x = (x[:, varied] - x[:, varied].mean(0)) / spread[varied]
    return PCA(min(DIRECTIONS, *x.shape), svd_solver="full", random_state=0).fit_transform(x)


def _find(points: np.ndarray, method: Method, count: int, seed: int) -> np.ndarray:
    if method == "hdbscan":
        return HDBSCAN(min_cluster_size=max(5, len(points) // 100), min_samples=5, copy=True).fit_predict(points)
    if method == "kmeans":
        return KMeans(count, n_init=4, random_state=seed).fit_predict(points)
    return AgglomerativeClustering(count).fit_predict(points)


def _choose(points: np.ndarray, how: ClusterSettings) -> int:
    """How many clusters have the best silhouette, on 2,000 rows at most."""
    some = np.random.default_rng(how.seed).permutation(len(points))[:SAMPLE]
    counts = range(2, min(MOST_CLUSTERS, len(some) // 2) + 1)
    scores = [_silhouette(points[some], _find(points[some], how.method, n, how.seed), how.seed) for n in counts]
    return counts[int(np.argmax(scores))]


def _agreements(points: np.ndarray, found: np.ndarray, how: ClusterSettings, count: int) -> list[float]:
    generator, agreed = np.random.default_rng(how.seed), []
    for draw in range(DRAWS):
        some = generator.permutation(len(points))[: min(MOST, max(LEAST, round(SHARE * len(points))))]
        again = _find(points[some], how.method, min(count, len(some) - 1), how.seed + 1 + draw)
        agreed.append(float(adjusted_rand_score(found[some], again)))
    return agreed


def _silhouette(points: np.ndarray, labels: np.ndarray, seed: int) -> float:
    some = np.random.default_rng(seed).permutation(len(points))[:SAMPLE]
    if not 2 <= len(np.unique(labels[some])) < len(some):
        some = np.arange(len(points))
    return float(silhouette_score(points[some], labels[some]))


def _sorted(labels: np.ndarray) -> np.ndarray:
    """The same labels, the largest cluster 0; of equal ones that of the first row."""
    names, first, counts = np.unique(labels[labels >= 0], return_index=True, return_counts=True)
    order = {int(names[i]): rank for rank, i in enumerate(np.lexsort((first, -counts)))}
    return np.array([order.get(label, NOISE) for label in labels.tolist()], np.int64)


def _named(table: LatentTable, labels: np.ndarray, seed: int) -> tuple[Cluster, ...]:
    found = [*range(int(labels.max()) + 1), *([NOISE] if (labels == NOISE).any() else [])]
    groups = np.stack([labels == label for label in found])
    names = name_groups(table, groups, seed)
    return tuple(Cluster(label, int(g.sum()), name) for label, g, name in zip(found, groups, names, strict=True))
