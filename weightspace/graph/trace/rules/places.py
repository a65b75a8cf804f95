"""Operations over pixels and other positions; channels pass through."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from weightspace.graph.trace.program import Node
from weightspace.graph.trace.rules.products import POSITIONS
from weightspace.graph.trace.state import State, Tracked
from weightspace.graph.trace.terms import Leaf, Prod, Same, Term, fix, leaves, resolve, size_of
from weightspace.graph.trace.unify import divide, tie


def _over(count: int) -> Callable[..., Any]:
    """Rule of an operation over the last `count` dimensions."""

    def rule(state: State, node: Node, x: Tracked, *_: Any, **__: Any) -> Any:
        kept, moved = x.terms[:-count], x.terms[-count:]
        for term in moved:
            fix(term, POSITIONS)
            for leaf in leaves(term):
                leaf.span = leaf.span or not leaf.roles
        state.mix(moved, kept)
        shape = node.values[0].shape  # type: ignore[union-attr]
        result = state.derive([*kept, *(Leaf(n, POSITIONS, span=True) for n in shape[-count:])], x)
        word = node.op.split(".")[1]
        state.follow(result, word.removesuffix("_with_indices").strip("_"))
        return (result,) * len(node.values) if len(node.values) > 1 else result

    return rule


def counted(state: State, node: Node, *_: Any, **__: Any) -> Tracked:
    """Numbers of positions: 0, 1, 2, ..."""
    return Tracked(tuple(Leaf(n, "counted positions", loose=True) for n in node.values[0].shape))  # type: ignore[union-attr]


def gather(state: State, node: Node, x: Tracked, dim: int, index: Tracked, *_: Any, **__: Any) -> Tracked:
    """Positions of one dimension chosen by number, differently at each place."""
    d = dim % len(x.terms)
    fix(x.terms[d], f"{node.op} chooses by number")
    terms: list[Term] = []
    for i, (term, other) in enumerate(zip(x.terms, index.terms, strict=True)):
        same = i != d and size_of(term) == size_of(other)
        if not same and i != d:
            fix(term, f"{node.op} takes a part")
            fix(other, f"{node.op} takes a part")
        terms.append(tie(term, other, f"{node.op} pairs unlike parts") if same else other)
    state.mix([x.terms[d]], [t for i, t in enumerate(x.terms) if i != d])
    return state.derive(terms, x, index)


def sort(state: State, node: Node, x: Tracked, *args: Any, **named: Any) -> Any:
    """Order or pick by value along one dimension; the numbers of the chosen have a meaning, so it is fixed."""
    numbers = [a for a in args if isinstance(a, int) and not isinstance(a, bool)]
    dim = named.get("dim", numbers[-1] if numbers else -1)
    d = (dim if node.op != "aten.topk.default" or len(numbers) > 1 else -1) % len(x.terms)
    fix(x.terms[d], f"{node.op} orders by value")
    state.mix([x.terms[d]], [t for i, t in enumerate(x.terms) if i != d])
    shape = node.values[0].shape  # type: ignore[union-attr]
    terms = [Leaf(shape[i], f"{node.op} orders by value") if i == d else t for i, t in enumerate(x.terms)]
    result = state.derive(terms, x)
    return result, result


def shuffle(state: State, node: Node, x: Tracked, groups: int) -> Any:
    """Channels of all groups interleaved: `(g, c) -> (c, g)`."""
    if isinstance(resolve(x.terms[1]), Same):
        return x
    halves = divide(x.terms[1], groups)
    if halves is None:
        return state.fallback(node, [x])
    return state.derive([x.terms[0], Prod((halves[1], halves[0])), *x.terms[2:]], x)


RULES: dict[str, Callable[..., Any]] = {
    "aten.max_pool1d.default": _over(1),
    "aten.avg_pool1d.default": _over(1),
    "aten.adaptive_avg_pool1d.default": _over(1),
    "aten.reflection_pad1d.default": _over(1),
    "aten.replication_pad1d.default": _over(1),
    "aten.max_pool2d_with_indices.default": _over(2),
    "aten.avg_pool2d.default": _over(2),
    "aten._adaptive_avg_pool2d.default": _over(2),
    "aten.reflection_pad2d.default": _over(2),
    "aten.replication_pad2d.default": _over(2),
    "aten.upsample_bilinear2d.vec": _over(2),
    "aten.upsample_nearest2d.vec": _over(2),
    "aten.max_pool3d_with_indices.default": _over(3),
    "aten.avg_pool3d.default": _over(3),
    "aten._adaptive_avg_pool3d.default": _over(3),
    "aten.reflection_pad3d.default": _over(3),
    "aten.replication_pad3d.default": _over(3),
    "aten.arange.start_step": counted,
    "aten.gather.default": gather,
    "aten.sort.default": sort,
    "aten.topk.default": sort,
    "aten.native_channel_shuffle.default": shuffle,
    "aten.channel_shuffle.default": shuffle,
}
