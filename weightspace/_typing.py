"""Array aliases used across the package."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import torch

    Permutations = Mapping[str, torch.Tensor | np.ndarray]
