"""Tables of made-up latents whose properties are known."""

from __future__ import annotations

import numpy as np

from weightspace.latents.table import LatentTable

LATENT = 8


def make_table(rows: int = 240, *, seed: int = 0) -> LatentTable:
    """Latents in which accuracy lies along the first number and the activation along the second."""
    rng = np.random.default_rng(seed)
    accuracy = rng.uniform(0.1, 0.9, rows)
    activation = rng.choice(["relu", "tanh"], rows)
    vectors = 0.3 * rng.standard_normal((rows, LATENT))
    vectors[:, 0] += 5 * accuracy
    vectors[:, 1] += 2 * (activation == "relu")
    made = [{"id": f"net/{i}", "path": f"net/{i}", "vector": v.astype(np.float32)} for i, v in enumerate(vectors)]
    table = LatentTable.from_rows(made, encoder="made-up", graph_version=1, latent=LATENT)
    split = np.where(np.arange(rows) // 3 % 5 == 4, "validation", "train")
    return table.assign(
        {
            "run": [f"run {i // 3}" for i in range(rows)],
            "split": split.tolist(),
            "test_accuracy": accuracy.tolist(),
            "activation": activation.tolist(),
            "width": rng.choice([16, 32], rows).tolist(),
            "learning_rate": (10 ** rng.uniform(-4, -1, rows)).tolist(),
            "family": ["mlp"] * rows,
            "architecture": [f"mlp {name}" for name in activation],
        }
    )
