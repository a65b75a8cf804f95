"""Networks of a population as the peers see them: weights by architecture, a target, and what to compare within.

A row is a network. Equal networks lie together as one matrix with a row a network, so that nothing is ever done one
network at a time; everything moves between devices as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Generator, Tensor, nn

from weightspace import zoo
from weightspace.zoo.data import load_dataset
from weightspace.zoo.families import FAMILIES, build_network
from weightspace.zoo.families.activations import ACTIVATIONS
from weightspace.zoo.families.signature import Signature
from weightspace.zoo.families.siren import pixel_places
from weightspace.zoo.layout import Layout
from weightspace.zoo.store import Population

SPLITS = ("train", "validation", "test")
INPUTS, MIXED = 256, 4
STRATA = ("snapshot", "dataset", "optimizer", "learning_rate", "train_fraction")


class PeerError(ValueError):
    """A peer can't be had or can't read these networks, with the reason."""


@dataclass(frozen=True, eq=False)
class Architecture:
    """What equal networks are.

    Args:
        identity: Id in the population.
        layout: Floating tensors in the order in which data flows, as far as the module tells it.
        known: `family`, `options`, `signature` where networks can be rebuilt.
    """

    identity: str
    layout: Layout
    known: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, identity: str, known: Mapping[str, Any]) -> Architecture:
        """Return an entry of `architectures.json`, its tensors in the order of the module if that can be built."""
        shapes = {name: tuple(shape) for name, shape in known["shapes"].items()}
        architecture = cls(identity, Layout(shapes), known)
        if "family" not in known:
            return architecture
        order = [name for name, tensor in architecture.module().state_dict().items() if tensor.is_floating_point()]
        return replace(architecture, layout=Layout({name: shapes[name] for name in order if name in shapes}))

    @property
    def signature(self) -> Signature:
        """Inputs and outputs of a network."""
        self._require()
        return Signature(tuple(self.known["signature"]["inputs"]), self.known["signature"]["outputs"])

    def module(self) -> nn.Module:
        """Return an untrained module, in evaluation mode."""
        signature = self.signature
        return build_network(self.known["family"], signature, self.known["options"]).eval()

    def _require(self) -> None:
        if "family" not in self.known:
            raise PeerError(f"architecture {self.identity} is known by its shapes alone; it cannot be run.")

    @cached_property
    def activations(self) -> tuple[str, ...]:
        """Names of the activations, one a layer or one for all; none where the population does not say."""
        options = self.known.get("options", {})
        return tuple(options.get("activations") or [options[k] for k in ("activation",) if k in options])

    @cached_property
    def description(self) -> Tensor:
        """Share of each known activation, logarithm of the weights, tensors: what every peer is told."""
        shares = [self.activations.count(name) / max(1, len(self.activations)) for name in sorted(ACTIVATIONS)]
        return torch.tensor([*shares, np.log2(self.layout.size), len(self.layout.shapes)], dtype=torch.float32)


@dataclass(frozen=True, eq=False)
class Group:
    """Networks of one architecture.

    Args:
        architecture: What they are.
        rows: Which rows of the frame they are.
        flat: Their weights `(models, weights)`, laid out by the architecture.
    """

    architecture: Architecture
    rows: Tensor
    flat: Tensor

    @property
    def weights(self) -> dict[str, Tensor]:
        """Stacked tensors `(models, *shape)` by name, views of the matrix."""
        return self.architecture.layout.view(self.flat)

    def take(self, where: Tensor) -> Group:
        """Return some of the networks."""
        return Group(self.architecture, self.rows[where], self.flat[where])

    def to(self, device: str) -> Group:
        """Return the group on a device."""
        return Group(self.architecture, self.rows.to(device), self.flat.to(device))


@dataclass(frozen=True, eq=False)
class Batch:
    """Some networks, group after group; what a peer says of them comes in that order."""

    groups: tuple[Group, ...]

    @property
    def rows(self) -> Tensor:
        """Which rows of the frame these are."""
        return torch.cat([group.rows for group in self.groups])

    def describe(self) -> Tensor:
        """Description of each network's architecture, `(networks, columns)`."""
        device = self.groups[0].flat.device
        each = [g.architecture.description.to(device).expand(len(g.rows), -1) for g in self.groups]
        return torch.cat(each)


