"""Packed weights of quantisers whose layout is not read here: named, not guessed."""

from __future__ import annotations

from weightspace.checkpoint.header import Header
from weightspace.checkpoint.resolve.plan import Finding

SMALL = ("F4", "F6_E2M3", "F6_E3M2")
NAMES = ("qweight", "weight_packed", "W_q", "weight_int4", "qzeros", "g_idx")


def find_packed(header: Header) -> Finding:
    """Whole numbers under a name that only quantisers use, and floats of 4 bits, are left out, with the reason."""
    return Finding(
        left_out={
            name: "packed by a quantiser whose layout is not known here"
            for name, info in header.tensors.items()
            if info.dtype in SMALL or (name.rpartition(".")[2] in NAMES and not info.is_float)
        }
    )
