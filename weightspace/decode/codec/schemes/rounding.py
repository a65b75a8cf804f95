"""Uniform rounding, entropy coded: one step a tensor."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from weightspace.decode.codec.budget import fit
from weightspace.decode.codec.grid import round_to
from weightspace.decode.codec.layout import Place
from weightspace.decode.codec.schemes.scheme import Scheme, choose, decode_grids, each
from weightspace.decode.codec.source import Source

BIAS, NORM = 0.5, 0.125
"""Steps of biases and of other vectors beside those of matrices: there are few of them, and each counts for a unit."""


def rms(matrix: np.ndarray) -> float:
    """Return the root mean square, 1 for zeros."""
    return float(np.sqrt(np.square(matrix, dtype=np.float64).mean())) or 1.0 if matrix.size else 1.0


def fineness(place: Place) -> float:
    """Return the step of a tensor over its root mean square where that of a matrix is one."""
    return 1.0 if not place.is_vector else BIAS if place.kind == "bias" else NORM


Steps = Mapping[str, float]
"""Sizes of steps by tensor name, up to a factor that all share."""


def step_rules(source: Source) -> list[Steps]:
    """Return steps alike in relative size, and steps of matrices alike in absolute size."""
    places = source.layout.places
    relative = {p.name: rms(source.matrices[p.name]) * fineness(p) for p in places}
    sizes = [relative[p.name] for p in places if not p.is_vector]
    shared = float(np.exp(np.mean(np.log(sizes)))) if sizes else 1.0
    return [relative, relative | {p.name: shared for p in places if not p.is_vector}]


def encode(source: Source) -> bytes:
    """Return the nearest points of the finest grids that fit, of the better rule for steps."""
    rules = step_rules(source)[: 1 if source.behaviour is None else None]
    return choose(source, [_fit(source, steps) for steps in rules], decode_grids)


def _fit(source: Source, steps: Steps) -> bytes:
    return fit(lambda d: [round_to(m, steps[name] * d) for name, m in source.matrices.items()], source.budget)


SCHEME = Scheme(each(encode), decode_grids)
