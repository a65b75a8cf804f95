"""Which runs are trained together, and on what."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from weightspace.errors import RecipeError
from weightspace.zoo.control import CartPole
from weightspace.zoo.data import load_dataset, shift_dataset
from weightspace.zoo.families import FAMILIES, build_network
from weightspace.zoo.families.signature import Signature
from weightspace.zoo.families.siren import pixel_places
from weightspace.zoo.recipe import Recipe
from weightspace.zoo.seeds import mix_seed
from weightspace.zoo.tasks import Examples, Sampling, Task

Run = Mapping[str, Any]
Group = list[dict[str, Any]]

CARTPOLE = "cartpole"


def group_key(recipe: Recipe, run: Run) -> str:
    """Return what runs must share to train in one stack: architecture, data, and whether they drop out."""
    options = {key: run[key] for key in FAMILIES[recipe.family].options}
    return json.dumps([run["dataset"], run["train_fraction"], run["dropout"] > 0, options])


def plan_jobs(recipe: Recipe, share: tuple[int, int] = (0, 1)) -> list[list[Group]]:
    """Return jobs of at most `recipe.stack` runs, each a list of groups that train one after the other.

    Groups are those of equal `group_key`, cut at `recipe.stack`; small ones share a job, and so a shard.

    Args:
        recipe: Of the population.
        share: `(i, n)`: only every n-th group from the i-th on.
    """
    groups: dict[str, Group] = {}
    for number in range(recipe.runs):
        run = recipe.draw_run(number)
        groups.setdefault(group_key(recipe, run), []).append(run)
    size = recipe.stack
    cut = [groups[key][i : i + size] for key in sorted(groups) for i in range(0, len(groups[key]), size)]
    jobs: list[list[Group]] = []
    room = 0
    for group in cut[share[0] :: share[1]]:
        if len(group) > room:
            jobs.append([])
            room = size
        jobs[-1].append(group)
        room -= len(group)
    return jobs


def check_fit(recipe: Recipe, jobs: list[list[Group]], data_dir: str | None) -> None:
    """See that every group's network can be built for its data, before hours are spent on those ahead of it.

    Raises:
        RecipeError: A family does not take such data, or its choices do not fit.
        DataError: A dataset is missing or wrong.
    """
    wanted = FAMILIES[recipe.family].data
    shifts = sorted({str(node.options.get("shift", "none")) for node in recipe.tree.values()} - {"none"})
    for run in (group[0] for job in jobs for group in job):
        kind, signature = _describe_data(run["dataset"], data_dir)
        if kind not in TAKES[wanted]:
            raise RecipeError(
                f"{recipe.source}: family {recipe.family!r} learns from {' or '.join(TAKES[wanted])}, "
                f"dataset {run['dataset']!r} holds {kind}."
            )
        if shifts and kind not in ("images", "rows"):
            raise RecipeError(f"{recipe.source}: tree: shifts {shifts} change images or rows, not {kind}.")
        signature = Signature((2,), signature.inputs[0]) if wanted == "image" else signature
        try:
            with torch.device("meta"):
                make_module(recipe, run, signature)
        except RecipeError as error:
            raise RecipeError(f"{recipe.source}: run {run['run']}: {error}") from error


# what a family's kind of data may be made from; an implicit network learns one image of many
TAKES = {
    "images": ("images",),
    "rows": ("rows", "images"),
    "text": ("text",),
    "image": ("images",),
    "control": ("control",),
}


def _describe_data(name: str, data_dir: str | None) -> tuple[str, Signature]:
    if name == CARTPOLE:
        return "control", CartPole.signature
    data = load_dataset(name, data_dir)
    kind = "text" if not data.x.is_floating_point() else "images" if data.x.ndim == 4 else "rows"
    return kind, data.signature


def make_task(recipe: Recipe, group: Group, *, data_dir: str | None, device: str, shift: str = "none") -> Task:
    """Return what a group learns; images of `siren` runs are noted in the runs as `image` and `label`."""
    kind, run = FAMILIES[recipe.family].data, group[0]
    if kind == "control":
        return CartPole([run["seed"] for run in group], device=device)
    data = shift_dataset(load_dataset(run["dataset"], data_dir), shift)
    order = mix_seed(recipe.seed, run["dataset"])
    sampling = Sampling(1.0, recipe.batch_size, recipe.score_on, order)
    if kind == "image":
        chosen = torch.tensor([run["seed"] % len(data.x) for run in group])
        for run, image in zip(group, chosen.tolist(), strict=True):
            run |= {"image": image, "label": int(data.y[image])}
        values = data.x[chosen].flatten(2).transpose(1, 2).contiguous()
        train = (pixel_places(*data.x.shape[2:]).to(device), values.to(device))
        return Examples(train, None, outputs=data.x.shape[1], sampling=sampling)
    train, test = ((x.to(device), y.to(device)) for x, y in ((data.x, data.y), (data.x_test, data.y_test)))
    return Examples(train, test, outputs=data.outputs, sampling=replace(sampling, fraction=run["train_fraction"]))


def make_module(recipe: Recipe, run: Run, signature: Signature) -> nn.Module:
    """Return the untrained module of a run's group."""
    options = {key: run[key] for key in FAMILIES[recipe.family].options}
    return build_network(recipe.family, signature, options, dropout=run["dropout"] > 0)
