"""Attention without a running network: which projections form one, and what of their inner units may be relabelled."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace

from weightspace.checkpoint.header import Header
from weightspace.graph.axes import Leaf, Prod, Sum
from weightspace.graph.infer.names import split
from weightspace.graph.infer.piece import Piece
from weightspace.graph.infer.wires import Wires
from weightspace.graph.kinds.embedding import POSITIONS
from weightspace.graph.kinds.relative_bias import NAME as BIAS

UNKNOWN = "number of heads is not in the file"
ROTARY = "may be turned by its position (rotary), which pairs units by their place"
UNLIKE = "heads may differ by a slope, or by a bias that several layers share"
BY_PLACE = "meets a table of distances whose use the file does not show"
SHARED = "query heads share key heads, and their numbers are not in the file"
INTERLEAVED = "queries, keys and values alternate by head, and the number of heads is not in the file"
COUNTS = ("num_attention_heads", "n_head", "n_heads", "num_heads", "nhead", "encoder_attention_heads")
PARTS = {
    letter: re.compile(
        rf"^({letter}|{word}|{letter}_proj|{word}_proj|to_{letter}|w{letter}|{letter}_lin|linear_{letter}|fc_{letter}"
        rf"|w_{letter}s?|{letter}_linear|{word}_layer|{word}_dense|lin_{letter}|proj_{letter})$",
        re.IGNORECASE,
    )
    for letter, word in (("q", "query"), ("k", "key"), ("v", "value"))
}
TURNED = re.compile(
    r"rope|rotary|inv_freq|freqs_c(is|os)|(^|[._])(gate_proj|gate_up_proj|w3|wi_1|swiglu|[qk]_?(norm|layernorm))([._]|$)"
)
DISTANCE = re.compile(r"rel_|relative|dist|pos_bias", re.IGNORECASE)
PROJECTED = re.compile(r"(^|_)(pos|rel|r)(_|$)|position|relative|dist", re.IGNORECASE)
FUSED = re.compile(r"^(qkv|c_attn|in_proj|w?qkv|to_qkv|qkv_proj|qkv_linear|query_key_value)$", re.IGNORECASE)
OUT = re.compile(
    r"^(o|o_proj|out_proj|to_out|wo|out_lin|out|proj|c_proj|linear_out|fc_o|proj_out|w_o|dense|fc|output|o_linear)$",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Heads:
    """What the file says about its attention.

    Args:
        count: Heads, None if the file does not say.
        placed: Whether a table of positions shows that positions are added, not turned into (rotary). Gated blocks and
            norms of queries came with rotary positions: beside them a table shows nothing.
        alike: Whether heads may trade places: no bias that other layers share, no slope of its own for each.
    """

    count: int | None
    placed: bool
    alike: bool = True


def find_heads(header: Header) -> Heads:
    """Read the number of heads from a configuration in the metadata."""
    count, turns = None, any(TURNED.search(name) for name in header.tensors)
    for text in header.metadata.values():
        if "head" in text and text.lstrip().startswith("{"):
            try:
                config = json.loads(text)
            except ValueError:
                continue
            found = [config[key] for key in COUNTS if isinstance(config.get(key), int)]
            shared = config.get("num_key_value_heads", found[0] if found else None)
            count = found[0] if found and shared == found[0] else count
            turns |= "rope" in text or "rotary" in text
    placed = any(POSITIONS.search(name) for name in header.tensors)
    biases = sum(bool(BIAS.search(name.removesuffix(".weight"))) for name in header.tensors)
    modules = {split(name)[0] for name in header.tensors}
    layers = sum(bool(path and (PARTS["q"].match(path[-1]) or FUSED.match(path[-1]))) for path in modules)
    layers += sum(name.endswith("in_proj_weight") for name in header.tensors)
    alike = biases == layers if biases else placed or turns
    return Heads(count, (placed or biases > 0) and not turns, alike)


def attention(wires: Wires, pieces: list[Piece], heads: Heads) -> list[Piece]:
    """Join the query, key and value projections among `pieces`, and the output projection, into one piece."""
    leaves = [p for p in pieces if p.weighted == 1 and p.exit is not None]
    parts = [next((p for p in leaves if PARTS[x].match(p.node.name)), None) for x in "qkv"]
    fused = next((p for p in leaves if _is_fused(wires, p)), None)
    if fused is None and not all(parts):
        return pieces
    members = [fused] if fused else [p for p in parts if p]
    tables = [p for p in pieces if p.layer is not None and p.layer.op == "relative bias"]
    if tables:
        heads = replace(heads, count=wires.sizes[tables[0].exit or ""])
    out = next((p for p in pieces if p not in members and OUT.match(p.node.name) and p.entry is not None), None)
    if fused and _is_shared(wires, fused, out):
        return _shared(wires, pieces, fused, out)
    made = _fused(wires, members[0], heads) if fused else _separate(wires, members, heads)
    used = [*members]
    if out is not None and out.entry is not None and _close(wires, made, out, members[0]):
        made.exit, used = out.exit, [*used, out]
        made.weighted, made.inner = made.weighted + 1, (*made.inner, *out.inner)
    norms = [p for p in pieces if p.passes and re.match(r"^[qk]_?(norm|ln|layernorm)$", p.node.name, re.IGNORECASE)]
    for norm in norms:
        if norm.exit is not None:
            wires.mark(norm.exit, "fixed", UNKNOWN)
            wires.mark(members[0].layer.exit if members[0].layer else "", "fixed", UNKNOWN)
    place = min(pieces.index(p) for p in used)
    _bias(wires, members, tables, heads)
    rest = [p for p in pieces if p not in used and p not in norms and p not in tables]
    for other in [p for p in rest if _meets_distances(p)]:
        if other.weighted == 0:
            rest.remove(other)
        for axis in (other.exit, *(p.layer.exit for p in members if p.layer)):
            if axis is not None:
                wires.mark(axis, "fixed", BY_PLACE)
    return [*rest[:place], made, *rest[place:]]


def _meets_distances(piece: Piece) -> bool:
    """Whether it is a table of distances, or a projection of one that queries or keys are multiplied with."""
    if piece.layer is None:
        return False
    return bool((DISTANCE if piece.weighted == 0 else PROJECTED).search(piece.node.name))


def _bias(wires: Wires, members: list[Piece], tables: list[Piece], heads: Heads) -> None:
    """Put each table of biases on the heads of its layer."""
    layer = members[0].layer
    assert layer is not None
    term = wires.term(Leaf(f"{layer.path}.q" if len(members) == 1 else layer.exit))
    first = term.parts[0] if isinstance(term, Prod) else None
    for table in tables:
        assert table.exit is not None
        if isinstance(first, Leaf) and wires.sizes[first.axis] == wires.sizes[table.exit] == heads.count:
            wires.unite(first.axis, table.exit)
        else:
            for axis in (table.exit, *(p.layer.exit for p in members if p.layer)):
                wires.mark(axis, "fixed", UNKNOWN)


def _is_fused(wires: Wires, piece: Piece) -> bool:
    layer = piece.layer
    if layer is None or layer.entry is None:
        return False
    if layer.op == "attention":
        return True
    return bool(FUSED.match(piece.node.name)) and layer.op in ("linear", "conv")


def _close(wires: Wires, made: Piece, out: Piece, query: Piece) -> bool:
    """Wire the output projection: it reads what the values write."""
    assert out.entry is not None and made.exit is not None
    if wires.sizes[out.entry] == wires.sizes[made.exit]:
        wires.unite(made.exit, out.entry)
        return True
    if query.exit is not None and wires.sizes[out.entry] == wires.sizes[query.exit]:
        for axis in (out.entry, made.exit, query.exit):
            wires.mark(axis, "fixed", SHARED)
        return True
    return False


def _separate(wires: Wires, members: list[Piece], heads: Heads) -> Piece:
    q, k, v = members
    assert q.entry and k.entry and v.entry and q.exit and k.exit and v.exit
    loose = []
    for other in (k, v):
        assert other.entry is not None
        if wires.sizes[other.entry] == wires.sizes[q.entry]:
            wires.unite(q.entry, other.entry)
        else:
            loose.append(other.entry)
    if len(loose) == 2:
        wires.unite(*loose)
        loose.pop()
    path = q.inner[0].path.rpartition(".")[0] or q.inner[0].path
    reads = inner(wires, path, (q.exit, k.exit, v.exit), heads, turned=not heads.placed)
    q.inner[0].reads += reads
    layers = tuple(layer for p in members for layer in p.inner)
    return Piece(q.node, q.entry, v.exit, [], loose, True, True, 3, inner=layers)


def _is_shared(wires: Wires, fused: Piece, out: Piece | None) -> bool:
    """Whether fused queries, keys and values are not three of one size, each as wide as what is put together after."""
    layer = fused.layer
    if layer is None or layer.op == "attention" or layer.entry is None:
        return False
    wide = out.entry if out is not None and out.entry is not None else layer.entry
    return wires.sizes[layer.exit] != 3 * wires.sizes[wide]


def _shared(wires: Wires, pieces: list[Piece], fused: Piece, out: Piece | None) -> list[Piece]:
    """Wire fused projections of which several queries share a key; what attention makes of them keeps its order."""
    used = [fused] if out is None else [fused, out]
    for axis in (fused.exit, out.entry if out is not None else None):
        if axis is not None:
            wires.mark(axis, "fixed", SHARED)
    exit_, layers = used[-1].exit, tuple(layer for p in used for layer in p.inner)
    made = Piece(fused.node, fused.entry, exit_, [], [], True, True, len(used), inner=layers)
    rest, place = [p for p in pieces if p not in used], min(map(pieces.index, used))
    return [*rest[:place], made, *rest[place:]]


def _fused(wires: Wires, piece: Piece, heads: Heads) -> Piece:
    layer = piece.layer
    assert layer is not None and layer.entry is not None
    if layer.op == "attention":
        names = tuple(f"{layer.path}.{letter}" for letter in "qkv")
        layer.reads += inner(wires, layer.path, names, heads, turned=False)
        return Piece(piece.node, layer.entry, layer.exit, [], [], True, True, 1, inner=(layer,))
    size = wires.sizes[layer.exit] // 3
    names = tuple(wires.add(f"{layer.path}.{letter}", size) for letter in "qkv")
    plain = layer.op == "linear" and piece.node.name.lower() != "query_key_value"
    if plain:
        wires.bind(layer.exit, Sum(tuple(map(Leaf, names))), INTERLEAVED)
        layer.reads += inner(wires, layer.path, names, heads, turned=not heads.placed)
    else:
        for axis in (layer.exit, *names):
            wires.mark(axis, "fixed", INTERLEAVED)
    return Piece(piece.node, layer.entry, names[2], [], [], True, True, 1, inner=(layer,))


def inner(wires: Wires, path: str, axes: tuple[str, ...], heads: Heads, *, turned: bool) -> tuple[str, ...]:
    """Give queries, keys and values their inner axes; return those that are read without a weight.

    With the number of heads known, heads are an axis, and the units of each head are two more, one for queries and
    keys and one for values. Without it, units are still free in adjacent pairs: no head splits a pair, because
    heads have an even number of units (odd ones are not known in trained networks).
    """
    q, k, v = axes
    if wires.sizes[q] != wires.sizes[k] or wires.sizes[k] != wires.sizes[v]:
        for axis in axes:
            wires.mark(axis, "fixed", SHARED)
        return ()
    size, count = wires.sizes[q], heads.count
    if count and size % count == 0:
        parent = wires.add(f"{path}.heads", count, *(("hidden", "") if heads.alike else ("fixed", UNLIKE)))
        within = size // count
    elif size % 4 == 0:
        parent, within = wires.add(f"{path}.pairs", size // 2, "fixed", UNKNOWN), 2
    else:
        for axis in axes:
            wires.mark(axis, "fixed", UNKNOWN)
        return ()
    matched = wires.add(f"{path}.qk", within, parent=parent)
    carried = wires.add(f"{path}.vo", within, parent=parent)
    if turned:
        wires.mark(matched, "fixed", ROTARY)
    for axis, child in ((q, matched), (k, matched), (v, carried)):
        wires.bind(axis, Prod((Leaf(parent), Leaf(child))), UNKNOWN)
    return (matched,)
