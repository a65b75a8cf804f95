"""LSTM and GRU as ONNX stores them: `W [directions, gates * hidden, in]`, `R` and `B` (both biases in one)."""

from __future__ import annotations

from weightspace.checkpoint.header import TensorInfo
from weightspace.graph.axes import Leaf, Prod, Span, Term
from weightspace.graph.kinds.layer import Group, Layer, Layout, block
from weightspace.graph.kinds.recurrent import gates


def is_triple(w: TensorInfo, r: TensorInfo, b: TensorInfo) -> bool:
    """Whether three tensors have the shapes of W, R and B."""
    if (len(w.shape), len(r.shape), len(b.shape)) != (3, 3, 2):
        return False
    directions, rows, hidden = r.shape
    fits = w.shape[:2] == r.shape[:2] and b.shape == (directions, 2 * rows)
    return fits and directions <= 2 and rows in (hidden, 3 * hidden, 4 * hidden)


def read(group: Group, layout: Layout) -> Layer | None:
    """Read W, R and B; both directions share one order of units, and their outputs are concatenated."""
    if set(group.tensors) != {"onnx_w", "onnx_r", "onnx_b"}:
        return None
    directions, rows, hidden = group.shape("onnx_r")
    entry, cell, exit_ = f"{group.path}.in", f"{group.path}.hidden", f"{group.path}.out"
    fused, side = gates(rows // hidden, cell), Span(directions)
    blocks = [
        block(group.tensors["onnx_w"], "recurrent gate", (side, fused, Leaf(entry)), "koi"),
        block(group.tensors["onnx_r"], "recurrent gate", (side, fused, Leaf(cell)), "koi"),
        block(group.tensors["onnx_b"], "bias", (side, Prod((Span(2 * rows // hidden), Leaf(cell)))), "ko"),
    ]
    sizes = {entry: group.shape("onnx_w")[2], cell: hidden, exit_: directions * hidden}
    bound: dict[str, Term] = {exit_: Leaf(cell) if directions == 1 else Prod((side, Leaf(cell)))}
    return Layer(group.path, "recurrent", blocks, sizes, entry, exit_, bound=bound, spatial=True)
