"""Multiplying what hidden units say and dividing what is heard: the same function at another scale."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.errors import GraphError
from weightspace.graph.axes import Leaf, ParameterGraph, Span, Sum, Term, leaves
from weightspace.graph.layout import digits_of
from weightspace.graph.scaling import MODES, Mode
from weightspace.graph.symmetry.fit import fit_blocks
from weightspace.graph.symmetry.orders import hidden_axis, parent_sizes
from weightspace.graph.symmetry.units import Places

Factors = Mapping[str, Tensor | np.ndarray | Sequence[float]]


def scalable(graph: ParameterGraph) -> dict[str, Literal["positive", "sign", "any"]]:
    """Return the hidden axes that `rescale` accepts, with the factors that pass: any but 0, positive, or 1 and -1.

    Example:
        >>> from torch import nn
        >>> from weightspace.graph.trace import trace_graph
        >>> net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 1))
        >>> scalable(trace_graph(net, (torch.zeros(1, 2),)))
        {'0.out': 'positive', '2.out': 'sign'}
    """
    found: dict[str, Literal["positive", "sign", "any"]] = {}
    for name, scaling in graph.scalings.items():
        open_to = [mode for mode in MODES if scaling[mode].powers]
        if open_to and not _children(graph, name):
            found[name] = "any" if len(open_to) == 2 else open_to[0]
    return found


def rescale(checkpoint: Checkpoint, graph: ParameterGraph, factors: Factors) -> Checkpoint:
    """Multiply what each unit says by its factor and divide its readers; the network computes the same function.

    Positive factors pass ReLU, leaky ReLU, PReLU, pooling and all that is linear; signs pass tanh, sine and all that
    is linear. The statistics of a norm cannot follow a factor exactly (epsilon does not scale), so where a norm stands
    behind the writer, its scale and shift carry the factor and the writer stays. A factor that is carried by several
    places which could be scaled apart (a depthwise kernel's input and output) is the same in all of them.

    Args:
        checkpoint: The weights.
        graph: Traced: a file alone does not show the activations. `scalable(graph)` says what passes where.
        factors: By axis name; of shape `(size,)` or `(*parent sizes, size)`.

    Raises:
        GraphError: An unknown or fixed axis, a zero or infinite factor, or an operation on the way that does not let
            the factors pass or is not known to.

    Source:
        Neyshabur et al. (2015), "Path-SGD", section 2; Chen et al. (1993), "On the geometry of feedforward neural
        network error surfaces" (signs). Which tensor takes which power is solved from the traced operations.
    """
    values = {name: _full_factors(graph, name, given) for name, given in factors.items()}
    tensors = dict(checkpoint.tensors)
    for name, block in fit_blocks(checkpoint, graph).items():
        layout = Places.of(graph, block)
        for axis, value in values.items():
            for mode, part in _parts(graph, axis, value):
                powers = graph.scalings[axis][mode].powers.get(block.tensor)
                if powers:
                    tensors[name] = _multiplied(tensors[name], layout, axis, part, powers)
    return replace(checkpoint, tensors=tensors)


def _full_factors(graph: ParameterGraph, name: str, given: Tensor | np.ndarray | Sequence[float]) -> np.ndarray:
    size, above = hidden_axis(graph, name, "rescale").size, parent_sizes(graph, name)
    value = np.asarray(given, np.float64)
    if value.shape not in {(size,), (*above, size)} or not (np.isfinite(value) & (value != 0)).all():
        raise GraphError(
            f"the factors of axis {name!r} must be {(*above, size)} finite numbers other than 0; "
            f"shape {value.shape} was given, with {int((~np.isfinite(value) | (value == 0)).sum())} zero or not finite."
        )
    _refuse_unless_known(graph, name)
    for mode, _ in _parts(graph, name, value):
        _refuse_unless_passed(graph, name, mode)
    return np.broadcast_to(value, (*above, size))


def _parts(graph: ParameterGraph, axis: str, value: np.ndarray) -> Iterator[tuple[Mode, np.ndarray]]:
    """Sizes and signs of the factors, where they are not all 1: each takes its own way through the network."""
    split: tuple[tuple[Mode, np.ndarray], ...] = (("positive", abs(value)), ("sign", np.sign(value)))
    yield from ((mode, part) for mode, part in split if (part != 1).any())


def _children(graph: ParameterGraph, axis: str) -> list[str]:
    return sorted(a.name for a in graph.axes.values() if a.parent == axis)


def _refuse_unless_known(graph: ParameterGraph, axis: str) -> None:
    if graph.source != "trace" or axis not in graph.scalings:
        raise GraphError(
            f"axis {axis!r} cannot be rescaled: the graph comes from names and shapes, which do not show the "
            f"activations. Use trace_graph(module, args)."
        )
    children = _children(graph, axis)
    if children:
        raise GraphError(f"axis {axis!r} cannot be rescaled: {children[0]!r} lives in its units: rescale that instead.")


def _refuse_unless_passed(graph: ParameterGraph, axis: str, mode: Mode) -> None:
    scaling = graph.scalings[axis]
    if scaling[mode].powers:
        return
    given = {"positive": "factors other than 1 and -1", "sign": "negative factors"}[mode]
    kind = scalable(graph).get(axis)
    hint = f"It accepts {'positive factors' if kind == 'positive' else 'factors of 1 and -1'} only." if kind else ""
    stops = ", ".join(scaling[mode].stops[:8])
    raise GraphError(
        f"axis {axis!r} cannot be rescaled by {given}: they do not pass {stops or 'what follows'}. "
        f"{hint or 'It accepts no factors.'} scalable(graph) lists what every axis accepts."
    )


def _multiplied(
    tensor: Tensor, layout: Places, axis: str, value: np.ndarray, powers: tuple[tuple[float, ...], ...]
) -> Tensor:
    scaled = tensor.double()
    for d, row in enumerate(powers):
        if not any(row):
            continue
        power = powers_along(layout.graph, layout.block.dims[d], axis, row)
        pieces = []
        for segment in layout.segments[d]:
            piece = layout.along(np.ones(len(segment.positions)), d)
            digits = digits_of([layout.graph.length(factor) for factor in segment.factors])
            for factor, digit in zip(segment.factors, digits, strict=True):
                if factor == Leaf(axis) and power[segment.positions].any():
                    of_units = layout.of_units(d, segment, axis, value, digit)
                    piece = piece * of_units ** layout.along(power[segment.positions], d)
            pieces.append(piece)
        scaled = scaled * torch.from_numpy(layout.fill(d, pieces))
    return scaled.to(tensor.dtype)


def powers_along(graph: ParameterGraph, term: Term, axis: str, row: tuple[float, ...]) -> np.ndarray:
    """Return the power at each position of a dimension: one for each leaf of the axis, or one for each equal slice."""
    if len(row) > sum(leaf.axis == axis for leaf in leaves(term)):
        return np.repeat(row, graph.length(term) // len(row))
    return _spread(graph, term, axis, iter(row))


def _spread(graph: ParameterGraph, term: Term, axis: str, row: Iterator[float]) -> np.ndarray:
    if isinstance(term, Leaf | Span):
        return np.full(graph.length(term), next(row) if term == Leaf(axis) else 0.0)
    parts = [_spread(graph, part, axis, row) for part in term.parts]
    if isinstance(term, Sum):
        return np.concatenate(parts)
    whole = np.zeros(1)
    for part in parts:
        whole = np.add.outer(whole, part).ravel()
    return whole
