"""An audit as one page of HTML that asks nobody for anything."""

from __future__ import annotations

from html import escape
from importlib.resources import files

import numpy as np

from weightspace.audit.audit import Audit
from weightspace.audit.plots import COLOURS, Series, draw_intervals, draw_points
from weightspace.audit.report import NOTES, audit_sections
from weightspace.audit.table import Row
from weightspace.inspect.sections import Section
from weightspace.latents.map_page import fill_template, page_file, page_head


def write_audit_page(audit: Audit) -> str:
    """Return the page: the answer in numbers, pictures of it, the whole table, and what each measure means."""
    first, *others = audit_sections(audit)
    body = [_header(audit), _tiles(audit), _pictures(audit), _table(first), *map(_table, others), _notes()]
    shared = (files("weightspace.inspect") / "page" / "report.css").read_text(encoding="utf-8")
    style = page_file("theme.css") + shared + _file("audit.css")
    return fill_template(_file("audit.html"), {"HEAD": page_head(audit.title, style), "BODY": "\n".join(body)})


def _file(name: str) -> str:
    return (files("weightspace.audit") / "page" / name).read_text(encoding="utf-8")


def _header(audit: Audit) -> str:
    lines = "".join(f'<div class="soft">{escape(k)}: {escape(v)}</div>' for k, v in audit.about.items())
    return f'<header><div><h1>{escape(audit.title)}</h1>{lines}</div><button id="theme">Light</button></header>'


def _tiles(audit: Audit) -> str:
    made = audit.rows[0]
    baselines = [row for row in audit.rows if row.kind == "baseline"]
    best = max(baselines, key=lambda row: row.joint) if baselines else None
    tiles = [
        (f"{made.mean:.3f}", f"mean accuracy without training; best {made.best:.3f}"),
        (f"{made.novelty:.2f}", "novelty of answers: 0 a copy, 1 a fresh training"),
        (f"{made.weights:.2f}" if np.isfinite(made.weights) else "-", "novelty of weights, against reconstructions"),
        (f"{made.inside - made.inside_fresh:+.3f}", "error overlap inside the sample, above fresh trainings"),
        (f"{made.joint:.3f}", f"joint score; best baseline {best.joint:.3f} ({best.name})" if best else "joint score"),
    ]
    if audit.fidelity is not None:
        tiles.append((f"{audit.fidelity.gap:.3f}", "mean gap between accuracy asked and achieved"))
    cards = "".join(f'<div class="tile"><b>{escape(a)}</b><span>{escape(b)}</span></div>' for a, b in tiles)
    return f'<section class="cards">{cards}</section>'


def _pictures(audit: Audit) -> str:
    pictures = [("Accuracy and novelty of each network", _scatter(audit.rows))]
    if len(audit.asked[0]) and np.ptp(audit.asked[0]) > 0:
        points = Series("a network", *audit.asked, "accent")
        drawn = draw_points([points], along="accuracy asked for", up="accuracy achieved", diagonal=True)
        pictures.append(("Asked and achieved", drawn))
    if audit.curves:
        lines = [
            Series(name, np.array(c.steps, float), c.mean, COLOURS[i % len(COLOURS)], joined=True)
            for i, (name, c) in enumerate(audit.curves.items())
        ]
        pictures.append(("Training goes on", draw_points(lines, along="steps", up="accuracy", log=True)))
    ranked = [row for row in audit.rows if row.kind != "reference"]
    bars = draw_intervals(
        [row.name for row in ranked], [(r.joint, r.joint_low, r.joint_high) for r in ranked], marked=audit.rows[0].name
    )
    pictures.append(("Joint score with intervals of 95%", bars))
    panels = "".join(f'<div class="panel"><h2>{escape(title)}</h2>{drawn}</div>' for title, drawn in pictures if drawn)
    return f'<section class="pictures">{panels}</section>'


def _scatter(rows: tuple[Row, ...]) -> str:
    shown = {"held-out networks": "soft", "generated": "accent"}
    kept = [(row, colour) for name, colour in shown.items() for row in rows if row.name == name]
    series = []
    means = [row for row in rows if row.kind == "baseline" and np.isfinite(row.novelties).any()]
    for row, colour in kept:
        said = [f"{row.name}: {a:.3f}, {n:.2f}" for a, n in zip(row.accuracies, row.novelties, strict=True)]
        series.append(Series(row.name, row.novelties, row.accuracies, colour, said=said))
    x = np.array([float(np.nanmean(row.novelties)) for row in means])
    y = np.array([row.mean for row in means])
    series.append(Series("baselines, means", x, y, "warn", said=[row.name for row in means]))
    return draw_points(series, along="novelty", up="accuracy")


def _table(section: Section) -> str:
    head = "".join(_cell("th", i in section.right, column) for i, column in enumerate(section.columns))
    body = "".join(
        "<tr>" + "".join(_cell("td", i in section.right, cell) for i, cell in enumerate(row)) + "</tr>"
        for row in section.rows
    )
    return (
        f'<section><h2>{escape(section.title)}</h2><div class="wide"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div></section>"
    )


def _cell(tag: str, right: bool, text: str) -> str:
    kind = ' class="number"' if right else ""
    return f"<{tag}{kind}>{escape(text)}</{tag}>"


def _notes() -> str:
    return '<section class="soft">' + "".join(f"<p>{escape(note)}</p>" for note in NOTES) + "</section>"
