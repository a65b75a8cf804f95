"""Small tables of latents in three clusters, and pages of them in a browser."""

from pathlib import Path

import numpy as np
import pytest

from weightspace.latents.table import LatentTable

CHROMIUM = Path("/usr/bin/chromium")


def clusters(rows=60, latent=8, encoder="sweep", seed=0, **columns) -> LatentTable:
    """Row `i` lies in cluster `i % 3`; the last quarter descends from the first."""
    g = np.random.default_rng(seed)
    centres = 8 * np.eye(3, latent)
    vectors = (centres[np.arange(rows) % 3] + g.normal(size=(rows, latent))).astype(np.float32)
    made = [
        {"id": f"net{i}", "path": f"runs/net{i}.pt", "sha256": f"{i}", "weights": 10, "understood": 1.0, "vector": v}
        for i, v in enumerate(vectors.tolist())
    ]
    table = LatentTable.from_rows(made, encoder=encoder, graph_version=1, latent=latent)
    parents = [f"net{i // 4}" if i >= 3 * rows // 4 else None for i in range(rows)]
    plain = {
        "dataset": [("digits", "letters", "<b>shapes</b>")[i % 3] for i in range(rows)],
        "accuracy": [i / rows for i in range(rows)],
        "same": [1] * rows,
        "parent": parents,
    }
    return table.assign(plain | columns)


@pytest.fixture
def browser():
    """Headless Chromium, where there is one."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra dev)")
    if not CHROMIUM.exists():
        pytest.skip(f"there is no {CHROMIUM}")
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield opened
        opened.close()
