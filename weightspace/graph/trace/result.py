"""From the terms of a traced program to its parameter graph."""

from __future__ import annotations

from collections.abc import Iterable
from math import prod

from weightspace.graph import axes as out
from weightspace.graph.axes import Axis, Block, ParameterGraph, Role, Span, Stage
from weightspace.graph.trace.families import find_parents
from weightspace.graph.trace.literals import Ref, references
from weightspace.graph.trace.program import Slot
from weightspace.graph.trace.scale import find_scalings
from weightspace.graph.trace.state import State, Use
from weightspace.graph.trace.terms import Cut, Leaf, Prod, Sum, Term, leaves, normal

UNUSED = "no operation of the traced call uses it"
UNREAD = "no operation of the traced call reads these units"
SINGLE = "a single unit"


def build_result(state: State) -> ParameterGraph:
    """Return the graph of what was traced."""
    slots = [s for s in state.program.slots if s.role in ("parameter", "buffer") and s.value.is_float]
    used = _used(state)
    for slot in slots:
        if slot.name not in used:
            for term in _terms(state, slot):
                for leaf in leaves(term):
                    leaf.reason = leaf.reason or UNUSED
    _close(state, slots)
    names = _names(state, slots)
    parents = find_parents([t.terms for t in state.tensors.values()], state.mixed, list(names))
    axes = {name: _axis(leaf, names, parents) for leaf, name in names.items()}
    blocks = {slot.target: _block(state, slot, names) for slot in slots}
    scalings = find_scalings(state, names, axes, blocks)
    return ParameterGraph(axes, blocks, _stages(state, names, blocks), "trace", _shared(state, blocks), scalings)


def _axis(leaf: Leaf, names: dict[Leaf, str], parents: dict[Leaf, Leaf]) -> Axis:
    role = _role(leaf)
    parent = names[parents[leaf]] if role == "hidden" and leaf in parents else None
    return Axis(names[leaf], leaf.size, role, leaf.reason if role == "fixed" else "", parent)


def _terms(state: State, slot: Slot) -> tuple[Term, ...]:
    return state.tensors[Ref(slot.name)].terms


def _used(state: State) -> set[str]:
    found = {ref.name for n in state.program.nodes for ref in references((*n.args, *n.kwargs.values()))}
    return found | {ref.name for ref in state.program.outputs}


def _close(state: State, slots: Iterable[Slot]) -> None:
    """Fix units that nothing reads: the tail of a position table would look free at the traced length."""
    read = {leaf for term in state.read for leaf in leaves(term)}
    for slot in slots:
        for leaf in (leaf for term in _terms(state, slot) for leaf in leaves(term)):
            if not leaf.settled and leaf not in read:
                leaf.reason = SINGLE if leaf.size == 1 else UNREAD


def _role(leaf: Leaf) -> Role:
    for role in ("input", "output"):
        if role in leaf.roles:
            return role
    return "fixed" if leaf.reason else "hidden"


def _names(state: State, slots: Iterable[Slot]) -> dict[Leaf, str]:
    """Name each axis after the module that writes it first, else after the one that reads it."""
    found: dict[Leaf, str] = {}
    taken: set[str] = set()
    positions = _positions(state, slots)
    for slot in slots:
        owner = slot.target.rpartition(".")[0] or slot.target
        letters = _letters(state, slot)
        for letter, ending in (("o", "out"), ("i", "in"), ("k", "positions")):
            terms = [t for t, x in zip(_terms(state, slot), letters, strict=True) if x == letter]
            new = dict.fromkeys(leaf for term in terms for leaf in leaves(normal(term)))
            for leaf in (leaf for leaf in new if leaf not in found and leaf not in positions):
                name = base = f"{owner}.{ending}"
                count = 1
                while name in taken:
                    count += 1
                    name = f"{base}.{count}"
                taken.add(name)
                found[leaf] = name
    return found


