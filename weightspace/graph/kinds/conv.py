"""Convolutions of one, two and three dimensions: plain and transposed, channels first or last."""

from __future__ import annotations

from weightspace.graph.axes import Leaf, Span, Term
from weightspace.graph.kinds.layer import Group, Layer, Layout, block, on


def read(group: Group, layout: Layout) -> Layer | None:
    """Read `weight` of three to five dimensions.

    Which dimensions are channels: the bias tells, then what holds for the checkpoint. Whether a kernel with one
    input channel is depthwise shows only where it is wired.
    """
    shape = group.shape("weight")
    if not 3 <= len(shape) <= 5 or not group.only("weight", "bias") or len(group.shape("bias")) > 1:
        return None
    bias = group.shape("bias")
    views = _views(len(shape), layout.channels_last)
    fits = [view for view in views if not bias or shape[view.index("o")] == bias[0]]
    if not fits:
        return None
    view, entry, exit_ = fits[0], f"{group.path}.in", f"{group.path}.out"
    units: dict[str, Term] = {"o": Leaf(exit_), "i": Leaf(entry)}
    dims = tuple(units.get(letter, Span(n)) for letter, n in zip(view, shape, strict=True))
    sizes = {exit_: shape[view.index("o")], entry: shape[view.index("i")]}
    kind = "transposed conv" if view.startswith("io") or view.endswith("oi") else "conv"
    blocks = [block(group.tensors["weight"], kind, dims, view)]
    if bias:
        blocks.append(on(group.tensors["bias"], "bias", exit_))
    sure = bool(bias) and sizes[entry] != sizes[exit_]
    return Layer(group.path, "conv", blocks, sizes, entry, exit_, spatial=True, sure=sure)


def _views(ndim: int, channels_last: bool) -> list[str]:
    """Every way to store the kernel, likeliest first."""
    taps = "k" * (ndim - 2)
    first, last = ["oi" + taps, "io" + taps], [taps + "io", taps + "oi"]
    return [*last, *first] if channels_last else [*first, *last]
