"""How new weights are: their distance to the nearest that were learned from, by that of fresh trainings.

A decoder writes weights in its own way, so all that it makes is far from what was trained. What it makes is therefore
held against what it makes of training networks, by the distance of what it makes of fresh ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from weightspace.audit.networks import Group
from weightspace.audit.overlap import expected_at
from weightspace.audit.weight_distance import Settled, nearest_weights
from weightspace.graph.trace import trace_program
from weightspace.graph.trace.program import Program

FRESH = 64
"""Fresh networks of an architecture that say how far a new one is."""


@dataclass(frozen=True, eq=False)
class Making:
    """Networks made in one way, trained or decoded.

    Args:
        learned_from: Training networks, or the reconstructions of them.
        runs: Of each of these.
        fresh: Held-out networks made in the same way.
        accuracy: Of each fresh one.
    """

    learned_from: Sequence[Group]
    runs: np.ndarray
    fresh: Sequence[Group]
    accuracy: np.ndarray


@dataclass(frozen=True, eq=False)
class Yardstick:
    """Networks of one architecture to measure distances to.

    Args:
        networks: That were learned from, or reconstructions of them.
        runs: Of each.
        accuracy: Of fresh networks.
        far: Distance of each of these to the nearest.
    """

    networks: Settled
    runs: np.ndarray
    accuracy: np.ndarray
    far: np.ndarray


Yardsticks = Mapping[str, Sequence[Yardstick]]
"""By program: the training networks of it, and their reconstructions."""


def make_yardsticks(makings: Sequence[Making]) -> dict[str, list[Yardstick]]:
    """Return what weights of each architecture are held against, where there are fresh networks of it."""
    found: dict[str, list[Yardstick]] = {}
    for making in makings:
        there = {group.program: group for group in making.fresh}
        for group in making.learned_from:
            if group.program not in there:
                continue
            beside = there[group.program]
            graph = trace_program(Program.from_json(group.program))
            networks = Settled.of(group.weights, graph)
            some = {name: tensor[:FRESH] for name, tensor in beside.weights.items()}
            far = nearest_weights(Settled.of(some, graph), networks)
            accuracy = making.accuracy[beside.places[:FRESH]]
            found.setdefault(group.program, []).append(Yardstick(networks, making.runs[group.places], accuracy, far))
    return found


def weight_novelty(
    groups: Sequence[Group], runs: np.ndarray, accuracy: np.ndarray, yardsticks: Yardsticks
) -> np.ndarray:
    """Return how new the weights of each network are: 0 for a copy, 1 for a fresh training of the same accuracy.

    Of several yardsticks the one counts by which a network is least new. NaN where there is none of the architecture.

    Args:
        groups: The networks in question.
        runs: Of all of them; a network of the same run does not count.
        accuracy: Of all of them.
        yardsticks: What they are held against.
    """
    found = np.full(len(runs), np.nan)
    for group in groups:
        least = np.full(len(group.places), np.inf)
        for stick in yardsticks.get(group.program, ()):
            mine = Settled.of(group.weights, stick.networks.graph)
            apart = runs[group.places][:, None] != stick.runs[None]
            far = np.maximum(expected_at(accuracy[group.places], stick.accuracy, stick.far), 1e-9)
            near = nearest_weights(mine, stick.networks, apart, within=least * far)
            least = np.minimum(least, near / far)
        found[group.places] = np.where(np.isfinite(least), least, np.nan)
    return found
