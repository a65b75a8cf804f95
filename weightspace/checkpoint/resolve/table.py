"""All resolutions, in the order in which they are tried."""

from __future__ import annotations

from weightspace.checkpoint.resolve.averages import find_averages
from weightspace.checkpoint.resolve.bitsandbytes import find_bitsandbytes
from weightspace.checkpoint.resolve.grouped import find_grouped
from weightspace.checkpoint.resolve.packed import find_packed
from weightspace.checkpoint.resolve.parametrizations import find_parametrizations
from weightspace.checkpoint.resolve.plan import Resolution
from weightspace.checkpoint.resolve.scaled import find_scaled
from weightspace.checkpoint.resolve.spectral_norm import find_spectral_norm
from weightspace.checkpoint.resolve.weight_norm import find_weight_norm

RESOLUTIONS: tuple[Resolution, ...] = (
    find_averages,
    find_bitsandbytes,
    find_grouped,
    find_packed,
    find_scaled,
    find_weight_norm,
    find_spectral_norm,
    find_parametrizations,
)
"""A new one is one file and one line here."""
