"""Tables on a terminal (with rich) and in a pipe (plain, aligned, the same at any width)."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from weightspace.cli.manners import printable
from weightspace.inspect.sections import Section


def show(sections: Iterable[Section]) -> None:
    """Print tables on standard output, each as soon as it comes."""
    draw = _draw_rich if sys.stdout.isatty() else _draw_plain
    for section in sections:
        draw(section)


def _draw_plain(section: Section) -> None:
    rows = [[printable(cell) for cell in row] for row in section.rows]
    lines = [list(section.columns), *rows] if any(section.columns) else rows
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    print(printable(section.title))
    for line in lines:
        cells = (
            cell.rjust(width) if i in section.right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        print("  " + "  ".join(cells).rstrip())
    print()


def _draw_rich(section: Section) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, show_header=any(section.columns))
    for i, column in enumerate(section.columns):
        table.add_column(column, justify="right" if i in section.right else "left", overflow="fold")
    for row in section.rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    console = Console()
    least = console.measure(table, options=console.options.update(max_width=10_000)).minimum
    if least <= console.width:
        console.print(Text(printable(section.title), style="bold"), soft_wrap=True)
        console.print(table)
    else:  # no word or number is broken in two: the terminal wraps whole lines
        _draw_plain(section)
