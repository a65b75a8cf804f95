"""Normalisations, and reductions over dimensions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from weightspace.graph.trace.program import Node
from weightspace.graph.trace.state import State, Tracked
from weightspace.graph.trace.terms import UNIT, Leaf, Same, Term, fix, size_of
from weightspace.graph.trace.unify import divide, tie


def _scale(state: State, node: Node, x: Tracked, at: Sequence[int], params: Mapping[str, Tracked | None]) -> Tracked:
    """Tie the parameters of a norm to the dimensions they sit on."""
    terms = list(x.terms)
    result = x
    for kind, param in params.items():
        if param is None:
            continue
        for d, term in zip(at, param.terms, strict=True):
            terms[d] = tie(terms[d], term, f"{node.op} scales unlike parts")
        if param.origin:
            stage = state.consume(param, kind, {d: "o" for d in range(len(param.terms))}, result)
            result = state.derive(terms, x, stage=stage, through=x.through | {stage})
    return state.derive(terms, result)


def batch_norm(state: State, node: Node, x: Tracked, *stored: Any) -> Any:
    """Each channel with its own stored statistics."""
    kinds = ("norm scale", "norm shift", "running mean", "running variance")
    params = dict(zip(kinds, stored, strict=False))
    return (_scale(state, node, x, (1,), params), *_empty(state, node))


def batch_norm_without_statistics(state: State, node: Node, x: Tracked, w: Any, b: Any, *_: Any) -> Any:
    """Each channel over the batch and all positions."""
    state.mix([t for d, t in enumerate(x.terms) if d != 1], [x.terms[1]])
    return (_scale(state, node, x, (1,), {"norm scale": w, "norm shift": b}), *_empty(state, node))


def _empty(state: State, node: Node) -> tuple[Tracked | None, ...]:
    return tuple(None if v is None else state.derive(map(Leaf, v.shape)) for v in node.values[1:])


def layer_norm(state: State, node: Node, x: Tracked, shape: tuple[int, ...], w: Any, b: Any, *_: Any) -> Any:
    """Over the last dimensions."""
    first = len(x.terms) - len(shape)
    state.mix(x.terms[first:], x.terms[:first])
    out = _scale(state, node, x, range(first, len(x.terms)), {"norm scale": w, "norm shift": b})
    moments = state.derive([*x.terms[:first], *(UNIT for _ in shape)], x)
    return (out, moments, moments)[: len(node.values)]


def rms_norm(state: State, node: Node, x: Tracked, shape: tuple[int, ...], w: Any, *_: Any) -> Any:
    """Over the last dimensions, without a shift."""
    return layer_norm(state, node, x, shape, w, None)


def group_norm(state: State, node: Node, x: Tracked, w: Any, b: Any, *how: Any) -> Any:
    """Over the channels of a group and all positions."""
    groups = how[3]
    halves = divide(x.terms[1], groups)
    if halves is None:
        return state.fallback(node, [t for t in (x, w, b) if t is not None])
    state.mix([halves[1], *x.terms[2:]], [x.terms[0], halves[0]])
    moments = state.derive([x.terms[0], halves[0]], x)
    return _scale(state, node, x, (1,), {"norm scale": w, "norm shift": b}), moments, moments


def softmax(state: State, node: Node, x: Tracked, dim: int, *_: Any) -> Tracked:
    """Over one dimension."""
    d = dim % len(x.terms)
    state.mix([x.terms[d]], [t for i, t in enumerate(x.terms) if i != d])
    result = state.derive(x.terms, x)
    state.follow(result, "softmax")
    return result


def _reduced(x: Tracked, dims: Any) -> list[int]:
    if isinstance(dims, int):
        dims = (dims,)
    return sorted({d % len(x.terms) for d in dims}) if dims else list(range(len(x.terms)))


def reduce(state: State, node: Node, x: Tracked, dims: Any = None, *rest: Any, **named: Any) -> Any:
    """One number from all positions of some dimensions, whatever their order."""
    if not x.terms:
        return x
    gone = _reduced(x, named.get("dim", dims))
    mixed, kept = [x.terms[d] for d in gone], [t for d, t in enumerate(x.terms) if d not in gone]
    state.mix(mixed, kept)
    several = len(node.values) > 1
    shape = node.values[0].shape  # type: ignore[union-attr]
    terms: list[Term] = kept if len(shape) == len(kept) else [UNIT if d in gone else t for d, t in enumerate(x.terms)]
    result = state.derive(terms, x)
    state.contract([t for t in mixed if not isinstance(t, Same)], result)
    word = node.op.split(".")[1]
    if word != "any" and node.scope not in state.norms:
        state.follow(result, word)
    return (result,) * len(node.values) if several else result


def length(state: State, node: Node, x: Tracked, order: Any = 2, dims: Any = None, *rest: Any, **named: Any) -> Any:
    """A vector norm over some dimensions."""
    return reduce(state, node, x, dims, *rest, **named)


def choose(state: State, node: Node, x: Tracked, dim: Any = None, *rest: Any, **named: Any) -> Any:
    """Reductions that tell a position: its number has a meaning, so the order is fixed."""
    for d in _reduced(x, dim if isinstance(dim, int) else None):
        fix(x.terms[d], f"{node.op} tells which position")
    return reduce(state, node, x, dim if isinstance(dim, int) else None, *rest, **named)


def accumulate(state: State, node: Node, x: Tracked, dim: int, *_: Any, **__: Any) -> Any:
    """Running sums: the order of one dimension matters."""
    d = dim % len(x.terms)
    fix(x.terms[d], f"{node.op} runs along it")
    state.mix([x.terms[d]], [t for i, t in enumerate(x.terms) if i != d])
    new = Leaf(size_of(x.terms[d]), f"{node.op} runs along it")
    return state.derive([new if i == d else t for i, t in enumerate(x.terms)], x)


RULES: dict[str, Callable[..., Any]] = {
    "aten._native_batch_norm_legit_no_training.default": batch_norm,
    "aten._native_batch_norm_legit.no_stats": batch_norm_without_statistics,
    "aten.native_layer_norm.default": layer_norm,
    "aten._fused_rms_norm.default": rms_norm,
    "aten.native_group_norm.default": group_norm,
    "aten._softmax.default": softmax,
    "aten._log_softmax.default": softmax,
    "aten.mean.default": reduce,
    "aten.mean.dim": reduce,
    "aten.sum.default": reduce,
    "aten.sum.dim_IntList": reduce,
    "aten.var.dim": reduce,
    "aten.var.correction": reduce,
    "aten.var_mean.correction": reduce,
    "aten.amax.default": reduce,
    "aten.amin.default": reduce,
    "aten.prod.default": reduce,
    "aten.prod.dim_int": reduce,
    "aten.any.default": reduce,
    "aten.any.dim": reduce,
    "aten.any.dims": reduce,
    "aten.logsumexp.default": reduce,
    "aten.linalg_vector_norm.default": length,
    "aten.argmax.default": choose,
    "aten.argmin.default": choose,
    "aten.max.dim": choose,
    "aten.min.dim": choose,
    "aten.cumsum.default": accumulate,
}
