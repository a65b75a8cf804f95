"""What a latent table holds: how much of each checkpoint was understood, and which others are near it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from weightspace.inspect.sections import Section, number_text

if TYPE_CHECKING:
    from weightspace.latents.table import LatentTable

COLUMNS = ("id", "path", "weights", "understood", "free_units", "nonfinite", "error")


def summarise(table: LatentTable, *, neighbours: int = 0) -> dict[str, Any]:
    """Return counts, shares and rows as JSON's types; shares are over the rows that did not fail.

    Args:
        table: Of latents.
        neighbours: How many nearest others to name for each row; 0 names none.

    Raises:
        TableError: Neighbours are asked for and fewer than two rows hold a vector.
    """
    rows = table.data.select(list(COLUMNS)).to_pylist()
    if neighbours:
        _add_neighbours(rows, table, neighbours)
    shares = [row["understood"] for row in rows if not row["error"]]
    return {
        "encoder": table.encoder,
        "graph_version": table.graph_version,
        "checkpoints": len(rows),
        "failed": len(rows) - len(shares),
        "weights": sum(row["weights"] or 0 for row in rows),
        "understood_mean": sum(shares) / len(shares) if shares else None,
        "understood_least": min(shares, default=None),
        "nonfinite": sum(bool(row["nonfinite"]) for row in rows),
        "rows": rows,
    }


def coverage_sections(summary: dict[str, Any], *, title: str, shown: int) -> list[Section]:
    """Return a summary as tables, at most `shown` rows each."""
    rows = [row for row in summary["rows"] if not row["error"]]
    more = "" if len(rows) <= shown else f" (the first {shown} of {len(rows)}; the file has all)"
    mean, least = (_percent(summary[f"understood_{word}"]) for word in ("mean", "least"))
    about: tuple[tuple[str, str], ...] = (
        ("checkpoints", f"{summary['checkpoints']} ({summary['failed']} failed)"),
        ("weights", f"{summary['weights']:,}"),
        ("understood", f"{mean} of a checkpoint's weights on average, at least {least}"),
        ("encoder", summary["encoder"]),
    )
    if summary["nonfinite"]:
        sick = f"{summary['nonfinite']} hold NaN or infinite weights, which count as zero in their latents"
        about = (*about, ("not finite", sick))
    sections = [Section(title, ("", ""), about)]
    if rows:
        sections.append(_coverage(f"coverage{more}", rows[:shown]))
    if rows and "neighbours" in rows[0]:
        sections.append(_neighbours(f"neighbours{more}", rows[:shown]))
    return sections


def _add_neighbours(rows: list[dict[str, Any]], table: LatentTable, k: int) -> None:
    from weightspace.latents.search import neighbours

    found = neighbours(table, k).to_dict("records")
    each = len(found) // int(table.fine.sum())
    for place, row in enumerate(row for row in rows if not row["error"]):
        mine = found[place * each : (place + 1) * each]
        row["neighbours"] = [{"id": other["neighbour"], "distance": other["distance"]} for other in mine]


def _coverage(title: str, rows: list[dict[str, Any]]) -> Section:
    columns = ("id", "weights", "understood", "free units", "not finite")
    cells = tuple(
        (r["id"], f"{r['weights']:,}", _percent(r["understood"]), f"{r['free_units']:,}", f"{r['nonfinite']:,}")
        for r in rows
    )
    if any(row["nonfinite"] for row in rows):
        return Section(title, columns, cells, frozenset({1, 2, 3, 4}))
    return Section(title, columns[:4], tuple(cell[:4] for cell in cells), frozenset({1, 2, 3}))


def _neighbours(title: str, rows: list[dict[str, Any]]) -> Section:
    columns = [name for k in range(len(rows[0]["neighbours"])) for name in (f"nearest {k + 1}", "distance")]
    cells = tuple(
        (row["id"], *(cell for other in row["neighbours"] for cell in (other["id"], number_text(other["distance"]))))
        for row in rows
    )
    return Section(title, ("id", *columns), cells, frozenset(range(2, len(columns) + 1, 2)))


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"