@dataclass(frozen=True, eq=False)
class Networks:
    """Networks of one split with their target.

    Args:
        frame: A row a network: `run` and the columns to compare within.
        target: What is to be told, a number or a class for each row.
        groups: Weights by architecture.
        inputs: Some real training inputs of each dataset `(inputs, *shape)`, for peers that begin at them.
    """

    frame: pd.DataFrame
    target: Tensor
    groups: tuple[Group, ...]
    inputs: tuple[Tensor, ...] = ()

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def device(self) -> str:
        """Where the weights lie."""
        return str(self.target.device)

    def to(self, device: str) -> Networks:
        """Return the networks on a device."""
        groups, inputs = tuple(g.to(device) for g in self.groups), tuple(x.to(device) for x in self.inputs)
        return replace(self, target=self.target.to(device), groups=groups, inputs=inputs)

    def batches(self, size: int, generator: Generator | None = None) -> Iterator[Batch]:
        """Yield all networks in batches of about `size`; shuffled if there is a generator.

        Networks of one architecture are run together, so pieces of them are drawn that are large: a shuffled batch
        mixes at least `MIXED` architectures where there are so many, and seldom many more, however many there are.
        """
        piece = size if generator is None else max(1, size // min(MIXED, len(self.groups)))
        pieces: list[tuple[int, Tensor]] = []
        for i, group in enumerate(self.groups):
            n = len(group.rows)
            order = torch.arange(n) if generator is None else torch.randperm(n, generator=generator)
            pieces += [(i, part) for part in order.split(piece)]
        if generator is not None:
            pieces = [pieces[i] for i in torch.randperm(len(pieces), generator=generator).tolist()]
        held: dict[int, list[Tensor]] = {}
        for i, part in pieces:
            held.setdefault(i, []).append(part)
            if sum(len(p) for parts in held.values() for p in parts) >= size:
                yield self._batch(held)
                held = {}
        if held:
            yield self._batch(held)

    def _batch(self, held: dict[int, list[Tensor]]) -> Batch:
        return Batch(tuple(self.groups[i].take(torch.cat(parts).to(self.device)) for i, parts in held.items()))


@dataclass(frozen=True)
class Wanted:
    """What to load of a population.

    Args:
        target: Column to tell.
        classify: Whether the target is a class.
        runs: At most so many runs a split, drawn with `seed`; all if None.
        seed: Of that draw.
        data_dir: Folder of dataset files; real inputs are left out without.
    """

    target: str = "test_accuracy"
    classify: bool = False
    runs: int | None = None
    seed: int = 0
    data_dir: str | None = None


def load_splits(name: str | Path, wanted: Wanted | None = None) -> dict[str, Networks]:
    """Return the networks of each split.

    Rows whose target or weights are not finite are left out in every split alike; `frame.attrs["dropped"]` counts
    them, and `frame.attrs["classes"]` the classes of the whole population.
    """
    wanted = wanted or Wanted()
    population = zoo.load(name)
    frame = population.frame()
    if wanted.target not in frame:
        raise PeerError(f"{population.folder}: no column {wanted.target!r} to tell; it has {list(frame)}.")
    codes, classes = pd.factorize(frame[wanted.target], sort=True) if wanted.classify else (None, None)
    frame = frame.assign(target=frame[wanted.target] if codes is None else codes)
    names = sorted(set(frame["dataset"].astype(str))) if wanted.data_dir and "dataset" in frame else []
    families = {known.get("family") for known in population.architectures.values()}
    inputs = tuple(show_inputs(load_dataset(name, wanted.data_dir).x, families) for name in names)
    found = {}
    for split in SPLITS:
        rows = keep_runs(frame[frame["split"] == split], wanted)
        found[split] = replace(read_networks(population, rows, wanted.classify), inputs=inputs)
        attrs = {"classes": 0 if classes is None else len(classes), "dropped": len(rows) - len(found[split])}
        found[split].frame.attrs.update(attrs)
    return found


def show_inputs(x: Tensor, families: Set[str | None]) -> Tensor:
    """Return some training inputs of a dataset: of its rows or images, or of their places for implicit networks."""
    if not any(family in FAMILIES and FAMILIES[family].data == "image" for family in families):
        return x[:INPUTS]
    places = pixel_places(*x.shape[2:])
    return places[torch.randperm(len(places), generator=Generator().manual_seed(0))[:INPUTS]]


def keep_runs(rows: pd.DataFrame, wanted: Wanted) -> pd.DataFrame:
    """Return the rows of at most `wanted.runs` runs."""
    runs = rows["run"].drop_duplicates()
    if wanted.runs is None or len(runs) <= wanted.runs:
        return rows
    return rows[rows["run"].isin(runs.sample(wanted.runs, random_state=wanted.seed))]


def read_networks(population: Population, rows: pd.DataFrame, classify: bool = False) -> Networks:
    """Return rows with their weights, less those whose weights or target are not finite."""
    asked, rows = len(rows), rows[np.isfinite(rows["target"].to_numpy(float))]
    groups, kept, count = [], [], 0
    for identity, same in rows.groupby("architecture", observed=True, sort=True):
        architecture = Architecture.of(str(identity), population.architectures[str(identity)])
        stacked = population.stack(same)
        flat = torch.cat([stacked[name].flatten(1).float() for name in architecture.layout.shapes], 1)
        finite = flat.isfinite().all(1)
        kept.append(same[finite.numpy()])
        n = len(kept[-1])
        groups += [Group(architecture, torch.arange(count, count + n), flat[finite])] if n else []
        count += n
    if not groups:
        raise PeerError(f"{population.folder}: no network of {asked} rows has finite weights and a target.")
    frame = pd.concat(kept, ignore_index=True)
    target = torch.tensor(frame["target"].to_numpy(), dtype=torch.long if classify else torch.float32)
    return Networks(frame, target, tuple(groups))


def strata(frame: pd.DataFrame, names: Sequence[str] = STRATA) -> np.ndarray:
    """Return a number for each row, the same where hyper-parameters are: learning rate by decade, others exactly."""
    columns = {name: frame[name] for name in names if name in frame}
    if not columns:
        return np.zeros(len(frame), int)
    if "learning_rate" in columns:
        columns["learning_rate"] = np.floor(np.log10(columns["learning_rate"]))
    return pd.DataFrame(columns).astype(str).groupby(list(columns), sort=False).ngroup().to_numpy()
