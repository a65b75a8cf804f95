"""Small tables of latents."""

import numpy as np

from weightspace.latents.table import LatentTable


def table_of(vectors, *, failed=(), encoder="sweep", **columns) -> LatentTable:
    """A row a vector, named `net0`, `net1`, ...; those in `failed` have none."""
    rows = [
        {"id": f"net{i}", "path": f"net{i}.pt", "error": "damaged"}
        if i in failed
        else {"id": f"net{i}", "path": f"net{i}.pt", "weights": 9, "understood": 1.0, "vector": vector}
        for i, vector in enumerate(np.asarray(vectors, np.float32))
    ]
    latent = np.shape(vectors)[1]
    return LatentTable.from_rows(rows, encoder=encoder, graph_version=1, latent=latent).assign(columns)
