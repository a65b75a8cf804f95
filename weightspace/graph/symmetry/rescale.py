"""Multiplying what hidden units say and dividing what is heard: the same function at another scale."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.errors import GraphError
from weightspace.graph.axes import Block, Leaf, ParameterGraph, Stage, Term, leaves
from weightspace.graph.layout import digits_of
from weightspace.graph.symmetry.fit import fit_blocks
from weightspace.graph.symmetry.orders import hidden_axis, parent_sizes
from weightspace.graph.symmetry.units import Places

Factors = Mapping[str, Tensor | np.ndarray | Sequence[float]]

LINEAR = frozenset(
    "add sub concat pad flatten reshape view transpose permute chunk split slice dropout identity avg_pool mean sum "
    "upsample interpolate pixel_shuffle channel_shuffle attention".split()
)
HOMOGENEOUS = frozenset(("relu", "leaky_relu", "prelu", "max_pool"))
ODD = frozenset(("tanh", "sin"))
_ALONG = frozenset(("linear", "conv", "transposed conv", "depthwise", "embedding", "position embedding", "bias"))
_NORM = frozenset(("norm scale", "norm shift"))
_STILL = frozenset(("slope", "running mean", "running variance"))


def rescale(checkpoint: Checkpoint, graph: ParameterGraph, factors: Factors) -> Checkpoint:
    """Multiply each unit's output by its factor and divide its readers; the network computes the same function.

    Positive factors pass ReLU, leaky ReLU and PReLU; signs pass tanh and sine; any but zero pass where nothing
    nonlinear follows. A norm right after the unit's writer carries the factor in its scale and shift.

    Args:
        checkpoint: The weights.
        graph: Traced: a file alone does not show the activations.
        factors: By axis name; of shape `(size,)` or `(*parent sizes, size)`.

    Raises:
        GraphError: An unknown or fixed axis, a zero or infinite factor, or an operation on the way that does not let
            the factors pass or is not known to.

    Source:
        Neyshabur et al. (2015), "Path-SGD", section 2; Chen et al. (1993), "On the geometry of feedforward neural
        network error surfaces" (signs).
    """
    values = {name: _full_factors(graph, name, given) for name, given in factors.items()}
    carriers = {name: _carriers(graph, name, value) for name, value in values.items()}
    tensors = dict(checkpoint.tensors)
    for name, block in fit_blocks(checkpoint, graph).items():
        if values.keys() & set(block.axes):
            tensors[name] = _rescaled(tensors[name], Places.of(graph, block), values, carriers)
    return replace(checkpoint, tensors=tensors)


def _full_factors(graph: ParameterGraph, name: str, given: Tensor | np.ndarray | Sequence[float]) -> np.ndarray:
    size, above = hidden_axis(graph, name, "rescale").size, parent_sizes(graph, name)
    value = np.asarray(given, np.float64)
    if value.shape not in {(size,), (*above, size)} or not (np.isfinite(value) & (value != 0)).all():
        raise GraphError(
            f"the factors of axis {name!r} must be {(*above, size)} finite numbers other than 0; "
            f"shape {value.shape} was given, with {int((~np.isfinite(value) | (value == 0)).sum())} zero or not finite."
        )
    return np.broadcast_to(value, (*above, size))


def _carriers(graph: ParameterGraph, axis: str, value: np.ndarray) -> frozenset[str]:
    """Names of the tensors that are multiplied: those of the writers, or of the norms right after them."""
    _refuse_unless_alone(graph, axis)
    on_axis = {b.tensor for b in graph.blocks.values() if axis in _names(b.out_axis)}
    stages = [stage for stage in graph.stages if on_axis & set(stage.blocks)]
    _refuse_if(on_axis - {t for stage in stages for t in stage.blocks}, axis, "belongs to no stage")
    _refuse_if({b for b in on_axis if graph.blocks[b].kind not in _ALONG | _NORM | _STILL}, axis, "is of no known use")
    _refuse_if(on_axis & set(graph.shared.values()), axis, "is used under two names")
    norms = {id(s): t for s, t in zip(graph.stages, graph.stages[1:], strict=False) if _feeds(graph, axis, s, t)}
    carried = [norms.get(id(s), s) for s in stages if s.op != "norm"]
    loose = {s.name for s in stages if s.op == "norm"} - {s.name for s in norms.values()}
    _refuse_if(loose, axis, "is a norm that is not right after a writer of the axis")
    for stage in carried:
        _refuse_unless_passed(axis, stage, value)
    carrying = {t for stage in carried for t in stage.blocks if graph.blocks[t].kind not in _STILL}
    return frozenset(carrying & on_axis)


def _feeds(graph: ParameterGraph, axis: str, stage: Stage, norm: Stage) -> bool:
    """Whether `norm` takes the output of `stage` as it is, and can carry a factor."""
    if stage.op == "norm" or norm.op != "norm" or stage.after:
        return False
    written = {graph.blocks[t].out_axis for t in stage.blocks}
    scale = {graph.blocks[t].out_axis for t in norm.blocks if graph.blocks[t].kind == "norm scale"}
    return written == scale and any(axis in _names(term) for term in written)


def _refuse_unless_alone(graph: ParameterGraph, axis: str) -> None:
    children = sorted(a.name for a in graph.axes.values() if a.parent == axis)
    _refuse_if(set(children), axis, "lives in its units: rescale that one instead")
    _refuse_if({s.name for s in graph.stages if axis in s.reads}, axis, "multiplies its units with others")
    if graph.source != "trace":
        raise GraphError(
            f"axis {axis!r} cannot be rescaled: the graph comes from names and shapes, which do not show the "
            f"activations. Use trace_graph(module, args)."
        )


def _refuse_if(culprits: set[str], axis: str, why: str) -> None:
    if culprits:
        raise GraphError(f"axis {axis!r} cannot be rescaled: {sorted(culprits)[0]!r} {why}.")


def _refuse_unless_passed(axis: str, stage: Stage, value: np.ndarray) -> None:
    for op in stage.after:
        passes: dict[bool, Callable[[], bool]] = {
            op in LINEAR: lambda: True,
            op in HOMOGENEOUS: lambda: bool((value > 0).all()),
            op in ODD: lambda: bool((abs(value) == 1).all()),
        }
        if not passes.get(True, lambda: bool((value == 1).all()))():
            raise GraphError(
                f"axis {axis!r} cannot be rescaled so: {op!r} follows {stage.name!r}. Positive factors pass "
                f"{sorted(HOMOGENEOUS)}, factors of 1 and -1 pass {sorted(ODD)}, other operations let none pass."
            )


def _rescaled(
    tensor: Tensor, layout: Places, values: dict[str, np.ndarray], carriers: dict[str, frozenset[str]]
) -> Tensor:
    scaled = tensor.double()
    for d, letter in enumerate(layout.block.view):
        pieces = []
        for segment in layout.segments[d]:
            piece = layout.along(np.ones(len(segment.positions)), d)
            digits = digits_of([layout.graph.length(factor) for factor in segment.factors])
            for factor, digit in zip(segment.factors, digits, strict=True):
                if isinstance(factor, Leaf) and factor.axis in values:
                    power = _power(layout.block, letter, layout.block.tensor in carriers[factor.axis])
                    piece = piece * layout.of_units(d, segment, factor.axis, values[factor.axis], digit) ** power
            pieces.append(piece)
        scaled = scaled * torch.from_numpy(layout.fill(d, pieces))
    return scaled.to(tensor.dtype)


def _power(block: Block, letter: str, carries: bool) -> int:
    """Factor's exponent: writers multiply, readers divide, a depthwise kernel does both."""
    reads = letter == "i" or (block.kind == "depthwise" and letter == "o")
    return int(letter == "o" and carries) - int(reads)


def _names(term: Term | None) -> set[str]:
    return {leaf.axis for leaf in leaves(term)} if term else set()
