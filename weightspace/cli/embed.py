"""`weightspace embed`: one latent a checkpoint, into a Parquet table."""

from __future__ import annotations

import json as jsonlib
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from cyclopts.validators import Number

from weightspace.cli.manners import Inputs, UsageError, check_output, complain, complain_about, find_inputs, progress
from weightspace.cli.show import show
from weightspace.inspect.sections import Section, number_text

if TYPE_CHECKING:
    from weightspace.encode.encoder import Encoder
    from weightspace.latents.table import LatentTable

SHOWN = 50  # rows of a table that are printed; all of them are in the file


def embed(
    paths: Inputs,
    /,
    *,
    output: Annotated[Path, Parameter(name=("--output", "-o"))],
    neighbours: Annotated[int, Parameter(validator=Number(gte=0))] = 0,
    resume: bool = False,
    force: bool = False,
    json: bool = False,
) -> int:
    """Write one latent a checkpoint into a Parquet table, and say how much of each was understood.

    The vector of a checkpoint is the same for every relabelling of its hidden units. An input that fails has a row
    that says why. What was embedded before Ctrl-C is kept for --resume.

    Args:
        paths: Files, folders, hub ids, or - for a list of them on standard input.
        output: The Parquet file to write: id, path, sha256, weights, understood, free_units, vector, error.
        neighbours: Also print so many nearest others of each checkpoint.
        resume: Keep the rows of an existing output, and embed what is not in it.
        force: Overwrite an existing output.
        json: Print one JSON object.
    """
    if resume and force:
        raise UsageError("--resume keeps the rows that --force throws away: pass one of them.")
    check_output(output, force=force or resume)
    table = _encode(find_inputs(paths), output, resume)
    failed = [(row["path"], row["error"]) for row in table.data.select(["path", "error"]).to_pylist() if row["error"]]
    for path, error in failed:
        complain_about(path, error)
    nearest = _nearest(table, neighbours) if neighbours else {}
    if json:
        print(jsonlib.dumps(_summary(table, output, nearest), indent=1, allow_nan=False))
    else:
        show(_sections(_summary(table, output, nearest)))
    return 1 if failed else 0


def _encode(inputs: list[str], output: Path, resume: bool) -> LatentTable:
    """Embed what is not known yet, and write the table."""
    from weightspace.encode.encoder import Encoder
    from weightspace.latents.table import LatentTable

    encoder = Encoder.from_pretrained()
    known = LatentTable.read_parquet(output) if resume and output.exists() else None
    if known is not None:
        _check_encoder(encoder, known, output)
    partial = output.with_name(f".{output.name}.partial")
    if not resume:
        shutil.rmtree(partial, ignore_errors=True)
    with progress("checkpoint") as update:
        table = encoder.encode_many(inputs, progress=update, cache=partial, known=known)
    if known is not None:
        table = _others(known, table).append(table)
    table.to_parquet(output, overwrite=True)
    shutil.rmtree(partial, ignore_errors=True)
    return table


def _check_encoder(encoder: Encoder, known: LatentTable, output: Path) -> None:
    if known.encoder != encoder.id:
        raise UsageError(
            f"{output} holds latents of the encoder {known.encoder}, which do not go with those of {encoder.id}: "
            "pass --force to embed all again."
        )


def _others(known: LatentTable, table: LatentTable) -> LatentTable:
    """Rows of the known table that the new one does not replace."""
    again = set(table["path"])
    return type(known)(known.data.filter([path not in again for path in known["path"]]))


def _nearest(table: LatentTable, k: int) -> dict[str, list[dict[str, Any]]]:
    """Nearest others of each checkpoint by its id, none where fewer than two have a latent."""
    from weightspace.latents.neighbours import neighbours

    if table.fine.sum() < 2:
        complain("no neighbours: fewer than two checkpoints have a latent.")
        return {}
    found: dict[str, list[dict[str, Any]]] = {}
    for row in neighbours(table, k).to_dict("records"):
        found.setdefault(row["id"], []).append({"id": row["neighbour"], "distance": row["distance"]})
    return found


def _summary(table: LatentTable, output: Path, nearest: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    columns = ["id", "path", "weights", "understood", "free_units", "nonfinite", "error"]
    rows = table.data.select(columns).to_pylist()
    shares = [row["understood"] for row in rows if not row["error"]]
    return {
        "output": str(output),
        "encoder": table.encoder,
        "graph_version": table.graph_version,
        "checkpoints": len(rows),
        "failed": len(rows) - len(shares),
        "weights": sum(row["weights"] or 0 for row in rows),
        "understood_mean": sum(shares) / len(shares) if shares else None,
        "understood_least": min(shares, default=None),
        "rows": [row | ({"neighbours": nearest[row["id"]]} if row["id"] in nearest else {}) for row in rows],
    }


def _sections(summary: dict[str, Any]) -> list[Section]:
    rows = summary["rows"]
    shown = [row for row in rows if not row["error"]][:SHOWN]
    mean, least = (_percent(summary[f"understood_{word}"]) for word in ("mean", "least"))
    about = (
        ("checkpoints", f"{summary['checkpoints']} ({summary['failed']} failed)"),
        ("weights", f"{summary['weights']:,}"),
        ("understood", f"{mean} of a checkpoint's weights on average, at least {least}"),
        ("encoder", summary["encoder"]),
    )
    cells = [(row["id"], f"{row['weights']:,}", _percent(row["understood"]), f"{row['free_units']:,}") for row in shown]
    sections = [
        Section(summary["output"], ("", ""), about),
        Section(
            _title("coverage", rows), ("id", "weights", "understood", "free units"), tuple(cells), frozenset({1, 2, 3})
        ),
    ]
    near = [(row["id"], *_pairs(row["neighbours"])) for row in shown if "neighbours" in row]
    if near:
        ranks = tuple(cell for i in range(len(near[0]) // 2) for cell in (f"nearest {i + 1}", "distance"))
        right = frozenset(range(2, len(near[0]), 2))
        sections.append(Section(_title("neighbours", rows), ("id", *ranks), tuple(near), right))
    return sections


def _pairs(found: list[dict[str, Any]]) -> tuple[str, ...]:
    return tuple(cell for other in found for cell in (other["id"], number_text(other["distance"])))


def _title(what: str, rows: list[dict[str, Any]]) -> str:
    fine = sum(not row["error"] for row in rows)
    return what if fine <= SHOWN else f"{what} (the first {SHOWN} of {fine}; the file has all)"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"
