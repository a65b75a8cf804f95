"""How the units of each hidden axis of a traced program may be scaled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from weightspace.graph import axes as out
from weightspace.graph.axes import Axis, Block
from weightspace.graph.scaling import MODES, Mode, Scaling
from weightspace.graph.trace.literals import Ref
from weightspace.graph.trace.power_mixers import MIXERS
from weightspace.graph.trace.power_moves import MOVES
from weightspace.graph.trace.power_numbers import NUMBERS
from weightspace.graph.trace.powers import Powers, Spots
from weightspace.graph.trace.program import Node, Slot
from weightspace.graph.trace.solve import System
from weightspace.graph.trace.state import State
from weightspace.graph.trace.terms import Leaf, Prod, Sum, Term, leaves, normal

_RULES = {**NUMBERS, **MOVES, **MIXERS}


def find_scalings(
    state: State, names: Mapping[Leaf, str], axes: Mapping[str, Axis], blocks: Mapping[str, Block]
) -> dict[str, dict[Mode, Scaling]]:
    """Return the scaling of every hidden axis for positive factors and for signs, by axis name."""
    hidden = {leaf: name for leaf, name in names.items() if axes[name].role == "hidden"}
    powers = Powers(state, frozenset(hidden))
    for node in state.program.nodes:
        _apply(powers, node)
    powers.where = "a rewritten buffer"
    stored = {slot.target: Ref(slot.name) for slot in state.program.slots}
    powers.pin_all((*state.program.updates.values(), *(stored[t] for t in state.program.updates if t in stored)))
    held = [(slot, Ref(slot.name)) for slot in state.program.slots if slot.target in blocks]
    places = {slot.target: _places(powers, slot, ref, blocks[slot.target], names) for slot, ref in held}
    return {name: {mode: _solved(powers, leaf, mode, places) for mode in MODES} for leaf, name in hidden.items()}


def _apply(powers: Powers, node: Node) -> None:
    first = node.values[0]
    if first is not None and first.dtype == "int":
        return
    powers.where = node.op.removeprefix("aten.").rpartition(".")[0]
    rule = _RULES.get(node.op)
    args = _plain(powers.state, node.args)
    if rule is None:
        powers.bar(node)
    else:
        rule(powers, node, *args, **{key: _plain(powers.state, value) for key, value in node.kwargs.items()})


def _plain(state: State, item: Any) -> Any:
    """Numbers in place of references to sizes."""
    if isinstance(item, Ref):
        return state.numbers.get(item.name, item)
    return tuple(_plain(state, part) for part in item) if isinstance(item, tuple) else item


def _places(powers: Powers, slot: Slot, ref: Ref, block: Block, names: Mapping[Leaf, str]) -> list[dict[str, Spots]]:
    """Spots of each stored dimension, by axis, in the order in which `Scaling` lists their powers."""
    powers.where = "one place in the file"
    found = []
    for term, spots, dim in zip(powers.state.tensors[ref].terms, powers.of(ref), block.dims, strict=True):
        at: dict[str, Spots] = {}
        for spot in spots:
            at.setdefault(names[powers.leaf[spot]], []).append(spot)
        for axis, some in at.items():
            count = sum(leaf.axis == axis for leaf in out.leaves(dim))
            if _squared(term, powers.leaf[some[0]]):
                powers.pin([some])
            if count != len(some) and not (count == 1 and _sliced(term, len(some))):
                powers.equal(some)
                at[axis] = some[:count]
        found.append(at)
    return found


def _sliced(term: Term, count: int) -> bool:
    """Whether a dimension is so many equal slices (the gates of a recurrent layer), each with an axis once."""
    term = normal(term)
    return isinstance(term, Sum) and len(term.parts) == count


def _squared(term: Term, axis: Leaf) -> bool:
    """Whether an axis meets itself in a product, so that a position belongs to two of its units."""
    term = normal(term)
    if isinstance(term, Prod):
        return sum(axis in leaves(part) for part in term.parts) > 1 or any(_squared(part, axis) for part in term.parts)
    return isinstance(term, Sum) and any(_squared(part, axis) for part in term.parts)


def _solved(powers: Powers, leaf: Leaf, mode: Mode, places: Mapping[str, list[dict[str, Spots]]]) -> Scaling:
    spots = [spot for spot, at in enumerate(powers.leaf) if at is leaf]
    system = System(powers.rows.get((leaf, mode), []), 2 if mode == "sign" else 0)
    power = system.solve(spots)
    found = {}
    for target, dims in places.items():
        rows = tuple(
            tuple(float(power[spot]) for some in dim.values() for spot in some if spot in power) for dim in dims
        )
        if any(value for row in rows for value in row):
            found[target] = rows
    return Scaling(found, () if found else tuple(powers.stops.get((leaf, mode), {})))
