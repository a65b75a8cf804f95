"""`weightspace map`: a latent table as a picture."""

from __future__ import annotations

import json as jsonlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from weightspace.cli.manners import UsageError, check_output

if TYPE_CHECKING:
    from weightspace.latents.map import LatentMap
    from weightspace.latents.table import LatentTable

KINDS = (".html", ".parquet", ".svg", ".png")


@Parameter(name="*")
@dataclass(frozen=True)
class Drawing:
    """How the map is made and looks.

    Args:
        method: How vectors become places.
        seed: Of the places; the same seed gives the same map.
        on: Keep the places of this map (a Parquet file that `map` wrote) and put the table's rows on it.
        colour: Column to colour by.
        theme: Ground of pictures; a page follows its reader.
    """

    method: Literal["tsne", "pca", "umap"] = "tsne"
    seed: int = 0
    on: Path | None = None
    colour: str | None = None
    theme: Literal["dark", "light"] = "light"


_DEFAULT = Drawing()


def map(
    table: Path,
    /,
    *,
    output: Annotated[list[Path], Parameter(name=("--output", "-o"))],
    drawing: Drawing = _DEFAULT,
    force: bool = False,
    json: bool = False,
) -> int:
    """Draw the map of a latent table: near on the map is near in the latents, as far as a plane allows.

    Rows that failed or are not finite have no place; they are counted. With --on, rows are put on a map that is there:
    nothing on it moves.

    Args:
        table: A Parquet file that `embed` wrote, with any further columns.
        output: Files to write, by their ending: .html (one page that works offline), .parquet (for --on, and for
            embedding-atlas --x x --y y), .svg or .png. May be given several times.
        drawing: How the map is made and looks.
        force: Overwrite existing outputs.
        json: Print one JSON object.
    """
    from weightspace.latents.columns import colour_column
    from weightspace.latents.table import LatentTable

    for path in output:
        if path.suffix not in KINDS:
            raise UsageError(f"{path}: its ending must be one of {', '.join(KINDS)}.")
        if path.exists() and path.resolve() in {p.resolve() for p in (table, drawing.on) if p}:
            raise UsageError(f"{path} is what the map is made from: name another file.")
        check_output(path, force=force)
    rows = LatentTable.read_parquet(table)
    drawn = _draw(rows, drawing)
    if drawing.colour is not None:
        colour_column(drawn.table, drawing.colour)
    for path in output:
        _write(drawn, path, drawing, title=table.stem)
    about: dict[str, Any] = {"output": [str(path) for path in output], "method": drawn.method, "seed": drawn.seed}
    about |= {"checkpoints": len(drawn), "left_out": drawn.left_out, "placed": int((~drawn.fitted).sum())}
    if json:
        print(jsonlib.dumps(about, indent=1))
    else:
        left = f", {drawn.left_out} rows without a finite vector left out" if drawn.left_out else ""
        print(f"{len(drawn):,} checkpoints by {drawn.method}{left}: {', '.join(about['output'])}")
    return 0


def _draw(rows: LatentTable, drawing: Drawing) -> LatentMap:
    from weightspace.latents.map import fit_map, read_map

    if drawing.on is None:
        return fit_map(rows, method=drawing.method, seed=drawing.seed)
    return read_map(drawing.on).place(rows)


def _write(drawn: LatentMap, path: Path, drawing: Drawing, *, title: str) -> None:
    from weightspace.latents.map_page import write_page
    from weightspace.latents.picture import write_picture
    from weightspace.latents.table import write_output

    if path.suffix == ".parquet":
        drawn.to_parquet(path, overwrite=True)
    elif path.suffix == ".html":
        page = write_page(drawn, title=title, colour=drawing.colour)
        write_output(path, lambda draft: draft.write_text(page, encoding="utf-8"), overwrite=True)
    else:
        write_picture(drawn, path, colour=drawing.colour, theme=drawing.theme, overwrite=True)
