"""The examination of one checkpoint as one page of HTML that asks nobody for anything."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weightspace.inspect.drawings import draw_decay, draw_depth, draw_histogram
from weightspace.inspect.examine import Examination
from weightspace.inspect.sections import number_text, shape_text
from weightspace.latents.map_page import fill_template, page_file, page_head

if TYPE_CHECKING:
    from weightspace.encode.predictor import Predictions

SHOWN = 12
"""Units, metadata and properties that a cell names; the JSON has all."""


def write_report_page(found: Examination) -> str:
    """Return the page: what the checkpoint is, what is odd, its layers as curves, its units, predictions, neighbours.

    Every name in the file is shown as text and cannot become code.
    """
    source = Path(found.report.source)
    name = source.name if source.exists() else found.report.source
    parts = [_header(found, name), _anomalies(found), _depth(found), _layers(found), _units(found)]
    parts += [_predictions(found.predictions), _neighbours(found.neighbours), _opaque(found)]
    style = page_file("theme.css") + (files("weightspace.inspect") / "page" / "report.css").read_text(encoding="utf-8")
    template = (files("weightspace.inspect") / "page" / "report.html").read_text(encoding="utf-8")
    return fill_template(template, {"HEAD": page_head(name, style), "BODY": "\n".join(filter(None, parts))})


def _header(found: Examination, name: str) -> str:
    report, graph = found.report, found.report.graph
    about = {key: value for key, value in report.header.metadata.items() if len(value) <= 200}
    known = "traced from its program" if graph.source == "trace" else "inferred from names and shapes"
    tiles = [
        (f"{report.header.weights:,}", "weights"),
        (f"{len(report.header.tensors):,}", f"tensors, {', '.join(report.dtypes) or 'none'}"),
        (f"{graph.understood:.1%}", "of the weights understood"),
        (f"{graph.free_units:,}", f"of {graph.units:,} units may be relabelled"),
        (f"{len(graph.stages):,}", f"stages, {known}"),
    ]
    cards = "".join(f'<div class="tile"><b>{escape(a)}</b><span>{escape(b)}</span></div>' for a, b in tiles)
    lines = "".join(f"<div>{escape(k)}: {escape(v)}</div>" for k, v in list(about.items())[:SHOWN])
    ops = _counted(stage.op for stage in graph.stages)
    return (
        f'<header><div><h1>{escape(name)}</h1><div class="soft">{escape(report.source)}</div>'
        f'<div class="soft">{escape(ops)}</div><div class="soft">{lines}</div></div>'
        f'<button id="theme">Light</button></header><section class="cards">{cards}</section>'
    )


def _counted(words: Iterable[str]) -> str:
    counts: dict[str, int] = {}
    for word in words:
        counts[word] = counts.get(word, 0) + 1
    return ", ".join(f"{count} {word}" for word, count in sorted(counts.items(), key=lambda c: -c[1]))


def _anomalies(found: Examination) -> str:
    rows = "".join(
        f'<span class="kind {a.kind}">{a.kind}</span><span class="where">{escape(a.where)}</span>'
        f"<span>{escape(a.text)}</span>"
        for a in found.anomalies
    )
    inside = f'<div class="odd">{rows}</div>' if rows else '<span class="fine">nothing odd found</span>'
    return f'<section><h2>Anomalies</h2><div class="panel">{inside}</div></section>'


def _depth(found: Examination) -> str:
    rows = [s for s in found.statistics if s.spectral_norm is not None]
    picture = draw_depth(
        [s.name for s in rows],
        [("curve", [s.spectral_norm for s in rows]), ("second", [s.stable_rank for s in rows])],
    )
    key = '<span><i style="background:var(--accent)"></i>spectral norm</span>'
    key += '<span><i style="background:var(--warn)"></i>stable rank</span>'
    inside = f'<div class="panel wide">{picture}<div class="key">{key}</div></div>'
    return picture and f"<section><h2>Along the depth</h2>{inside}</section>"


def _layers(found: Examination) -> str:
    odd = {a.where for a in found.anomalies}
    infos, graph = found.report.header.tensors, found.report.graph
    rows = []
    for s, curve in zip(found.statistics, found.curves, strict=True):
        block, info = graph.blocks.get(s.name), infos[s.name]
        mark = ' class="marked"' if s.name in odd else ""
        numbers = (s.mean, s.std, s.spectral_norm, s.stable_rank)
        cells = "".join(f'<td class="number">{_number(value)}</td>' for value in numbers)
        rows.append(
            f'<tr data-name="{escape(s.name.lower())}"><td{mark}>{escape(s.name)}<div class="soft">'
            f"{shape_text(info.shape)} {escape(info.dtype)} {escape(block.kind if block else '')}</div></td>"
            f"<td>{draw_histogram(curve.counts, low=curve.low, high=curve.high)}</td>"
            f"<td>{draw_decay(curve.singular, edge=curve.edge)}</td>{cells}</tr>"
        )
    head = "<th>tensor</th><th>numbers</th><th>singular values</th>"
    head += "".join(f'<th class="number">{word}</th>' for word in ("mean", "deviation", "spectral norm", "stable rank"))
    return (
        f'<section id="layers"><div class="tools"><h2>Layers</h2><input id="filter" type="search" '
        f'placeholder="filter names" aria-label="Filter layers by name"></div><table><thead><tr>{head}</tr></thead>'
        f'<tbody>{"".join(rows)}</tbody></table><p class="soft">Heights of histograms are square roots of counts. The '
        "dashed line is the largest singular value that independent numbers would have: what stands above it was "
        "learned.</p></section>"
    )


def _units(found: Examination) -> str:
    rows = [u for u in found.units if u.dead or u.spare]
    units = sum(u.units for u in found.units)
    if not rows:
        said = f"none among {units:,} hidden units" if found.units else "no hidden axis has weights on it"
        return f'<section><h2>Dead and duplicate units</h2><div class="panel">{said}</div></section>'
    cells = [
        (u.axis, f"{u.units:,}", _places(u.silent), _places(u.unread), "; ".join(map(_places, u.duplicates[:SHOWN])))
        for u in rows
    ]
    return _table(
        "Dead and duplicate units",
        ("axis", "units", "silent (nothing comes in)", "unread (nothing goes out)", "equal up to a factor"),
        cells,
    )


def _places(units: Sequence[int]) -> str:
    more = f" and {len(units) - SHOWN} more" if len(units) > SHOWN else ""
    return ", ".join(map(str, units[:SHOWN])) + more


def _predictions(told: Predictions | None) -> str:
    if told is None:
        return ""
    from weightspace.encode.predictor import LEVEL

    rows = ""
    for name, value in told.values.items():
        if name in told.intervals:
            low, high = told.intervals[name]
            said, range_ = _number(float(value)), f"{_number(low)} to {_number(high)}"
            bar = _interval(low, float(value), high)
        else:
            said, range_, bar = escape(str(value)), escape(", ".join(told.choices[name])), ""
        rows += f"<tr><td>{escape(name)}</td><td>{said}</td><td>{range_}</td><td>{bar}</td></tr>"
    far = (
        f'<span class="kind">unlike the networks learned from (novelty {told.novelty:.2f}, above 1): '
        "take none of this at its word</span>"
        if not told.novelty <= 1
        else f'<span class="fine">like the networks learned from (novelty {told.novelty:.2f} of 1)</span>'
    )
    head = "".join(f"<th>{word}</th>" for word in ("property", "prediction", f"likely, {LEVEL:.0%}", ""))
    return (
        f'<section><h2>Predicted properties</h2><div class="panel">{far}</div><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></section>"
    )


def _interval(low: float, value: float, high: float) -> str:
    least, most = (0.0, 1.0) if 0 <= low and high <= 1 else (low, high)
    if not low < high < float("inf"):
        return ""
    left, right, at = (100 * (v - least) / (most - least) for v in (low, high, value))
    return (
        f'<div class="interval"><i style="left:{left:.1f}%;right:{100 - right:.1f}%"></i>'
        f'<b style="left:{min(99.0, at):.1f}%"></b></div>'
    )


def _neighbours(near: Sequence[Any]) -> str:
    if not near:
        return ""
    first = ("id", "distance")
    own = ("path", "weights", "understood", "free_units", "nonfinite")
    names = [n for n in near[0] if n not in (*first, *own) and any(row[n] is not None for row in near)][:SHOWN]
    cells = [[_cell(row[name]) for name in (*first, *names)] for row in near]
    return _table("Nearest in the table", (*first, *names), cells)


def _cell(value: object) -> str:
    return _number(value) if isinstance(value, float) else "" if value is None else str(value)


def _opaque(found: Examination) -> str:
    return _table("Not understood", ("tensor", "reason"), list(found.report.opaque.items()))


def _table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    head = "".join(f"<th>{escape(column)}</th>" for column in columns)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return (
        f'<section><h2>{title}</h2><div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
        "</div></section>"
    )


def _number(value: float | None) -> str:
    return escape(number_text(value))
