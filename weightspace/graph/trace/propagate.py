"""Carry terms through a program, operation by operation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from weightspace.errors import ArchitectureError, TraceError
from weightspace.graph.trace.literals import Ref
from weightspace.graph.trace.program import SIZES, Node, Program, operator_of
from weightspace.graph.trace.rules import RULES, SLOTWISE
from weightspace.graph.trace.rules.pointwise import pointwise
from weightspace.graph.trace.state import Origin, State, Tracked, settle
from weightspace.graph.trace.terms import Leaf, leaves
from weightspace.graph.trace.unify import tie

MOST_PASSES = 4


def propagate(program: Program) -> State:
    """Return what is known after the last operation.

    A reshape into slots that are taken apart later (`view(3, heads, units)` of fused queries, keys and values) would
    tie the slots to each other; they are found in a first pass and kept apart in the next.
    """
    slots: dict[tuple[str, int], set[int]] = {}
    for _ in range(MOST_PASSES):
        state = _pass(program, slots)
        new = {key: cuts for key, cuts in state.found.items() if cuts and key not in slots}
        if not new:
            break
        slots = slots | new
    return state


def _pass(program: Program, slots: dict[tuple[str, int], set[int]]) -> State:
    norms = frozenset(n.scope for n in program.nodes if n.op == "aten.rsqrt.default")
    state = State(program, slots, norms=norms)
    for slot in program.slots:
        told = slot.role == "input"
        constant = slot.role == "constant"
        reason = f"meets a constant of the module, {slot.target}" if constant else ""
        terms = tuple(Leaf(n, reason, {"input"} if told else set(), loose=constant) for n in slot.value.shape)
        stored = slot.role in ("parameter", "buffer")
        origin = Origin(slot.target, tuple(range(len(terms)))) if stored else None
        state.tensors[Ref(slot.name)] = Tracked(terms, origin, told=told)
    for node in program.nodes:
        _step(state, node)
    for ref in program.outputs:
        for term in state.tensors[ref].terms if ref in state.tensors else ():
            for leaf in leaves(term):
                leaf.roles.add("output")
    _rewrite(state)
    return state


def _step(state: State, node: Node) -> None:
    args = state.arguments(node.args)
    named = {key: state.arguments(value) for key, value in node.kwargs.items()}
    first = node.values[0]
    if first is not None and first.dtype == "int":
        size = operator_of(node.op)
        state.numbers[node.name] = size(*args) if node.op in SIZES else args[0].shape[args[1]]
        return
    rule = RULES.get(node.op) or (pointwise if _is_pointwise(node.op) else None)
    if rule is None:
        found: Any = state.fallback(node, list(_tracked((*args, *named.values()))))
    else:
        if rule not in SLOTWISE:
            args, named = _settled(args), {key: _settled(value) for key, value in named.items()}
        found = rule(state, node, *args, **named)
    results = found if isinstance(found, tuple) else (found,)
    for item, (result, value) in enumerate(zip(results, node.values, strict=False)):
        if result is None or value is None:
            continue
        if result.shape != value.shape:
            raise TraceError(
                f"{node.name}: the rule of {node.op} makes {list(result.shape)}, the module {list(value.shape)}. "
                "Please report it with the module."
            )
        state.tensors[Ref(node.name, item if len(node.values) > 1 else None)] = result


def _is_pointwise(op: str) -> bool:
    try:
        return torch.Tag.pointwise in getattr(operator_of(op), "tags", ())
    except ArchitectureError:
        return False


def _tracked(items: Any) -> Iterator[Tracked]:
    if isinstance(items, Tracked):
        yield settle(items)
    elif isinstance(items, tuple):
        for item in items:
            yield from _tracked(item)


def _settled(item: Any) -> Any:
    if isinstance(item, Tracked):
        return settle(item)
    return tuple(_settled(part) for part in item) if isinstance(item, tuple) else item


def _rewrite(state: State) -> None:
    """A buffer and what a call leaves in it run over the same units."""
    stored = {slot.target: state.tensors[Ref(slot.name)] for slot in state.program.slots}
    for target, ref in state.program.updates.items():
        new = state.tensors.get(ref)
        if target in stored and new is not None:
            for a, b in zip(stored[target].terms, new.terms, strict=True):
                tie(a, b, f"a call rewrites {target}")