def _positions(state: State, slots: Iterable[Slot]) -> set[Leaf]:
    """Leaves that are no axis: taps, pixels, and single positions that are not a unit both written and read."""
    sides: dict[Leaf, set[str]] = {}
    for slot in slots:
        for term, letter in zip(_terms(state, slot), _letters(state, slot), strict=True):
            for leaf in leaves(term):
                sides.setdefault(leaf, set()).add(letter)
    return {x for x, met in sides.items() if x.span or (x.size == 1 and not x.roles and not {"o", "i"} <= met)}


def _letters(state: State, slot: Slot) -> str:
    use = state.uses.get(slot.target)
    letters = use.letters if use else {}
    return "".join(letters.get(d, "k" if use else "o") for d in range(len(slot.value.shape)))


def _block(state: State, slot: Slot, names: dict[Leaf, str]) -> Block:
    use = state.uses.get(slot.target)
    kind = _kind(state, slot, use) if use else "parameter" if slot.name in _used(state) else "unused"
    dims = tuple(_convert(term, names) for term in _terms(state, slot))
    return Block(slot.target, kind, dims, _letters(state, slot), prod(slot.value.shape))


def _kind(state: State, slot: Slot, use: Use) -> str:
    """Kind of the use; matrices that feed the gates of a recurrent layer are gates too."""
    if use.kind != "linear":
        return use.kind
    owner = slot.target.rpartition(".")[0]
    for target, other in state.uses.items():
        if other.kind == "recurrent gate" and target.rpartition(".")[0] == owner:
            rows = next(s.value.shape[0] for s in state.program.slots if s.target == target)
            if rows == slot.value.shape[0]:
                return "recurrent gate"
    return use.kind


def _convert(term: Term, names: dict[Leaf, str]) -> out.Term:
    term = normal(term)
    match term:
        case Leaf():
            return out.Leaf(names[term]) if term in names else Span(term.size)
        case Prod(parts):
            return _merged([_convert(p, names) for p in parts])
        case Sum(parts) | Cut(parts):
            return _joined([_convert(p, names) for p in parts])
    raise AssertionError(f"a stored tensor has the term {term}")


def _joined(parts: list[out.Term]) -> out.Term:
    """Return the concatenation; equal parts (the gates of a recurrent layer) as a product."""
    spans = [part.size for part in parts if isinstance(part, Span)]
    if len(spans) == len(parts):
        return Span(sum(spans))
    if all(part == parts[0] for part in parts):
        return _merged([Span(len(parts)), *(parts[0].parts if isinstance(parts[0], out.Prod) else parts[:1])])
    return out.Sum(tuple(parts))


def _merged(parts: list[out.Term]) -> out.Term:
    """Return the product, neighbouring positions merged."""
    found: list[out.Term] = []
    for part in parts:
        if isinstance(part, Span) and found and isinstance(found[-1], Span):
            found[-1] = Span(found[-1].size * part.size)
        else:
            found.append(part)
    return Span(1) if not found else found[0] if len(found) == 1 else out.Prod(tuple(found))


def _stages(state: State, names: dict[Leaf, str], blocks: dict[str, Block]) -> tuple[Stage, ...]:
    made, taken = [], set()
    for draft in state.stages:
        members = tuple(target for target in draft.blocks if target in blocks)
        if not members:
            continue
        name = draft.owner if draft.owner not in taken else members[0]
        taken.add(name)
        own = {axis for target in members if blocks[target].in_axis for axis in _read(blocks[target])}
        reads = dict.fromkeys(names[leaf] for term in draft.reads for leaf in leaves(term) if leaf in names)
        op = "recurrent" if blocks[members[0]].kind == "recurrent gate" else draft.op
        made.append(Stage(name, op, members, tuple(draft.after), tuple(a for a in reads if a not in own)))
    return tuple(made)


def _read(block: Block) -> set[str]:
    return {leaf.axis for leaf in out.leaves(block.in_axis)} if block.in_axis else set()


def _shared(state: State, blocks: dict[str, Block]) -> dict[str, str]:
    return {alias: target for alias, target in state.program.shared.items() if target in blocks}
