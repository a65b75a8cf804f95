"""`weightspace inspect`: what checkpoints hold, from their headers alone."""

from __future__ import annotations

import json as jsonlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from weightspace.cli.manners import Inputs, complain_about, find_inputs, progress
from weightspace.cli.show import show
from weightspace.inspect.report import Report, read_report
from weightspace.inspect.sections import Section, report_sections, statistics_section

if TYPE_CHECKING:
    from weightspace.inspect.statistics import TensorStatistics


@dataclass(frozen=True)
class _Finding:
    report: Report
    statistics: list[TensorStatistics] | None

    def as_dict(self) -> dict[str, Any]:
        rows = self.statistics
        return {**self.report.as_dict(), "error": ""} | ({} if rows is None else {"stats": [s.as_dict() for s in rows]})

    def sections(self) -> Iterator[Section]:
        yield from report_sections(self.report)
        if self.statistics is not None:
            yield statistics_section(self.statistics)


def inspect(paths: Inputs, /, *, stats: bool = False, trust: bool = False, json: bool = False) -> int:
    """Show what checkpoints hold, from their headers alone.

    Tensors with dtypes and shapes, how many weights there are, the share that is understood, the axes they sit on and
    which units may be relabelled. No weight is read unless asked for.

    Args:
        paths: Files, folders, hub ids, or - for a list of them on standard input.
        stats: Also read the weights: mean, deviation, quantiles, spectral norm and stable rank of each tensor.
        trust: Let plain values stand for reviewed harmless classes in a pickle; nothing is run either way.
        json: Print one JSON list with an entry for each checkpoint.
    """
    entries: list[dict[str, Any]] = []
    failed = 0
    for path in find_inputs(paths):
        try:
            finding = _look(path, stats, trust)
        except Exception as error:  # one bad file of any kind must not end the batch
            failed += 1
            entries.append({"path": path, "error": complain_about(path, error)})
            continue
        if json:
            entries.append(finding.as_dict())
        else:
            show(finding.sections())
    if json:
        print(jsonlib.dumps(entries, indent=1, allow_nan=False))
    return 1 if failed else 0


def _look(path: str, stats: bool, trust: bool) -> _Finding:
    report = read_report(path, trust=trust)
    if not stats:
        return _Finding(report, None)
    from weightspace.checkpoint.load import load_checkpoint
    from weightspace.inspect.statistics import checkpoint_statistics

    checkpoint = load_checkpoint(path, trust=trust)
    rows: list[TensorStatistics] = []
    with progress("tensor") as update:
        for row in checkpoint_statistics(checkpoint, report.graph):
            rows.append(row)
            update(len(rows), len(checkpoint.tensors))
    return _Finding(report, rows)
