"""Embeddings of tokens, and of positions."""

from __future__ import annotations

import re

from weightspace.graph.axes import Leaf, Role, Span
from weightspace.graph.kinds.layer import Group, Layer, Layout, block

TOKENS = re.compile(r"emb(ed(ding)?s?)?(\b|_|$)|(^|[._])(wte|wpe|tok|lut)(\b|_)|vocab|lookup", re.IGNORECASE)
POSITIONS = re.compile(r"(^|[._])(wpe|pos(ition(al|s)?)?)(?=[._]|$|emb|enc)|posemb", re.IGNORECASE)
PROJECTIONS = re.compile(r"proj|patch|linear|dense|fc|conv|head", re.IGNORECASE)


def read(group: Group, layout: Layout) -> Layer | None:
    """Read a table named as an embedding, with rows that are tokens or positions."""
    table = next(iter(group.tensors.values()))
    rows = [n for n in table.shape if n > 1]
    if len(group.tensors) != 1 or not 2 <= len(table.shape) <= 4 or len(table.shape) - len(rows) > 2:
        return None
    positions = bool(POSITIONS.search(group.path))
    last = group.path.rsplit(".", 1)[-1]
    if (not positions and not TOKENS.search(group.path)) or PROJECTIONS.search(last) or table.shape[-1] == 1:
        return None
    if len(table.shape) > 2 and any(n > 1 for n in table.shape[:-2]):
        return None
    index, exit_ = f"{group.path}.index", f"{group.path}.out"
    role: tuple[Role, str] = ("fixed", "positions") if positions else ("input", "")
    spans = tuple(Span(n) for n in table.shape[:-2])
    kind = "position embedding" if positions else "embedding"
    made = block(table, kind, (*spans, Leaf(index), Leaf(exit_)), "k" * len(spans) + "io")
    sizes = {index: table.shape[-2], exit_: table.shape[-1]}
    return Layer(group.path, kind, [made], sizes, None, exit_, {index: role}, spatial=True)
