"""What `weightspace zoo` prints, as tables of text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from weightspace.inspect.sections import Section, number_text

NAMES = 3  # of datasets that a row shows


def list_sections(rows: Sequence[Mapping[str, Any]]) -> list[Section]:
    """Return a table of recipes and one of populations."""
    columns = ("name", "family", "datasets", "runs", "snapshots", "checkpoints", "size")
    sections = []
    for kind in ("recipe", "population"):
        cells = tuple(_shipped(row) for row in rows if row["kind"] == kind)
        if cells:
            sections.append(Section(f"{kind}s", columns, cells, frozenset(range(3, len(columns)))))
    return sections


def _shipped(row: Mapping[str, Any]) -> tuple[str, ...]:
    names = row["datasets"]
    shown = ", ".join(names) if len(names) <= NAMES else f"{', '.join(names[:NAMES])} and {len(names) - NAMES} more"
    counts = (_count(row[key]) for key in ("runs", "snapshots", "checkpoints"))
    return (row["name"], row["family"], shown, *counts, _size(row["bytes"]))


def built_sections(summary: Mapping[str, Any]) -> list[Section]:
    """Return what was made, a line a fact."""
    rows = [(key.replace("_", " "), _plain(value)) for key, value in summary.items() if key != "population"]
    return [Section(str(summary["population"]), ("", ""), tuple(rows))]


def population_sections(summary: Mapping[str, Any]) -> list[Section]:
    """Return counts, what the networks learned, their architectures and splits, and the manifest's columns."""
    about = [
        ("recipe", summary["recipe"] or "-"),
        ("checkpoints", _count(summary["checkpoints"])),
        ("runs", _count(summary["runs"])),
        ("size", _size(summary["bytes"])),
    ]
    if summary["unfinished"]:
        about.append(("state", "unfinished: build it again to go on"))
    about.append(("columns", ", ".join(summary["columns"])))
    splits = tuple((name, _count(n["runs"]), _count(n["checkpoints"])) for name, n in summary["splits"].items())
    sections = [Section(summary["population"], ("", ""), tuple(about)), _goodness(summary["datasets"])]
    sections.append(_architectures(summary["architectures"]))
    if splits:
        sections.append(Section("splits", ("split", "runs", "checkpoints"), splits, frozenset({1, 2})))
    return sections


def _goodness(rows: Sequence[Mapping[str, Any]]) -> Section:
    names = ("min", "q25", "median", "q75", "max")
    columns = ("dataset", "networks", "measure", *names, "collapsed", "divergent")
    cells = tuple(
        (
            row["dataset"] or "-",
            _count(row["networks"]),
            row["measure"] or "-",
            *(number_text((row["quantiles"] or {}).get(name)) for name in names),
            *("-" if row[key] is None else f"{row[key]:.1%}" for key in ("collapsed", "divergent")),
        )
        for row in rows
    )
    return Section("at the end of training", columns, cells, frozenset({1, *range(3, len(columns))}))


def _architectures(rows: Sequence[Mapping[str, Any]], shown: int = 20) -> Section:
    title = (
        "architectures" if len(rows) <= shown else f"architectures (the first {shown} of {len(rows)}; --json has all)"
    )
    cells = tuple(
        (
            row["architecture"],
            row["family"] or "-",
            ", ".join(f"{key} {value}" for key, value in (row["options"] or {}).items()) or "-",
            _count(row["weights"]),
            _count(row["checkpoints"]),
        )
        for row in rows[:shown]
    )
    return Section(title, ("id", "family", "options", "weights", "checkpoints"), cells, frozenset({3, 4}))


def evaluation_sections(summary: Mapping[str, Any]) -> list[Section]:
    """Return what was measured by dataset, and how far it lies from the manifest."""
    about = (
        ("networks verified by hash", _count(summary["verified"])),
        ("networks measured", _count(summary["measured"])),
        ("failed", _count(summary["failed"])),
    )
    columns = (
        "dataset",
        "networks",
        "mean accuracy",
        "best",
        "median loss",
        "compared",
        "max accuracy deviation",
        "max loss deviation",
        "incomparable",
    )
    keys = ("mean_accuracy", "best_accuracy", "median_loss")
    deviations = ("max_accuracy_deviation", "max_loss_deviation")
    cells = tuple(
        (
            row["dataset"],
            _count(row["networks"]),
            *(number_text(row[key]) for key in keys),
            _count(row["compared"]),
            *(number_text(row[key]) for key in deviations),
            _count(row["incomparable"]),
        )
        for row in summary["datasets"]
    )
    sections = [Section(summary["population"], ("", ""), about)]
    return (
        [*sections, Section("measured again", columns, cells, frozenset(range(1, len(columns))))] if cells else sections
    )


def _count(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


def _size(value: int | None) -> str:
    return "-" if value is None else f"{value / 1e6:,.1f} MB"


def _plain(value: Any) -> str:
    if isinstance(value, float):
        return number_text(value)
    return _count(value) if isinstance(value, int) or value is None else str(value)
