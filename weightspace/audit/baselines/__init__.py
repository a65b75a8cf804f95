"""What needs no generator: one file each, one line in `BASELINES`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import Generator, Tensor

from weightspace.audit.baselines.affine import mix_affinely
from weightspace.audit.baselines.gaussian import draw_gaussian
from weightspace.audit.baselines.interpolation import interpolate_pairs
from weightspace.audit.baselines.noise import add_noise
from weightspace.audit.baselines.pool import Pool
from weightspace.audit.baselines.random_start import draw_start
from weightspace.audit.baselines.retrieval import retrieve
from weightspace.audit.baselines.soup import average_soups

Made = tuple[dict[str, Tensor], "list[str]"]
"""Stacked weights, and the run that each was made from (its own name where from several or none)."""

BASELINES: dict[str, Callable[[Pool, int, Generator], Made]] = {
    "retrieval": retrieve,
    "noise 0.05": partial(add_noise, level=0.05),
    "noise 0.1": partial(add_noise, level=0.1),
    "noise 0.2": partial(add_noise, level=0.2),
    "noise 0.3": partial(add_noise, level=0.3),
    "noise 0.5": partial(add_noise, level=0.5),
    "aligned interpolation": interpolate_pairs,
    "aligned soup of 16": average_soups,
    "Gaussian of weights": draw_gaussian,
    "random affine mixtures": mix_affinely,
    "random start": draw_start,
}
