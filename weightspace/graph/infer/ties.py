"""Additions that no name shows: axes of one size that may meet in a sum are tied, padded ones are fixed."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable

from weightspace.graph.axes import Leaf, Sum
from weightspace.graph.infer.piece import Piece
from weightspace.graph.infer.tree import WEIGHTS, Node, rank
from weightspace.graph.infer.wires import Wires

PADDED = "added to a shortcut that may be padded"
SHORTCUT = re.compile(
    r"^(down_?sample|short_?cut|conv_?shortcut|skip(_conn\w*|_conv)?|identity|residual|res_conv|conv_res|nin_shortcut"
    r"|match_dim\w*|expansion_conv|proj_shortcut|\w*_0_conv|id_conv)$",
    re.IGNORECASE,
)
ACTOR = re.compile(r"(^|_)(policy|pi|actor|action)(_|$)")
CRITIC = re.compile(r"(^|_)(value|vf|critic|qf?\d*|v)(_|$)")
GIVEN_BACK = "may be a mean and a variance, which are given back"
DOUBLED = "may be a concatenation of two"
ADDS = re.compile(r"res|skip|add", re.IGNORECASE)


def tie_by_size(wires: Wires, axes: Iterable[str | None]) -> None:
    """Unite all axes of one size."""
    seen: dict[int, str] = {}
    for axis in axes:
        if axis is not None and wires.sizes[axis] > 1:
            wires.unite(seen.setdefault(wires.sizes[axis], axis), axis)


def tie_siblings(wires: Wires, whole: Piece, pieces: list[Piece]) -> None:
    """Tie what siblings write by size, and what they read first: modules that are no plain sequence may be added.

    Two neighbours of one numbered run (`fc1`, `fc2`) stay apart: a single layer is hardly a residual block. So do the
    halves of a U-Net that is seen to concatenate.
    """
    raised = any(b.kind == "transposed conv" for p in pieces for la in p.inner for b in la.blocks)
    if is_sequence(whole.node) or (whole.joined > 1 and raised):
        return
    _tie_lists(wires, pieces)
    _tie_vectors(wires, pieces)
    writers = [p for p in pieces if p.exit is not None and (p.weighted or p.entry is None)]
    by_size: dict[int, list[Piece]] = defaultdict(list)
    for piece in writers:
        by_size[wires.sizes[piece.exit or ""]].append(piece)
    for size, alike in by_size.items():
        if size == 1 or (len(alike) == 2 and is_run(*alike)):
            continue
        for n, piece in enumerate(alike):
            for other in alike[:n]:
                if not _apart(piece, other):
                    wires.unite(other.exit or "", piece.exit or "")
        if whole.entry is not None and wires.sizes[whole.entry] == size and (len(alike) > 1 or alike[0].weighted > 1):
            wires.unite(whole.entry, alike[0].exit or "")


def _tie_lists(wires: Wires, pieces: list[Piece]) -> None:
    """Tie lists made alike: they may run side by side, item by item, not one after the other."""
    lists = [p for p in pieces if p.node.is_numbered and not any(c.children for c in p.node.children.values())]
    lists = [p for p in lists if not is_sequence(p.node)]
    for n, one in enumerate(lists):
        for other in lists[:n]:
            if one.node.template == other.node.template and not _apart(one, other):
                layers = [la for la in (*one.inner, *other.inner) if la.op in WEIGHTS and la.exit]
                tie_by_size(wires, [axis for la in layers for axis in (la.entry, la.exit)])


def _tie_vectors(wires: Wires, pieces: list[Piece]) -> None:
    """Tie all that a vector without a place by name may sit on."""
    names = [p.node.name for p in pieces if p.weighted]
    for vector in pieces:
        layer = vector.layer
        if layer is not None and layer.op == "scale" and not any(name in vector.node.name for name in names):
            size = wires.sizes[layer.exit]
            sides = [axis for p in pieces if p.weighted for axis in (p.entry, p.exit)]
            tie_by_size(wires, [layer.exit, *(axis for axis in sides if axis and wires.sizes[axis] == size)])


def is_run(one: Piece, other: Piece) -> bool:
    """Whether two single layers are named as neighbours in a run."""
    stems = {re.sub(r"\d+", "", p.node.name) for p in (one, other)}
    numbers = [re.findall(r"\d+", p.node.name) for p in (one, other)]
    ops = {layer.op for p in (one, other) for layer in p.inner if layer.op in WEIGHTS}
    steps = [int(b) - int(a) for a, b in zip(*numbers, strict=False)]
    single = one.weighted == other.weighted == 1 and len(ops) == 1 and bool(ops & {"linear", "conv"})
    return single and len(stems) == 1 and len(numbers[0]) == len(numbers[1]) and [s for s in steps if s] == [1]


def fix_bottleneck(wires: Wires, pieces: list[Piece]) -> None:
    """Fix what two twins narrow to: they may be a mean and a variance, which a network gives back."""
    single = [p for p in pieces if p.weighted == 1 and p.entry is not None and p.exit is not None]
    for n, one in enumerate(single):
        for other in single[:n]:
            ends = [(wires.root(p.entry or ""), wires.sizes[p.exit or ""]) for p in (one, other)]
            narrows = wires.sizes[one.exit or ""] < wires.sizes[one.entry or ""]
            gates = any("gate" in p.node.name.lower() for p in (one, other))
            if ends[0] == ends[1] and narrows and not gates:
                wires.mark(one.exit or "", "fixed", GIVEN_BACK)
                wires.mark(other.exit or "", "fixed", GIVEN_BACK)


def is_sequence(node: Node) -> bool:
    """Whether it is an `nn.Sequential` of bare layers: numbers with gaps, where layers without weights stand."""
    if not node.is_numbered or any(child.children for child in node.children.values()):
        return False
    numbers = sorted(map(int, node.children))
    ops = {child.layer.op for child in node.children.values() if child.layer is not None}
    return numbers != list(range(numbers[0], numbers[0] + len(numbers))) or bool(ops & {"norm", "scale"})


def tie_block(wires: Wires, whole: Piece, repeated: set[tuple]) -> None:
    """Tie what a block reads to what it writes, if a shortcut may add them; fix both if it may be padded."""
    node = whole.node
    if whole.entry is None or whole.exit is None or whole.attends or whole.weighted < 1 or not node.children:
        return
    same = wires.sizes[whole.entry] == wires.sizes[whole.exit]
    single = whole.weighted == 1 and not ADDS.search(node.name)
    lone_sequence = is_sequence(node) and node.template not in repeated
    if same and not single and not lone_sequence:
        wires.unite(whole.entry, whole.exit)
    elif not same and whole.is_conv and whole.weighted >= 2 and node.template in repeated and not _is_exempt(whole):
        wires.mark(whole.entry, "fixed", PADDED)
        wires.mark(whole.exit, "fixed", PADDED)


def _is_exempt(whole: Piece) -> bool:
    """A change of size without a padded shortcut: it has its own shortcut, or is a stage, a sequence, a bottleneck."""
    node = whole.node
    stage = node.is_numbered and any(child.children for child in node.children.values())
    if whole.has_shortcut or stage or is_sequence(node):
        return True
    kinds = [block.kind for layer in whole.inner for block in layer.blocks if block.kind in ("conv", "depthwise")]
    return len(kinds) >= 3 and kinds[0] == "conv" and "depthwise" in kinds[1:-1]


def adding_templates(root: Node) -> set[tuple]:
    """Templates of blocks of which one could add its input to its output: first read and last written sizes agree."""
    found: dict[tuple, int] = defaultdict(int)
    for node in _inner(root):
        found[node.template] += 1
    return {template for template, count in found.items() if count > 1}


def _inner(node: Node) -> Iterable[Node]:
    for child in node.children.values():
        if child.children:
            yield child
            yield from _inner(child)


def tie_sides(wires: Wires, pieces: list[Piece]) -> None:
    """Tie by size all that modules of unknown order read and write; a size that is twice another may be two of it."""
    sides = [axis for p in pieces for axis in (p.entry, p.exit) if axis is not None]
    tie_by_size(wires, sides)
    by_size = {wires.sizes[axis]: axis for axis in sides if wires.sizes[axis] > 1}
    entries = [wires.sizes[p.entry] for p in pieces if p.entry is not None]
    raised = any(b.kind == "transposed conv" for p in pieces for la in p.inner for b in la.blocks)
    merges = raised or not any(p.is_conv for p in pieces)
    for size, axis in by_size.items():
        if 2 * size in by_size and merges and (raised or entries.count(2 * size) > 1):
            wires.bind(by_size[2 * size], Sum((Leaf(axis), Leaf(axis))), DOUBLED)
            if size not in entries:
                wires.mark(axis, "fixed", DOUBLED)


def is_doubtful(wires: Wires, node: Node, pieces: list[Piece], in_order: bool) -> bool:
    """Whether a step of the chain rests on sizes that fit elsewhere too, between modules whose names show no order."""
    weighted = [p for p in pieces if p.weighted and p.exit is not None]
    if node.is_numbered or any(p.attends for p in pieces):
        return False
    sizes = [wires.sizes[p.exit] for p in weighted if p.exit is not None]
    for before, after, size in zip(weighted, weighted[1:], sizes, strict=False):
        alike = re.sub(r"_?\d+", "", before.node.name) == re.sub(r"_?\d+", "", after.node.name)
        fits = after.entry is not None and wires.sizes[after.entry] == size
        shown = in_order and before.is_conv and after.is_conv
        if not shown and fits and sizes.count(size) > 1 and not alike and rank(before.node) == rank(after.node):
            return True
    return False


def meet(wires: Wires, pieces: list[Piece], ends: list[Piece]) -> None:
    """Tie branches that end at the size of another output: they may be added or multiplied there."""
    tables = [p for p in pieces if p.entry is None]
    if len(tables) > 1 and sum(any(la.op == "recurrent" for la in p.inner) for p in pieces) > 1:
        tie_sides(wires, pieces)
    for end in ends:
        if end.exit is None or wires.role(end.exit) == "output":
            continue
        size = wires.sizes[end.exit]
        same = [p for p in pieces if p is not end and p.exit is not None and wires.sizes[p.exit] == size]
        if not any((p.weighted or p.entry is None) and not _apart(end, p) for p in same):
            continue
        if end.is_conv and not end.node.children:
            tie_sides(wires, pieces)
        else:
            tie_by_size(wires, [end.exit, *(p.exit for p in same if not _apart(end, p))])


def _apart(one: Piece, other: Piece) -> bool:
    """Whether one belongs to an actor and the other to a critic: these are never added."""
    names = one.node.name.lower(), other.node.name.lower()
    return any(ACTOR.search(a) and CRITIC.search(b) for a, b in (names, names[::-1]))
