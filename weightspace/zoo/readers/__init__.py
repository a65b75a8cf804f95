"""Public model zoos read into populations: one file a published layout, one line in `LAYOUTS`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from weightspace.errors import ZooError
from weightspace.zoo.readers import (
    cnn_wild_park,
    dws_inrs,
    model_zoos,
    nfn_inrs,
    sb3_agents,
    small_cnn_zoo,
    table,
)
from weightspace.zoo.readers.importing import import_listing, read_problems
from weightspace.zoo.readers.layout import Layout
from weightspace.zoo.store import Population

LAYOUTS = {
    "small_cnn_zoo": Layout("Small CNN Zoo", small_cnn_zoo.matches, small_cnn_zoo.list_zoo),
    "table": Layout("checkpoints with a CSV of properties", table.matches, table.list_zoo),
    "cnn_wild_park": Layout("CNN Wild Park", cnn_wild_park.matches, cnn_wild_park.list_zoo),
    "model_zoos": Layout("Model Zoos of Schürholt et al.", model_zoos.matches, model_zoos.list_zoo),
    "dws_inrs": Layout("implicit networks of DWSNets", dws_inrs.matches, dws_inrs.list_zoo),
    "nfn_inrs": Layout("implicit networks of NFN", nfn_inrs.matches, nfn_inrs.list_zoo),
    "sb3_agents": Layout("Stable-Baselines3 agents", sb3_agents.matches, sb3_agents.list_zoo),
}
"""In the order in which they are tried."""

__all__ = ["LAYOUTS", "import_zoo", "read_problems", "recognise"]


def import_zoo(
    source: str | Path,
    folder: str | Path,
    *,
    layout: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Population:
    """Read a published zoo into a population; killed and started again, it goes on.

    No file is executed. A file that cannot be read is left out and noted, see `read_problems`; a network with weights
    that are not finite is kept and marked `diverged`. Weights keep their dtype. All checkpoints of a run lie in one
    split: the publisher's where there is one, else drawn by the run's name.

    Args:
        source: What was downloaded and unpacked.
        folder: Of the population.
        layout: One of `LAYOUTS`; recognised if None.
        progress: Called with the number of checkpoints done and of all.

    Raises:
        ZooError: The layout is unknown or not kept to, `folder` holds something else, nothing could be read, or the
            disk is full; what was finished stays.
    """
    source, folder = Path(source), Path(folder)
    name = layout or recognise(source)
    if name not in LAYOUTS:
        raise ZooError(f"layout {name!r} is not known; there are {', '.join(LAYOUTS)}.")
    if folder.resolve() == source.resolve():
        raise ZooError(f"{folder}: is the zoo itself; choose another folder for the population.")
    if not source.exists():
        raise ZooError(f"{source}: no such file or folder. Name what was downloaded and unpacked.")
    return import_listing(LAYOUTS[name].list_zoo(source), folder, layout=name, progress=progress)


def recognise(source: str | Path) -> str:
    """Return the name of the layout that a file or folder has.

    Raises:
        ZooError: It has none of them.
    """
    source = Path(source)
    for name, layout in LAYOUTS.items():
        if layout.matches(source):
            return name
    known = "; ".join(f"{name} ({layout.title})" for name, layout in LAYOUTS.items())
    step = "no such file or folder" if not source.exists() else "none of the layouts that are read"
    packed = " Unpack it first." if source.suffix in (".xz", ".gz", ".tar", ".tgz", ".zip") else ""
    raise ZooError(f"{source}: {step}.{packed} Name one with layout=: {known}.")
