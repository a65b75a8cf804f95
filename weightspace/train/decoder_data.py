"""Populations as what a decoder learns from: latents, and what the networks answer to a pool of inputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Generator, Tensor, nn

from weightspace.encode.answers import input_shape, run_networks
from weightspace.encode.encoder import Encoder
from weightspace.encode.plan import compile_plan
from weightspace.errors import ZooError
from weightspace.execute.stack import run_stacked
from weightspace.graph.trace import trace_program
from weightspace.graph.trace.program import Program
from weightspace.train.decoder import Encoded
from weightspace.train.into import Into, Menu, place
from weightspace.zoo.data import Dataset, load_dataset
from weightspace.zoo.families.signature import Signature
from weightspace.zoo.store import Population

TOGETHER = 1 << 22
"""Weights that are encoded at once, about."""
ANSWERED = {"cpu": 1 << 21, "cuda": 1 << 26}
"""Numbers of inputs that are answered at once, about."""
OTHERS = 0.25
"""Share of inputs that come from other datasets than the networks'."""
NOISE = 0.1
"""Of the weights of a view, at most this share of their tensor's root mean square."""


@dataclass(frozen=True, eq=False)
class Stack:
    """Networks of one architecture of a population.

    Args:
        rows: Of the manifest.
        program: Of the architecture.
        module: Runs them.
        weights: `(models, ...)` by tensor name, in single precision.
    """

    rows: pd.DataFrame
    program: Program
    module: nn.Module
    weights: Mapping[str, Tensor]


@dataclass(frozen=True)
class Reading:
    """How populations are read.

    Args:
        data_dir: Folder of dataset files.
        device: Where everything lies.
        inputs: That each network answers.
        views: Networks made of each by going towards another snapshot of its run, with a little noise: a latent and
            answers of their own, so that a decoder sees more networks than were trained.
        seed: Of inputs and views.
    """

    data_dir: str | None = None
    device: str = "cpu"
    inputs: int = 4096
    views: int = 2
    seed: int = 0


def read_stacks(population: Population, part: str, device: str) -> Iterator[Stack]:
    """Yield the networks of a part of a population that did not diverge, architecture by architecture.

    Raises:
        ZooError: The population does not say how its networks are built, or weights are missing.
    """
    rows = population.frame(where=[("split", "==", part)])
    for name, same in rows[~rows["diverged"]].groupby("architecture", observed=True, sort=True):
        text, module = population.program(str(name)), population.module(str(name)).eval().to(device)
        assert text is not None
        stacked = population.stack(same).items()
        weights = {n: t.float().to(device) if t.is_floating_point() else t.to(device) for n, t in stacked}
        yield Stack(same, Program.from_json(text), module, weights)


