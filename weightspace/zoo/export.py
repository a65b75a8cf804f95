"""A population as a folder of plain files: a safetensors file a checkpoint, and a CSV of properties."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.errors import ZooError
from weightspace.zoo.manifest import write_whole
from weightspace.zoo.readers.table import TYPES_FILE
from weightspace.zoo.store import Population

PROPERTIES, CHECKPOINTS = "properties.csv", "checkpoints"
_STORAGE = ("shard", "group", "row", "sha256")


def export_population(
    population: Population, folder: str | Path, *, where: Sequence[tuple[str, str, Any]] = ()
) -> Path:
    """Write checkpoints and their properties into a folder; `import_zoo` reads it back exactly.

    Files that are there from an export that was stopped are written again. The CSV comes last.

    Args:
        population: What to write.
        folder: A new one, or that of a stopped export.
        where: Conditions as for `Population.frame`; all rows if there are none.

    Returns:
        The CSV.

    Raises:
        ZooError: `folder` holds a finished export or other files, no row meets the conditions, or weights are missing
            or altered.
    """
    folder = Path(folder)
    _check_room(folder)
    rows = population.frame(where=where)
    if rows.empty:
        raise ZooError(f"{population.folder}: none of {len(population)} checkpoints meets {list(where)}.")
    rows = rows.reset_index(drop=True)
    digits = len(str(len(rows)))
    rows.insert(0, "file", [f"{CHECKPOINTS}/{number:0{digits}d}.safetensors" for number in rows.index])
    (folder / CHECKPOINTS).mkdir(parents=True, exist_ok=True)
    for batch, stack in population.batches(rows):
        for place, (file, identity) in enumerate(zip(batch["file"], batch["id"], strict=True)):
            one = Checkpoint({name: tensor[place] for name, tensor in stack.items()}, source=str(identity))
            one.save(folder / file, overwrite=True)
    used = {name: population.architectures[name] for name in sorted(set(rows["architecture"].astype(str)))}
    kept = rows.drop(columns=list(_STORAGE))
    missing = _absent(kept)
    types = {str(name): _kind(kept[name]) for name in kept}
    noted = {"types": types, "missing": missing, "architectures": used}
    write_whole(folder / TYPES_FILE, lambda draft: draft.write_text(json.dumps(noted, indent=1) + "\n", "utf-8"))
    text = kept.to_csv(index=False, na_rep=missing)
    write_whole(folder / PROPERTIES, lambda draft: draft.write_text(text, "utf-8"))
    return folder / PROPERTIES


def _check_room(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise ZooError(f"{folder}: is no folder; choose another name.")
    others = sorted({path.name for path in folder.glob("*")} - {CHECKPOINTS, TYPES_FILE}) if folder.exists() else []
    if others:
        raise ZooError(f"{folder}: holds {', '.join(others[:3])} already; export into a new folder.")


def _absent(rows: pd.DataFrame) -> str:
    """What stands for a missing value: nothing, or as many `~` as no text here is."""
    texts = {value for name in rows if _kind(rows[name]) == "string" for value in rows[name].dropna().unique()}
    token = ""
    while token in texts:
        token += "~"
    return token


def _kind(column: pd.Series) -> str:
    if set(map(type, column.dropna().unique())) <= {bool, np.bool_} and column.notna().any():
        return "bool"
    if pd.api.types.is_numeric_dtype(column):
        return "number"
    return "string"
