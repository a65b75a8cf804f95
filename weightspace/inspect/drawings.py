"""Small pictures of curves as SVG that sits in a page and follows its theme."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from math import log10, sqrt

SMALL = (132, 34)
LONG = (1080, 210)


def draw_histogram(counts: Sequence[int], *, low: float, high: float) -> str:
    """Return bars of equal width; heights are square roots of counts, so that tails can be seen."""
    if not counts:
        return '<span class="soft">constant</span>'
    (width, height), most = SMALL, sqrt(max(counts))
    step = width / len(counts)
    bars = "".join(
        f'<rect x="{i * step:.1f}" y="{height - h:.1f}" width="{step - 0.4:.1f}" height="{h:.1f}"/>'
        for i, count in enumerate(counts)
        if (h := height * sqrt(count) / most)
    )
    return _svg(SMALL, f'<g class="bars">{bars}</g>', f"histogram from {low:.3g} to {high:.3g}")


def draw_decay(values: Sequence[float], *, edge: float | None) -> str:
    """Return singular values over their rank; a line where those of chance would begin."""
    if not values or values[0] <= 0:
        return ""
    width, height = SMALL
    picked = values[:: max(1, len(values) // 60)]
    across = width / max(1, len(picked) - 1)
    points = " ".join(f"{i * across:.1f},{height - (height - 3) * v / values[0]:.1f}" for i, v in enumerate(picked))
    line = ""
    if edge is not None and edge < values[0]:
        y = height - (height - 3) * edge / values[0]
        line = f'<line class="second" stroke-dasharray="3 3" x1="0" x2="{width}" y1="{y:.1f}" y2="{y:.1f}"/>'
    about = f"{len(values)} singular values from {values[0]:.3g} to {values[-1]:.3g}"
    return _svg(SMALL, f'{line}<polyline class="curve" points="{points}"/>', about)


def draw_depth(names: Sequence[str], lines: Sequence[tuple[str, Sequence[float | None]]]) -> str:
    """Return lines of positive numbers along the depth, on a logarithmic scale; each point says what it is.

    Args:
        names: Of the tensors, in order.
        lines: A style (`curve` or `second`) and a number for each name; None and what is not positive is left out.
    """
    logs = [[log10(v) if v and v > 0 else None for v in values] for _, values in lines]
    known = [v for values in logs for v in values if v is not None]
    if not known:
        return ""
    (width, height), left, top = LONG, 52, 12
    low, high = min(known) - 0.15, max(known) + 0.15
    across = (width - left - 12) / max(1, len(names) - 1)

    def place(i: int, value: float) -> tuple[float, float]:
        return left + i * across, top + (height - 2 * top) * (high - value) / (high - low)

    parts = [_grid(low, high, lambda v: place(0, v)[1])]
    for (style, values), heights in zip(lines, logs, strict=True):
        points = [(*place(i, v), i) for i, v in enumerate(heights) if v is not None]
        joined = " ".join(f"{x:.1f},{y:.1f}" for x, y, _ in points)
        parts.append(f'<polyline class="{style}" points="{joined}"/>')
        parts.append(f'<g class="{style} dots">')
        for x, y, i in points:
            said = f"<title>{escape(names[i])}: {values[i]:.4g}</title>"
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.2">{said}</circle>')
        parts.append("</g>")
    return _svg(LONG, "".join(parts), "norms along the depth")


def _grid(low: float, high: float, place: Callable[[float], float]) -> str:
    digits = (1, 2, 5) if high - low < 2 else (1,)
    marks = [log10(d) + m for m in range(int(low) - 1, int(high) + 2) for d in digits]
    return "".join(
        f'<line class="grid" x1="52" x2="{LONG[0]}" y1="{place(m):.1f}" y2="{place(m):.1f}"/>'
        f'<text x="44" y="{place(m) + 4:.1f}" text-anchor="end">{10**m:g}</text>'
        for m in marks
        if low <= m <= high
    )


def _svg(size: tuple[int, int], inside: str, about: str) -> str:
    width, height = size
    box = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    said = escape(about)
    return f'<svg {box} role="img" aria-label="{said}"><title>{said}</title>{inside}</svg>'
