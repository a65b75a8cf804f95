"""Each checkpoint's nearest others in a latent table."""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.neighbors import NearestNeighbors

from weightspace.errors import TableError
from weightspace.latents.table import LatentTable


def neighbours(table: LatentTable, k: int = 5) -> pd.DataFrame:
    """Return the `k` nearest other checkpoints of each, by Euclidean distance, exactly.

    Rows whose input failed have no neighbours and are nobody's. Copies (distance zero) are kept: a row is left out of
    its own list alone.

    Args:
        table: Of latents.
        k: How many; fewer where the table holds fewer.

    Returns:
        Columns `id, neighbour, rank` (from 1) and `distance`, each row's nearest first.

    Raises:
        TableError: `k` is below one, or fewer than two rows hold a vector.
    """
    rows = np.flatnonzero(table.fine)
    if k < 1 or len(rows) < 2:
        raise TableError(f"cannot find {k} neighbours among {len(rows)} latents; both numbers must be larger.")
    k, vectors = min(k, len(rows) - 1), table.vectors[rows].astype(np.float64)
    distance, index = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(vectors).kneighbors()
    ids = table["id"][rows]
    frame = {"id": np.repeat(ids, k), "neighbour": ids[index[:, :k]].ravel()}
    return pd.DataFrame(frame | {"rank": np.tile(np.arange(1, k + 1), len(rows)), "distance": distance[:, :k].ravel()})