@torch.no_grad()
def encode_stack(encoder: Encoder, stack: Stack) -> Tensor:
    """Return the vectors of networks, `(models, latent)`, as the encoder has them of their checkpoints."""
    plan, shape = compile_plan(trace_program(stack.program)), input_shape(stack.program)
    first = next(iter(stack.weights.values()))
    network = encoder.network.to(first.device)
    size = sum(t[0].numel() for t in stack.weights.values())
    found = []
    for start in range(0, len(first), step := max(1, TOGETHER // size)):
        weights, answers = {n: t[start : start + step] for n, t in stack.weights.items()}, None
        if encoder.run and shape is not None:
            answers = run_networks(stack.module, weights, network.probes(shape))
        found.append(network(plan, weights, answers).vector.float())
    return torch.cat(found)


@torch.no_grad()
def answer(module: nn.Module, weights: Mapping[str, Tensor], inputs: Tensor) -> Tensor:
    """Return logits `(models, inputs, classes)` of many networks to many inputs."""
    models = len(next(iter(weights.values())))
    step = max(1, ANSWERED[inputs.device.type] // inputs.numel())
    parts = [
        run_stacked(module, {n: t[i : i + step] for n, t in weights.items()}, inputs) for i in range(0, models, step)
    ]
    return torch.cat(parts)


def make_view(stack: Stack, generator: Generator) -> Stack:
    """Return networks that lie between snapshots of a run, and a little beside."""
    runs = stack.rows["run"].to_numpy()
    order = np.argsort(runs, kind="stable")
    starts = np.searchsorted(runs[order], runs)
    counts = np.searchsorted(runs[order], runs, side="right") - starts
    partner = torch.from_numpy(order)[
        torch.from_numpy(starts) + (torch.rand(len(runs), generator=generator) * torch.from_numpy(counts)).long()
    ]
    share, noise = torch.rand(2, len(runs), generator=generator)
    found = {}
    for name, tensor in stack.weights.items():
        if not tensor.is_floating_point():
            found[name] = tensor
            continue
        lone = (len(tensor), *[1] * (tensor.ndim - 1))
        near = torch.lerp(tensor, tensor[partner.to(tensor.device)], share.view(lone).to(tensor))
        size = near.flatten(1).square().mean(1).sqrt().view(lone)
        drawn = torch.randn(tensor.shape, generator=generator).to(tensor)
        found[name] = near + NOISE * noise.square().view(lone).to(tensor) * size * drawn
    return Stack(stack.rows, stack.program, stack.module, found)


def read_encoded(encoder: Encoder, populations: Sequence[Population], reading: Reading) -> list[Encoded]:
    """Return the networks of the training part of populations, with their views.

    Raises:
        ZooError: A population holds networks of several datasets, or none to train on.
        DataError: A dataset is missing.
    """
    generator = Generator().manual_seed(reading.seed)
    datasets = [load_dataset(dataset_of(p), reading.data_dir) for p in populations]
    found = []
    for population, data in zip(populations, datasets, strict=True):
        pool = draw_inputs(data, [d for d in datasets if d.name != data.name], reading.inputs, generator)
        pool = pool.to(reading.device)
        menu = Menu.of(data.signature, reading.device)
        for stack in read_stacks(population, "train", reading.device):
            views = [stack, *(make_view(stack, generator) for _ in range(reading.views))]
            vectors = torch.cat([encode_stack(encoder, view) for view in views])
            answers = torch.cat([answer(view.module, view.weights, pool).half() for view in views])
            fine = vectors.isfinite().all(1) & answers.isfinite().all(2).all(1)
            own = Into.of(stack.program, stack.module)
            found.append(Encoded(vectors[fine], answers[fine], pool, own, menu))
    return found


def dataset_of(population: Population) -> str:
    """Return the dataset that all networks of a population learned from.

    Raises:
        ZooError: There are several, or none that can be loaded.
    """
    names = population.frame(["dataset"])["dataset"].unique().tolist()
    if len(names) != 1:
        raise ZooError(f"{population.folder}: its networks learned from {len(names)} datasets; a decoder takes one.")
    return str(names[0])


def signature_of(populations: Sequence[Population], data_dir: str | None) -> tuple[tuple[tuple[int, ...], ...], int]:
    """Return the shapes of inputs of populations, and their classes.

    Raises:
        ZooError: They tell different numbers of classes apart.
    """
    signatures: list[Signature] = [load_dataset(dataset_of(p), data_dir).signature for p in populations]
    classes = {s.outputs for s in signatures}
    if len(classes) != 1:
        raise ZooError(f"the populations tell {sorted(classes)} classes apart; a decoder makes networks of one number.")
    return tuple(dict.fromkeys(s.inputs for s in signatures)), classes.pop()


def draw_inputs(data: Dataset, others: Sequence[Dataset], count: int, generator: Generator) -> Tensor:
    """Return training inputs of a dataset, and a quarter of other datasets where there are any."""
    foreign = round(count * OTHERS / len(others)) if others else 0
    pools = [_some(data.x, count - foreign * len(others), generator)]
    pools += [place(_some(other.x, foreign, generator), data.signature.inputs) for other in others]
    return torch.cat(pools)


def _some(x: Tensor, count: int, generator: Generator) -> Tensor:
    return x[torch.randperm(len(x), generator=generator)[:count]]
