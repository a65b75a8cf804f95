"""An audit as text: what a terminal shows, and Markdown."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from weightspace.audit.audit import Audit
from weightspace.audit.table import Row
from weightspace.inspect.sections import Section

COLUMNS = {
    "networks": "count",
    "mean": "mean",
    "median": "median",
    "best": "best",
    "overlap": "overlap",
    "fresh": "expected",
    "novelty": "novelty",
    "of weights": "weights",
    "least": "least_novel",
    "inside": "inside",
    "fresh inside": "inside_fresh",
    "coverage": "coverage",
    "joint": "joint",
}
NOTES = (
    "mean, median, best: accuracy without any training step; the best is chosen on other inputs than it is judged by.",
    "overlap: largest error overlap with a training network or its reconstruction, beside that of fresh trainings of "
    "equal accuracy (fresh). novelty: 0 for a copy, 1 for a fresh training; of weights: the same for weights, up to "
    "relabelling, against the decoder's own reconstructions; least: tenth percentile of the lesser of both.",
    "inside: mean error overlap of two networks of the set, beside that of fresh trainings. coverage: share of "
    "held-out networks with one as near as training networks come. joint: area over thresholds of both, see the guide.",
    "Baselines are made from the best fifth of the training networks. A decoded training network must have novelty 0.",
)


def audit_sections(audit: Audit) -> list[Section]:
    """Return the tables of an audit."""
    rows = tuple((row.name, *_cells(row)) for row in audit.rows)
    sections = [Section(audit.title, ("", *COLUMNS), rows, frozenset(range(1, len(COLUMNS) + 1)))]
    if audit.fidelity is not None:
        rank = audit.fidelity.spearman
        cells = ("-" if np.isnan(rank) else f"{rank:.3f}", f"{audit.fidelity.gap:.3f}", str(audit.fidelity.count))
        columns = ("rank correlation", "mean gap", "networks")
        sections.append(Section("accuracy: asked against achieved", columns, (cells,), frozenset((0, 1, 2))))
    if audit.curves:
        steps = next(iter(audit.curves.values())).steps
        told = tuple((name, f"{c.rate:g}", *(f"{a:.3f}" for a in c.mean)) for name, c in audit.curves.items())
        head = ("start", "rate", *map(str, steps))
        sections.append(Section("accuracy after so many steps", head, told, frozenset(range(1, len(head)))))
    return sections


def write_markdown(audit: Audit) -> str:
    """Return the audit as Markdown."""
    lines = [f"# {audit.title}", "", *(f"- {key}: {_plain(value)}" for key, value in audit.about.items()), ""]
    for section in audit_sections(audit):
        lines += [f"## {section.title}", "", *_table(section), ""]
    return "\n".join([*lines, *(f"{note}\n" for note in NOTES)])


def _table(section: Section) -> list[str]:
    head = [_plain(c) or " " for c in section.columns]
    rule = ["---:" if i in section.right else "---" for i in range(len(head))]
    return [_line(head), _line(rule), *(_line([_plain(cell) for cell in row]) for row in section.rows)]


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _plain(text: str) -> str:
    """Text that cannot become a table or a tag."""
    return " ".join(text.replace("|", "/").replace("<", "(").replace(">", ")").split())


def _cells(row: Row) -> list[str]:
    values = [getattr(row, name) for name in COLUMNS.values()]
    return [str(v) if isinstance(v, int) else "-" if not np.isfinite(v) else f"{v:.3f}" for v in values]
