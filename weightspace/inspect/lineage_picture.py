"""A lineage as lines of text, as GraphML and as a picture."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

from weightspace.checkpoint.whole import replacing
from weightspace.inspect.kinship import Descent
from weightspace.inspect.lineage import Lineage
from weightspace.inspect.sections import Section, number_text

COLOURS = {
    "trained": "#4c78a8",
    "pruned": "#f58518",
    "quantised": "#54a24b",
    "rounded": "#54a24b",
    "merged": "#b279a2",
    "relabelled": "#9d755d",
    "copied": "#9d755d",
}
ACROSS, DOWN, MARGIN, LETTER = 210, 26, 24, 7


def walk(lineage: Lineage) -> Iterator[tuple[int, str, tuple[Descent, ...]]]:
    """Yield `(depth, name, edges from its parents)` parents first; a merge stands below its first parent only."""
    into: dict[str, list[Descent]] = {}
    for edge in lineage.edges:
        into.setdefault(edge.child, []).append(edge)
    below: dict[str, list[str]] = {}
    for child, edges in into.items():
        below.setdefault(edges[0].parent, []).append(child)
    waiting = [(0, root) for root in reversed(lineage.roots)]
    while waiting:
        depth, name = waiting.pop()
        yield depth, name, tuple(into.get(name, ()))
        waiting += [(depth + 1, child) for child in reversed(below.get(name, []))]


def lineage_sections(lineage: Lineage) -> list[Section]:
    """Return the trees, and the checkpoints that have no kin here."""
    rows, alone = [], []
    parents = {edge.parent for edge in lineage.edges}
    for depth, name, edges in walk(lineage):
        if not edges and name not in parents:
            alone.append((name,))
            continue
        first = edges[0] if edges else None
        also = f" (and {', '.join(edge.parent for edge in edges[1:])})" if len(edges) > 1 else ""
        cells = [first.distance, first.confidence, first.direction] if first else []
        numbers = [number_text(value) for value in cells] or ["", "", ""]
        rows.append(("  " * depth + name, f"{first.operation}{also}" if first else "root", *numbers))
    columns = ("checkpoint", "how", "distance", "confidence", "direction")
    title = f"lineage: {len(lineage.nodes)} checkpoints, {len(lineage.edges)} edges, {len(lineage.roots)} roots"
    sections = [Section(title, columns, tuple(rows), frozenset({2, 3, 4}))] if rows else []
    return sections + ([Section(f"no kin here: {len(alone)}", ("checkpoint",), tuple(alone))] if alone else [])


def write_graphml(lineage: Lineage, path: Path) -> None:
    """Write the graph for yEd, Gephi, Cytoscape and networkx; whole or not at all."""
    import networkx as nx

    with replacing(path) as draft:
        nx.write_graphml(lineage.graph, draft)


def write_svg(lineage: Lineage, path: Path) -> None:
    """Write the picture of `draw_svg`; whole or not at all."""
    with replacing(path) as draft:
        draft.write_text(draw_svg(lineage), encoding="utf-8")


def draw_svg(lineage: Lineage) -> str:
    """Draw the trees from left to right, a line a checkpoint; kinless ones are left out.

    Colour says what was done, opacity how sure the edge is, dashes that the direction is less than three to one.
    """
    parents = {edge.parent for edge in lineage.edges}
    lines = [(depth, name) for depth, name, edges in walk(lineage) if edges or name in parents]
    place = {
        name: (MARGIN + depth * ACROSS / 3, float(MARGIN + DOWN * (n + 1))) for n, (depth, name) in enumerate(lines)
    }
    longest = max((x + LETTER * len(name) for name, (x, _) in place.items()), default=0.0)
    width, height = max(longest, 420) + 3 * MARGIN, MARGIN * 3 + DOWN * (len(lines) + 1)
    first: dict[str, str] = {}
    for edge in lineage.edges:
        first.setdefault(edge.child, edge.parent)
    shapes = [_edge(edge, place, beside=first[edge.child] != edge.parent) for edge in lineage.edges]
    shapes += [_node(name, *xy, root=name in lineage.roots) for name, xy in place.items()]
    shapes += [_key(n, operation, float(height - MARGIN)) for n, operation in enumerate(_operations(lineage))]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        'font-family="sans-serif" font-size="12" role="img" aria-label="Lineage of checkpoints">\n'
        '<rect width="100%" height="100%" fill="white"/>\n' + "\n".join(shapes) + "\n</svg>\n"
    )


def _operations(lineage: Lineage) -> list[str]:
    return [operation for operation in COLOURS if any(edge.operation == operation for edge in lineage.edges)]


def _edge(edge: Descent, place: dict[str, tuple[float, float]], *, beside: bool) -> str:
    """A bent line; that from a further parent runs `beside` those of the tree."""
    (x1, y1), (x2, y2) = place[edge.parent], place[edge.child]
    dashes = ' stroke-dasharray="4 3"' if edge.direction < 0.75 else ""
    said = f"{edge.parent} to {edge.child}: {edge.operation}, distance {edge.distance:.3g}"
    start = f"M{x1 - 5:.0f} {y1:.0f} H{x1 - 14:.0f}" if beside else f"M{x1:.0f} {y1:.0f}"
    return (
        f'<path d="{start} V{y2:.0f} H{x2 - 5:.0f}" fill="none" stroke="{COLOURS[edge.operation]}" '
        f'stroke-width="2" stroke-opacity="{0.3 + 0.7 * edge.confidence:.2f}"{dashes}>'
        f"<title>{escape(said)}</title></path>"
    )


def _node(name: str, x: float, y: float, *, root: bool) -> str:
    fill = "#222222" if root else "white"
    return (
        f'<circle cx="{x:.0f}" cy="{y:.0f}" r="5" fill="{fill}" stroke="#222222"/>'
        f'<text x="{x + 10:.0f}" y="{y + 4:.0f}" data-name={quoteattr(name)}>{escape(name)}</text>'
    )


def _key(n: int, operation: str, y: float) -> str:
    x = MARGIN + 95 * n
    return (
        f'<path d="M{x} {y} H{x + 18}" stroke="{COLOURS[operation]}" stroke-width="3"/>'
        f'<text x="{x + 23}" y="{y + 4}">{operation}</text>'
    )
