"""A map as a picture: SVG written here, PNG through Pillow."""

from __future__ import annotations

import os
from collections.abc import Iterator
from html import escape
from math import log10
from pathlib import Path
from typing import Any

import numpy as np

from weightspace.errors import TableError
from weightspace.latents.colours import THEMES, colour_names, colour_numbers, parse_colour, scale_numbers
from weightspace.latents.columns import Column, colour_column, read_columns
from weightspace.latents.map import LatentMap
from weightspace.latents.map_page import first_colour
from weightspace.latents.table import write_output

SIZE, LEGEND, EDGE, FINE = 900, 220, 30, 3
"""Pixels of the map's side, of the legend's width, of the margin; and how many times finer a PNG is drawn."""


def write_picture(
    drawn: LatentMap,
    path: str | os.PathLike[str],
    *,
    colour: str | None = None,
    theme: str = "light",
    overwrite: bool = False,
) -> None:
    """Write a map as `.svg` or `.png`, with a legend; every row is on it, and lineage where there is some.

    Args:
        drawn: The map.
        path: Its ending says which.
        colour: Column that colours; by default the first property that is not from the encoder.
        theme: `dark` or `light`.
        overwrite: Whether an existing file may be replaced.

    Raises:
        TableError: The ending is another, the column tells no rows apart, Pillow is missing (for PNG), or the file
            is there already or cannot be written.
    """
    name = colour or first_colour(read_columns(drawn.table))
    column = colour_column(drawn.table, name) if name else None
    match Path(path).suffix:
        case ".svg":
            text = "\n".join(_svg(drawn, column, theme))
            write_output(path, lambda draft: draft.write_text(text, encoding="utf-8"), overwrite=overwrite)
        case ".png":
            image = _png(drawn, column, theme)
            write_output(path, lambda draft: image.save(draft, "PNG", optimize=True), overwrite=overwrite)
        case other:
            raise TableError(f"{path}: pictures end in .svg or .png, not in {other!r}.")


def _screen(drawn: LatentMap) -> np.ndarray:
    """Pixels of each row, `y` downwards."""
    low, high = drawn.places.min(0), drawn.places.max(0)
    side = float((high - low).max()) or 1.0
    centred = (drawn.places - (low + high) / 2) / side * (SIZE - 2 * EDGE)
    return centred * [1, -1] + SIZE / 2


def _colours(column: Column | None, rows: int, theme: str) -> np.ndarray:
    if column is None:
        return colour_names(np.zeros(rows, int), theme)
    return (colour_numbers if column.kind == "numbers" else colour_names)(column.values, theme)


def _radius(rows: int) -> float:
    return max(0.9, 6.0 - 1.1 * log10(rows))


def _legend(column: Column | None, theme: str) -> list[tuple[str, str]]:
    """Text and colour of each line under the name of the column."""
    if column is None:
        return []
    look = THEMES[theme]
    if column.kind == "names":
        shown = list(zip(column.names, look.names, strict=False))
        rest = len(column.names) - len(shown)
        return shown + ([(f"{rest} others", look.faint)] if rest else [])
    values = column.values[np.isfinite(column.values)]
    low, high, scaled = scale_numbers(values)
    at = np.linspace(low, high, len(look.ramp))
    numbers = 10**at if scaled is not values else at
    return [(f"{number:.3g}", colour) for number, colour in zip(numbers, look.ramp, strict=True)]


def _svg(drawn: LatentMap, column: Column | None, theme: str) -> Iterator[str]:
    look, points, radius = THEMES[theme], _screen(drawn), _radius(len(drawn))
    yield f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {SIZE + LEGEND} {SIZE}" font-family="sans-serif">'
    yield f'<rect width="100%" height="100%" fill="{look.ground}"/>'
    yield f'<g stroke="{look.faint}" stroke-opacity="0.5" stroke-width="0.8">'
    for child, parent in drawn.edges():
        (x, y), (u, v) = points[parent], points[child]
        yield f'<path d="M{x:.1f} {y:.1f}L{u:.1f} {v:.1f}"/>'
    yield f'</g><g fill-opacity="0.9" stroke="{look.ground}" stroke-width="{radius / 5:.2f}">'
    for (x, y), (r, g, b) in zip(points, _colours(column, len(drawn), theme), strict=True):
        yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" fill="#{r:02x}{g:02x}{b:02x}"/>'
    yield f'</g><g fill="{look.text}" font-size="15">'
    if column:
        yield f'<text x="{SIZE}" y="{2 * EDGE}" font-weight="bold">{escape(column.name)}</text>'
    for i, (text, colour) in enumerate(_legend(column, theme)):
        y = 2 * EDGE + 26 * (i + 1)
        yield f'<circle cx="{SIZE + 7}" cy="{y - 5}" r="6" fill="{colour}"/>'
        yield f'<text x="{SIZE + 22}" y="{y}">{escape(text[:24])}</text>'
    yield "</g></svg>"


def _png(drawn: LatentMap, column: Column | None, theme: str) -> Any:
    try:
        from PIL import Image, ImageDraw, ImageFont
    except ImportError:
        raise TableError("PNG needs Pillow: `pip install 'weightspace[images]'`, or write .svg.") from None
    look = THEMES[theme]
    text, faint = parse_colour(look.text), parse_colour(look.faint)
    image = Image.new("RGB", ((SIZE + LEGEND) * FINE, SIZE * FINE), look.ground)
    pen, points, radius = ImageDraw.Draw(image), _screen(drawn) * FINE, _radius(len(drawn)) * FINE
    for child, parent in drawn.edges():
        pen.line([*points[parent], *points[child]], fill=faint, width=FINE)
    for (x, y), shade in zip(points, _colours(column, len(drawn), theme), strict=True):
        box = (x - radius, y - radius, x + radius, y + radius)
        pen.ellipse(box, fill=tuple(shade.tolist()), outline=look.ground, width=FINE // 2)
    font = ImageFont.load_default(15 * FINE)
    if column:
        pen.text((SIZE * FINE, EDGE * FINE), column.name, fill=text, font=font)
    for i, (line, colour) in enumerate(_legend(column, theme)):
        y = (EDGE + 28 + 26 * i) * FINE
        pen.ellipse((SIZE * FINE, y, (SIZE + 13) * FINE, y + 13 * FINE), fill=colour)
        pen.text(((SIZE + 22) * FINE, y - 3 * FINE), line[:24], fill=text, font=font)
    return image.resize((SIZE + LEGEND, SIZE), Image.Resampling.LANCZOS)
