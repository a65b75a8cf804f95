"""Who reads whom: axes are united along the flow of data, from names and sizes alone.

A container whose pieces fit end to end is a chain. Where they do not, what stands between is looked for (a flatten, a
shuffle, a concatenation), then the earlier piece of the right size; where several could be read, they are tied, which
takes freedom away but is never wrong.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from weightspace.graph.infer import fits
from weightspace.graph.infer.heads import Heads, attention
from weightspace.graph.infer.loops import loop, open_loops
from weightspace.graph.infer.norms import placed, show_sides
from weightspace.graph.infer.piece import Piece, leaf
from weightspace.graph.infer.sequence import greedy, ordered
from weightspace.graph.infer.ties import (
    CRITIC,
    SHORTCUT,
    fix_bottleneck,
    is_doubtful,
    meet,
    tie_block,
    tie_by_size,
    tie_siblings,
    tie_sides,
)
from weightspace.graph.infer.tree import LAST, Node
from weightspace.graph.infer.wires import Wires

JUDGED = "a critic of its own may read the observation and the action"
STRAY = "biases by head, shared by layers that the file does not show"
MIXED = "mixes positions, not units"
MIXES = re.compile(
    r"^((tokens?|spatial|temporal|seq(uence)?|patch(es)?)_?(mix\w*|mlp|ff\w*|fc|fn)"
    r"|(mlp|mix\w*|ff|fc)_?(tokens?|spatial|temporal|seq\w*|patch\w*))$",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Clues:
    """What holds for the whole checkpoint.

    Args:
        flatten: Whether maps are flattened channels `first` or `last`, None if not known.
        shuffle: The same for pixel shuffles.
        heads: What the file says about attention.
        norms: Whether norms come before or after their layers, by their names.
        repeated: Templates of blocks that occur more than once.
        in_order: Whether the file lists tensors as the network was written, not by alphabet.
    """

    flatten: str | None
    shuffle: str | None
    heads: Heads
    norms: Mapping[tuple[str, str], int] = field(default_factory=dict)
    repeated: set[tuple] = field(default_factory=set)
    in_order: bool = False


class Flow:
    """Wires a tree of modules."""

    def __init__(self, wires: Wires, clues: Clues) -> None:
        self.wires = wires
        self.clues = clues

    def visit(self, node: Node) -> Piece | None:
        """Wire everything inside `node` and return it as a piece; None if it holds nothing that others meet."""
        piece = self._wired(node)
        if piece is None or not MIXES.search(node.name) or piece.loose or piece.attends:
            return piece
        for axis in (piece.entry, piece.exit):
            if axis is not None:
                self.wires.mark(axis, "fixed", MIXED)
        return None

    def _wired(self, node: Node) -> Piece | None:
        own = [leaf(Node(node.name, node.layer), node.layer)] if node.layer is not None else []
        pieces = [p for p in (*own, *map(self.visit, node.children.values())) if p is not None]
        if not pieces:
            return None
        if len(pieces) > 1:
            pieces = attention(self.wires, pieces, self.clues.heads)
        pieces = [p for p in pieces if not self._is_stray(p)]
        if not pieces:
            return None
        (pieces, counted), moved = ordered(self.wires, pieces), False
        if not self.clues.in_order and not node.is_numbered and not counted:
            pieces, moved = greedy(self.wires, pieces)
        pieces = placed(self.wires, pieces, self.clues.norms)
        show_sides(self.wires, pieces)
        if len(pieces) == 1:
            pieces[0].node = node
            return pieces[0]
        if (loop_ := loop(self.wires, node, pieces, self.clues.in_order)) is not None:
            return loop_
        other = open_loops(self.wires, pieces)
        cuts = [p for p in pieces if SHORTCUT.match(p.node.name) and p.weighted and not p.attends]
        if len(cuts) == len([p for p in pieces if p.weighted]):
            cuts = []
        whole = self._chain(node, [p for p in pieces if p not in cuts])
        if moved or (not counted and is_doubtful(self.wires, node, pieces, self.clues.in_order)):
            tie_sides(self.wires, pieces)
        for cut in cuts:
            self._shortcut(whole, cut)
        tie_block(self.wires, whole, self.clues.repeated)
        whole.other = other
        return whole

    def _is_stray(self, piece: Piece) -> bool:
        """Whether it is a table of biases by head, away from any attention; its heads then keep their order."""
        if piece.layer is None or piece.layer.op != "relative bias" or piece.exit is None:
            return False
        self.wires.mark(piece.exit, "fixed", STRAY)
        return True

    def _chain(self, node: Node, pieces: list[Piece]) -> Piece:
        """Wire pieces in order. Branches that may meet again tie what this container writes, size by size."""
        whole = Piece(node, pieces[0].entry, pieces[0].exit)
        ends: list[Piece] = []
        for n, piece in enumerate(pieces):
            jumped = False
            if CRITIC.search(piece.node.name.lower()) and piece.weighted > 1 and piece.entry is not None:
                self.wires.mark(piece.entry, "fixed", JUDGED)
            if n and self._is_start(whole, piece):
                whole.entry = piece.entry
                self.wires.unite(whole.exit or "", piece.exit or "")
            elif n and (piece.entry is None or self._join(whole, piece, pieces[n - 1])):
                ends.append(pieces[n - 1])
                jumped = True
            self._settle(whole, piece)
            self._absorb(whole, piece, first=n == 0)
        if jumped:
            ends.append(pieces[-1])
        for end in ends:
            if end.exit is not None and end.weighted and end.layer is not None and LAST.search(end.node.name.lower()):
                self.wires.mark(end.exit, "output")
        fix_bottleneck(self.wires, pieces)
        if whole.attends and any(p.attends and p.weighted > 1 for p in pieces):
            tie_by_size(self.wires, [axis for p in pieces for axis in (p.entry, p.exit)])
        else:
            meet(self.wires, pieces, ends)
        tie_siblings(self.wires, whole, pieces)
        if whole.exit is not None and whole.weighted <= 3 and not any(p.node.children for p in pieces):
            whole.exposed = [whole.exit]
        return whole

    def _is_start(self, whole: Piece, piece: Piece) -> bool:
        """Whether only tables (tokens, positions) came before, and `piece` reads the input beside them."""
        if whole.weighted or whole.entry is not None or piece.entry is None or whole.exit is None:
            return False
        sizes, image = self.wires.sizes, any(len(b.view) >= 4 for la in piece.inner[:1] for b in la.blocks)
        if piece.exit is None or sizes[piece.exit] != sizes[whole.exit]:
            return False
        return image or sizes[whole.exit] != sizes[piece.entry]

    def _settle(self, whole: Piece, piece: Piece) -> None:
        """Let entries that nothing inside `piece` explained read what was written before it."""
        for entry in list(piece.loose):
            found = [axis for axis in whole.exposed if self.wires.sizes[axis] == self.wires.sizes[entry]]
            for axis in found:
                self.wires.unite(axis, entry)
            if found:
                piece.loose.remove(entry)

    def _absorb(self, whole: Piece, piece: Piece, *, first: bool) -> None:
        if first:
            whole.entry = piece.entry
        whole.exit = piece.exit
        whole.spatial = piece.spatial or (piece.passes and whole.spatial)
        whole.attends |= piece.attends
        whole.weighted += piece.weighted
        whole.has_shortcut |= piece.has_shortcut
        whole.exposed += piece.exposed
        whole.loose += piece.loose
        whole.inner += piece.inner

    def _join(self, whole: Piece, piece: Piece, previous: Piece) -> bool:
        """Let `piece` read what `whole` has written; True if it does not read the last piece."""
        wires = self.wires
        assert piece.entry is not None
        if whole.exit is not None and wires.sizes[whole.exit] == wires.sizes[piece.entry]:
            fits.turn_alike(wires, whole, piece)
            wires.unite(whole.exit, piece.entry or "")
            return False
        if self._turns_previous(whole, piece, previous):
            return False
        if (
            fits.flipped(wires, whole, piece)
            or fits.grouped(wires, whole, piece)
            or fits.flattened(wires, whole, piece, self.clues.flatten)
            or fits.shuffled(wires, whole, piece, self.clues.shuffle)
        ):
            return False
        merges = fits.merges(piece, previous)
        if merges and fits.concatenated(wires, whole, piece):
            return False
        if self._earlier(whole, piece):
            return True
        if fits.halved(wires, whole, piece) or fits.concatenated(wires, whole, piece):
            return False
        if fits.widened(wires, whole, piece):
            return False
        whole.loose.append(piece.entry)
        return True

    def _turns_previous(self, whole: Piece, piece: Piece, previous: Piece) -> bool:
        """A first weight that only fits the other way round: what follows shows it."""
        layer = previous.layer
        if layer is None or layer.sure or whole.weighted != 1 or layer.entry is None or layer.entry == layer.exit:
            return False
        assert piece.entry is not None
        if self.wires.sizes[layer.entry] != self.wires.sizes[piece.entry] or layer.op not in ("conv", "linear"):
            return False
        fits.turn(previous)
        whole.entry, whole.exit, whole.exposed = previous.entry, previous.exit, list(previous.exposed)
        self.wires.unite(layer.exit, piece.entry)
        return True

    def _earlier(self, whole: Piece, piece: Piece) -> bool:
        """Read the earlier output of the right size, or what the container itself reads; tie them if several are."""
        assert piece.entry is not None
        wanted = self.wires.sizes[piece.entry]
        found = [axis for axis in whole.exposed if self.wires.sizes[axis] == wanted]
        if whole.entry is not None and self.wires.sizes[whole.entry] == wanted:
            found.append(whole.entry)
        for axis in found:
            self.wires.unite(axis, piece.entry)
        return bool(found)

    def _shortcut(self, whole: Piece, cut: Piece) -> None:
        """A shortcut with weights: it reads what the block reads and adds to what it writes."""
        sizes = self.wires.sizes
        fitting = (
            whole.entry is not None
            and whole.exit is not None
            and cut.entry is not None
            and cut.exit is not None
            and sizes[whole.entry] == sizes[cut.entry]
            and sizes[whole.exit] == sizes[cut.exit]
        )
        if fitting:
            self.wires.unite(whole.entry or "", cut.entry or "")
            self.wires.unite(whole.exit or "", cut.exit or "")
            whole.has_shortcut = True
        elif cut.entry is not None:
            self._join(whole, cut, cut)
        whole.inner += cut.inner
