"""Additions that no name shows: axes of one size that may meet in a sum are tied, padded ones are fixed."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable

from weightspace.graph.axes import Leaf, Sum
from weightspace.graph.infer.piece import Piece
from weightspace.graph.infer.tree import Node, rank
from weightspace.graph.infer.wires import Wires

PADDED = "added to a shortcut that may be padded"
SHORTCUT = re.compile(
    r"^(down_?sample|short_?cut|conv_?shortcut|skip(_conn\w*|_conv)?|identity|residual|res_conv|conv_res|nin_shortcut"
    r"|match_dim\w*|expansion_conv|proj_shortcut|\w*_0_conv|id_conv)$",
    re.IGNORECASE,
)
ACTOR = re.compile(r"(^|_)(policy|pi|actor|action)(_|$)")
CRITIC = re.compile(r"(^|_)(value|vf|critic|qf?\d*|v)(_|$)")
DOUBLED = "may be a concatenation of two"
ADDS = re.compile(r"res|skip|add", re.IGNORECASE)


def tie_by_size(wires: Wires, axes: Iterable[str | None]) -> None:
    """Unite all axes of one size."""
    seen: dict[int, str] = {}
    for axis in axes:
        if axis is not None and wires.sizes[axis] > 1:
            wires.unite(seen.setdefault(wires.sizes[axis], axis), axis)


def tie_runs(wires: Wires, node: Node, pieces: list[Piece]) -> None:
    """Tie outputs of one size that come at least three times among convolutions not known to be a plain sequence."""
    if is_sequence(node):
        return
    by_size: dict[int, list[str]] = defaultdict(list)
    for piece in pieces:
        if piece.exit is not None and piece.weighted == 1 and (piece.is_conv or ADDS.search(node.name)):
            by_size[wires.sizes[piece.exit]].append(piece.exit)
    for exits in by_size.values():
        if len(dict.fromkeys(map(wires.root, exits))) >= 3:
            tie_by_size(wires, exits)


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
