"""LSTM and GRU as Keras stores them: `kernel (in, gates * hidden)`, `recurrent_kernel`, `bias`."""

from __future__ import annotations

from weightspace.graph.axes import Leaf, Prod, Span, Term
from weightspace.graph.kinds.layer import Group, Layer, Layout, block
from weightspace.graph.kinds.recurrent import gates


def read(group: Group, layout: Layout) -> Layer | None:
    """Read a kernel with its recurrent kernel; CuDNN and `reset_after` biases are two biases in one tensor."""
    if not {"weight", "recurrent_weight"} <= set(group.tensors) or not group.only("weight", "recurrent_weight", "bias"):
        return None
    if any(len(group.shape(role)) != 2 for role in ("weight", "recurrent_weight")) or (
        "bias" in group.tensors and not group.shape("bias")
    ):
        return None
    (fan_in, columns), (hidden, fused) = group.shape("weight"), group.shape("recurrent_weight")
    if columns != fused or columns % hidden:
        return None
    entry, exit_, count = f"{group.path}.in", f"{group.path}.hidden", columns // hidden
    out = gates(count, exit_)
    blocks = [
        block(group.tensors["weight"], "recurrent gate", (Leaf(entry), out), "io"),
        block(group.tensors["recurrent_weight"], "recurrent gate", (Leaf(exit_), out), "io"),
    ]
    if "bias" in group.tensors:
        shape = group.shape("bias")
        dims: tuple[Term, ...] = tuple(Span(n) for n in shape[:-1])
        dims += (Prod((Span(shape[-1] // hidden), Leaf(exit_))),)
        blocks.append(block(group.tensors["bias"], "bias", dims, "k" * (len(shape) - 1) + "o"))
    return Layer(group.path, "recurrent", blocks, {entry: fan_in, exit_: hidden}, entry, exit_, spatial=True)
