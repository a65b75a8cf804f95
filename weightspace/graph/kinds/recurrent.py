"""LSTM, GRU and plain recurrent layers as PyTorch stores them: `weight_ih_l0`, `weight_hh_l0_reverse`, ..."""

from __future__ import annotations

import re

from weightspace.graph.axes import Block, Leaf, Prod, Span, Sum, Term, leaves
from weightspace.graph.kinds.layer import Group, Layer, Layout, block

ROLE = re.compile(r"^(weight|bias)_(ih|hh|hr)((?:_l\d+)?(?:_reverse)?)$")


def gates(count: int, axis: str) -> Term:
    """Rows of the fused gates, each over the same hidden units."""
    return Leaf(axis) if count == 1 else Prod((Span(count), Leaf(axis)))


def read(group: Group, layout: Layout) -> Layer | None:
    """Read `weight_ih`, `weight_hh` and their biases, every layer and direction; `weight_hr` projects the state.

    The hidden units of each layer and direction are an axis of their own; the recurrence ties them to themselves.
    """
    parts = {role: match for role in group.tensors if (match := ROLE.match(role))}
    suffixes = list(dict.fromkeys(match[3] for match in parts.values()))
    if len(parts) != len(group.tensors) or any(f"weight_{x}{s}" not in parts for s in suffixes for x in ("ih", "hh")):
        return None
    if any(len(group.shape(role)) != 2 for role in parts if role.startswith("weight")):
        return None
    entry, depth = f"{group.path}.in", {s: int(re.sub(r"\D", "", s) or 0) for s in suffixes}
    blocks: list[Block] = []
    sizes = {entry: group.shape(f"weight_ih{suffixes[0]}")[1]}
    below: Term = Leaf(entry)
    for level in sorted(set(depth.values())):
        level_suffixes = sorted(s for s in suffixes if depth[s] == level)
        outs = [_direction(group, suffix, below, sizes, blocks) for suffix in level_suffixes]
        below = outs[0] if len(outs) == 1 else Sum(tuple(outs))
    exit_ = f"{group.path}.out"
    sizes[exit_] = sum(sizes[leaf.axis] for leaf in leaves(below))
    return Layer(group.path, "recurrent", blocks, sizes, entry, exit_, bound={exit_: below}, spatial=True)


def _direction(group: Group, suffix: str, below: Term, sizes: dict[str, int], blocks: list[Block]) -> Term:
    """Add the blocks of one layer and direction; return what it writes."""
    rows, state = group.shape(f"weight_hh{suffix}")
    projection = group.tensors.get(f"weight_hr{suffix}")
    hidden = f"{group.path}.hidden{suffix}"
    sizes[hidden] = projection.shape[1] if projection else state
    out = Leaf(hidden)
    if projection:
        out = Leaf(f"{group.path}.projected{suffix}")
        sizes[out.axis] = state
        blocks.append(block(projection, "linear", (out, Leaf(hidden)), "oi"))
    fused = gates(rows // sizes[hidden], hidden)
    dims = {"weight_ih": (fused, below), "weight_hh": (fused, out), "bias_ih": (fused,), "bias_hh": (fused,)}
    for role, terms in dims.items():
        if role + suffix in group.tensors:
            kind = "bias" if len(terms) == 1 else "recurrent gate"
            blocks.append(block(group.tensors[role + suffix], kind, terms, "oi"[: len(terms)]))
    return out
