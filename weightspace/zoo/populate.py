"""Build a population from a recipe: train its networks in stacks, keep snapshots, survive being killed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from weightspace.errors import ZooError
from weightspace.zoo.append import append_parts
from weightspace.zoo.build import Build, Site
from weightspace.zoo.manifest import MANIFEST, write_whole
from weightspace.zoo.plan import check_fit, plan_jobs
from weightspace.zoo.recipe import Recipe
from weightspace.zoo.store import Population


def populate(recipe: Recipe, site: Site) -> Population:
    """Build the population of a recipe, or go on where an earlier, killed build stopped.

    The finished folder holds the same bytes however often it was stopped (on a CPU, with the same versions).

    Raises:
        RecipeError: The recipe does not fit its data.
        DataError: A dataset is missing or wrong.
        ZooError: The folder holds another recipe's population, or the disk is full.
    """
    jobs = plan_jobs(recipe, site.share)
    check_fit(recipe, jobs, site.data_dir)
    _claim(recipe, site)
    begun = (site.folder / MANIFEST).exists()
    finished = set(Population(site.folder).frame(["shard"])["shard"]) if begun else set()
    build = Build(recipe, site, sum(len(group) for job in jobs for group in job))
    with _deterministic(site.deterministic):
        for number, job in enumerate(jobs):
            shard = f"{number:05d}.safetensors"
            if shard in finished:
                build.skip(sum(map(len, job)))
                continue
            parts = [part for i, group in enumerate(job) for part in build.grow(f"{number:05d}-{i:04d}", group)]
            append_parts(site.folder, shard, parts)
            shutil.rmtree(site.work, ignore_errors=True)
    shutil.rmtree(site.work, ignore_errors=True)
    return Population(site.folder)


@contextmanager
def _deterministic(wanted: bool) -> Iterator[None]:
    """Let PyTorch use only operations that give the same bits each time, if that is wanted."""
    before = torch.are_deterministic_algorithms_enabled()
    if wanted:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it CUDA's matrix products are refused
    torch.use_deterministic_algorithms(wanted or before)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


def _claim(recipe: Recipe, site: Site) -> None:
    """Put the recipe into the folder, or see that it is the one there."""
    path = site.folder / "recipe.yaml"
    if path.exists() and path.read_text() != recipe.text:
        raise ZooError(f"{site.folder}: holds the population of another recipe; choose another folder or remove it.")
    for draft in site.folder.rglob(".*.tmp"):  # of a build that was killed while it wrote
        draft.unlink()
    write_whole(path, lambda draft: draft.write_text(recipe.text))
