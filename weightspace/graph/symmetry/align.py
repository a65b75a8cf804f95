"""Matching the hidden units of one network to those of another by their weights."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.graph.axes import ParameterGraph
from weightspace.graph.build import build_graph
from weightspace.graph.symmetry.matching import Match
from weightspace.graph.symmetry.pieces import cut, tensors_of
from weightspace.graph.symmetry.relabel import relabel

RESTARTS, GAIN = 4, 1e-12


def align(
    a: Checkpoint, b: Checkpoint, graph: ParameterGraph | None = None, *, generator: Generator | None = None
) -> Checkpoint:
    """Relabel `a` so that its units match those of `b`; it computes the same function as before.

    The squared distance between the weights of the two falls, never rises, and is that of a local optimum: `b` can
    now be compared, averaged or interpolated with the result unit by unit. A relabelling of `b` comes back as `b`.

    Args:
        a: The checkpoint to relabel.
        b: The one it should look like, of the same architecture.
        graph: Of both; built from `a` if it is not given.
        generator: Draws the order in which axes are visited in the restarts; seed 0 if it is not given.

    Raises:
        GraphError: The graph does not fit one of the two.

    Source:
        Ainsworth et al. (2023), "Git Re-Basin: merging models modulo permutation symmetries", section 3.2. We start
        from matched profiles too (see `match_units`), match heads by the best matching of their units, and accept a
        step only if the distance falls, which theirs need not do where an axis meets itself (recurrent weights).

    Example:
        >>> from weightspace.graph.axes import Axis, Block, Leaf
        >>> axes = {"x": Axis("x", 1, "input"), "h": Axis("h", 3, "hidden")}
        >>> graph = ParameterGraph(axes, {"w": Block("w", "linear", (Leaf("h"), Leaf("x")), "oi", 3)}, (), "infer")
        >>> a, b = (Checkpoint({"w": torch.tensor(w)}) for w in ([[1.0], [-3.0], [2.0]], [[2.1], [1.2], [-2.0]]))
        >>> align(a, b, graph).tensors["w"].tolist()
        [[2.0], [1.0], [-3.0]]
    """
    graph = build_graph(a) if graph is None else graph
    return relabel(a, graph, match_units(a, b, graph, generator=generator))


def match_units(
    a: Checkpoint, b: Checkpoint, graph: ParameterGraph, *, generator: Generator | None = None
) -> dict[str, Tensor]:
    """Return the permutations that `align` applies to `a`: unit `i` of `b` is matched by unit `order[i]` of `a`.

    Coordinate descent: one axis after the other takes the best assignment, all others kept, until none gains. It
    starts from the given labels, from profiles (the sorted weights of each unit, which need no other axis to be
    known), and from random visiting orders; the best end is returned. Running statistics do not count.

    Args:
        a: The checkpoint to relabel.
        b: The one it should look like.
        graph: Of both.
        generator: Draws the visiting orders of the restarts; seed 0 if it is not given.
    """
    generator = Generator().manual_seed(0) if generator is None else generator
    ours, theirs, whole = tensors_of(a, graph), tensors_of(b, graph), cut(graph)
    weights = [name for name in ours.keys() & theirs.keys() if not graph.blocks[name].kind.startswith("running")]
    axes = [axis for axis in whole.above if graph.axes[axis].size > 1]
    given = Match.of(ours, theirs, whole.only(weights))
    guess = given
    for axis in axes:
        guess = guess.step(guess.by_profile(axis))
    best = max(_descend(guess, axes), _descend(given, axes), key=lambda end: end.value)
    for _ in range(RESTARTS):
        visits = [axes[int(k)] for k in torch.randperm(len(axes), generator=generator)]
        best = max(best, _descend(guess, visits), key=lambda end: end.value)
    return {axis: torch.from_numpy(whole.full(axis, best.labels[axis]).copy()) for axis in axes}


def _descend(match: Match, axes: list[str]) -> Match:
    """Visit the axes in this order, again and again, until none gains."""
    near = {axis: {n for p in match.whole.pieces if axis in p.axes for n in p.axes} for axis in axes}
    waiting = set(axes)
    while waiting:
        for axis in [axis for axis in axes if axis in waiting]:
            waiting.discard(axis)
            found = _visit(match, axis)
            if found is not match:
                match, waiting = found, waiting | near[axis] & set(axes)
    return match


def _visit(match: Match, axis: str) -> Match:
    """Match the units of one axis, then those in each of them; the same match if that is no gain."""
    found = match.step(match.by_weights(axis))
    for child in match.children(axis):
        found = _visit(found, child)
    return found if found.value > match.value + GAIN * match.scale else match
