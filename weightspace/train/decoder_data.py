"""Populations as what a decoder learns from: latents, and what the networks answer to a pool of inputs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Generator, Tensor

from weightspace.encode.encoder import Encoder
from weightspace.errors import ZooError
from weightspace.execute.pieces import run_in_pieces
from weightspace.train.encoded import Encoded
from weightspace.train.into import Into, Menu, place
from weightspace.zoo.data import Dataset, load_dataset
from weightspace.zoo.families.signature import Signature
from weightspace.zoo.stacks import Stack, encode_stack, stack_rows
from weightspace.zoo.store import Population

OTHERS = 0.25
"""Share of inputs that come from other datasets than the networks'."""
NOISE = 0.1
"""Of the weights of a view, at most this share of their tensor's root mean square."""


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
    yield from stack_rows(population, rows[~rows["diverged"]], device)


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
    return replace(stack, weights=found)


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
            answers = torch.cat([run_in_pieces(view.module, view.weights, pool).half() for view in views])
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
