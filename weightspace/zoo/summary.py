"""What ships with the package, and what a population holds; no weight is read."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from math import prod
from pathlib import Path
from typing import Any

import pandas as pd

from weightspace.zoo.manifest import MANIFEST
from weightspace.zoo.recipe import Recipe, load_recipe
from weightspace.zoo.store import ARCHITECTURES, SHARDS, Population

QUANTILES = {"min": 0.0, "q25": 0.25, "median": 0.5, "q75": 0.75, "max": 1.0}
MEASURES = ("test_accuracy", "test_return", "psnr")
"""Columns that say how good a network is, the first one that there is."""
NEAR_CHANCE = 0.02
"""A network whose accuracy is not so much above chance counts as collapsed."""


def list_shipped() -> list[dict[str, Any]]:
    """Return a row for each recipe and each population that comes with the package, by name."""
    home = Path(str(files("weightspace.model_zoo")))
    recipes = [_recipe_row(load_recipe(path)) for path in sorted((home / "recipes").glob("*.yaml"))]
    folders = sorted(path.parent for path in (home / "populations").glob(f"*/{MANIFEST}"))
    return recipes + [_population_row(Population(folder)) for folder in folders]


def _recipe_row(recipe: Recipe) -> dict[str, Any]:
    return {
        "name": recipe.name,
        "kind": "recipe",
        "family": recipe.family,
        "datasets": sorted(map(str, recipe.sample["dataset"].support)),
        "runs": recipe.runs,
        "snapshots": len(recipe.snapshots),
        "checkpoints": recipe.runs * (len(recipe.snapshots) + len(recipe.tree)),
        "bytes": None,
    }


def _population_row(population: Population) -> dict[str, Any]:
    known = {"family", "dataset", "run", "snapshot"} & set(population.columns)
    frame = population.frame(sorted(known))
    families = frame["family"].unique().tolist() if "family" in frame else []
    return {
        "name": population.folder.name,
        "kind": "population",
        "family": ", ".join(sorted(map(str, families))),
        "datasets": sorted(map(str, frame["dataset"].unique())) if "dataset" in frame else [],
        "runs": frame["run"].nunique(),
        "snapshots": frame["snapshot"].nunique() if "snapshot" in frame else None,
        "checkpoints": len(frame),
        "bytes": count_bytes(population),
    }


def count_bytes(population: Population) -> int:
    """Return what a population takes on disk, unfinished work left out."""
    shards = (population.folder / SHARDS).glob("*.safetensors")
    return sum(
        path.stat().st_size for path in (*shards, population.folder / MANIFEST, population.folder / ARCHITECTURES)
    )


def summarise_population(population: Population) -> dict[str, Any]:
    """Return counts, architectures, columns, splits, and how good the networks are at the end of their training.

    For each dataset: quantiles of the first of `MEASURES` over final networks that did not diverge, the share that
    collapsed (within 2 points of chance, where the number of classes is known) and the share that diverged.
    """
    wanted = ("run", "node", "snapshot", "epoch", "split", "dataset", "architecture", "diverged", *MEASURES)
    frame = population.frame([name for name in wanted if name in population.columns])
    counts = frame["architecture"].value_counts()
    recipe = population.folder / "recipe.yaml"
    return {
        "population": str(population.folder),
        "recipe": load_recipe(recipe).name if recipe.exists() else None,
        "checkpoints": len(frame),
        "runs": int(frame["run"].nunique()),
        "bytes": count_bytes(population),
        "unfinished": (population.folder / "work").exists(),
        "architectures": [
            _describe_architecture(kind, known, int(counts.get(kind, 0)))
            for kind, known in sorted(population.architectures.items())
        ],
        "splits": _count_splits(frame),
        "datasets": _describe_datasets(population, _final_rows(frame)),
        "columns": list(population.columns),
    }


def _describe_architecture(kind: str, known: Mapping[str, Any], checkpoints: int) -> dict[str, Any]:
    weights = sum(prod(shape) for shape in known["shapes"].values())
    about = {key: known.get(key) for key in ("family", "options")}
    return {"architecture": kind, "weights": weights, "checkpoints": checkpoints} | about


def _count_splits(frame: pd.DataFrame) -> dict[str, dict[str, int]]:
    if "split" not in frame:
        return {}
    groups = frame.groupby("split", observed=True)["run"]
    return {str(name): {"runs": int(runs.nunique()), "checkpoints": len(runs)} for name, runs in groups}


def _final_rows(frame: pd.DataFrame) -> pd.DataFrame:
    """The last snapshot of each run, or of each node of its tree."""
    order = next((name for name in ("snapshot", "epoch") if name in frame), None)
    if order is None:
        return frame
    keys = [name for name in ("run", "node") if name in frame]
    return frame.sort_values(order, kind="stable").drop_duplicates(keys, keep="last")


def _describe_datasets(population: Population, final: pd.DataFrame) -> list[dict[str, Any]]:
    names = final["dataset"].astype(str) if "dataset" in final else pd.Series("", index=final.index)
    diverged = final["diverged"].fillna(False).astype(bool) if "diverged" in final else pd.Series(False, final.index)
    classes = {kind: a.get("signature", {}).get("outputs") for kind, a in population.architectures.items()}
    measure = next((name for name in MEASURES if name in final), None)
    chance = 1 / final["architecture"].astype(object).map(classes).astype(float)
    rows = []
    for name in sorted(names.unique()):
        here = names == name
        row: dict[str, Any] = {"dataset": name, "networks": int(here.sum()), "measure": measure}
        values = final.loc[here & ~diverged, measure].dropna() if measure else pd.Series(dtype=float)
        row["quantiles"] = {key: float(values.quantile(q)) for key, q in QUANTILES.items()} if len(values) else None
        row["collapsed"] = None
        if measure == "test_accuracy" and chance[here].notna().all():
            row["collapsed"] = float((final.loc[here, measure] < chance[here] + NEAR_CHANCE).mean())
        rows.append(row | {"divergent": float(diverged[here].mean()) if "diverged" in final else None})
    return rows
