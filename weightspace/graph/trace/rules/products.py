"""Operations that contract units: matrix products, convolutions, and looking up rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from weightspace.graph.trace.program import Node
from weightspace.graph.trace.state import State, Tracked
from weightspace.graph.trace.terms import Leaf, Prod, Same, Term, fix, leaves, resolve, size_of
from weightspace.graph.trace.unify import divide, tie

POSITIONS = "positions of a feature map"


def matmul(state: State, node: Node, a: Tracked, b: Tracked) -> Tracked:
    """`out[..., i, j] = sum_k a[..., i, k] b[..., k, j]`."""
    inner = tie(a.terms[-1], b.terms[-2], f"{node.op} contracts unlike parts")
    batch = [tie(s, t, f"{node.op} pairs unlike parts") for s, t in zip(a.terms[:-2], b.terms[:-2], strict=True)]
    terms = (*batch, a.terms[-2], b.terms[-1])
    state.mix([inner], terms)
    result = state.derive(terms, a, b)
    last = len(a.terms) - 1
    outer = dict.fromkeys(range(last - 1), "o")
    stages = []
    if a.origin:
        stages.append(state.consume(a, "linear", outer | {last: "i", last - 1: "o"}, b))
    if b.origin:
        ends = {last - 1: "o", last: "i"} if a.origin else {last - 1: "i", last: "o"}
        stages.append(state.consume(b, "linear", outer | ends, a))
    if stages:
        state.read.append(inner)
        return replace(result, stage=max(stages), through=result.through | set(stages))
    state.follow(result, "matmul")
    state.contract([inner], result)
    return result


def addmm(state: State, node: Node, bias: Tracked, a: Tracked, b: Tracked, **_: Any) -> Tracked:
    """A matrix product and a bias."""
    return add_bias(state, node, matmul(state, node, a, b), bias, -1)


def add_bias(state: State, node: Node, result: Tracked, bias: Tracked | None, dim: int) -> Tracked:
    """Tie a bias to one dimension of a result."""
    if bias is None:
        return result
    terms = list(result.terms)
    if size_of(bias.terms[-1]) == size_of(terms[dim]):
        terms[dim] = tie(terms[dim], bias.terms[-1], f"{node.op} adds unlike parts")
    if bias.origin:
        state.consume(bias, "bias", {len(bias.terms) - 1: "o"}, result)
    return replace(result, terms=tuple(terms))


def convolution(state: State, node: Node, x: Tracked, weight: Tracked, bias: Tracked | None, *how: Any) -> Any:
    """Sum over input channels and taps; groups split both channel dimensions."""
    transposed, groups = how[3], how[5]
    inner, outer = (1, 0) if not transposed else (0, 1)
    channels = _channels(node, x.terms[1], weight, groups, transposed)
    if channels is None:
        return state.fallback(node, [t for t in (x, weight, bias) if t is not None])
    mixed, group, out = channels
    for term in (*weight.terms[2:], *x.terms[2:]):
        fix(term, POSITIONS)
    taps = _taps(weight, inner, groups)
    for leaf in [leaf for term in taps for leaf in leaves(term)]:
        leaf.span = True
    spatial = [Leaf(n, POSITIONS, span=True) for n in node.values[0].shape[2:]]  # type: ignore[union-attr]
    state.mix([mixed, *x.terms[2:]], [x.terms[0], *group, out])
    state.read += [mixed, *group]
    result = state.derive([x.terms[0], out, *spatial], x, weight)
    if weight.origin:
        depthwise = groups > 1 and groups == size_of(x.terms[1]) and not transposed
        kind = "depthwise" if depthwise else "transposed conv" if transposed else "conv"
        letters = {inner: "i", outer: "o"} | {d: "k" for d in range(2, len(weight.terms))}
        stage = state.consume(weight, kind, letters, x)
        state.stages[stage].reads += group
        result = replace(result, stage=stage, through=result.through | {stage})
    return add_bias(state, node, result, bias, 1)


def _taps(weight: Tracked, inner: int, groups: int) -> list[Term]:
    """Dimensions of a kernel that are no units: its taps, and the single input channel of a depthwise one."""
    single = [weight.terms[inner]] if groups > 1 and inner == 1 and size_of(weight.terms[1]) == 1 else []
    return [*weight.terms[2:], *single]


def _channels(
    node: Node, given: Term, weight: Tracked, groups: int, transposed: bool
) -> tuple[Term, list[Term], Term] | None:
    """Return what is summed over in a group, the group (if any), and the channels that come out."""
    why = f"{node.op} pairs unlike channels"
    first, second = weight.terms[:2]
    if groups == 1:
        tie(given, first if transposed else second, why)
        return (first, [], second) if transposed else (second, [], first)
    if isinstance(resolve(given), Same):
        return None
    if transposed:
        tie(given, first, why)
    halves, written = divide(given, groups), divide(first, groups)
    if halves is None or written is None:
        return None
    group = tie(halves[0], written[0], why)
    if transposed:
        return halves[1], [group], Prod((group, second))
    tie(halves[1], second, why)
    return second, [group], first


def embedding(state: State, node: Node, weight: Tracked, index: Tracked, *_: Any) -> Tracked:
    """Rows of a table. Rows mean words where the index comes from the input, else positions."""
    if index.told:
        for leaf in leaves(weight.terms[0]):
            leaf.roles.add("input")
    else:
        fix(weight.terms[0], "row i stands for position i")
    rest = weight.terms[1:]
    state.read.append(weight.terms[0])
    state.mix([weight.terms[0]], rest)
    result = state.derive([*index.terms, *rest], weight, index)
    if weight.origin is None:
        return result
    letters = {0: "i"} | {d: "o" for d in range(1, len(weight.terms))}
    stage = state.consume(weight, "embedding" if index.told else "position embedding", letters, index)
    return replace(result, stage=stage, through=result.through | {stage})


def index(state: State, node: Node, x: Tracked, indices: tuple[Tracked | None, ...]) -> Tracked:
    """Positions chosen by number: the chosen dimensions are fixed, the others stay as they are."""
    places = [d for d, i in enumerate(indices) if i is not None]
    given = [i for i in indices if i is not None]
    for d in places:
        for leaf in leaves(x.terms[d]):
            leaf.reason = leaf.reason or f"{node.op} chooses by number"
            if any(i.told for i in given):
                leaf.roles.add("input")
    rank = max(len(i.terms) for i in given)
    chosen: list[Term] = []
    for d in range(rank):
        sizes = [(len(i.terms) - rank + d, i) for i in given]
        options = [i.terms[k] for k, i in sizes if k >= 0]
        term = next((t for t in options if size_of(t) != 1), options[0])
        for other in options:
            term = tie(term, other, f"{node.op} pairs unlike parts") if size_of(other) == size_of(term) else term
        spatial = len(given) == 1 or rank == len(given)
        span = spatial and all(leaf.span for p in places for leaf in leaves(x.terms[p]))
        chosen.append(Leaf(size_of(term), POSITIONS, span=True) if span else term)
    others = [(d, t) for d, t in enumerate(x.terms) if d not in places]
    state.mix([x.terms[d] for d in places], [t for _, t in others])
    adjacent = places == list(range(places[0], places[-1] + 1))
    before = [t for d, t in others if adjacent and d < places[0]]
    after = [t for d, t in others if not (adjacent and d < places[0])]
    return state.derive([*before, *chosen, *after], x, *given, origin=None)


def index_select(state: State, node: Node, x: Tracked, dim: int, numbers: Tracked) -> Tracked:
    """Positions of one dimension chosen by number."""
    indices = [None] * (dim % len(x.terms)) + [numbers]
    return index(state, node, x, tuple(indices))


RULES: dict[str, Callable[..., Any]] = {
    "aten.mm.default": matmul,
    "aten.bmm.default": matmul,
    "aten.addmm.default": addmm,
    "aten.convolution.default": convolution,
    "aten.embedding.default": embedding,
    "aten.index.Tensor": index,
    "aten._unsafe_index.Tensor": index,
    "aten.index_select.default": index_select,
}
