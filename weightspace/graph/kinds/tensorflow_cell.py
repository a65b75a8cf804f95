"""Cells of TensorFlow 1: one kernel for the concatenation of input and state, peepholes, projection."""

from __future__ import annotations

from weightspace.graph.axes import Block, Leaf, Sum
from weightspace.graph.kinds.layer import Group, Layer, Layout, block, on
from weightspace.graph.kinds.recurrent import gates

PEEPHOLES = ("w_i_diag", "w_f_diag", "w_o_diag")


def read(group: Group, layout: Layout) -> Layer | None:
    """Read `basic_lstm_cell`, `lstm_cell` and `gru_cell`: rows are input first, then state."""
    if "cell" not in group.path.lower():
        return None
    kernels = [role for role in ("weight", "gates_weight", "candidate_weight") if role in group.tensors]
    shapes = [group.shape(role) for role in kernels]
    if not kernels or any(len(shape) != 2 for shape in shapes) or len({shape[0] for shape in shapes}) != 1:
        return None
    projection = group.shape("projection_weight")
    hidden = projection[0] if projection else shapes[-1][1] if len(shapes) == 2 else shapes[0][1] // 4
    state = projection[1] if projection else hidden
    fan_in = shapes[0][0] - state
    if fan_in < 1 or any(shape[1] % hidden for shape in shapes):
        return None
    entry, cell, out = f"{group.path}.in", f"{group.path}.hidden", f"{group.path}.hidden"
    sizes = {entry: fan_in, cell: hidden}
    if projection:
        out = f"{group.path}.projected"
        sizes[out] = state
    blocks: list[Block] = []
    for role, info in group.tensors.items():
        if role in kernels:
            fused = gates(info.shape[1] // hidden, cell)
            blocks.append(block(info, "recurrent gate", (Sum((Leaf(entry), Leaf(out))), fused), "io"))
        elif role == "projection_weight":
            blocks.append(block(info, "linear", (Leaf(cell), Leaf(out)), "io"))
        elif role.endswith("bias"):
            blocks.append(block(info, "bias", (gates(info.size // hidden, cell),), "o"))
        elif role in PEEPHOLES:
            blocks.append(on(info, "scale", cell))
        else:
            return None
    return Layer(group.path, "recurrent", blocks, sizes, entry, out, spatial=True)
