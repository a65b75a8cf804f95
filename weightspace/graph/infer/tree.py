"""Modules as a tree, children in the order in which data is likely to flow."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from weightspace.graph.infer.names import natural
from weightspace.graph.kinds.filter_bank import NAME as BANK
from weightspace.graph.kinds.layer import Layer

WEIGHTS = ("linear", "conv", "recurrent", "attention", "embedding")
WIDENS = re.compile(r"^(gate|gate_proj|up_proj|gate_up_proj|w1|w3|wi(_\d)?)$")
FIRST = re.compile(
    r"^(stem|first|in|input|pre|patch|embed|emb|wte|stft|mel|spec|inc|conv_in|entry|backbone|features|base)"
)
LAST = re.compile(
    r"^(head|classif\w*|regress\w*|predict\w*|output|out|final|logits?|lm_head|cls|score|prob|top|a|v|q|action|actor"
    r"|critic|policy|value|mu|mean|sigma|log_?std|alpha|beta|advantage|loc|conf|box)(?![a-z])"
    r"|(head|header|classifier|logits)s?$"
)
LATE = re.compile(r"^(fc|linear|lin|dense|mlp|proj|pool)(?![a-z])")
MIDDLE = re.compile(r"^(neck|middle|mid|fpn|extra|lstm|gru|rnn|decoder|dec|up)(?![a-z])")


@dataclass
class Node:
    """A module: its own layer, its children, or both."""

    name: str
    layer: Layer | None = None
    children: dict[str, Node] = field(default_factory=dict)

    def layers(self) -> Iterator[Layer]:
        """Yield every layer below, in order."""
        if self.layer:
            yield self.layer
        for child in self.children.values():
            yield from child.layers()

    @property
    def is_numbered(self) -> bool:
        """Whether it is a list: all children are named by a number."""
        return bool(self.children) and all(name.isdigit() for name in self.children)

    @property
    def template(self) -> tuple:
        """What it is made of, sizes left out: equal for repeated blocks."""
        own = tuple(sorted(b.tensor.rsplit(".", 1)[-1] for b in self.layer.blocks)) if self.layer else ()
        return (own, tuple((re.sub(r"\d+", "", n), c.template) for n, c in self.children.items()))


def tree(layers: list[Layer], keep_order: bool) -> Node:
    """Return the modules as a tree; children in the given order if that means something, else as names suggest."""
    root = Node("")
    for layer in layers:
        node = root
        for part in layer.path.split("."):
            node = node.children.setdefault(part, Node(part))
        while node.layer is not None:
            node = node.children.setdefault(layer.path, Node(layer.path))
        node.layer = layer
    _sort(root, keep_order)
    return root


def _sort(node: Node, keep_order: bool) -> None:
    if not keep_order or node.is_numbered:
        key = (lambda n: (0, int(n), ())) if node.is_numbered else (lambda n: (rank(node.children[n]), 0, natural(n)))
        node.children = {name: node.children[name] for name in sorted(node.children, key=key)}
    for child in node.children.values():
        _sort(child, keep_order)


def rank(node: Node) -> int:
    """0 for what comes first (stems, embeddings) to 4 for what comes last (heads)."""
    name = node.name.lower()
    if (
        FIRST.match(name)
        or WIDENS.match(name)
        or BANK.search(name)
        or (node.layer is not None and node.layer.op.endswith("embedding"))
    ):
        return 0
    if LAST.search(name):
        return 4
    if LATE.match(name) or (node.layer is not None and node.layer.op == "linear"):
        return 3
    return 2 if MIDDLE.match(name) or (node.layer is not None and node.layer.op == "recurrent") else 1
