"""Fixtures that several folders of tests use."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_checkpoints() -> Path:
    """Folder of the 174 real checkpoints; skips where it is absent."""
    folder = SHARED / "checkpoints"
    if not (folder / "manifest.json").exists():
        pytest.skip("the real checkpoints (shared/data/checkpoints) are not beside this checkout")
    return folder


@pytest.fixture(scope="session")
def shared_datasets() -> Path:
    """Folder of the datasets; skips where it is absent."""
    folder = SHARED / "datasets"
    if not folder.exists():
        pytest.skip("the datasets (shared/data/datasets) are not beside this checkout")
    return folder


@pytest.fixture
def set_threads() -> Iterator[Callable[[int], None]]:
    """Sets how many threads there are, until the test is over."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.fixture(
    params=["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA"))]
)
def device(request: pytest.FixtureRequest) -> str:
    """Where a test computes: each device that there is."""
    return request.param
