"""Operations that act position by position: their operands run over the same units."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from weightspace.graph.trace.program import Node
from weightspace.graph.trace.state import State, Tracked, settle
from weightspace.graph.trace.terms import UNIT, Case, Cut, Same, Term, resolve, size_of
from weightspace.graph.trace.unify import tie

_PLUS, _TIMES = ("aten.add.", "aten.sub."), ("aten.mul.", "aten.div.")
_SILENT = frozenset({"eq", "ne", "le", "lt", "ge", "gt", "logical_not", "logical_and", "where", "neg", "full_like"})


def pointwise(state: State, node: Node, *args: Any, **named: Any) -> Tracked:
    """Tie what meets; a parameter that meets activations is a bias, a scale or a position embedding."""
    operands = _slotwise(list(_tensors((*args, *named.values()))))
    shape = node.values[0].shape  # type: ignore[union-attr]
    terms = [_meet(node, operands, d - len(shape), n) for d, n in enumerate(shape)]
    result = state.derive(terms, *operands)
    stored = [x for x in operands if x.origin is not None]
    moving = [x for x in operands if x.origin is None and not _constant(x)]
    if stored and not moving:
        whole = next((x for x in stored if x.shape == tuple(shape)), None)
        if whole is not None and len(stored) == 1:
            return replace(result, origin=whole.origin)
        moving = [x for x in stored if x is whole]
    for param in stored:
        if param not in moving and moving:
            result = _meet_parameter(state, node, param, moving[0], result)
    if node.op == "aten.where.self":
        for x in operands:
            if x.pending in state.uses:
                state.uses[x.pending].kind = "slope"
    if len(moving) == 1 and moving[0].origin is not None:
        return replace(result, origin=moving[0].origin)
    _label(state, node, result, moving)
    return result


def _tensors(items: Sequence[Any]) -> Iterator[Tracked]:
    for item in items:
        if isinstance(item, Tracked):
            yield item
        elif isinstance(item, tuple):
            yield from _tensors(item)


def _constant(x: Tracked) -> bool:
    return not x.through and not x.told


def _slotwise(operands: list[Tracked]) -> list[Tracked]:
    """Keep the differences between slots only where all else is the same in every slot."""
    slotted = [x for x in operands if any(isinstance(t, Cut | Case) for t in x.terms)]
    if not slotted:
        return operands
    first = slotted[0]
    places = [d - len(first.terms) for d, t in enumerate(first.terms) if isinstance(t, Cut | Case)]
    others = [x for x in operands if x is not first]
    free = all(
        len(x.terms) < -d or size_of(x.terms[d]) == 1 or isinstance(resolve(x.terms[d]), Same)
        for x in others
        for d in places
    )
    return operands if free else [settle(x) for x in operands]


def _meet(node: Node, operands: list[Tracked], d: int, size: int) -> Term:
    term: Term = Same(size) if size != 1 else UNIT
    for x in operands:
        if len(x.terms) >= -d and size_of(x.terms[d]) == size:
            term = tie(term, x.terms[d], f"{node.op} meets unlike parts")
    return term


def _meet_parameter(state: State, node: Node, param: Tracked, by: Tracked, result: Tracked) -> Tracked:
    real = [d for d, n in enumerate(param.shape) if n > 1] or [*range(len(param.terms))][-1:]
    letters = dict.fromkeys(range(len(param.terms)), "k") | dict.fromkeys(real, "o")
    if node.op.startswith(_PLUS) and len(real) > 1:
        state.place(param, by)
    elif node.op.startswith(_PLUS):
        state.consume(param, "bias", letters, by)
    elif node.op.startswith(_TIMES):
        kind = "norm scale" if node.scope in state.norms else "scale"
        stage = state.consume(param, kind, letters, by)
        return replace(result, stage=stage, through=result.through | {stage}, pending=param.origin.target)  # type: ignore[union-attr]
    return result


def _label(state: State, node: Node, result: Tracked, moving: list[Tracked]) -> None:
    word = node.op.split(".")[1]
    if node.scope in state.norms or word in _SILENT or (word in ("add", "sub", "mul", "div") and len(moving) < 2):
        return
    state.follow(result, word)


def uniform(state: State, node: Node, *args: Any, **named: Any) -> Tracked:
    """The same value everywhere: each use of it may be relabelled by itself."""
    return Tracked(tuple(Same(n) if n != 1 else UNIT for n in node.values[0].shape))  # type: ignore[union-attr]


RULES: dict[str, Callable[..., Any]] = {
    f"aten.{name}": uniform
    for name in (
        "full.default",
        "full_like.default",
        "scalar_tensor.default",
        "zeros.default",
        "ones.default",
        "empty.memory_format",
        "new_zeros.default",
        "new_ones.default",
        "new_full.default",
    )
}
