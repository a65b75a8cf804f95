"""A module as its surroundings see it."""

from __future__ import annotations

from dataclasses import dataclass, field

from weightspace.graph.infer.tree import WEIGHTS, Node
from weightspace.graph.kinds.layer import Layer


@dataclass
class Piece:
    """A layer or container from outside.

    Args:
        node: The module.
        entry: Axis that it reads; None for embeddings.
        exit: Axis that it writes.
        exposed: Axes that other modules may read, in order.
        loose: Entries that nothing inside explains.
        spatial: Whether it writes maps.
        attends: Whether it holds attention, so that a residual stream runs through it.
        weighted: How many layers with weight matrices it holds.
        has_shortcut: Whether a shortcut of its own handles a change of size.
        inner: Its layers, in order.
        joined: How many concatenations of two equal parts were found inside.
        other: The axis that it reads and writes instead if its order is the other one (`loops.py`).
    """

    node: Node
    entry: str | None
    exit: str | None
    exposed: list[str] = field(default_factory=list)
    loose: list[str] = field(default_factory=list)
    spatial: bool = False
    attends: bool = False
    weighted: int = 0
    has_shortcut: bool = False
    inner: tuple[Layer, ...] = ()
    joined: int = 0
    other: str | None = None

    @property
    def layer(self) -> Layer | None:
        """The layer itself if this is one and nothing more."""
        return self.node.layer if not self.node.children else None

    @property
    def passes(self) -> bool:
        """Whether it is a norm or scale: it writes the units that it reads."""
        return self.weighted == 0 and self.entry is not None and self.entry == self.exit

    @property
    def is_single(self) -> bool:
        """Whether it is one linear or convolutional layer that reads something."""
        return self.weighted == 1 and self.layer is not None and self.layer.op in ("linear", "conv")

    @property
    def is_conv(self) -> bool:
        """Whether all its weights are convolutions."""
        kinds = {layer.op for layer in self.inner if layer.op in WEIGHTS}
        return kinds == {"conv"}


def leaf(node: Node, layer: Layer) -> Piece | None:
    """Return a layer as a piece; None if it has nothing to wire."""
    if not layer.exit:
        return None
    weighted = layer.op in WEIGHTS and not layer.op.endswith("embedding")
    exposed = [layer.exit] if layer.op in WEIGHTS or layer.op.endswith("embedding") else []
    return Piece(node, layer.entry, layer.exit, exposed, spatial=layer.spatial, weighted=int(weighted), inner=(layer,))
