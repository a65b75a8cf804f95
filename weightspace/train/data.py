"""Populations as groups of equal architecture, stacked on a device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from weightspace.encode.answers import input_shape
from weightspace.encode.plan import Plan, compile_plan
from weightspace.encode.properties import WIRINGS, find_classes, read_targets
from weightspace.errors import GraphError, ZooError
from weightspace.graph.axes import ParameterGraph
from weightspace.graph.layout import Side
from weightspace.graph.symmetry.gates import Gates
from weightspace.graph.symmetry.widen import Widening, widen
from weightspace.graph.trace import trace_program
from weightspace.graph.trace.program import Program
from weightspace.zoo.control import draw_states
from weightspace.zoo.data import load_dataset
from weightspace.zoo.plan import CARTPOLE
from weightspace.zoo.store import Population

FEWEST = 2
"""Networks that a group to train on has at least."""
FACTORS = (2, 4)
"""Of widening."""


@dataclass(frozen=True, eq=False)
class Group:
    """Networks of one architecture and population, of one part of its split.

    Args:
        population: Its name.
        dataset: What all of them were trained on; empty if they differ.
        plan: Of their graph; groups of equal graphs whose inputs are of one rank share it, and train together.
        module: Runs them.
        shape: Of one input; None where probes do not fit, so that the networks are never run on them.
        gates: On the hidden units.
        wider: Plans of wider networks of the same function and how weights get there, by factor; none for networks
            that cannot be widened.
        weights: `(models, ...)` by tensor name.
        targets: `(models,)` by property; NaN where it is not known.
        rows: Of the manifest.
    """

    population: str
    dataset: str
    plan: Plan
    module: nn.Module
    shape: tuple[int, ...] | None
    gates: Gates
    wider: Mapping[int, tuple[Plan, Widening]]
    weights: Mapping[str, Tensor]
    targets: Mapping[str, Tensor]
    rows: pd.DataFrame

    def __len__(self) -> int:
        return len(self.rows)

    def pick(self, places: Tensor) -> dict[str, Tensor]:
        """Return the weights of some networks, floats in single precision, whole numbers as they are."""
        return {name: single(tensor[places]) for name, tensor in self.weights.items()}

    def target(self, name: str) -> Tensor:
        """Return a property of each network, `(models,)`; NaN where it is not known."""
        some = next(iter(self.targets.values()))
        return self.targets.get(name, torch.full_like(some, torch.nan))


def single(tensor: Tensor) -> Tensor:
    """Floats in single precision, whole numbers as they are."""
    return tensor.float() if tensor.is_floating_point() else tensor


@dataclass(frozen=True, eq=False)
class Corpus:
    """All that an encoder is trained and measured on.

    Args:
        groups: By part: `train`, `validation`, `test`.
        classes: Names of each property of names.
        inputs: Real inputs to predict answers on, by dataset.
        labels: Of the same inputs, where they have some.
    """

    groups: Mapping[str, Sequence[Group]]
    classes: Mapping[str, list[str]]
    inputs: Mapping[str, Tensor]
    labels: Mapping[str, Tensor]

    def scales(self) -> dict[str, tuple[float, float]]:
        """Mean and deviation of each number over the training part."""
        return {name: _scale(values) for name, values in self._numbers(None).items()}

    def spreads(self) -> dict[str, dict[str, float]]:
        """Deviation of each number within each population, by population and property."""
        names = {group.population for group in self.groups["train"]}
        return {p: {name: _scale(values)[1] for name, values in self._numbers(p).items()} for p in sorted(names)}

    def _numbers(self, population: str | None) -> dict[str, Tensor]:
        found: dict[str, list[Tensor]] = {}
        for group in self.groups["train"]:
            for name, values in group.targets.items():
                if name not in self.classes and population in (None, group.population):
                    found.setdefault(name, []).append(values[values.isfinite()])
        return {name: torch.cat(values) for name, values in found.items()}


def _scale(values: Tensor) -> tuple[float, float]:
    if not len(values):
        return 0.0, 1.0
    spread = float(values.double().std(unbiased=False))
    return float(values.double().mean()), spread if spread > 1e-6 else 1.0


def load_corpus(
    populations: Sequence[Population],
    *,
    classes: dict[str, list[str]] | None = None,
    inputs: int = 0,
    data_dir: str | None = None,
    device: str = "cpu",
) -> Corpus:
    """Return the groups of populations; divergent networks and those that cannot be run are left out.

    Args:
        populations: Built here, so that their architectures can be run.
        classes: Names of each property of names; those that the populations hold if None.
        inputs: Real training inputs of each dataset to predict answers on; 0 needs no data folder.
        data_dir: Folder of dataset files.
        device: Where weights and targets lie.

    Raises:
        ZooError: No population holds a network that can be used.
    """
    frames = [population.frame() for population in populations]
    classes = classes or find_classes(frames) | {"wiring": WIRINGS}
    groups: dict[str, list[Group]] = {"train": [], "validation": [], "test": []}
    known: Plans = {}
    for population, frame in zip(populations, frames, strict=True):
        for architecture, same in frame[~frame["diverged"]].groupby("architecture", observed=True, sort=True):
            for group in _groups(population, (str(architecture), same), (known, classes), device):
                groups[str(group.rows["split"].iloc[0])].append(group)
    if not groups["train"]:
        raise ZooError(f"none of {[p.folder.name for p in populations]} holds networks to train on.")
    names = sorted({g.dataset for part in groups.values() for g in part if g.dataset}) if inputs else []
    shown = {name: [t.to(device) for t in _inputs(name, inputs, data_dir)] for name in names}
    shown = {name: found for name, found in shown.items() if found[0].is_floating_point()}
    labels = {name: found[1] for name, found in shown.items() if len(found) > 1}
    return Corpus(groups, classes, {name: found[0] for name, found in shown.items()}, labels)


def draw_shares(together: Sequence[Sequence[Group]]) -> list[float]:
    """Return how often groups are drawn, in proportion.

    A population counts as the square root of its size, however many architectures share it.

    Args:
        together: Groups that are drawn together.
    """
    sizes: dict[str, int] = {}
    for group in chain.from_iterable(together):
        sizes[group.population] = sizes.get(group.population, 0) + len(group)
    return [sum(len(group) / sizes[group.population] ** 0.5 for group in groups) for groups in together]


def _inputs(dataset: str, count: int, data_dir: str | None) -> list[Tensor]:
    """Real inputs of a dataset and their labels; states alone of the task that policies learn."""
    if dataset == CARTPOLE:
        return [draw_states(count)]
    data = load_dataset(dataset, data_dir)
    return [data.x[:count], data.y[:count]]


Plans = dict[str, tuple[Plan, Gates, dict[int, tuple[Plan, Widening]]]]
"""By what is the same in equal graphs."""


def _groups(
    population: Population, given: tuple[str, pd.DataFrame], kept: tuple[Plans, dict[str, list[str]]], device: str
) -> list[Group]:
    (architecture, rows), (known, classes) = given, kept
    text = population.program(architecture)
    if text is None:
        return []
    program = Program.from_json(text)
    graph, shape = trace_program(program), input_shape(program)
    key = repr((dict(graph.axes), dict(graph.blocks), graph.stages, shape is None or len(shape)))
    if key not in known:
        known[key] = compile_plan(graph), Gates.of(graph, Side.READ), _wider(graph)
    plan, gates, wider = known[key]
    module = population.module(architecture).eval().to(device)
    stack = {name: tensor.to(device) for name, tensor in population.stack(rows).items()}
    known_targets = read_targets(rows, classes) | {"wiring": np.full(len(rows), WIRINGS.index("whole"), np.float32)}
    targets = {name: torch.tensor(values, device=device) for name, values in known_targets.items()}
    names = set(rows["dataset"].astype(str))
    found = []
    for split in sorted(set(rows["split"].astype(str))):
        here = np.flatnonzero((rows["split"] == split).to_numpy())
        where = torch.from_numpy(here).to(device)
        if split == "train" and len(here) < FEWEST:
            continue
        weights, wanted = ({name: t[where] for name, t in kept.items()} for kept in (stack, targets))
        dataset = names.copy().pop() if len(names) == 1 else ""
        name = population.folder.name
        found.append(Group(name, dataset, plan, module, shape, gates, wider, weights, wanted, rows.iloc[here]))
    return found


def _wider(graph: ParameterGraph) -> dict[int, tuple[Plan, Widening]]:
    try:
        found = {factor: widen(graph, factor) for factor in FACTORS}
    except GraphError:
        return {}
    return {factor: (compile_plan(widening.graph), widening) for factor, widening in found.items()}
