"""Rules that carry terms through operations: one line an operator, one file a family of operators."""

from collections.abc import Callable
from types import MappingProxyType
from typing import Any

from weightspace.graph.trace.rules import norms, pieces, places, pointwise, products, shapes

RULES: MappingProxyType[str, Callable[..., Any]] = MappingProxyType(
    {**shapes.RULES, **pieces.RULES, **products.RULES, **norms.RULES, **places.RULES, **pointwise.RULES}
)
SLOTWISE = frozenset(
    {
        pointwise.pointwise,
        shapes.keep,
        shapes.permute,
        shapes.transpose,
        shapes.squeeze,
        shapes.unsqueeze,
        shapes.expand,
        shapes.view,
        pieces.slice_,
        pieces.select,
        pieces.split,
    }
)
