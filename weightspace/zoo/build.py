"""One process at work on a population: trains groups, saves what it is at, tells how far it is."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from weightspace.execute.stack import Stacked
from weightspace.zoo.append import Part, describe_shapes
from weightspace.zoo.descend import START, Descent
from weightspace.zoo.families import FAMILIES
from weightspace.zoo.manifest import write_whole
from weightspace.zoo.plan import Group, make_module, make_task
from weightspace.zoo.recipe import Recipe
from weightspace.zoo.seeds import mix_seed
from weightspace.zoo.training import StackTraining
from weightspace.zoo.tree import TreeNode

DTYPES = {"fp16": torch.float16, "fp32": torch.float32}
TELL_EVERY = 0.3  # seconds between reports of progress
ROOT = TreeNode("train", ())


@dataclass(frozen=True)
class Progress:
    """How far a build is.

    Args:
        done: Networks finished or under way, as a number of whole networks.
        total: Networks to train.
        seconds: Since this process began.
        begun_at: Networks that were finished before.
    """

    done: float
    total: int
    seconds: float
    begun_at: float = 0.0

    @property
    def networks_per_second(self) -> float:
        """Since this process began."""
        return (self.done - self.begun_at) / max(self.seconds, 1e-9)

    @property
    def seconds_left(self) -> float:
        """At the present speed."""
        return (self.total - self.done) / max(self.networks_per_second, 1e-9)


@dataclass(frozen=True)
class Site:
    """Where and how a population is built.

    Args:
        folder: Of the population.
        data_dir: Folder of dataset files.
        device: `cpu` or `cuda`.
        save_every: Seconds of training that a kill may cost.
        deterministic: Whether an accelerator must give the same bytes each time, as a CPU does anyway; slower.
        share: `(i, n)`: every n-th group of networks from the i-th on, so that n processes with a folder each build
            one population between them, for `merge_populations` to bring together.
        progress: Called a few times a second.
    """

    folder: Path
    data_dir: str | None = None
    device: str = "cpu"
    save_every: float = 30.0
    deterministic: bool = False
    share: tuple[int, int] = (0, 1)
    progress: Callable[[Progress], None] | None = None

    @property
    def work(self) -> Path:
        """Unfinished training; gone when the population is complete."""
        return self.folder / "work"


class Build:
    """Trains the groups of a recipe at a site.

    Args:
        recipe: What to build.
        site: Where.
        total: Networks to train from scratch.
    """

    def __init__(self, recipe: Recipe, site: Site, total: int):
        self.recipe, self.site, self.total = recipe, site, total
        self.done, self.begun_at, self.begun, self.told = 0.0, 0.0, time.monotonic(), 0.0

    def skip(self, networks: int) -> None:
        """Count networks that were finished before."""
        self.done += networks
        self.begun_at += networks

    def grow(self, key: str, group: Group) -> Iterator[Part]:
        """Yield the snapshots of a group's roots, then one part for each node of the recipe's tree."""
        roots = _Stage("root", ROOT, "none", self.recipe.snapshots)
        parts = {"root": Part(pd.DataFrame(), {}, {})}
        for parts["root"] in self._train(key, group, roots):
            yield parts["root"]
        self.done += len(group)
        shifts = {"root": "none"}
        for name, node in self.recipe.tree.items():
            shifts[name] = node.options.get("shift", shifts[node.parents[0]])
            stage = _Stage(name, node, shifts[name], (float(node.options.get("epochs", 0)),))
            (part,) = self._train(f"{key}-{name}", group, stage, [parts[parent] for parent in node.parents])
            parts[name] = part
            yield part

    def _train(self, key: str, group: Group, stage: _Stage, parents: list[Part] | None = None) -> list[Part]:
        """Train one stack through its snapshots; goes on from the work folder."""
        site, recipe = self.site, self.recipe
        task = make_task(recipe, group, data_dir=site.data_dir, device=site.device, shift=stage.shift)
        module = make_module(recipe, group[0], task.signature)
        start: Stacked | None = None
        if parents:
            seeds = [mix_seed(run["seed"], stage.name) for run in group]
            start = START[stage.node.operation](
                Descent([p.tensors for p in parents], dict(stage.node.options), seeds, module, task.signature)
            )
        training = StackTraining(module.to(site.device), task, group, seed=recipe.seed, start=start)
        kept = self._follow(site.work / f"{key}.pt", training, stage)
        origin = [" ".join(ids) for ids in zip(*(p.rows["id"] for p in parents or []), strict=True)]
        known = {
            "family": recipe.family,
            "options": {name: group[0][name] for name in FAMILIES[recipe.family].options},
            "signature": {"inputs": list(task.signature.inputs), "outputs": task.signature.outputs},
        }
        return [
            Part(
                self._rows(group, stage, i, measured).assign(parent=origin or None, epoch=epoch, step=step),
                tensors,
                known | {"shapes": describe_shapes(tensors)},
            )
            for i, (epoch, step, tensors, measured) in enumerate(kept)
        ]

    def _follow(self, path: Path, training: StackTraining, stage: _Stage) -> list[tuple[Any, ...]]:
        """Train, and return `(epoch, step, tensors, properties)` of each snapshot."""
        kept: list[tuple[Any, ...]] = []
        if path.exists():
            saved = torch.load(path, weights_only=True, map_location="cpu")
            kept = saved["kept"]
            training.restore(saved["state"])
        last = time.monotonic()

        def save() -> None:
            content = io.BytesIO()  # torch's own writer answers a full disk with an error of its own
            torch.save({"state": training.state, "kept": kept}, content)
            write_whole(path, lambda draft: draft.write_bytes(content.getbuffer()))

        for epoch in stage.epochs[len(kept) :]:
            while training.step < round(epoch * training.task.steps_per_epoch):
                training.advance()
                self._tell(training, stage)
                if time.monotonic() - last > self.site.save_every:
                    save()
                    last = time.monotonic()
            kept.append((float(epoch), training.step, *training.snapshot(DTYPES[self.recipe.storage])))
        save()
        return kept

    def _rows(self, group: Group, stage: _Stage, snapshot: int, measured: Mapping[str, Tensor]) -> pd.DataFrame:
        name = self.recipe.name
        label = snapshot if stage.node is ROOT else stage.name
        rows = [
            {key: "-".join(map(str, value)) if isinstance(value, tuple | list) else value for key, value in run.items()}
            | {
                "id": f"{name}/{run['run']:06d}/{label}",
                "family": self.recipe.family,
                "node": stage.name,
                "operation": stage.node.operation,
                "shift": stage.shift,
                "snapshot": snapshot,
                "split": draw_split(name, run["run"]),
                "dataset_split": draw_split(run["dataset"], 0),
            }
            for run in group
        ]
        return pd.DataFrame(rows).assign(**{key: value.numpy() for key, value in measured.items()})

    def _tell(self, training: StackTraining, stage: _Stage) -> None:
        now = time.monotonic()
        if self.site.progress and now - self.told > TELL_EVERY:
            self.told = now
            share = training.step / max(1, round(stage.epochs[-1] * training.task.steps_per_epoch))
            done = self.done + (share * len(training.runs) if stage.node is ROOT else 0)
            self.site.progress(Progress(done, self.total, now - self.begun, self.begun_at))


@dataclass(frozen=True)
class _Stage:
    """One training of one stack: a root's, or a node's."""

    name: str
    node: TreeNode
    shift: str
    epochs: tuple[float, ...]


def draw_split(name: str, number: int) -> str:
    """Return the part that a run or a dataset belongs to: 70 % train, 15 % validation, 15 % test, by its name alone."""
    place = mix_seed("split", name, number) % 100
    return "train" if place < 70 else "validation" if place < 85 else "test"
