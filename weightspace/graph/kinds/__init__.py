"""Layer kinds, one file each; the first that recognises the tensors of a module reads them.

A kind is a function `read(group, layout)` that returns the module's blocks on axes of its own, or None. How its
stored tensors become the canonical `(out, in, *kernel)`, and back, is in each block's view (`kinds/view.py`).
"""

from collections.abc import Callable
from math import prod

from weightspace.graph.axes import Leaf, Prod, Span, Sum, Term
from weightspace.graph.kinds import (
    conv,
    counter,
    embedding,
    filter_bank,
    fused_attention,
    keras_recurrent,
    linear,
    mask,
    noisy,
    norm,
    onnx_recurrent,
    opaque,
    recurrent,
    relative_bias,
    separable,
    tensorflow_cell,
    vector,
)
from weightspace.graph.kinds.layer import Group, Layer, Layout

KINDS: tuple[Callable[[Group, Layout], Layer | None], ...] = (
    counter.read,
    filter_bank.read,
    recurrent.read,
    keras_recurrent.read,
    tensorflow_cell.read,
    onnx_recurrent.read,
    fused_attention.read,
    mask.read,
    noisy.read,
    separable.read,
    norm.read,
    relative_bias.read,
    embedding.read,
    linear.read,
    conv.read,
    vector.read,
    opaque.read,
)


def read_layer(group: Group, layout: Layout) -> Layer:
    """Return the layer that the first kind in `KINDS` makes of `group`, such that its axes hold all its numbers.

    Names alone promise nothing: a `weight_hh_l0` of seven rows and five columns has no whole number of gates, and a
    tensor without numbers does not show what its module computes.
    """
    if any(info.size == 0 for info in group.tensors.values()):
        return opaque.read(group, layout)
    found = (layer for kind in KINDS if (layer := kind(group, layout)) is not None)
    return next(layer for layer in found if _holds(layer))


def _holds(layer: Layer) -> bool:
    return all(prod(_length(layer, dim) for dim in b.dims) == b.size for b in layer.blocks)


def _length(layer: Layer, term: Term) -> int:
    match term:
        case Leaf(axis):
            return layer.sizes[axis]
        case Span(size):
            return size
        case Prod(parts):
            return prod(_length(layer, part) for part in parts)
        case Sum(parts):
            return sum(_length(layer, part) for part in parts)
