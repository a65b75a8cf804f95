"""What operations that move numbers demand of powers, see `powers`: what moves keeps its factor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from weightspace.graph.trace.literals import Ref
from weightspace.graph.trace.powers import Powers, Spots
from weightspace.graph.trace.program import Node
from weightspace.graph.trace.terms import Case, Cut

Rule = Callable[..., None]


def _out(node: Node, item: int = 0) -> Ref:
    return Ref(node.name, item if len(node.values) > 1 else None)


def _zero(powers: Powers, node: Node, x: Ref) -> bool:
    """Zeros stay zeros wherever they are moved."""
    if x in powers.zeros:
        powers.zeros |= set(powers.results(node))
    return x in powers.zeros


def keep(powers: Powers, node: Node, x: Ref, *_: Any, **__: Any) -> None:
    """Same places; a broadcast or a copy of another rank is matched from the right."""
    if not _zero(powers, node, x):
        given, out = powers.of(x), powers.of(_out(node))
        shift = len(out) - len(given)
        powers.carry(given, out, [(d, d + shift) for d in range(len(given))])


def cast(powers: Powers, node: Node, x: Ref, *_: Any, **__: Any) -> None:
    """A change of dtype between real numbers; rounding to whole ones lets no factor pass."""
    value = node.values[0]
    if value is not None and value.is_float:
        keep(powers, node, x)
    else:
        powers.bar(node)


def copy(powers: Powers, node: Node, x: Ref, source: Ref, *_: Any) -> None:
    """A tensor overwritten as a whole."""
    keep(powers, node, source)


def permute(powers: Powers, node: Node, x: Ref, dims: Sequence[int]) -> None:
    """Dimensions in another order."""
    if not _zero(powers, node, x):
        given = powers.of(x)
        powers.carry(given, powers.of(_out(node)), [(d % len(given), i) for i, d in enumerate(dims)])


def transpose(powers: Powers, node: Node, x: Ref, a: int, b: int) -> None:
    """Two dimensions exchanged."""
    order = list(range(len(powers.of(x))))
    if order:
        order[a], order[b] = order[b], order[a]
    permute(powers, node, x, order)


def unsqueeze(powers: Powers, node: Node, x: Ref, dim: int) -> None:
    """A new dimension of one position."""
    if not _zero(powers, node, x):
        given, out = powers.of(x), powers.of(_out(node))
        at = dim % (len(given) + 1)
        powers.carry(given, out, [(d, d + (d >= at)) for d in range(len(given))])


def squeeze(powers: Powers, node: Node, x: Ref, dims: Any = None) -> None:
    """Dimensions of one position dropped."""
    if _zero(powers, node, x):
        return
    shape = powers.state.tensors[x].shape
    named = range(len(shape)) if dims is None else (dims,) if isinstance(dims, int) else dims
    gone = {d % len(shape) for d in named if shape[d] == 1}
    kept = [d for d in range(len(shape)) if d not in gone]
    powers.carry(powers.of(x), powers.of(_out(node)), [(d, i) for i, d in enumerate(kept)])


def view(powers: Powers, node: Node, x: Ref, *_: Any, **__: Any) -> None:
    """Dimensions merged or split: the places of each axis keep their order."""
    if _zero(powers, node, x):
        return
    given, out = _by_axis(powers, x), _by_axis(powers, _out(node))
    for axis in given.keys() | out.keys():
        a, b = given.get(axis), out.get(axis)
        if a is None or b is None or len(a) != len(b):
            powers.pin(spots for spots in (a, b) if spots)
        else:
            powers.same(a, b)


def _by_axis(powers: Powers, ref: Ref) -> dict[int, Spots]:
    """Spots of each axis in order. None of an axis that sits both on a slot dimension and on what depends on it."""
    found: dict[int, Spots] = {}
    dims: dict[int, set[int]] = {}
    terms = powers.state.tensors[ref].terms
    for d, spots in enumerate(powers.of(ref)):
        for spot in spots:
            axis = id(powers.leaf[spot])
            found.setdefault(axis, []).append(spot)
            dims.setdefault(axis, set()).add(d)
    if any(isinstance(term, Cut | Case) for term in terms):
        for axis in [axis for axis, at in dims.items() if len(at) > 1]:
            powers.pin([found.pop(axis)])
    return found


def slice_(powers: Powers, node: Node, x: Ref, *where: Any, **named: Any) -> None:
    """Positions `start` to `end` of one dimension."""
    given = dict(zip(("dim", "start", "end", "step"), where, strict=False)) | named
    shape = powers.state.tensors[x].shape
    d = given.get("dim", 0) % len(shape)
    start, stop, step = slice(given.get("start"), given.get("end"), given.get("step", 1)).indices(shape[d])
    if not _zero(powers, node, x):
        _take(powers, x, _out(node), d, (start, stop) if step == 1 else None)


def _take(powers: Powers, x: Ref, out: Ref, d: int, span: tuple[int, int] | None) -> None:
    """A piece of dimension `d`; None for positions that are not together."""
    scattered = None if powers.of(x)[d] else powers.of(x)
    piece = powers.within(x, d, span[0], max(span)) if span else scattered
    if piece is None:
        powers.pin_all([x, out])
        return
    if len(powers.of(out)) < len(piece):
        powers.pin([piece[d]])
        piece = piece[:d] + piece[d + 1 :]
    powers.carry(piece, powers.of(out), [(i, i) for i in range(len(piece))])


def select(powers: Powers, node: Node, x: Ref, dim: int, index: int) -> None:
    """One position of one dimension."""
    shape = powers.state.tensors[x].shape
    d = dim % len(shape)
    start = index % shape[d]
    if not _zero(powers, node, x):
        _take(powers, x, _out(node), d, (start, start + 1))


def split(powers: Powers, node: Node, x: Ref, sizes: Sequence[int], dim: int = 0) -> None:
    """All pieces of one dimension."""
    start = 0
    if _zero(powers, node, x):
        return
    for i, size in enumerate(sizes):
        _take(powers, x, _out(node, i), dim % len(powers.of(x)), (start, start + size))
        start += size


def cat(powers: Powers, node: Node, tensors: Sequence[Ref], dim: int = 0) -> None:
    """Tensors after one another: each says what its piece of the result carries."""
    out, start = _out(node), 0
    shapes = {ref: powers.state.tensors[ref].shape for ref in tensors}
    for ref in [ref for ref in tensors if shapes[ref] != (0,)]:
        d = dim % len(shapes[ref])
        piece = powers.within(out, d, start, start + shapes[ref][d])
        start += shapes[ref][d]
        if ref in powers.zeros:
            continue
        if piece is None:
            powers.pin_all([ref, out])
        else:
            powers.carry(powers.of(ref), piece, [(i, i) for i in range(len(piece))])
    if all(ref in powers.zeros for ref in tensors):
        powers.zeros.add(out)


def pad(powers: Powers, node: Node, x: Ref, widths: Sequence[int], value: Any = 0) -> None:
    """Zeros before and after, which are zeros at any scale."""
    given, out, shape = powers.of(x), _out(node), powers.state.tensors[x].shape
    if value != 0 or min(widths, default=0) < 0:
        powers.bar(node)
        return
    piece: list[Spots] | None = powers.of(out)
    for i in range(len(widths) // 2):
        d = len(shape) - 1 - i
        if widths[2 * i] or widths[2 * i + 1]:
            cut = powers.within(out, d, widths[2 * i], widths[2 * i] + shape[d])
            piece = None if cut is None or piece is None else [*piece[:d], cut[d], *piece[d + 1 :]]
    if piece is None:
        powers.bar(node)
    else:
        powers.carry(given, piece, [(d, d) for d in range(len(given))])


def turn(powers: Powers, node: Node, x: Ref, *args: Any) -> None:
    """Flip and roll: what varies along those dimensions cannot be scaled."""
    given = powers.of(x)
    moved = {d % len(given) for d in args[-1] or range(len(given))}
    powers.carry(given, powers.of(_out(node)), [(d, d) for d in range(len(given)) if d not in moved])


def index(powers: Powers, node: Node, x: Ref, indices: Sequence[Ref | None]) -> None:
    """Pixels chosen by number after the other dimensions, as resizing does; else no factor passes."""
    kept = next(d for d, i in enumerate(indices) if i is not None)
    given, out = powers.of(x), powers.of(_out(node))
    if None in indices[kept:]:
        powers.bar(node)
        return
    rest = len(given) - len(indices)
    pairs = [(d, d) for d in range(kept)] + [(len(given) - i, len(out) - i) for i in range(1, rest + 1)]
    powers.carry(given, out, pairs)
    powers.pin_all(i for i in indices if i is not None)


MOVES: dict[str, Rule] = {
    **{f"aten.{name}.default": keep for name in ("clone", "alias", "detach", "lift_fresh_copy", "expand")},
    "aten._to_copy.default": cast,
    "aten.copy.default": copy,
    "aten.permute.default": permute,
    "aten.transpose.int": transpose,
    "aten.unsqueeze.default": unsqueeze,
    "aten.squeeze.default": squeeze,
    "aten.squeeze.dim": squeeze,
    "aten.squeeze.dims": squeeze,
    "aten.view.default": view,
    "aten._unsafe_view.default": view,
    "aten.reshape.default": view,
    "aten.slice.Tensor": slice_,
    "aten.slice_copy.Tensor": slice_,
    "aten.select.int": select,
    "aten.select_copy.int": select,
    "aten.split_with_sizes.default": split,
    "aten.split_with_sizes_copy.default": split,
    "aten.cat.default": cat,
    "aten.constant_pad_nd.default": pad,
    "aten.flip.default": turn,
    "aten.roll.default": turn,
    "aten.index.Tensor": index,
    "aten._unsafe_index.Tensor": index,
}
