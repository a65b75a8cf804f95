"""`weightspace probe`: what the latents of a table say of its properties."""

from __future__ import annotations

import json as jsonlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from weightspace.cli.manners import complain, progress
from weightspace.cli.show import show
from weightspace.inspect.sections import Section, number_text

if TYPE_CHECKING:
    from weightspace.latents.probing import ProbeReport

AtLeastTwo = Annotated[int, Parameter(validator=Number(gte=2))]


def probe(
    table: Path,
    columns: list[str],
    /,
    *,
    folds: AtLeastTwo = 5,
    seeds: Annotated[int, Parameter(validator=Number(gte=1))] = 3,
    permutations: Annotated[int, Parameter(validator=Number(gte=1))] = 200,
    json: bool = False,
) -> int:
    """Say how well a linear probe reads properties off the latents of runs that it was not fitted to.

    Beside the score (R2 of numbers, accuracy of names) stand chance, the score where each run has one random value
    (control), how likely a random property does as well (p), and an interval with the share that it really holds.

    Args:
        table: A Parquet file of latents with properties, such as `weightspace zoo embed` writes. Rows with the same
            `run` are kept together.
        columns: Properties.
        folds: Parts of the runs; each is told by a probe that was fitted to the others.
        seeds: How many times the runs are parted anew.
        permutations: How many random properties the true one is held against.
        json: Print one JSON list with an entry for each property.
    """
    from weightspace.errors import TableError
    from weightspace.latents.probing import ProbeSettings, probe_property
    from weightspace.latents.table import LatentTable

    latents, settings = LatentTable.read_parquet(table), ProbeSettings(folds, seeds, permutations)
    reports: list[ProbeReport] = []
    failed = 0
    with progress("property") as update:
        for done, column in enumerate(columns, 1):
            try:
                reports.append(probe_property(latents, column, settings))
            except TableError as error:
                complain(f"{table}: {error}")
                failed += 1
            update(done, len(columns))
    if json:
        print(jsonlib.dumps([report.as_dict() for report in reports], indent=1, allow_nan=False))
    elif reports:
        show([_section(str(table), reports)])
    return 1 if failed else 0


def _section(title: str, reports: list[ProbeReport]) -> Section:
    columns = (
        "property",
        "score",
        "spread",
        "chance",
        "control",
        "p",
        "within",
        "holds",
        "rows",
        "left out",
        "held out",
    )
    cells = tuple(
        (
            report.column,
            f"{report.score:.3f} {'R2' if report.kind == 'number' else 'accuracy'}",
            f"{report.spread:.3f}",
            f"{report.chance:.3f}",
            f"{report.control:.3f}",
            f"{report.p_value:.3g}",
            f"{number_text(report.margin)}{'' if report.kind == 'number' else ' names'}",
            f"{report.coverage:.1%}",
            f"{report.rows:,}",
            ", ".join(f"{count:,} {reason}" for reason, count in report.left_out.items()) or "0",
            f"{report.groups:,} {report.by}s",
        )
        for report in reports
    )
    return Section(title, columns, cells, frozenset(range(1, len(columns))))
