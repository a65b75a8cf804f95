"""Permutations of hidden axes: checking them, drawing them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from weightspace.errors import GraphError
from weightspace.graph.axes import Axis, ParameterGraph

Permutations = Mapping[str, Tensor | np.ndarray | Sequence[Any]]


def hidden_axis(graph: ParameterGraph, name: str, verb: str) -> Axis:
    """Return the hidden axis called `name`.

    Raises:
        GraphError: No such axis (with the nearest names), or one that is not hidden.
    """
    if name not in graph.axes:
        near = get_close_matches(name, graph.axes, 3, 0.3)
        raise GraphError(f"there is no axis {name!r} to {verb}; the nearest are {near}. graph.axes lists all.")
    axis = graph.axes[name]
    if axis.role != "hidden":
        why = f" ({axis.reason})" if axis.reason else ""
        raise GraphError(f"axis {name!r} is {axis.role}{why}; one can only {verb} hidden axes. See Axis.role.")
    return axis


def parent_sizes(graph: ParameterGraph, name: str) -> tuple[int, ...]:
    """Sizes of the parents of an axis, outermost first."""
    return tuple(graph.axes[parent].size for parent in graph.lineage(name)[:-1])


def full_orders(graph: ParameterGraph, permutations: Permutations) -> dict[str, np.ndarray]:
    """Return each permutation in the shape `(*parent sizes, size)`, checked.

    Raises:
        GraphError: An unknown or fixed axis, a wrong shape, or units that never appear.
    """
    return {name: _full_order(graph, name, order) for name, order in permutations.items()}


def _full_order(graph: ParameterGraph, name: str, order: Tensor | np.ndarray | Sequence[Any]) -> np.ndarray:
    size, above = hidden_axis(graph, name, "relabel").size, parent_sizes(graph, name)
    given = np.asarray(order)
    if given.shape not in {(size,), (*above, size)} or (given.size and given.dtype.kind not in "iu"):
        shapes = f"({size},)" + (f" or {(*above, size)}" if above else "")
        raise GraphError(
            f"the permutation of axis {name!r} must be integers of shape {shapes}, not {given.dtype} of {given.shape}. "
            f"Build one with torch.randperm({size})."
        )
    missing = sorted({unit for row in _rows(given) for unit in set(range(size)) - set(row.tolist())})
    if missing:
        raise GraphError(
            f"the permutation of axis {name!r} does not hold each of its {size} units once: {missing[:10]} "
            f"never appear. Build one with torch.randperm({size})."
        )
    return np.broadcast_to(given.astype(np.int64), (*above, size))


def _rows(given: np.ndarray) -> np.ndarray:
    """One order a parent unit; none where there are no units."""
    return given.reshape(-1, given.shape[-1]) if given.size else given.reshape(0, given.shape[-1])


def random_permutations(graph: ParameterGraph, *, generator: Generator) -> dict[str, Tensor]:
    """Return a random permutation, never the identity, of each hidden axis of at least two units.

    Children are drawn anew in each unit of their parent, shape `(*parent sizes, size)`.
    """
    axes = [axis for axis in graph.axes.values() if axis.role == "hidden" and axis.size > 1]
    return {axis.name: _draw((*parent_sizes(graph, axis.name), axis.size), generator) for axis in axes}


def _draw(shape: tuple[int, ...], generator: Generator) -> Tensor:
    if len(shape) > 1:
        return torch.stack([_draw(shape[1:], generator) for _ in range(shape[0])])
    order = torch.randperm(shape[0], generator=generator)
    return _draw(shape, generator) if torch.equal(order, torch.arange(shape[0])) else order
