"""A folder of small image data in the layout of a data folder."""

from pathlib import Path

import numpy as np
import pytest


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory) -> Path:
    """16 x 16 grey images whose class is the bright quarter; the file is called `images.npz`."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    y = rng.integers(0, 4, 400)
    x = rng.integers(0, 120, (400, 1, 16, 16)).astype(np.uint8)
    for i, label in enumerate(y):
        x[i, 0, 8 * (label // 2) :, 8 * (label % 2) :][:8, :8] += 120
    np.savez(folder / "images.npz", x_train=x[:320], y_train=y[:320], x_test=x[320:], y_test=y[320:])
    return folder
