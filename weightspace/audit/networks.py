"""Networks of a population, or out of a decoder, by architecture; and what they all answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from weightspace.audit.answers import Answers, answer
from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.decode.decoder import Decoder
from weightspace.errors import AuditError, ZooError
from weightspace.execute.module import to_module
from weightspace.generate.sample import Sample
from weightspace.zoo.stacks import stack_rows
from weightspace.zoo.store import Population


@dataclass(frozen=True, eq=False)
class Group:
    """Networks of one architecture.

    Args:
        places: Of each network in the list of all.
        program: Text of the architecture.
        module: Runs them.
        weights: Stacked, in single precision.
    """

    places: np.ndarray
    program: str
    module: nn.Module
    weights: Mapping[str, Tensor]


def read_groups(population: Population, ids: Sequence[str]) -> list[Group]:
    """Return networks of a population by their ids, in that order.

    Raises:
        AuditError: An id is not there, or the population does not say how a network is run.
    """
    frame = population.frame().set_index("id", drop=False)
    lost = [i for i in ids if i not in frame.index]
    if lost:
        raise AuditError(f"{population.folder}: holds no network {lost[0]!r} ({len(lost)} of {len(ids)} are missing).")
    rows = frame.loc[list(ids)].assign(place=range(len(ids)))
    try:
        stacks = list(stack_rows(population, rows))
    except ZooError as error:
        raise AuditError(str(error)) from error
    return [Group(stack.rows["place"].to_numpy(), stack.text, stack.module, stack.weights) for stack in stacks]


def decode_groups(sample: Sample, decoder: Decoder, inputs: Tensor | None = None) -> list[Group]:
    """Return the networks that a decoder makes of a sample, batch norms measured on inputs."""
    decoded = sample.decode_stacks(decoder, inputs)
    return [Group(places, text, module_of(text, stack), stack) for places, text, stack in decoded]


def module_of(program: str, stack: Mapping[str, Tensor]) -> nn.Module:
    """Return a module that runs networks of a program."""
    return to_module(Checkpoint({name: tensor[0].cpu() for name, tensor in stack.items()}, {"architecture": program}))


def take_groups(groups: Iterable[Group], kept: np.ndarray) -> list[Group]:
    """Return some of the networks, their places counted anew.

    Args:
        groups: All networks.
        kept: Which, by place.
    """
    number, found = np.cumsum(kept) - 1, []
    for group in groups:
        inside = np.flatnonzero(kept[group.places])
        if len(inside):
            weights = {name: tensor[torch.from_numpy(inside)] for name, tensor in group.weights.items()}
            found.append(Group(number[group.places[inside]], group.program, group.module, weights))
    return found


def answer_groups(groups: Iterable[Group], inputs: Tensor, labels: Tensor, runs: np.ndarray) -> Answers:
    """Return what all networks answer, in the order of their places."""
    chosen = torch.zeros(len(runs), len(labels), dtype=torch.uint8)
    for group in groups:
        told = answer(group.module, group.weights, inputs, labels, runs[group.places])
        chosen[torch.from_numpy(group.places.copy())] = told.chosen
    return Answers(chosen, labels.to(torch.uint8).cpu(), runs)
