"""A report as tables of text: what a terminal, a pipe or a page shows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from weightspace.inspect.report import Report

if TYPE_CHECKING:
    from weightspace.inspect.statistics import TensorStatistics


@dataclass(frozen=True)
class Section:
    """A table with a title.

    Args:
        title: One line.
        columns: Headings; none are shown where all are empty.
        rows: Cells as text, one for each column.
        right: Columns whose cells stand at the right, by index.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    right: frozenset[int] = frozenset()


def report_sections(report: Report) -> list[Section]:
    """Return the summary, the tree of tensors, the axes, and the opaque and shared tensors where there are any."""
    sections = [_summary(report), _tree(report), _axes(report)]
    for title, pairs in (("opaque tensors", report.opaque), ("shared tensors", report.header.shared)):
        if pairs:
            sections.append(Section(title, ("name", "reason" if title[0] == "o" else "same as"), tuple(pairs.items())))
    return sections


def statistics_section(rows: Iterable[TensorStatistics]) -> Section:
    """Return a table with a row a tensor."""
    quantiles = ("min", "q25", "median", "q75", "max")
    columns = ("tensor", "nonfinite", "mean", "std", *quantiles, "spectral", "stable rank")
    cells = tuple(map(_statistics_row, rows))
    return Section("statistics", columns, cells, frozenset(range(1, len(columns))))


def _statistics_row(s: TensorStatistics) -> tuple[str, ...]:
    numbers = (s.mean, s.std, *s.quantiles, s.spectral_norm, s.stable_rank)
    return (s.name, str(s.nonfinite), *map(number_text, numbers))


def shape_text(shape: Sequence[int]) -> str:
    """Return `16x3x3x3`, or `scalar`."""
    return "x".join(map(str, shape)) or "scalar"


def number_text(value: float | None) -> str:
    """Return four significant digits, or `-` where there is no number."""
    return "-" if value is None else f"{value:.4g}"


def _summary(report: Report) -> Section:
    graph, header = report.graph, report.header
    dtypes = ", ".join(f"{count} {dtype}" for dtype, count in report.dtypes.items())
    rows = [
        ("tensors", f"{len(header.tensors)} ({dtypes})" if dtypes else "0"),
        ("weights", f"{header.weights:,}"),
        ("understood", f"{graph.understood:.1%} of the weights" if header.weights else "no weights to understand"),
        ("free units", f"{graph.free_units:,} of {graph.units:,} may be relabelled"),
    ]
    rows += [(f"metadata {key}", _clip(value)) for key, value in header.metadata.items()]
    return Section(report.source, ("", ""), tuple(rows))


def _tree(report: Report) -> Section:
    rows: list[tuple[str, ...]] = []
    previous: tuple[str, ...] = ()
    for name, info in report.header.tensors.items():
        *modules, leaf = name.replace("/", ".").split(".")
        shared = next((i for i, (a, b) in enumerate(zip(modules, previous, strict=False)) if a != b), None)
        shared = min(len(modules), len(previous)) if shared is None else shared
        rows += [("  " * depth + modules[depth], "", "", "", "") for depth in range(shared, len(modules))]
        block = report.graph.blocks.get(name)
        kind = block.kind if block else ""
        rows.append(("  " * len(modules) + leaf, info.dtype, shape_text(info.shape), f"{info.size:,}", kind))
        previous = tuple(modules)
    return Section("tensors", ("name", "dtype", "shape", "numbers", "kind"), tuple(rows), frozenset({3}))


def _axes(report: Report) -> Section:
    graph = report.graph
    rows = tuple(
        (axis.name, f"{axis.size:,}", f"{graph.count(axis.name):,}", axis.role, axis.parent or "", axis.reason)
        for axis in graph.axes.values()
    )
    return Section("axes", ("name", "size", "units", "role", "parent", "reason"), rows, frozenset({1, 2}))


def _clip(text: str, width: int = 100) -> str:
    line = " ".join(text.split())
    return line if len(line) <= width else f"{line[:width]}..."
