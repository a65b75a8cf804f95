"""`weightspace explore`: a latent table in a browser on this machine."""

from __future__ import annotations

import json as jsonlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from weightspace.cli.manners import UsageError, complain

if TYPE_CHECKING:
    from weightspace.latents.map import LatentMap


@Parameter(name="*")
@dataclass(frozen=True)
class Found:
    """Where the explorer finds what the table does not hold.

    Args:
        encoder: The one that made the table, for uploads: a name or a folder; by default one that ships and fits.
        decoder: One of the same encoder's latents, to decode live: a name or a folder; by default the one that ships.
        dataset: Test all networks on this, instead of the dataset that their row names.
        data_dir: Folder of dataset files.
        population: Folder of a population that rows lie in; may be repeated. Those that ship are known.
    """

    encoder: str | None = None
    decoder: str | None = None
    dataset: str | None = None
    data_dir: str | None = None
    population: tuple[Path, ...] = ()


_DEFAULT = Found()


def explore(
    table: Path,
    /,
    *,
    found: Found = _DEFAULT,
    port: Annotated[int, Parameter(validator=Number(gte=0, lte=65535))] = 0,
    upload_mb: Annotated[int, Parameter(validator=Number(gte=1))] = 256,
    open: bool = False,
    json: bool = False,
) -> int:
    """Explore a latent table in a browser: its map, each network, and networks decoded live.

    Serves a page on this machine alone and prints its address; nothing is asked of any other. Ctrl-C ends it.

    Args:
        table: A Parquet file of latents, or of a map of them (`map -o map.parquet`), which opens at once.
        found: Where the explorer finds what the table does not hold.
        port: To listen on; 0 for a free one.
        upload_mb: Megabytes that an uploaded checkpoint may have.
        open: Also open the page in the browser.
        json: Print the address as a JSON object.
    """
    try:
        from weightspace.app.serve import serve
    except ModuleNotFoundError as error:
        if error.name not in ("starlette", "uvicorn"):
            raise
        raise UsageError("the explorer is not installed: pip install 'weightspace[app]'.") from None
    from weightspace.app.explorer import Explorer, Settings

    settings = Settings(
        table, found.encoder, found.decoder, found.dataset, found.data_dir, found.population, upload_mb * 2**20
    )
    explorer = Explorer(_read(table), settings)

    def ready(address: str) -> None:
        print(
            jsonlib.dumps({"url": address}) if json else f"exploring {table} at {address} (Ctrl-C ends it)", flush=True
        )
        if open:
            import webbrowser

            webbrowser.open(address)

    serve(explorer, port=port, ready=ready)
    return 0


def _read(path: Path) -> LatentMap:
    """The map in a file, or a map of its table."""
    from weightspace.latents.map import MAP, fit_map, read_map
    from weightspace.latents.table import LatentTable

    table = LatentTable.read_parquet(path)
    if MAP in (table.data.schema.metadata or {}):
        return read_map(path)
    complain(f"drawing the map of {len(table):,} rows; `weightspace map {path} -o map.parquet` keeps one.")
    return fit_map(table)
