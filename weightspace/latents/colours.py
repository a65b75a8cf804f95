"""Colours of maps, on dark and on light ground: one list for the page and for pictures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8


@dataclass(frozen=True)
class Theme:
    """Colours on one ground, each `#rrggbb`.

    Args:
        ground: Behind everything.
        text: Of words.
        faint: Of what has no colour of its own.
        names: Of names, the commonest first.
        ramp: Of numbers, from the lowest.
    """

    ground: str
    text: str
    faint: str
    names: tuple[str, ...]
    ramp: tuple[str, ...]


THEMES = {
    "dark": Theme(
        "#0d1117",
        "#e6edf3",
        "#6e7681",
        (
            *("#58a6ff", "#ff9f43", "#3ddc97", "#ff6b8b", "#b78cff", "#ffd93d"),
            *("#4dd8e6", "#ff8fd8", "#a3d977", "#e0a37e", "#8f9bff", "#d0d6e0"),
        ),
        ("#5b5bd6", "#3f8fe0", "#2cc2b8", "#8ad765", "#fbe35a"),
    ),
    "light": Theme(
        "#fbfbfd",
        "#1c2128",
        "#9aa1ab",
        (
            *("#1769c4", "#d45500", "#118a52", "#c9184a", "#7438c9", "#997300"),
            *("#0b7f93", "#b3278f", "#4d7c0f", "#8a4b2a", "#3b45c4", "#555b66"),
        ),
        ("#e8a33d", "#de6a4c", "#b73779", "#6a2c91", "#1e1a5e"),
    ),
}
LOGARITHMIC = 1000.0
"""Positive numbers that span more than this factor are coloured by their logarithm."""


def parse_colour(text: str) -> tuple[int, int, int]:
    """Return red, green and blue, 0 to 255, of `#rrggbb`."""
    return int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16)


def colour_names(codes: np.ndarray, theme: str) -> UInt8[np.ndarray, "rows 3"]:
    """Return the colour of each row by the rank of its name, the commonest first; ranks past the palette are faint."""
    palette = [*THEMES[theme].names, THEMES[theme].faint]
    colours = np.array([parse_colour(c) for c in palette], np.uint8)
    return colours[np.minimum(codes, len(palette) - 1)]


def colour_numbers(values: Float[np.ndarray, rows], theme: str) -> UInt8[np.ndarray, "rows 3"]:
    """Return the colour of each number along the ramp, from the 1st to the 99th percentile; NaN is faint."""
    finite = np.isfinite(values)
    colours = np.empty((len(values), 3), np.uint8)
    colours[:] = parse_colour(THEMES[theme].faint)
    if finite.any():
        low, high, scaled = scale_numbers(values[finite])
        share = np.clip((scaled - low) / ((high - low) or 1.0), 0, 1)
        stops = np.array([parse_colour(c) for c in THEMES[theme].ramp], float)
        at = np.linspace(0, 1, len(stops))
        colours[finite] = np.stack([np.interp(share, at, stops[:, k]) for k in range(3)], axis=1).round()
    return colours


def scale_numbers(values: Float[np.ndarray, rows]) -> tuple[float, float, Float[np.ndarray, rows]]:
    """Return where the ramp begins and ends, and the numbers on its scale: their logarithm if they span magnitudes."""
    if values.min() > 0 and values.max() > LOGARITHMIC * values.min():
        values = np.log10(values)
    low, high = np.quantile(values, [0.01, 0.99])
    return float(low), float(high), values
