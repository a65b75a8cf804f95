"""Layer kinds, one file each; the first that recognises the tensors of a module reads them.

A kind is a function `read(group, layout)` that returns the module's blocks on axes of its own, or None. How its
stored tensors become the canonical `(out, in, *kernel)`, and back, is in each block's view (`kinds/view.py`).
"""

from collections.abc import Callable

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
    """Return the layer that the first kind in `KINDS` makes of `group`."""
    return next(layer for kind in KINDS if (layer := kind(group, layout)) is not None)
