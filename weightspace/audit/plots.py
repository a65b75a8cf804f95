"""Pictures of an audit as SVG that sits in a page and follows its theme."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 520.0, 320.0, 52.0, 40.0, 14.0, 14.0
COLOURS = ("accent", "warn", "good", "bad", "soft")


@dataclass(frozen=True, eq=False)
class Series:
    """Points of one colour.

    Args:
        name: In the key.
        x: Places along.
        y: Places up.
        colour: One of `COLOURS`.
        joined: Whether a line goes through them.
        said: What each point says; the name if none.
    """

    name: str
    x: np.ndarray
    y: np.ndarray
    colour: str
    joined: bool = False
    said: Sequence[str] = ()


def draw_points(series: Sequence[Series], *, along: str, up: str, diagonal: bool = False, log: bool = False) -> str:
    """Return points or lines over two axes; each point says what it is.

    Args:
        series: Drawn one above the other, the last on top.
        along: Name of the axis along.
        up: Name of the axis up.
        diagonal: Whether a line marks where both are equal.
        log: Whether the axis along counts `1 + x` by its logarithm.
    """
    shown = [s for s in series if len(s.x)]
    if not shown:
        return ""
    xs, ys = (np.concatenate([getattr(s, name) for s in shown]) for name in ("x", "y"))
    place_x, ticks_x = _axis(np.log10(1 + xs) if log else xs, LEFT, WIDTH - RIGHT)
    place_y, ticks_y = _axis(ys, HEIGHT - BOTTOM, TOP)

    def across(x: float) -> float:
        return place_x(float(np.log10(1 + x)) if log else x)

    marks = [(10**t - 1 if log else t) for t in ticks_x]
    parts = [_grid(place_x, place_y, ticks_x, ticks_y, marks)]
    if diagonal:
        low, high = max(ticks_x[0], ticks_y[0]), min(ticks_x[-1], ticks_y[-1])
        ends = [f"{across(v):.1f},{place_y(v):.1f}" for v in (low, high)]
        parts.append(f'<polyline class="grid" stroke-dasharray="4 4" points="{" ".join(ends)}"/>')
    for s in shown:
        points = [(across(float(x)), place_y(float(y))) for x, y in zip(s.x, s.y, strict=True)]
        parts.append(_series(s, points))
    parts.append(f'<text x="{(LEFT + WIDTH) / 2:.0f}" y="{HEIGHT - 6}" text-anchor="middle">{escape(along)}</text>')
    parts.append(
        f'<text transform="translate(13 {HEIGHT / 2:.0f}) rotate(-90)" text-anchor="middle">{escape(up)}</text>'
    )
    about = escape(f"{up} over {along}")
    key = "".join(f'<span><i style="background:var(--{s.colour})"></i>{escape(s.name)}</span>' for s in shown if s.name)
    return (
        f'<svg viewBox="0 0 {WIDTH:g} {HEIGHT:g}" width="100%" role="img" aria-label="{about}"><title>{about}</title>'
        f'{"".join(parts)}</svg><div class="key">{key}</div>'
    )


def draw_intervals(names: Sequence[str], values: Sequence[tuple[float, float, float]], *, marked: str) -> str:
    """Return a bar with an interval for each name, one below the other.

    Args:
        names: Of the bars.
        values: Length, and both ends of the interval.
        marked: Name of the bar in another colour.
    """
    if not names:
        return ""
    most, step, left, wide = max(max(high for *_, high in values), 1e-6), 24, 220, 660
    rows = []
    for i, (name, (value, low, high)) in enumerate(zip(names, values, strict=True)):
        y, colour = i * step, "accent" if name == marked else "soft"
        a, b, end = (left + (wide - left - 60) * v / most for v in (low, high, value))
        rows.append(
            f'<text x="{left - 10}" y="{y + 15}" text-anchor="end">{escape(name)}</text>'
            f'<rect x="{left}" y="{y + 5}" width="{max(end - left, 0.5):.1f}" height="13" rx="3" '
            f'fill="var(--{colour})" opacity="0.75"/><line x1="{a:.1f}" x2="{b:.1f}" y1="{y + 11.5}" y2="{y + 11.5}" '
            f'stroke="var(--text)" stroke-width="1.5"/><text x="{b + 8:.1f}" y="{y + 15}">{value:.3f}</text>'
        )
    height = step * len(names) + 6
    about = "bars with intervals of 95%"
    return (
        f'<svg viewBox="0 0 {wide} {height}" width="100%" role="img" aria-label="{about}"><title>{about}</title>'
        f"{''.join(rows)}</svg>"
    )


def _axis(values: np.ndarray, start: float, end: float) -> tuple[Callable[[float], float], list[float]]:
    """A function from numbers to places, and where to write numbers."""
    low, high = float(values.min()), float(values.max())
    if high - low < 1e-9:
        low, high = low - 0.05, high + 0.05
    step = 10 ** np.floor(np.log10((high - low) / 4))
    step *= next(f for f in (1, 2, 2.5, 5, 10) if (high - low) / (step * f) <= 6)
    first, last = np.floor(low / step + 1e-9), np.ceil(high / step - 1e-9)
    ticks = [float(t * step) for t in np.arange(first, last + 1)]

    def place(value: float) -> float:
        return start + (end - start) * (value - ticks[0]) / (ticks[-1] - ticks[0])

    return place, ticks


def _grid(
    across: Callable[[float], float],
    up: Callable[[float], float],
    ticks_x: Sequence[float],
    ticks_y: Sequence[float],
    marks: Sequence[float],
) -> str:
    lines = [
        f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{up(t):.1f}" y2="{up(t):.1f}"/>'
        f'<text x="{LEFT - 7}" y="{up(t) + 4:.1f}" text-anchor="end">{t:.3g}</text>'
        for t in ticks_y
    ]
    lines += [
        f'<text x="{across(t):.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{mark:.3g}</text>'
        for t, mark in zip(ticks_x, marks, strict=True)
    ]
    return "".join(lines)


def _series(s: Series, points: Sequence[tuple[float, float]]) -> str:
    line = ""
    if s.joined:
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        line = f'<polyline points="{path}" fill="none" stroke="var(--{s.colour})" stroke-width="1.8"/>'
    said = list(s.said) or [s.name] * len(points)
    dots = "".join(
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3"><title>{escape(text)}</title></circle>'
        for (x, y), text in zip(points, said, strict=True)
    )
    return f'{line}<g fill="var(--{s.colour})" fill-opacity="0.65">{dots}</g>'
